"""One conversation of a case with one broker: what was asked, and what came back."""

from __future__ import annotations

import enum
import itertools
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.wire import Message, encode_request, read_response, response_class
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from mesh.wire.schemas.list_groups import ListGroupsRequest, ListGroupsResponse
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from tests.interop.node import ASKED_NODE_ID, OTHER_NODE_IDS

ANSWER_WAIT_S = 20
CLIENT_ID = "differential"
WANT_PRODUCER_ID = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)


class Outcome(enum.Enum):
    """What may happen in place of an answer."""

    CLOSED = "connection closed"
    SILENT = "no answer"


Answer: TypeAlias = Message | Outcome


class SetupError(Exception):
    """A broker did not do what a case needs before it can ask its question."""


class Connection:
    """One blocking connection to a broker."""

    def __init__(self, port: int) -> None:
        """Connect to a port of 127.0.0.1."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_WAIT_S)
        self._correlation_ids = itertools.count(1)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are; a broker that has hung up is noticed when it is read."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # What was answered before the end is still there to read.

    def send(self, request: Message, version: int) -> None:
        """Send one request and do not wait."""
        parts = encode_request(request, version, next(self._correlation_ids), CLIENT_ID)
        self.send_bytes(b"".join(bytes(part) for part in parts))  # type: ignore[arg-type]

    def read_frame(self) -> bytes | None:
        """Return the next frame without its length, or None if the broker hung up.

        Raises:
            SetupError: neither happened within ANSWER_WAIT_S.
        """
        try:
            head = self._read(4)
            return None if head is None else self._read(struct.unpack("!i", head)[0])
        except TimeoutError:
            raise SetupError(f"neither an answer nor an end within {ANSWER_WAIT_S} s") from None

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._socket.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not part:
                return None
            data += part
        return bytes(data)

    def ask(self, request: Message, version: int, *, wait_s: float | None = None) -> Answer:
        """Send one request and return what comes back; SILENT if nothing does within wait_s."""
        self.send(request, version)
        if wait_s is not None and not select.select([self._socket], [], [], wait_s)[0]:
            return Outcome.SILENT
        frame = self.read_frame()
        if frame is None:
            return Outcome.CLOSED
        return read_response(response_class(request.API_KEY), frame, version)[1]

    def tell(self, request: Message, version: int) -> Outcome:
        """Send a request that should get no answer, and say whether the connection lives on."""
        self.send(request, version)
        answer = self.ask(ApiVersionsRequest(), 0)
        if answer is Outcome.CLOSED:
            return Outcome.CLOSED
        assert isinstance(answer, ApiVersionsResponse), answer
        return Outcome.SILENT


def warm_up(port: int) -> None:
    """Return once a broker gives producer ids: Kafka's first block takes a moment (error 14)."""
    connection = Connection(port)
    deadline = time.monotonic() + ANSWER_WAIT_S
    while time.monotonic() < deadline:
        answer = connection.ask(WANT_PRODUCER_ID, 1)
        if isinstance(answer, InitProducerIdResponse) and answer.error_code == 0:
            connection.close()
            return
    raise SetupError("no producer ids")


@dataclass(slots=True)
class Talk:
    """What a case is given: a broker, the version to use, and a transcript that fills."""

    port: int
    case: str
    version: int
    steps: list[tuple[str, Answer]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Real topic name → the name that transcripts of both brokers share."""
    _connection: Connection | None = None
    _others: list[Connection] = field(default_factory=list)
    _settled: int = 0

    @property
    def connection(self) -> Connection:
        """The connection in use; a new one after the broker hung up."""
        if self._connection is None:
            self._connection = Connection(self.port)
        return self._connection

    def connect(self) -> Connection:
        """Return one more connection, for a client of its own; it lasts until the case ends."""
        self._others.append(Connection(self.port))
        return self._others[-1]

    def end(self) -> None:
        """Hang up on all connections."""
        self.close()
        for connection in self._others:
            connection.close()

    def close(self) -> None:
        """Hang up; the next question opens a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, request: Message, *, version: int | None = None, label: str = "") -> Answer:
        """Ask and record; the version is the case's unless another is given."""
        used = self.version if version is None else version
        return self._record(request, label, self.connection.ask(request, used))

    def ask_what_may_hang(self, request: Message, *, wait_s: float = 1.0) -> None:
        """Ask what a broker may leave without an answer and without an end, then hang up."""
        self._record(request, "", self.connection.ask(request, self.version, wait_s=wait_s))
        self.close()

    def tell(self, request: Message, *, label: str = "") -> Outcome:
        """Ask what has no answer (Produce with acks=0) and record that, or the hang-up."""
        outcome = self.connection.tell(request, self.version)
        self._record(request, label, outcome)
        return outcome

    def ask_bytes(
        self, frame: bytes, answer: type[Message] = ApiVersionsResponse, answer_version: int = 0
    ) -> Answer:
        """Send a frame as it is (its length is put before it) and record what comes back."""
        self.connection.send_bytes(struct.pack("!i", len(frame)) + frame)
        back = self.connection.read_frame()
        found = Outcome.CLOSED if back is None else read_response(answer, back, answer_version)[1]
        return self._record(None, "bytes", found)

    def ask_all(self, requests: Sequence[Message], *, label: str = "") -> None:
        """Send several requests at once and record their answers in order."""
        for request in requests:
            self.connection.send(request, self.version)
        for request in requests:
            frame = self.connection.read_frame()
            if frame is None:
                self._record(request, label, Outcome.CLOSED)
                return
            answer = read_response(response_class(request.API_KEY), frame, self.version)[1]
            self._record(request, label, answer)

    def hear(self, answer: Answer, *, label: str = "") -> None:
        """Record an answer that the case asked for and pruned itself."""
        self._record(None, label, answer)

    def _record(self, request: Message | None, label: str, answer: Answer) -> Answer:
        what = label or (type(request).__name__.removesuffix("Request") if request else "")
        self.steps.append((what, answer))
        if answer is Outcome.CLOSED:
            self.close()
        return answer

    def name(self, word: str = "missing") -> str:
        """Return a topic name of this case and version that nobody has created."""
        name = f"{self.case}-v{self.version}-{word}"
        self.names[name] = word
        return name

    def topic(
        self, word: str = "topic", *, partitions: int = 1, configs: dict[str, str] | None = None
    ) -> str:
        """Create a topic and return its name once its leaders serve; nothing is recorded.

        It lies where it is asked for, or one connection could not ask for all of it.
        """
        name = self.name(word)
        plain = [CreatableTopicConfig(name=k, value=v) for k, v in (configs or {}).items()]
        wanted = CreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            assignments=[
                CreatableReplicaAssignment(partition_index=index, broker_ids=[ASKED_NODE_ID])
                for index in range(partitions)
            ],
            configs=plain,
        )
        answer = self.connection.ask(CreateTopicsRequest(topics=[wanted], timeout_ms=15_000), 5)
        if not isinstance(answer, CreateTopicsResponse) or answer.topics[0].error_code != 0:
            raise SetupError(f"cannot create {name}: {answer}")
        self.wait_for_leaders(name, partitions)
        return name

    def group(self, word: str = "group") -> str:
        """Return the id of a group of this case that is not there, once it has a coordinator."""
        name = self.coordinated_here(word)
        deadline = time.monotonic() + ANSWER_WAIT_S
        while time.monotonic() < deadline:
            # Kafka names a coordinator before it has loaded what it coordinates.
            fetched = self.connection.ask(OffsetFetchRequest(group_id=name, topics=None), 5)
            if isinstance(fetched, OffsetFetchResponse) and fetched.error_code == 0:
                return name
        raise SetupError(f"{name} has no coordinator")

    def coordinated_here(self, word: str) -> str:
        """Return a name whose coordinator is the broker that is asked, once there is one."""
        deadline = time.monotonic() + ANSWER_WAIT_S
        for number in itertools.count():
            name = f"{self.case}-v{self.version}-{word}" + (f"-{number}" if number else "")
            answer: Answer = Outcome.SILENT
            while not isinstance(answer, FindCoordinatorResponse) or answer.error_code:
                if time.monotonic() > deadline:
                    raise SetupError(f"{name} has no coordinator")
                answer = self.connection.ask(FindCoordinatorRequest(key=name), 1)
            if answer.node_id == ASKED_NODE_ID:
                self.names[name] = word
                return name
        raise AssertionError("there is no end of numbers")

    def wait_for_listing(self, group: str) -> None:
        """Return once a group is listed: in Kafka that may come a little after its answer."""
        deadline = time.monotonic() + ANSWER_WAIT_S
        while time.monotonic() < deadline:
            answer = self.connection.ask(ListGroupsRequest(), 0)
            if isinstance(answer, ListGroupsResponse) and any(
                each.group_id == group for each in answer.groups
            ):
                return
        raise SetupError(f"{group} is not listed")

    def settle(self) -> None:
        """Return once the broker sees its own changes: Kafka's broker follows its controller.

        The metadata log is ordered, so a topic that is created now is seen after all of them.
        """
        self._settled += 1
        self.topic(f"settled-{self._settled}")

    def wait_for_leaders(self, topic: str, partitions: int) -> None:
        """Return once every partition answers; Kafka names a leader before it serves (S1).

        What another node of ours leads is served once that is named.
        """
        wanted = [
            ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(partitions)
        ]
        request = ListOffsetsRequest(
            replica_id=-1, topics=[ListOffsetsTopic(name=topic, partitions=wanted)]
        )
        deadline = time.monotonic() + ANSWER_WAIT_S
        while time.monotonic() < deadline:
            answer = self.connection.ask(request, 2)
            if not isinstance(answer, ListOffsetsResponse):
                break
            said = {p.partition_index: p.error_code for t in answer.topics for p in t.partitions}
            served = {index for index, code in said.items() if code == 0}
            if served | self._led_elsewhere(topic) >= {*range(partitions)}:
                return
        raise SetupError(f"{topic} has no leader")

    def _led_elsewhere(self, topic: str) -> set[int]:
        named = [MetadataRequestTopic(name=topic)]
        request = MetadataRequest(topics=named, allow_auto_topic_creation=False)
        answer = self.connection.ask(request, 4)
        if not isinstance(answer, MetadataResponse):
            return set()
        return {
            each.partition_index
            for found in answer.topics
            for each in found.partitions
            if each.leader_id in OTHER_NODE_IDS
        }
