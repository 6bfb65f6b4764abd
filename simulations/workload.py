"""Clients of whole nodes: idempotent producers that retry, and what they were told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from mesh.broker.broker import Broker
from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId
from mesh.node.connection import Connection
from mesh.wire import Message, encode_request, read_response, response_class
from mesh.wire.schemas.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from simulations.cluster import WALL_MS, Cluster, VirtualNode, bytes_of
from storage.records import Record, batches, build_batch, read_records

R = TypeVar("R", bound=Message)

TIMEOUT_MS = 3_000
BACKOFF_MS = 20
READ_AGAIN_MS = 10
PRODUCE, FETCH, METADATA = 9, 12, 12
"""Versions that name topics."""

GONE = {
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.KAFKA_STORAGE_ERROR,
}
"""After these a client looks for the leader again, and tries once more."""


class Wire:
    """One client's connections, one request at a time on each."""

    def __init__(self, cluster: Cluster) -> None:
        """Without any."""
        self.cluster = cluster
        self._open: dict[NodeId, tuple[VirtualNode, Connection]] = {}
        self._waiting: dict[NodeId, tuple[int, Callable[[bytes | None], None]]] = {}
        self._number = 0

    def ask(
        self,
        node_id: NodeId,
        message: Message,
        kind: type[R],
        version: int,
        then: Callable[[R | None], None],
    ) -> None:
        """Ask a node; `then` gets the answer, or None if there is none."""
        number = self._number = self._number + 1

        def answered(data: bytes | None) -> None:
            if self._waiting.get(node_id, (0, None))[0] != number:
                return
            del self._waiting[node_id]
            if data is None:
                self._open.pop(node_id, None)
            # A client hears of it a little later, as over a network.
            at_us = self.cluster.world.now_us + 200
            self.cluster.world.at(at_us, self._tell, then, (data, kind, version), None)

        virtual = self.cluster.nodes.get(node_id)
        known = self._open.get(node_id)
        self._waiting[node_id] = (number, answered)
        if virtual is None:  # It is gone for good.
            answered(None)
            return
        if known is None or known[0].node is None or known[1].closed:
            connection = virtual.connect_client(lambda data: self._heard(node_id, data))
            if connection is None:
                answered(None)
                return
            known = self._open[node_id] = (virtual, connection)
        frame = b"".join(bytes_of(part) for part in encode_request(message, version, number, "sim"))
        self.cluster.world.at(
            self.cluster.world.now_us + TIMEOUT_MS * 1000, self._late, node_id, number, None
        )
        self.cluster.world.at(
            self.cluster.world.now_us + 200, self._send, known[0], known[1], frame[4:]
        )

    def _send(self, virtual: VirtualNode, connection: Connection, frame: bytes) -> None:
        virtual.request(connection, frame)

    def _heard(self, node_id: NodeId, data: bytes | None) -> None:
        waiting = self._waiting.get(node_id)
        if waiting is not None and (data is None or _number_in(data) == waiting[0]):
            waiting[1](data)
        elif data is None:
            self._open.pop(node_id, None)

    def _late(self, node_id: NodeId, number: int, _: object) -> None:
        waiting = self._waiting.get(node_id)
        if waiting is not None and waiting[0] == number:
            self._open.pop(node_id, None)  # Whatever comes on it later is not for this request.
            waiting[1](None)

    def _tell(
        self,
        then: Callable[[Message | None], None],
        answer: tuple[bytes | None, type[Message], int],
        _: object,
    ) -> None:
        data, kind, version = answer
        if data is None:
            then(None)
            return
        then(read_response(response_class(kind.API_KEY), data[4:], version)[1])


def _number_in(frame: bytes) -> int:
    """Return the correlation id of a response with its length prefix."""
    return int.from_bytes(frame[4:8], "big")


@dataclass(slots=True, kw_only=True)
class Told:
    """What a producer was told of one value."""

    value: bytes
    offset: int


@dataclass(slots=True)
class Producer:
    """Writes numbered values into one partition, some at a time, each until acknowledged."""

    cluster: Cluster
    topic: str
    index: int
    producer_id: int
    pause_ms_max: int = 60
    records_max: int = 6
    """Of a batch."""
    acked: list[Told] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopped: bool = False
    requests: int = 0
    """Sent so far."""
    _next: int = 0
    _values: list[bytes] = field(default_factory=list)
    """What is being written."""
    _leader: NodeId = -1
    _rng: random.Random = field(init=False)
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        """Begin at once."""
        self._rng = self.cluster.world.rng(f"producer {self.producer_id}")
        self._wire = Wire(self.cluster)
        self._go_on()
        self._look()

    def _go_on(self) -> None:
        count = self._rng.randint(1, self.records_max)
        numbers = range(self._next, self._next + count)
        self._values = [f"{self.topic}-{self.index}-{number}".encode() for number in numbers]

    def _later(self, call: Callable[[], None], ms: int) -> None:
        world = self.cluster.world
        world.at(world.now_us + ms * 1000, lambda *_: call())

    def _look(self) -> None:
        """Ask somebody who leads."""
        if self.stopped:
            return
        nodes = sorted(self.cluster.nodes)
        node_id = nodes[(self._next + self.cluster.world.now_us // 1000) % len(nodes)]
        body = MetadataRequest(
            topics=[MetadataRequestTopic(name=self.topic)], allow_auto_topic_creation=False
        )
        self._wire.ask(node_id, body, MetadataResponse, METADATA, self._found)

    def _found(self, answer: MetadataResponse | None) -> None:
        leader = -1
        for topic in () if answer is None else answer.topics:
            for partition in topic.partitions:
                if partition.partition_index == self.index:
                    leader = partition.leader_id
        if leader < 0:
            self._later(self._look, BACKOFF_MS)
            return
        self._leader = leader
        self._write()

    def _write(self) -> None:
        if self.stopped:
            return
        batch = build_batch(
            [Record(0, WALL_MS, None, value) for value in self._values],
            producer_id=self.producer_id,
            producer_epoch=0,
            base_sequence=self._next,
        )
        data = PartitionProduceData(index=self.index, records=bytes(batch))
        body = ProduceRequest(
            acks=-1,
            timeout_ms=TIMEOUT_MS // 2,
            topic_data=[TopicProduceData(name=self.topic, partition_data=[data])],
        )
        self.requests += 1
        self._wire.ask(self._leader, body, ProduceResponse, PRODUCE, self._wrote)

    def _wrote(self, answer: ProduceResponse | None) -> None:
        if answer is None:
            self._later(self._look, BACKOFF_MS)
            return
        result = answer.responses[0].partition_responses[0]
        if result.error_code == 0:
            for offset, value in enumerate(self._values, result.base_offset):
                self.acked.append(Told(value=value, offset=offset))
            self._next += len(self._values)
            self._go_on()
            self._later(self._write, self._rng.randint(1, self.pause_ms_max))
        elif result.error_code in GONE:
            self._later(self._look, BACKOFF_MS)
        else:
            self.faults.append(f"{self._values[0]!r}: {ErrorCode(result.error_code).name}")
            self.stopped = True


@dataclass(slots=True)
class Reader:
    """Reads one partition from its beginning on, wherever its leader is."""

    cluster: Cluster
    topic: str
    index: int
    seen: dict[int, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    stopped: bool = False
    position: int = 0
    requests: int = 0
    """Sent so far."""
    again_ms: int = READ_AGAIN_MS
    """Between an answer and the next request."""
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        """Begin at once."""
        self._wire = Wire(self.cluster)
        self._look()

    def _later(self, call: Callable[[], None], ms: int) -> None:
        world = self.cluster.world
        world.at(world.now_us + ms * 1000, lambda *_: call())

    def _look(self) -> None:
        if self.stopped:
            return
        for node_id, virtual in sorted(self.cluster.nodes.items()):
            broker = None if virtual.node is None else virtual.node.broker
            if broker is not None and _leads(broker, self.topic, self.index):
                self._read(node_id)
                return
        self._later(self._look, BACKOFF_MS)

    def _read(self, node_id: NodeId) -> None:
        wanted = FetchPartition(
            partition=self.index, fetch_offset=self.position, partition_max_bytes=1 << 20
        )
        body = FetchRequest(
            max_wait_ms=200,
            min_bytes=1,
            max_bytes=1 << 20,
            topics=[FetchTopic(topic=self.topic, partitions=[wanted])],
        )
        self.requests += 1
        self._wire.ask(node_id, body, FetchResponse, FETCH, self._got)

    def _got(self, answer: FetchResponse | None) -> None:
        if answer is None or answer.responses[0].partitions[0].error_code:
            self._later(self._look, BACKOFF_MS)
            return
        data = answer.responses[0].partitions[0]
        assert isinstance(data.records, bytes | memoryview), "records of an answer"
        for batch in batches(data.records):
            for record in read_records(batch):
                if record.offset < self.position:
                    continue
                if record.offset != self.position:
                    self.faults.append(f"{record.offset} follows {self.position - 1}")
                self.seen[record.offset] = record.value or b""
                self.position = record.offset + 1
        self._later(self._look, self.again_ms)


def _leads(broker: Broker, topic: str, index: int) -> bool:
    partition = broker.partition(topic, index)
    return partition is not None and partition.leads


def log_of(virtual: VirtualNode, topic: str, index: int, end: int) -> dict[int, bytes]:
    """Return what a node's log of a partition holds below an offset, by offset."""
    assert virtual.node is not None, "it is up"
    partition = virtual.node.broker.partitions[topic, index]
    found: dict[int, bytes] = {}
    offset = partition.log.log_start_offset
    while offset < end:
        for piece in partition.log.read(offset, 1 << 20, end):
            for batch in batches(piece.read()):
                for record in read_records(batch):
                    found[record.offset] = record.value or b""
                    offset = record.offset + 1
    return found


@dataclass(slots=True)
class Committer:
    """A group that commits rising offsets of one partition and reads them back: no old one."""

    cluster: Cluster
    topic: str
    group: str = "g"
    acked: int = 0
    """Largest offset of which a commit was acknowledged."""
    reads: int = 0
    faults: list[str] = field(default_factory=list)
    stopped: bool = False
    _next: int = 1
    _turn: int = 0
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        """Begin at once."""
        self._wire = Wire(self.cluster)
        self._look()

    def _later(self, call: Callable[[], None], ms: int) -> None:
        world = self.cluster.world
        world.at(world.now_us + ms * 1000, lambda *_: call())

    def _look(self) -> None:
        """Ask somebody for the coordinator."""
        if self.stopped:
            return
        self._turn += 1
        nodes = sorted(self.cluster.nodes)
        find = FindCoordinatorRequest(key_type=0, coordinator_keys=[self.group])
        node_id = nodes[self._turn % len(nodes)]
        self._wire.ask(node_id, find, FindCoordinatorResponse, 4, self._found)

    def _found(self, answer: FindCoordinatorResponse | None) -> None:
        if answer is None or answer.coordinators[0].error_code:
            self._later(self._look, 2 * BACKOFF_MS)
            return
        node_id = answer.coordinators[0].node_id
        if node_id not in self.cluster.nodes:
            self._later(self._look, 2 * BACKOFF_MS)
        elif self._turn % 3:
            self._commit(node_id)
        else:
            self._read(node_id)

    def _commit(self, node_id: NodeId) -> None:
        offset = self._next
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        topics = [OffsetCommitRequestTopic(name=self.topic, partitions=[partition])]
        body = OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=topics,
        )

        def told(answer: OffsetCommitResponse | None) -> None:
            if answer is not None and not answer.topics[0].partitions[0].error_code:
                self.acked = max(self.acked, offset)
                self._next = offset + 1
            self._later(self._look, BACKOFF_MS)

        self._wire.ask(node_id, body, OffsetCommitResponse, 8, told)

    def _read(self, node_id: NodeId) -> None:
        least = self.acked
        topics = [OffsetFetchRequestTopics(name=self.topic, partition_indexes=[0])]
        group = OffsetFetchRequestGroup(group_id=self.group, topics=topics)

        def told(answer: OffsetFetchResponse | None) -> None:
            if answer is not None and not answer.groups[0].error_code:
                found = answer.groups[0].topics[0].partitions[0]
                if not found.error_code:
                    self.reads += 1
                    if found.committed_offset < least:
                        self.faults.append(
                            f"{found.committed_offset} was read after {least} was committed"
                        )
            self._later(self._look, BACKOFF_MS)

        self._wire.ask(node_id, OffsetFetchRequest(groups=[group]), OffsetFetchResponse, 8, told)
