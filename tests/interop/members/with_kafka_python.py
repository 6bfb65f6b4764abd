"""A member with kafka-python."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

from tests.interop.members.member import Member

with warnings.catch_warnings():
    # kafka-python reads its own schemas, at import, by a call that Python 3.11 deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
COMMIT_WAIT_MS = 6000


class _Program(kafka.AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Callbacks run on the library's own thread, so those that commit must not block."""

    def __init__(self) -> None:
        self.member = Member()
        self.is_revoking = False
        config = self.member.config
        self.consumer: Any = kafka.KafkaConsumer(
            bootstrap_servers=config.bootstrap,
            group_id=config.group,
            client_id=config.name,
            group_instance_id=config.instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=[ASSIGNORS[config.protocol]],
            session_timeout_ms=config.session_ms,
            heartbeat_interval_ms=config.heartbeat_ms,
            max_poll_interval_ms=config.poll_ms_max,
            max_poll_records=config.turn_rows,
            reconnect_backoff_ms=20,
            reconnect_backoff_max_ms=200,
        )
        self.consumer.subscribe([config.topic], listener=self)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Called by the library."""
        self.member.assigned(it.partition for it in assigned)

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Called by the library."""
        self.is_revoking = True
        partitions = [it.partition for it in revoked]
        offsets = self.member.to_commit(partitions)
        if offsets:
            number, error = self.member.begin_commit(offsets), None
            try:
                await self.consumer.commit_async(self._wanted(offsets))
            except KafkaError as raised:
                error = repr(raised)
            self.member.end_commit(number, offsets, error)
        self.member.revoked(partitions)
        self.is_revoking = False  # Here: without new partitions there is no further call.

    async def on_partitions_lost(self, lost: Iterable[Any]) -> None:
        """Called by the library."""
        self.member.lost([it.partition for it in lost])

    def _wanted(self, offsets: dict[int, int]) -> dict[Any, Any]:
        topic = self.member.config.topic
        return {
            kafka.TopicPartition(topic, p): kafka.OffsetAndMetadata(offset, "", -1)
            for p, offset in offsets.items()
        }

    def _commit(self, offsets: dict[int, int]) -> str | None:
        try:
            self.consumer.commit(self._wanted(offsets), timeout_ms=COMMIT_WAIT_MS)
        except KafkaError as error:
            return repr(error)
        return None

    def turn(self) -> None:
        """Process what there is, up to a turn's rows, and commit if it is time to."""
        try:
            arrived = self.consumer.poll(timeout_ms=200)
        except KafkaError as error:
            if not error.retriable:
                raise
            return  # A broker that is away comes out of `poll`: to be asked again.
        for records in arrived.values():
            for record in records:
                self.member.row(record.partition, record.offset, record.value)
        self.member.flush()
        if self.member.is_due() and not self.is_revoking:
            offsets = self.member.to_commit()
            self.member.commit(offsets, partial(self._commit, offsets))

    def run(self) -> None:
        """Read and commit until told to stop, then leave."""
        try:
            while not self.member.stops:
                self.turn()
                self.member.rest()
            self.consumer.close()
        except KafkaError as error:
            self.member.failed(repr(error))
            return
        self.member.ended()


if __name__ == "__main__":
    _Program().run()
