"""What is on its way to other nodes, as people are told: bytes that are left, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh.model.statistics import MoveFacts
from mesh.replication import Replica
from mesh.replication.leader import Leader

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from storage.types import Offset

MOVES_MAX = 1_000
"""Told one by one."""


class Moves:
    """Remembers when each copy began, for its speed. Instants are of the monotonic clock."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._begun: dict[tuple[Partition, Replica], tuple[int, Offset]] = {}

    def look(self, partitions: Iterable[Partition], now_ms: int) -> tuple[MoveFacts, ...]:
        """Return the copies that partitions led here make for replicas that do not vote yet."""
        found: list[MoveFacts] = []
        begun: dict[tuple[Partition, Replica], tuple[int, Offset]] = {}
        for partition in partitions:
            role, holding = partition.group.role, partition.group.holding
            if not isinstance(role, Leader):
                continue
            voters = holding.promise.config.voters
            log, end = partition.log, partition.high_watermark
            for replica, progress in role.others.items():
                has = max(progress.log_end, log.log_start_offset)
                if replica in voters or has >= end:
                    continue
                key = (partition, replica)
                since_ms, from_offset = begun[key] = self._begun.get(key, (now_ms, has))
                share = (end - has) / max(1, log.log_end_offset - log.log_start_offset)
                speed = (has - from_offset) / (now_ms - since_ms) if now_ms > since_ms else 0.0
                if len(found) < MOVES_MAX:
                    found.append(
                        MoveFacts(
                            topic=partition.topic,
                            partition=partition.index,
                            to=replica.node_id,
                            bytes_total=log.size_bytes,
                            bytes_left=int(share * log.size_bytes),
                            eta_ms=int((end - has) / speed) if speed > 0 else None,
                        )
                    )
        self._begun = begun
        return tuple(found)
