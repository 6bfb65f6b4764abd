"""The reader: drives `reading.ReadMachine` over a client's channels. trio."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from mesh.client.assignment import Assignment, Chunk
from mesh.client.channel import Ticket
from mesh.client.client import Client, bare_nursery, now
from mesh.client.producing import RefreshMetadata
from mesh.client.reading import Ask, Broken, Effect, ReadMachine, Skipped
from mesh.client.settings import (
    CannotConnectError,
    ClientError,
    ConnectionLostError,
    ReaderSettings,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicPartition
from mesh.wire import WireError
from mesh.wire.schemas.fetch import FetchRequest, FetchResponse
from mesh.wire.schemas.list_offsets import ListOffsetsResponse
from storage.records import Record
from storage.types import Offset


class Reader:
    """Reads assigned partitions; made by `reader`. For one task."""

    def __init__(
        self,
        client: Client,
        assignments: Sequence[Assignment],
        settings: ReaderSettings,
        nursery: trio.Nursery,
        on_skip: Callable[[Skipped], None] | None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._nursery = nursery
        self._on_skip = on_skip
        self._machine = ReadMachine(
            assignments, settings, client.settings, client.cluster, client.chance
        )
        self._channel_number = client.new_channel_number()
        self._wake = trio.Event()
        self._news = trio.Event()
        self._place = TopicPartition("", -1)
        self._records: list[Record] = []
        """Of the chunk that is being iterated over, newest first."""
        self._error: KafkaError | ClientError | WireError | None = None

    def position(self, partition: TopicPartition) -> Offset | None:
        """Return the offset of the next record to be handed out; None before it is known."""
        return self._machine.position(partition)

    def high_watermark(self, partition: TopicPartition) -> Offset:
        """Return the end of what was committed at the last answer; -1 before one came."""
        return self._machine.high_watermark(partition)

    async def next_chunk(self) -> Chunk | None:
        """Return the records of one more batch; None once every partition reached its end.

        Being cancelled loses no records.

        Raises:
            KafkaError: a partition cannot go on; what was fetched before is handed out first.
            UnsupportedApiError: the broker does not serve Fetch or ListOffsets.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            chunk = self._machine.take()
            if chunk is not None:
                self._wake.set()
                await trio.lowlevel.cancel_shielded_checkpoint()
                return chunk
            if self._error is not None:
                raise self._error
            if self._machine.done:
                return None
            self._news = trio.Event()
            await self._news.wait()

    def ready_chunk(self) -> Chunk | None:
        """Return what `next_chunk` would return without waiting; None if it would wait or fail."""
        return self._machine.take()

    def __aiter__(self) -> Reader:
        """Iterate over (partition, record) until every partition has reached its end."""
        return self

    async def __anext__(self) -> tuple[TopicPartition, Record]:
        # Not a generator: one that is left early would have to be closed by its user.
        while not self._records:
            chunk = await self.next_chunk()
            if chunk is None:
                raise StopAsyncIteration
            self._place = chunk.partition
            self._records = chunk.records[::-1]
        return self._place, self._records.pop()

    async def run(self) -> None:
        """Carry out what the machine wants until cancelled."""
        while True:
            self._wake = trio.Event()
            for effect in self._machine.poll(now()):
                self._carry_out(effect)
            if self._machine.done:
                self._news.set()
            wake_at_ms = self._machine.wake_at_ms
            with trio.move_on_at(math.inf if wake_at_ms is None else wake_at_ms / 1000):
                await self._wake.wait()

    def close(self) -> None:
        """End the connections; a Fetch that waits at the broker goes with them."""
        self._client.close_channels(self._channel_number)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Ask():
                self._ask(effect)
            case RefreshMetadata(topics):
                self._nursery.start_soon(self._refresh, topics)
            case Skipped():
                if self._on_skip is not None:
                    self._on_skip(effect)
            case Broken(error):
                self._fail(error)

    def _ask(self, effect: Ask) -> None:
        address = self._client.cluster.brokers[effect.node]
        channel = self._client.channel(address, self._channel_number)
        wait_ms = self._client.settings.request_ms_max
        if isinstance(effect.request, FetchRequest):
            fetch = channel.submit(effect.request, FetchResponse)
            wait_ms += self._settings.fetch_wait_ms_max
            self._nursery.start_soon(self._await_answer, effect.request_id, fetch, wait_ms)
        else:
            look = channel.submit(effect.request, ListOffsetsResponse)
            self._nursery.start_soon(self._await_answer, effect.request_id, look, wait_ms)

    async def _await_answer(
        self,
        request_id: int,
        ticket: Ticket[FetchResponse] | Ticket[ListOffsetsResponse],
        wait_ms: int,
    ) -> None:
        try:
            response = await ticket.wait(wait_ms)
        except (CannotConnectError, ConnectionLostError):
            self._machine.lost(request_id, now())
        except (ClientError, WireError) as error:
            self._fail(error)
        else:
            self._machine.answered(request_id, response, now())
        self._wake.set()
        self._news.set()

    def _fail(self, error: KafkaError | ClientError | WireError) -> None:
        self._error = self._error or error
        self._news.set()

    async def _refresh(self, topics: tuple[str, ...]) -> None:
        try:
            await self._client.refresh(topics)
        except (ClientError, KafkaError):
            pass  # The partitions that needed it have their own bound; the machine asks again.
        self._wake.set()


@asynccontextmanager
async def reader(
    client: Client,
    assignments: Sequence[Assignment],
    settings: ReaderSettings | None = None,
    *,
    on_skip: Callable[[Skipped], None] | None = None,
) -> AsyncIterator[Reader]:
    """Read partitions from given starts to given ends, each in order.

    Args:
        client: connected.
        assignments: at most one for each partition.
        settings: bounds and time-outs.
        on_skip: told when reading goes on elsewhere because an offset is not in the log.

    Raises:
        UnknownTopicError: no such topic or partition.
        ValueError: a partition is assigned twice.
    """
    for topic, partition in (item.partition for item in assignments):
        count = await client.find_topic(topic)
        if not 0 <= partition < count:
            text = f"topic {topic} has {count} partitions, from 0 on; there is no {partition}"
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    async with bare_nursery() as nursery:
        made = Reader(client, assignments, settings or ReaderSettings(), nursery, on_skip)
        nursery.start_soon(made.run)
        try:
            yield made
        finally:
            made.close()
