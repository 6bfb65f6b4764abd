"""The producer: drives `producing.ProduceMachine` over a client's channels. trio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from mesh.client.batch import Batch, Headers, size_of
from mesh.client.channel import Ticket
from mesh.client.client import Client, bare_nursery, now
from mesh.client.codes import RETRIABLE, code_of
from mesh.client.producing import (
    Effect,
    Finished,
    GetProducerId,
    ProduceMachine,
    RefreshMetadata,
    Send,
)
from mesh.client.settings import (
    BufferTooSmallError,
    CannotConnectError,
    ClientError,
    ConnectionLostError,
    DeliveryError,
    ProducerSettings,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicPartition
from mesh.wire import WireError
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from mesh.wire.schemas.produce import ProduceResponse
from storage.types import Offset


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a record is now."""

    partition: TopicPartition
    offset: Offset
    """-1 with acks=0: nobody told."""
    log_append_time_ms: int
    """-1 where the record's own time counts."""


class Receipt:
    """Stands for one record until it has its place."""

    __slots__ = ("_batch", "_index", "_producer")

    def __init__(self, producer: Producer, batch: Batch, index: int) -> None:
        self._producer = producer
        self._batch = batch
        self._index = index

    async def wait(self) -> Delivered:
        """Return where the record is, once that is certain.

        Raises:
            DeliveryError: it was not, or perhaps not, written.
        """
        batch, index = await self._producer.settled(self._batch, self._index)
        if batch.error is not None:
            raise batch.error
        offset = batch.base_offset + index if batch.base_offset >= 0 else -1
        return Delivered(batch.partition, offset, batch.log_append_time_ms)


class Producer:
    """Writes records; made by `producer`. Safe to use from several tasks."""

    def __init__(self, client: Client, settings: ProducerSettings, nursery: trio.Nursery) -> None:
        self.settings = settings
        self.delivered_count = 0
        """Records with a good end."""
        self.failed_count = 0
        self._client = client
        self._nursery = nursery
        self._machine = ProduceMachine(settings, client.settings, client.cluster, client.chance)
        self._channel_number = client.new_channel_number()
        self._wake = trio.Event()
        self._room = trio.Event()
        self._waiting: dict[Batch, trio.Event] = {}
        self._failure: DeliveryError | None = None
        self._refused: KafkaError | None = None

    @property
    def buffered_bytes(self) -> int:
        """What waits for its outcome."""
        return self._machine.buffered_bytes

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Take a record in, waiting while the buffer is full; return its receipt.

        A receipt need not be waited for: `flush` raises the first failure that there was.

        Args:
            topic: made by the broker if it is not there and the broker does so.
            value: None is a tombstone in a compacted topic.
            key: records of one key go to one partition, the same as with Java's producer.
            headers: name and content, in order.
            partition: overrides what the key would choose.
            timestamp_ms: milliseconds since 1970; the present by default.

        Raises:
            BufferTooSmallError: the record alone is larger than the buffer.
            UnknownTopicError: no such topic or partition.
            KafkaError: the cluster refuses this producer.
        """
        size = size_of(key, value, headers)
        if size > self.settings.buffer_bytes_max:
            raise BufferTooSmallError(
                f"a record of {size} bytes is larger than the buffer, "
                f"{self.settings.buffer_bytes_max} bytes"
            )
        if not self._client.cluster.partition_count(topic):
            await self._client.find_topic(topic, create=True)
        while self._machine.buffered_bytes + size > self.settings.buffer_bytes_max:
            if self._room.is_set():  # Else others wait for it already, and must not be left behind.
                self._room = trio.Event()
            self._wake.set()
            await self._room.wait()
        if self._refused is not None:
            raise self._refused
        batch, index = self._machine.append(
            topic,
            key,
            value,
            now=now(),
            partition=partition,
            headers=headers,
            timestamp_ms=timestamp_ms,
        )
        if index == 0:
            self._wake.set()
            # Once per batch: a checkpoint for each record would cost more than the record.
            await trio.lowlevel.checkpoint()
        return Receipt(self, batch, index)

    async def flush(self) -> None:
        """Send all that was taken in so far and wait for its outcome.

        Raises:
            DeliveryError: the first failure since the last flush.
        """
        unsettled = self._machine.flush()
        self._wake.set()
        for batch in unsettled:
            part: Batch | None = batch
            while part is not None:
                await self._settle(part)
                part = part.rest
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def settled(self, batch: Batch, index: int) -> tuple[Batch, int]:
        """Wait until the record at this index of the batch has its outcome; return its place."""
        await self._settle(batch)
        while index >= batch.count and batch.rest is not None:
            index -= batch.count
            batch = batch.rest
            await self._settle(batch)
        return batch, index

    async def _settle(self, batch: Batch) -> None:
        if batch.done:
            await trio.lowlevel.checkpoint()
        else:
            await self._waiting.setdefault(batch, trio.Event()).wait()

    async def run(self) -> None:
        """Carry out what the machine wants until cancelled."""
        while True:
            self._wake = trio.Event()
            for effect in self._machine.poll(now()):
                self._carry_out(effect)
            refresh_at_ms = self._client.metadata_at_ms + self._client.settings.metadata_ms_max
            wake_at_ms = min(self._machine.wake_at_ms or refresh_at_ms, refresh_at_ms)
            with trio.move_on_at(wake_at_ms / 1000):
                await self._wake.wait()
            if now().monotonic_ms >= refresh_at_ms:
                self._client.metadata_at_ms = now().monotonic_ms
                self._nursery.start_soon(self._refresh, tuple(self._client.cluster.topics))

    def abort(self, why: str) -> None:
        """Give up all that has no outcome."""
        self._machine.fail_all(ErrorCode.OPERATION_NOT_ATTEMPTED, why)
        self._finish_all()
        self._client.close_channels(self._channel_number)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect)
            case Finished(batch):
                self._finish(batch)
            case RefreshMetadata(topics):
                self._nursery.start_soon(self._refresh, topics)
            case GetProducerId():
                self._nursery.start_soon(self._identify)

    def _send(self, effect: Send) -> None:
        # Submitted here and now: what a later task did first would overtake.
        address = self._client.cluster.brokers[effect.node]
        ticket = self._client.channel(address, self._channel_number).submit(
            effect.request, ProduceResponse, expects_answer=self.settings.acks != 0
        )
        self._nursery.start_soon(self._await_answer, effect.request_id, ticket)

    async def _await_answer(self, request_id: int, ticket: Ticket[ProduceResponse]) -> None:
        try:
            timeout_ms = self._client.settings.request_ms_max
            if self.settings.acks == 0:
                await ticket.written(timeout_ms)
                self._machine.sent(request_id)
            else:
                self._machine.answered(request_id, await ticket.wait(timeout_ms), now())
        except CannotConnectError:
            self._machine.lost(request_id, now(), maybe_sent=False)
        except ConnectionLostError:
            self._machine.lost(request_id, now(), maybe_sent=True)
        except (ClientError, WireError) as error:
            self._refuse(ErrorCode.UNSUPPORTED_VERSION, str(error))
        self._wake.set()

    def _finish(self, batch: Batch) -> None:
        if batch.error is None:
            self.delivered_count += batch.count
        else:
            self.failed_count += batch.count
            self._failure = self._failure or batch.error
        event = self._waiting.pop(batch, None)
        if event is not None:
            event.set()
        self._room.set()

    def _finish_all(self) -> None:
        for effect in self._machine.poll(now()):
            if isinstance(effect, Finished):
                self._finish(effect.batch)

    def _refuse(self, code: ErrorCode, why: str) -> None:
        self._refused = KafkaError(code, why)
        self._machine.fail_all(code, why)

    async def _refresh(self, topics: tuple[str, ...]) -> None:
        try:
            await self._client.refresh(topics)
        except (ClientError, KafkaError):
            pass  # The batches that needed it have their own deadline; the machine asks again.
        self._wake.set()

    async def _identify(self) -> None:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        try:
            answer = await self._client.request(request, InitProducerIdResponse)
        except (CannotConnectError, ConnectionLostError):
            self._machine.not_identified(now())
        except ClientError as error:
            self._refuse(ErrorCode.UNSUPPORTED_VERSION, str(error))
        else:
            code = code_of(answer.error_code)
            if code is ErrorCode.NONE:
                self._machine.identified(answer.producer_id, answer.producer_epoch)
            elif code in RETRIABLE:
                self._machine.not_identified(now())
            else:
                self._refuse(code, "the cluster gives no producer id")
        self._wake.set()


@asynccontextmanager
async def producer(
    client: Client, settings: ProducerSettings | None = None
) -> AsyncIterator[Producer]:
    """Run a producer; leaving the block flushes it.

    Raises:
        DeliveryError: on leaving, the first failure since the last `flush`.
    """
    async with bare_nursery() as nursery:
        made = Producer(client, settings or ProducerSettings(), nursery)
        nursery.start_soon(made.run)
        try:
            yield made
            await made.flush()
        finally:
            made.abort("the producer was closed")
