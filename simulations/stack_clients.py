"""Clients of nodes that run their whole stack: Kafka's frames over simulated streams, as tasks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.runtime.ports import Outgoing, Stream
from mesh.wire import Message, encode_request, read_response, response_class
from mesh.wire.schemas.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from simulations.cluster import bytes_of
from simulations.runtime import WALL_MS, SimulatedRuntime
from simulations.workload import BACKOFF_MS, FETCH, GONE, METADATA, PRODUCE, TIMEOUT_MS, Told
from storage.records import Record, batches, build_batch, read_records

R = TypeVar("R", bound=Message)

INIT_PRODUCER_ID = 4
FETCH_WAIT_MS = 200
READ_BYTES = 64 << 10


class NoAnswerError(Exception):
    """A connection did not come about, broke, or stayed silent."""


class StackClient:
    """Connections of one client, opened when they are needed; one request at a time."""

    def __init__(self, runtime: SimulatedRuntime) -> None:
        """Of a machine."""
        self.runtime = runtime
        self._streams: dict[Address, Stream] = {}
        self._number = 0

    async def ask(self, address: Address, message: Message, kind: type[R], version: int) -> R:
        """Ask a node.

        Raises:
            NoAnswerError: nothing came within the time of a client.
        """
        self._number += 1
        try:
            with trio.fail_after(TIMEOUT_MS / 1000):
                stream = self._streams.get(address)
                if stream is None:
                    stream = self._streams[address] = await self.runtime.connect(*address)
                frame = encode_request(message, version, self._number, "stack")
                outgoing: list[Outgoing] = [bytes_of(part) for part in frame]
                await stream.send_rest(outgoing)
                data = await _frame(stream)
        except (OSError, trio.TooSlowError) as error:
            if (broken := self._streams.pop(address, None)) is not None:
                broken.close()
            raise NoAnswerError(str(error)) from error
        number, answer = read_response(response_class(kind.API_KEY), data, version)
        assert number == self._number, "answers come in order"
        assert isinstance(answer, kind), "as it was asked for"
        return answer

    def close(self) -> None:
        """End its connections."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


async def _frame(stream: Stream) -> bytes:
    """Receive one answer, without its length. Raises OSError."""
    data = bytearray()
    room = memoryview(bytearray(READ_BYTES))
    size = 4
    while len(data) < size:
        await stream.readable()
        try:
            count = stream.receive_into(room[: size - len(data)])
        except BlockingIOError:
            continue
        if count == 0:
            raise OSError("the node closed the connection")
        data += room[:count]
        if len(data) == 4:
            size = 4 + int.from_bytes(data, "big")
    return bytes(data[4:])


@dataclass(slots=True)
class Directory:
    """Where clients begin: nodes that may answer."""

    addresses: Mapping[int, Address]
    rng: random.Random

    def any(self) -> Address:
        """Return one of them."""
        return self.rng.choice(sorted(self.addresses.values()))

    async def leader(self, client: StackClient, topic: str, index: int) -> Address | None:
        """Ask somebody who leads a partition; None if nobody knows."""
        body = MetadataRequest(
            topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False
        )
        try:
            answer = await client.ask(self.any(), body, MetadataResponse, METADATA)
        except NoAnswerError:
            return None
        for found in answer.topics:
            for partition in found.partitions:
                if partition.partition_index == index and partition.leader_id >= 0:
                    for broker in answer.brokers:
                        if broker.node_id == partition.leader_id:
                            return Address(broker.host, broker.port)
        return None


async def _pause(ms: int) -> None:
    await trio.sleep(ms / 1000)


@dataclass(slots=True)
class StackProducer:
    """Writes numbered values into one partition, idempotent, each until it is acknowledged."""

    client: StackClient
    directory: Directory
    topic: str
    index: int
    rng: random.Random
    pause_ms_max: int = 150
    records_max: int = 6
    acked: list[Told] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopped: bool = False

    async def run(self) -> None:
        """Write until it is stopped."""
        producer_id = await self._introduce()
        first = 0
        while not self.stopped and not self.faults:
            numbers = range(first, first + self.rng.randint(1, self.records_max))
            values = [f"{self.topic}-{self.index}-{number}".encode() for number in numbers]
            if not await self._write(values, producer_id, first):
                break
            first += len(values)
            await _pause(self.rng.randint(1, self.pause_ms_max))
        self.client.close()

    async def _introduce(self) -> int:
        body = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
        while True:
            try:
                answer = await self.client.ask(
                    self.directory.any(), body, InitProducerIdResponse, INIT_PRODUCER_ID
                )
            except NoAnswerError:
                continue
            if not answer.error_code:
                return answer.producer_id
            await _pause(BACKOFF_MS)

    async def _write(self, values: list[bytes], producer_id: int, first: int) -> bool:
        """Write a batch; False if it was stopped, or refused for good, before that was done."""
        batch = build_batch(
            [Record(0, WALL_MS, None, value) for value in values],
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=first,
        )
        data = PartitionProduceData(index=self.index, records=bytes(batch))
        body = ProduceRequest(
            acks=-1,
            timeout_ms=TIMEOUT_MS // 2,
            topic_data=[TopicProduceData(name=self.topic, partition_data=[data])],
        )
        leader: Address | None = None
        while not self.stopped:
            leader = leader or await self.directory.leader(self.client, self.topic, self.index)
            if leader is None:
                await _pause(BACKOFF_MS)
                continue
            try:
                answer = await self.client.ask(leader, body, ProduceResponse, PRODUCE)
            except NoAnswerError:
                leader = None
                continue
            result = answer.responses[0].partition_responses[0]
            if result.error_code == 0:
                for offset, value in enumerate(values, result.base_offset):
                    self.acked.append(Told(value=value, offset=offset))
                return True
            if result.error_code not in GONE:
                self.faults.append(f"{values[0]!r}: {ErrorCode(result.error_code).name}")
                return False
            leader = None
            await _pause(BACKOFF_MS)
        return False


@dataclass(slots=True)
class StackReader:
    """Reads one partition from its beginning on, wherever its leader is."""

    client: StackClient
    directory: Directory
    topic: str
    index: int
    seen: dict[int, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    high_watermark: int = -1
    """As the last answer told it."""
    stopped: bool = False
    position: int = 0

    def is_at_end(self) -> bool:
        """Whether it has all that is committed, as far as it was told."""
        return 0 <= self.high_watermark <= self.position

    async def run(self) -> None:
        """Read until it is stopped."""
        leader: Address | None = None
        while not self.stopped:
            leader = leader or await self.directory.leader(self.client, self.topic, self.index)
            if leader is None or not await self._read(leader):
                leader = None
                await _pause(BACKOFF_MS)
        self.client.close()

    async def _read(self, leader: Address) -> bool:
        wanted = FetchPartition(
            partition=self.index, fetch_offset=self.position, partition_max_bytes=1 << 20
        )
        body = FetchRequest(
            max_wait_ms=FETCH_WAIT_MS,
            min_bytes=1,
            max_bytes=1 << 20,
            topics=[FetchTopic(topic=self.topic, partitions=[wanted])],
        )
        try:
            answer = await self.client.ask(leader, body, FetchResponse, FETCH)
        except NoAnswerError:
            return False
        data = answer.responses[0].partitions[0]
        if data.error_code:
            if data.error_code not in GONE:
                self.faults.append(f"at {self.position}: {ErrorCode(data.error_code).name}")
            return False
        self.high_watermark = data.high_watermark
        assert isinstance(data.records, bytes | memoryview), "records of an answer"
        for batch in batches(data.records):
            for record in read_records(batch):
                if record.offset < self.position:
                    continue
                if record.offset != self.position:
                    self.faults.append(f"{record.offset} follows {self.position - 1}")
                self.seen[record.offset] = record.value or b""
                self.position = record.offset + 1
        return True
