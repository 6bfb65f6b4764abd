"""A member with aiokafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import aiokafka
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from tests.interop.members.member import Member

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}
COMMIT_WAIT_S = 6


class _Program(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self) -> None:
        self.member = Member()
        config = self.member.config
        self.consumer: Any = aiokafka.AIOKafkaConsumer(
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
        )

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Called by the library."""
        self.member.assigned(it.partition for it in assigned)

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Called by the library, before the first assignment too."""
        partitions = [it.partition for it in revoked]
        await self.commit(self.member.to_commit(partitions))
        self.member.revoked(partitions)

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit offsets, if there are any."""
        if not offsets:
            return
        number = self.member.begin_commit(offsets)
        topic = self.member.config.topic
        wanted = {aiokafka.TopicPartition(topic, p): offset for p, offset in offsets.items()}
        error: str | None = None
        try:
            await asyncio.wait_for(self.consumer.commit(wanted), COMMIT_WAIT_S)
        except (KafkaError, TimeoutError) as raised:
            error = repr(raised)
        self.member.end_commit(number, offsets, error)

    async def run(self) -> None:
        """Read and commit until told to stop, then leave."""
        try:
            self.consumer.subscribe([self.member.config.topic], listener=self)
            await self.consumer.start()
            while not self.member.stops:
                for records in (await self.consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        self.member.row(record.partition, record.offset, record.value)
                self.member.flush()
                if self.member.is_due():
                    await self.commit(self.member.to_commit())
                # In a thread, so that heartbeats go on while we stall.
                await asyncio.to_thread(self.member.rest)
            await self.commit(self.member.to_commit())
            self.member.revoked(self.member.held)
            await self.consumer.stop()
        except KafkaError as error:
            self.member.failed(repr(error))
            return
        self.member.ended()


async def main() -> None:
    """Run a member; the library insists on being made inside a running loop."""
    await _Program().run()


if __name__ == "__main__":
    asyncio.run(main())
