"""What must hold of whole nodes after every event: one history, one leader, nothing goes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesh.broker.stored_promises import group_id
from mesh.replication.leader import Leader
from simulations.cluster import VirtualNode
from storage.records import batches, read_batch_header

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.replication import Config, Promise
    from storage.promises import GroupId
    from storage.types import Offset

READ_BYTES = 1 << 20
VIOLATIONS_MAX = 20


@dataclass(slots=True)
class History:
    """One group's, over all nodes and starts."""

    batches: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Of what was committed, by base offset: leader epoch, checksum, end."""
    end: Offset = 0
    led: dict[int, int] = field(default_factory=dict)
    """By epoch, the node that led in it."""
    configs: dict[tuple[int, int], Config] = field(default_factory=dict)
    ends: dict[int, Offset] = field(default_factory=dict)
    """By epoch, in the order in which they were seen led, how much was committed then."""

    def needed_in(self, epoch: int) -> Offset:
        """Return how much of the log whoever begins to lead in an epoch must hold.

        One that won, and then stood still, may find that a later epoch is led by now. What was
        committed in that one it need not have, and can do no harm to.
        """
        later = (end for led, end in self.ends.items() if led > epoch)
        return next(later, self.end)


class BrokerInvariants:
    """Looks at a node after each of its events."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.violations: list[str] = []
        self.leader_changes = 0
        self.looks = 0
        self._histories: dict[GroupId, History] = {}
        self._seen: dict[tuple[int, int, GroupId], Offset] = {}
        self._promises: dict[tuple[int, GroupId], Promise] = {}
        self._last: dict[int, list[tuple[Partition, Promise, Offset, bool]]] = {}

    def look(self, virtual: VirtualNode) -> None:
        """Hold a node to what must hold."""
        if virtual.node is None:
            return
        self.looks += 1
        # Most events change one group of many, so what did not change is passed over first.
        states = [
            (one, one.group.holding.journaled, one.high_watermark, one.leads)
            for one in virtual.node.broker.groups.by_id.values()
        ]
        last = self._last.get(virtual.node_id, [])
        if states == last:
            return
        self._last[virtual.node_id] = states
        known = {state[0]: state for state in last}
        for state in states:
            if known.get(state[0]) != state:
                self._look_at(virtual, group_id(state[0]), state[0])

    def _look_at(self, virtual: VirtualNode, group: GroupId, partition: Partition) -> None:
        history = self._histories.setdefault(group, History())
        self._look_at_promise(virtual, group, partition, history)
        if partition.leads:
            self._look_at_leader(virtual, partition, history)
        key = (virtual.node_id, virtual.starts, group)
        before = self._seen.get(key, 0)
        if partition.high_watermark < before and not partition.group.holding.promise.tombstone:
            self._violated(virtual, partition, "its high watermark went back")
        if partition.high_watermark != before:
            self._seen[key] = partition.high_watermark
            start = max(before, partition.log.log_start_offset)
            if partition.high_watermark > start:
                self._look_at_log(virtual, partition, start, history)

    def _look_at_promise(
        self, virtual: VirtualNode, group: GroupId, partition: Partition, history: History
    ) -> None:
        promise = partition.group.holding.journaled
        key = (virtual.node_id, group)
        before = self._promises.get(key)
        if before is promise:
            return
        self._promises[key] = promise
        config = promise.config
        known = history.configs.setdefault(config.id, config)
        if known.voters != config.voters:
            self._violated(virtual, partition, f"two configs {config.id}")
        if before is None:
            return
        if promise.leader_epoch < before.leader_epoch or promise.config.id < before.config.id:
            self._violated(virtual, partition, "what it promised went back")
        if (
            promise.leader_epoch == before.leader_epoch
            and before.voted_for is not None
            and promise.voted_for != before.voted_for
        ):
            self._violated(virtual, partition, f"it voted twice in {promise.leader_epoch}")

    def _look_at_leader(self, virtual: VirtualNode, partition: Partition, history: History) -> None:
        epoch = partition.leader_epoch
        known = history.led.get(epoch)
        if known == virtual.node_id:
            return
        if known is not None:
            self._violated(virtual, partition, f"it leads in {epoch}, as node {known} does")
            return
        history.led[epoch] = virtual.node_id
        needed = history.needed_in(epoch)
        history.ends[epoch] = history.end
        self.leader_changes += len(history.led) > 1
        role = partition.group.role
        assert isinstance(role, Leader), "who leads is a leader"
        if partition.log.log_end_offset < needed:
            self._violated(virtual, partition, f"it leads without all of {needed} committed")
        else:
            self._look_at_log(virtual, partition, partition.log.log_start_offset, history)

    def _look_at_log(
        self, virtual: VirtualNode, partition: Partition, start: Offset, history: History
    ) -> None:
        """Compare what is committed here with what is known to be."""
        end = max(partition.high_watermark, min(history.end, partition.log.log_end_offset))
        offset = start
        while offset < end:
            pieces = partition.log.read(offset, READ_BYTES, end)
            if not pieces:
                return
            for piece in pieces:
                for batch in batches(piece.read()):
                    header = read_batch_header(batch)
                    base, offset = header.base_offset, header.last_offset + 1
                    found = (header.leader_epoch, header.crc, offset)
                    known = history.batches.setdefault(base, found)
                    if known != found and base < history.end:
                        self._violated(virtual, partition, f"another value at {base}")
                    elif known != found:
                        history.batches[base] = found
        history.end = max(history.end, partition.high_watermark)

    def _violated(self, virtual: VirtualNode, partition: Partition, text: str) -> None:
        if len(self.violations) < VIOLATIONS_MAX:
            now_ms = virtual.cluster.now.monotonic_ms
            self.violations.append(f"{now_ms} ms, node {virtual.node_id}, {partition.name}: {text}")

    def committed_end(self, group: GroupId) -> Offset:
        """Return how much of a group is known to be committed."""
        history = self._histories.get(group)
        return 0 if history is None else history.end

    def led(self, group: GroupId) -> Mapping[int, int]:
        """Return who led a group, by epoch."""
        history = self._histories.get(group)
        return {} if history is None else history.led
