"""One node without a driver: the test is the world. Frames in, frames out, on a simulated disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from mesh.broker.handlers import HANDLERS
from mesh.model.types import Now
from mesh.node.compactor import Compact
from mesh.node.connection import Connection
from mesh.node.core import Node
from mesh.node.effects import Effect, HangUp, Send, Sync, Work, WriteJournal
from mesh.node.founding import identify
from mesh.node.options import Address, Durability, NodeOptions
from mesh.node.start import open_node
from mesh.node.store import Store, make_directories
from mesh.wire import Message, encode_request, read_response, response_class
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from mesh.wire.schemas.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from simulations.disk import SimulatedDisk
from storage.disk import FileSlice
from storage.records import Record, batches, build_batch, read_records

R = TypeVar("R", bound=Message)

DIRECTORY = "/n1/data"
BOOT_ID = bytes(range(16))
WALL_MS = 1_700_000_000_000


class Peer:
    """A node and all that its driver would keep."""

    def __init__(
        self,
        *,
        disk: SimulatedDisk | None = None,
        durability: Durability = "disk",
        config: dict[str, str] | None = None,
        seed: int = 0,
        boot_id: bytes = BOOT_ID,
    ) -> None:
        self.disk = disk or SimulatedDisk(seed)
        self.now = Now(1_000, WALL_MS)
        self.hung_up: list[tuple[Connection, str]] = []
        self.rounds: list[Sync] = []
        """Sync rounds that were begun and not carried out yet."""
        self.journal_rounds: list[WriteJournal] = []
        """Rounds of the promise journal, likewise."""
        self._out: dict[Connection, bytes] = {}
        self._asked: dict[Connection, list[tuple[int, int]]] = {}
        options = NodeOptions(
            data_directory=DIRECTORY, durability=durability, config={**(config or {})}
        )
        rng = random.Random(seed)
        make_directories(self.disk, DIRECTORY)
        meta = identify(self.disk, DIRECTORY, rng.randbytes)
        self.store = Store(self.disk, DIRECTORY)
        self.node: Node = open_node(
            self.store, meta, options, Address("127.0.0.1", 9092), rng, self.now, boot_id
        )
        self.carry_out(self.node.begin(self.now))
        self.sync()

    def connect(self) -> Connection:
        connection = self.node.connected("127.0.0.1:5")
        self._out[connection] = b""
        self._asked[connection] = []
        return connection

    def send(self, connection: Connection, *messages: Message, version: int | None = None) -> None:
        """Send requests in one go; answers are collected by `answers`."""
        frames = []
        for message in messages:
            used = HANDLERS[message.API_KEY].versions[1] if version is None else version
            number = len(self._asked[connection]) + 1
            if not (isinstance(message, ProduceRequest) and message.acks == 0):
                self._asked[connection].append((message.API_KEY, used))
            frame = b"".join(_bytes(part) for part in encode_request(message, used, number, "t"))
            frames.append(memoryview(bytearray(frame))[4:])
        self.carry_out(self.node.frames(connection, frames, self.now))

    def send_bytes(self, connection: Connection, frame: bytes) -> None:
        self.carry_out(self.node.frames(connection, [memoryview(bytearray(frame))], self.now))

    def answers(self, connection: Connection) -> list[Message]:
        """Take the answers that have left since the last call, in order."""
        found: list[Message] = []
        data, asked = self._out[connection], self._asked[connection]
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            key, version = asked.pop(0)
            found.append(read_response(response_class(key), data[4:end], version)[1])
            data = data[end:]
        self._out[connection] = b""
        return found

    def ask(self, message: Message, kind: type[R], *, version: int | None = None) -> R:
        """Send on a connection of its own, bring everything to the disk, return the answer."""
        connection = self.connect()
        self.send(connection, message, version=version)
        self.sync()
        (answer,) = self.answers(connection)
        assert isinstance(answer, kind)
        return answer

    def sync(self) -> None:
        """Carry out rounds of logs and journal until none is left."""
        while self.rounds or self.journal_rounds:
            if self.rounds:
                self.log_once()
            self.journal_once()

    def sync_once(self) -> None:
        """Carry out a round of the logs, and what the journal has to say of it."""
        self.log_once()
        self.journal_once()

    def log_once(self) -> None:
        sync = self.rounds.pop(0)
        for _, ticket in sync.round:
            ticket.run()
        if sync.journal is not None:
            sync.journal.run()
        if sync.after is not None:
            sync.after()
        self.carry_out(self.node.synced(sync, self.now))

    def journal_once(self) -> None:
        while self.journal_rounds:
            ticket = self.journal_rounds.pop(0).ticket
            ticket.run()
            self.carry_out(self.node.journaled(ticket, self.now))

    def pass_time(self, ms: int) -> None:
        """Let time pass, with every deadline on the way."""
        end_ms = self.now.monotonic_ms + ms
        while (at_ms := self.node.wake_at_ms) <= end_ms:
            self._set_time(max(at_ms, self.now.monotonic_ms))
            self.carry_out(self.node.woken(self.now))
        self._set_time(end_ms)

    def _set_time(self, monotonic_ms: int) -> None:
        passed = monotonic_ms - self.now.monotonic_ms
        self.now = Now(monotonic_ms, self.now.wall_ms + passed)

    def carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(connection, parts):
                    self._out[connection] += b"".join(_bytes(part) for part in parts)
                case Sync():
                    self.rounds.append(effect)
                case WriteJournal():
                    self.journal_rounds.append(effect)
                case HangUp(connection, cause):
                    self.hung_up.append((connection, cause))
                case Work():
                    effect.run()
                    self.carry_out(self.node.worked(effect, self.now))
                case Compact():
                    effect.run.step()
                    self.carry_out(self.node.compacted(effect, self.now))

    # What most tests say

    def create(self, topic: str, partitions: int = 1) -> None:
        request = CreateTopicsRequest(
            topics=[CreatableTopic(name=topic, num_partitions=partitions, replication_factor=-1)],
            timeout_ms=1_000,
        )
        answer = self.ask(request, CreateTopicsResponse)
        assert [result.error_code for result in answer.topics] == [0]
        self.pass_time(0)  # Whoever steers partitions has a look at the new ones.

    def fetch_values(self, topic: str, partition: int = 0, offset: int = 0) -> list[bytes]:
        """Values of all committed records, read as a consumer does."""
        log = self.node.broker.partitions[topic, partition]
        values: list[bytes] = []
        while offset < log.high_watermark:
            request = a_fetch(topic, partition, offset=offset, max_wait_ms=0)
            answer = self.ask(request, FetchResponse, version=12)
            found = records_of(answer.responses[0].partitions[0].records)
            assert found, f"nothing at {offset}, though {log.high_watermark} is committed"
            values += [record.value or b"" for record in found if record.offset >= offset]
            offset = found[-1].offset + 1
        return values

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Where a new consumer would begin with auto.offset.reset=latest."""
        wanted = ListOffsetsPartition(partition_index=partition, timestamp=-1)
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic, partitions=[wanted])])
        answer = self.ask(request, ListOffsetsResponse)
        return answer.topics[0].partitions[0].offset


def _bytes(part: object) -> bytes:
    if isinstance(part, FileSlice):
        return part.read()
    assert isinstance(part, bytes | bytearray | memoryview)
    return bytes(part)


def records_of(data: object) -> list[Record]:
    assert isinstance(data, bytes | memoryview)
    return [record for batch in batches(data) for record in read_records(batch)]


def a_batch(
    *values: bytes, producer_id: int = -1, producer_epoch: int = -1, base_sequence: int = -1
) -> bytes:
    """A batch as a producer sends it."""
    return bytes(
        build_batch(
            [Record(0, WALL_MS, None, value) for value in values],
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
        )
    )


def a_produce(
    topic: str,
    *values: bytes,
    partition: int = 0,
    acks: int = -1,
    batch: bytes | None = None,
    timeout_ms: int = 5_000,
) -> ProduceRequest:
    data = PartitionProduceData(
        index=partition, records=a_batch(*values) if batch is None else batch
    )
    topic_data = TopicProduceData(name=topic, partition_data=[data])
    return ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=[topic_data])


def a_fetch(
    topic: str, partition: int = 0, *, offset: int = 0, max_wait_ms: int = 500, min_bytes: int = 1
) -> FetchRequest:
    wanted = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=1 << 20,
        topics=[FetchTopic(topic=topic, partitions=[wanted])],
    )
