"""Plays the driver of a coordinator for classic groups: turns, answers, time, and the log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from mesh.groups import (
    Ask,
    ClassicGroups,
    Coordinator,
    Image,
    OnTimer,
    Topic,
    Turn,
    Wheel,
    decode_untrusted,
)
from mesh.groups.records import Record
from mesh.model.config import BrokerConfig
from mesh.model.errors import ErrorCode
from mesh.model.types import Now, TopicId
from mesh.wire import Message, Struct, encode_response
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from mesh.wire.schemas.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)

GROUP = "readers"
SESSION_MS = 10_000
REBALANCE_MS = 60_000
WALL_MS = 1_700_000_000_000


class NoTopics:
    """Classic groups do not look at topics."""

    version = 0

    def named(self, name: str) -> Topic | None:
        """None."""

    def with_id(self, topic_id: TopicId) -> Topic | None:
        """None."""

    def is_deleted(self, topic_id: TopicId) -> bool:
        """None is."""
        return False

    def is_current(self) -> bool:
        """Always."""
        return True

    def names(self) -> Iterable[str]:
        """None."""
        return ()

    def racks(self, topic: Topic) -> list[frozenset[str]]:
        """None."""
        return []


class Driver:
    """One coordinator, its clock, its log, and all that it answered."""

    def __init__(self, seed: int = 1, **config: object) -> None:
        """An empty log; `config` are fields of BrokerConfig: no initial delay unless given."""
        fields = {"group_initial_delay_ms": 0, **config}
        self.config = BrokerConfig(**fields)  # type: ignore[arg-type]
        self.rng = random.Random(seed)
        self.now_ms = 1_000
        self.log: list[Record] = []
        self.answers: dict[Ask, Struct] = {}
        self.waiting: dict[Ask, None] = {}
        self.dropped: list[Ask] = []
        self.start()

    def start(self) -> None:
        """Begin to lead: a new coordinator replays the log; what the old one kept is dropped."""
        self.dropped += self.waiting
        self.waiting.clear()
        self.wheel: Wheel[tuple[Coordinator, OnTimer]] = Wheel()
        self.coordinator = Coordinator(self.wheel)
        for record in self.log:
            replay(self.coordinator.image, record)
        self.groups = ClassicGroups(self.coordinator)
        self.turn(self.groups.begin)

    def turn(self, call: Callable[[Turn], None]) -> Turn:
        """Give one event to the machine, and do what it wants done."""
        now = Now(self.now_ms, WALL_MS + self.now_ms)
        turn = Turn(now, self.config, NoTopics(), self.rng, self.coordinator.image)
        call(turn)
        self.log += turn.records
        replayed = Image()
        for record in self.log:
            replay(replayed, record)
        assert replayed.state() == self.coordinator.image.state()
        for reply in turn.replies:
            assert reply.ask in self.waiting, "answered twice, or never asked"
            del self.waiting[reply.ask]
            self.answers[reply.ask] = reply.response
            assert isinstance(reply.response, Message)
            encode_response(reply.response, reply.ask.version, 1)
        return turn

    def sleep(self, for_ms: int) -> None:
        """Let time pass; what is due on the way happens in its own time."""
        end_ms = self.now_ms + for_ms
        while (next_ms := self.wheel.next_ms) is not None and next_ms <= end_ms:
            self.now_ms = max(self.now_ms, next_ms)
            for _, call in self.wheel.due(self.now_ms):
                self.turn(call)
        self.now_ms = end_ms

    def ask(self, body: Struct, version: int, call: Callable[[Ask, Turn], None]) -> Ask:
        """Put a request to the machine."""
        ask = Ask(body, version, "app", "/127.0.0.1")
        self.waiting[ask] = None
        self.turn(lambda turn: call(ask, turn))
        return ask

    def join(
        self,
        member_id: str = "",
        *,
        version: int = 9,
        group: str = GROUP,
        instance: str | None = None,
        kind: str = "consumer",
        protocols: dict[str, bytes] | None = None,
        session_ms: int = SESSION_MS,
        rebalance_ms: int = REBALANCE_MS,
    ) -> Ask:
        """Send JoinGroup."""
        spoken = {"range": b"topics"} if protocols is None else protocols
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=kind,
            protocols=[JoinGroupRequestProtocol(name=n, metadata=m) for n, m in spoken.items()],
        )
        return self.ask(request, version, self.groups.join)

    def new_id(self, **fields: object) -> str:
        """Send the first JoinGroup of a dynamic member, and return the id that it is given."""
        refused = self.joined(self.join(**fields))  # type: ignore[arg-type]
        assert refused.error_code == ErrorCode.MEMBER_ID_REQUIRED
        return refused.member_id

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        version: int = 5,
        instance: str | None = None,
        kind: str | None = "consumer",
        protocol: str | None = "range",
        group: str = GROUP,
    ) -> Ask:
        """Send SyncGroup."""
        request = SyncGroupRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=kind,
            protocol_name=protocol,
            assignments=[
                SyncGroupRequestAssignment(member_id=one, assignment=what)
                for one, what in (assignments or {}).items()
            ],
        )
        return self.ask(request, version, self.groups.sync)

    def heartbeat(
        self, member_id: str, generation: int, *, instance: str | None = None, group: str = GROUP
    ) -> int:
        """Send Heartbeat and return the error code."""
        request = HeartbeatRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
        )
        answer = self.answers[self.ask(request, 4, self.groups.heartbeat)]
        assert isinstance(answer, HeartbeatResponse)
        return answer.error_code

    def leave(self, *members: tuple[str, str | None], group: str = GROUP) -> list[int]:
        """Send LeaveGroup of members by member and instance id; return their error codes."""
        identities = [
            MemberIdentity(member_id=member_id, group_instance_id=instance)
            for member_id, instance in members
        ]
        request = LeaveGroupRequest(group_id=group, members=identities)
        answer = self.answers[self.ask(request, 5, self.groups.leave)]
        assert isinstance(answer, LeaveGroupResponse)
        assert answer.error_code == 0
        return [one.error_code for one in answer.members]

    def joined(self, ask: Ask) -> JoinGroupResponse:
        """Return the answer to a JoinGroup; there must be one."""
        answer = self.answers[ask]
        assert isinstance(answer, JoinGroupResponse)
        return answer

    def synced(self, ask: Ask) -> SyncGroupResponse:
        """Return the answer to a SyncGroup; there must be one."""
        answer = self.answers[ask]
        assert isinstance(answer, SyncGroupResponse)
        return answer

    def generation(self, *joins: Ask) -> tuple[int, list[str]]:
        """Let the join phase end, and return its generation and the ids of those who joined."""
        self.sleep(100)
        answers = [self.joined(ask) for ask in joins]
        assert {one.error_code for one in answers} == {0}, answers
        assert len({one.generation_id for one in answers}) == 1
        return answers[0].generation_id, [one.member_id for one in answers]

    def a_stable_group(self, count: int = 2, **fields: object) -> tuple[int, list[str]]:
        """Bring members into a stable generation, leader first; return it and their ids."""
        ids = [self.new_id() for _ in range(count)]
        asks = [self.join(one, **fields) for one in ids]  # type: ignore[arg-type]
        generation, ids = self.generation(*asks)
        self.all_sync(generation, ids)
        assert self.groups.state_of(GROUP) == "Stable"
        return generation, ids

    def all_sync(self, generation: int, ids: list[str]) -> None:
        """Have all members sync, the leader last: each is assigned its own id."""
        group = self.groups.group(GROUP)
        assert group is not None
        wanted = {one: one.encode() for one in ids}
        asks = [self.sync(one, generation) for one in ids if one != group.leader]
        asks.append(self.sync(group.leader or "", generation, wanted))
        assert {self.synced(ask).error_code for ask in asks} == {0}

    def state(self, group: str = GROUP) -> str:
        """Return the state of a group."""
        return self.groups.state_of(group)


def replay(image: Image, record: Record) -> None:
    """Give a record from the log to an image."""
    read = decode_untrusted(record.key, record.value)
    assert read is not None
    image.replay(*read)
