"""Members of groups, hundreds of them in one process: what they say is real, what they cost little.

They are no clients: they read nothing, and a leader assigns ranges without looking. What is
measured is how long the coordinator takes, so each says the next thing as soon as it may.
"""

from __future__ import annotations

import heapq
import resource
import selectors
import struct
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire import Message, encode_request, encode_stored, read_response, response_class
from mesh.wire.schemas.api_versions import ApiVersionsRequest
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, MemberIdentity
from mesh.wire.schemas.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from mesh.wire.stored.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerTopicPartitions,
)
from tools.bench.frames import CLIENT_ID, joined
from tools.bench.generator import BenchError, connect

HEARTBEAT_VERSION, JOIN_VERSION, SYNC_VERSION, LEAVE_VERSION = 4, 7, 5, 4
CONSUMER_VERSION = 1
API_VERSIONS_VERSION = 2
REBALANCE_MS = 60_000
RECEIVE_BYTES = 64 << 10
GOODBYE_S = 10.0
_INT32 = struct.Struct(">i")
_REJOIN = {
    ErrorCode.REBALANCE_IN_PROGRESS,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.MEMBER_ID_REQUIRED,
}
LEAVES_EPOCH = -1


@dataclass(frozen=True, slots=True)
class GroupOf:
    """What the members of a group have in common."""

    group_id: str
    topic: str
    partitions: int
    """Of the topic; 0: nothing is assigned."""
    session_ms: int
    heartbeat_s: float
    """Between two heartbeats of a member that has its assignment."""


class Line:
    """A connection on which one request at a time is under way."""

    def __init__(self, address: Address) -> None:
        """Connect."""
        self.socket = connect(address)
        self.socket.setblocking(False)
        self.requests = 0
        self.awaits: type[Message] | None = None
        """What is to come next."""
        self._version = 0
        self._received = bytearray()
        self.sent_at = 0.0

    def send(self, request: Message, version: int) -> None:
        """Send a request; its answer comes by `receive`."""
        self.awaits, self._version = response_class(request.API_KEY), version
        self.requests += 1
        self.sent_at = time.monotonic()
        frame = joined(encode_request(request, version, self.requests, CLIENT_ID))
        try:
            if self.socket.send(frame) == len(frame):
                return
        except BlockingIOError:
            pass
        raise BenchError("the broker takes no more bytes of a member")

    def receive(self) -> Message | None:
        """Return the answer once all of it is there."""
        piece = self.socket.recv(RECEIVE_BYTES)
        if not piece:
            raise BenchError("the broker closed a member's connection")
        received = self._received
        received += piece
        if len(received) < 4 or len(received) < 4 + _INT32.unpack_from(received)[0]:
            return None
        assert self.awaits is not None, "an answer to nothing"
        number, answer = read_response(self.awaits, bytes(received[4:]), self._version)
        if number != self.requests:
            raise BenchError(f"request {self.requests} got the answer of {number}")
        received.clear()
        self.awaits = None
        return answer

    def finish(self) -> None:
        """Wait for what is under way, and drop it; the socket blocks."""
        while self.awaits is not None:
            self.receive()


def subscription(topic: str) -> bytes:
    """Return what a classic member says of itself: one topic, nothing owned (version 1)."""
    return encode_stored(ConsumerProtocolSubscription(topics=[topic]), 1)


def assignment(topic: str, indexes: Sequence[int]) -> bytes:
    """Return what a leader gives to a classic member (version 1)."""
    given = ConsumerTopicPartitions(topic=topic, partitions=[*indexes])
    return encode_stored(ConsumerProtocolAssignment(assigned_partitions=[given]), 1)


def assigned_count(topic: str, given: bytes) -> int:
    """Return how many partitions an assignment by `assignment` holds."""
    return int(_INT32.unpack_from(given, 8 + len(topic.encode()))[0]) if given else 0


class ClassicMember:
    """Joins, syncs (as leader with ranges for all), beats; joins again when told so."""

    def __init__(self, address: Address, group: GroupOf) -> None:
        """Connected, and silent so far."""
        self.group = group
        self.line = Line(address)
        self.heartbeat_at = 0.0
        self.assigned, self.epoch, self.settled = 0, -1, False
        self.member_id = ""
        self._heartbeat = HeartbeatRequest()

    def begin(self) -> None:
        """Join the group."""
        self.settled = False
        known = JoinGroupRequestProtocol(name="range", metadata=subscription(self.group.topic))
        request = JoinGroupRequest(
            group_id=self.group.group_id,
            session_timeout_ms=self.group.session_ms,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=[known],
        )
        self.line.send(request, JOIN_VERSION)

    def beat(self) -> None:
        """Send a heartbeat."""
        self.line.send(self._heartbeat, HEARTBEAT_VERSION)

    def on(self, answer: Message) -> None:
        """Go on with an answer.

        Raises:
            BenchError: one that no member of a group that is well gets.
        """
        match answer:
            case JoinGroupResponse():
                self.member_id = answer.member_id or self.member_id
                if answer.error_code:
                    self._again(answer.error_code)
                else:
                    self._sync(answer)
            case SyncGroupResponse():
                if answer.error_code:
                    self._again(answer.error_code)
                    return
                self.assigned = assigned_count(self.group.topic, answer.assignment)
                self.settled = True
                self.heartbeat_at = time.monotonic() + self.group.heartbeat_s
            case HeartbeatResponse():
                if answer.error_code:
                    self._again(answer.error_code)
                else:
                    self.heartbeat_at += self.group.heartbeat_s
            case _:
                raise BenchError(f"a member got {answer}")

    def _again(self, error_code: int) -> None:
        if error_code not in _REJOIN:
            raise BenchError(f"a member got error {ErrorCode(error_code).name}")
        self.begin()

    def _sync(self, joined: JoinGroupResponse) -> None:
        self.epoch = joined.generation_id
        self._heartbeat = HeartbeatRequest(
            group_id=self.group.group_id,
            generation_id=self.epoch,
            member_id=self.member_id,
        )
        request = SyncGroupRequest(
            group_id=self.group.group_id,
            generation_id=self.epoch,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
        )
        if joined.leader == self.member_id:
            count, partitions = len(joined.members), self.group.partitions
            request.assignments = [
                SyncGroupRequestAssignment(
                    member_id=member.member_id,
                    assignment=assignment(
                        self.group.topic,
                        range(i * partitions // count, (i + 1) * partitions // count),
                    ),
                )
                for i, member in enumerate(joined.members)
            ]
        self.line.send(request, SYNC_VERSION)

    def leaving(self) -> Message:
        """Return the request with which it leaves."""
        return LeaveGroupRequest(
            group_id=self.group.group_id, members=[MemberIdentity(member_id=self.member_id)]
        )


class ConsumerMember:
    """A member by KIP-848: heartbeats until it has its target, at once whenever that changes."""

    def __init__(self, address: Address, group: GroupOf) -> None:
        """Connected, and silent so far."""
        self.group = group
        self.line = Line(address)
        self.heartbeat_at = 0.0
        self.assigned, self.epoch, self.settled = 0, 0, False
        self.member_id = str(uuid.uuid4())
        self._owned: list[TopicPartitions] = []

    def begin(self) -> None:
        """Join the group."""
        self._say(0, [self.group.topic], [])

    def _say(
        self, epoch: int, topics: list[str] | None, owned: list[TopicPartitions] | None
    ) -> None:
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group.group_id,
            member_id=self.member_id,
            member_epoch=epoch,
            rebalance_timeout_ms=REBALANCE_MS if topics else -1,
            subscribed_topic_names=topics,
            topic_partitions=owned,
        )
        self.line.send(request, CONSUMER_VERSION)

    def beat(self) -> None:
        """Send a heartbeat without news."""
        self._say(self.epoch, None, None)

    def on(self, answer: Message) -> None:
        """Take an assignment over at once, and say so.

        Raises:
            BenchError: the coordinator refuses.
        """
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        if answer.error_code:
            name = ErrorCode(answer.error_code).name
            raise BenchError(f"a member got error {name}: {answer.error_message}")
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.settled = False
            self._owned = answer.assignment.topic_partitions
            self.assigned = sum(len(topic.partitions) for topic in self._owned)
            self._say(self.epoch, None, self._owned)
        else:
            self.settled = True
            self.heartbeat_at = time.monotonic() + self.group.heartbeat_s

    def leaving(self) -> Message:
        """Return the request with which it leaves."""
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group.group_id, member_id=self.member_id, member_epoch=LEAVES_EPOCH
        )


AMember: TypeAlias = ClassicMember | ConsumerMember


class Crew:
    """Drives members over their sockets, one answer after the other."""

    def __init__(self, members: Sequence[AMember]) -> None:
        """Over the members; `close` in the end."""
        self.members = list(members)
        self.heartbeats = 0
        self.durations_ns: list[int] = []
        """Of the answers to heartbeats, while `timed`."""
        self.timed = False
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int]] = []
        self._on_heap = [False] * len(self.members)
        for number, member in enumerate(self.members):
            self._selector.register(member.line.socket, selectors.EVENT_READ, number)

    @property
    def requests(self) -> int:
        """Sent so far by all members."""
        return sum(member.line.requests for member in self.members)

    def greet(self) -> None:
        """Say hello on every connection, as clients do; all are accepted when this returns."""
        for member in self.members:
            member.line.socket.setblocking(True)
            member.line.send(ApiVersionsRequest(), API_VERSIONS_VERSION)
        for member in self.members:
            member.line.finish()
            member.line.socket.setblocking(False)

    def begin(self, at_once: int) -> None:
        """Let all members join; no more than so many wait to be heard at the same time."""
        waiting = deque(range(len(self.members)))
        while waiting:
            for _ in range(min(at_once, len(waiting))):
                self.members[waiting.popleft()].begin()
            self._step(0.0)

    def spread(self, seconds: float) -> None:
        """Have the next heartbeats come evenly over so many seconds from now on."""
        now = time.monotonic()
        self._due.clear()
        self._on_heap = [False] * len(self.members)
        for number, member in enumerate(self.members):
            member.heartbeat_at = now + seconds * number / len(self.members)
            self._schedule(number)

    def _schedule(self, number: int) -> None:
        if not self._on_heap[number]:
            heapq.heappush(self._due, (self.members[number].heartbeat_at, number))
            self._on_heap[number] = True

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Go on for so long, or until it is so; say whether it is."""
        end = time.monotonic() + seconds
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._step(left)
        return True

    def _step(self, wait_s: float) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            number = heapq.heappop(self._due)[1]
            self._on_heap[number] = False
            member = self.members[number]
            if member.line.awaits is None:
                if member.heartbeat_at > now:
                    self._schedule(number)
                else:
                    member.beat()
                    self.heartbeats += 1
        if self._due:
            wait_s = max(0.0, min(wait_s, self._due[0][0] - now))
        for key, _ in self._selector.select(wait_s):
            number = key.data
            member = self.members[number]
            answer = member.line.receive()
            if answer is None:
                continue
            if self.timed:
                self.durations_ns.append(int((time.monotonic() - member.line.sent_at) * 1e9))
            member.on(answer)
            if member.line.awaits is None:
                self._schedule(number)

    def leave(self) -> None:
        """Have all members leave, and wait until the coordinator has heard it."""
        for member in self.members:
            self._selector.unregister(member.line.socket)
            member.line.socket.setblocking(True)
        for member in self.members:
            _call(member)

    def close(self) -> None:
        """Close all connections."""
        self._selector.close()
        for member in self.members:
            member.line.socket.close()


def _call(member: AMember) -> None:
    """Say good-bye; what is still under way is answered first."""
    line = member.line
    line.socket.settimeout(GOODBYE_S)
    line.finish()
    classic = isinstance(member, ClassicMember)
    line.send(member.leaving(), LEAVE_VERSION if classic else CONSUMER_VERSION)
    line.finish()


def complete(members: Sequence[AMember], partitions: int) -> bool:
    """Say whether these are one group whose members hold every partition of the topic."""
    return (
        all(member.settled for member in members)
        and len({member.epoch for member in members}) == 1
        and sum(member.assigned for member in members) == partitions
    )


def files_needed(count: int) -> None:
    """Have the process open so many sockets, if it may.

    Raises:
        BenchError: the system's limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        if hard < count + 100:
            raise BenchError(f"{count} connections need `ulimit -n` of {count + 100}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, hard))
