"""Groups that change their protocol, at Kafka's broker and in our machine, answer by answer.

See shadow.py. Classic members get their ids from Kafka's broker; our dice are loaded to make the
same ones. Each has a connection of its own, since a JoinGroup may wait for the others.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from mesh.groups import Ask, Turn
from mesh.groups.consumer_protocol import assignment_untrusted
from mesh.model.errors import ErrorCode
from mesh.wire import Message, Struct, encode_stored, read_response
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
from mesh.wire.stored.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerTopicPartitions,
)
from tests.interop.differential.talk import CLIENT_ID, Answer, Connection
from tests.interop.shadow import Member, Shadow

SESSION_MS = 45_000
JOIN, SYNC, BEAT, LEAVE = 9, 5, 4, 5


class Loaded:
    """Dice that fall as they are told to."""

    def __init__(self) -> None:
        """To be told by `next_id`."""
        self.next_id = 0

    def getrandbits(self, k: int, /) -> int:
        """Return what makes the id that Kafka's broker made."""
        return self.next_id


@dataclass(slots=True)
class Classic:
    """A client of the classic protocol, which believes what Kafka tells it."""

    connection: Connection
    names: list[str]
    protocols: list[str]
    instance_id: str | None = None
    member_id: str = ""
    generation: int = -1
    protocol: str = ""
    owned: dict[str, list[int]] = field(default_factory=dict)
    is_leader: bool = False
    must_join: bool = True

    def metadata(self) -> bytes:
        """Return its subscription."""
        owned = [
            ConsumerTopicPartitions(topic=topic, partitions=partitions)
            for topic, partitions in self.owned.items()
        ]
        return encode_stored(
            ConsumerProtocolSubscription(
                topics=self.names, owned_partitions=owned, generation_id=self.generation
            ),
            2,
        )


class ClassicShadow(Shadow):
    """One group with members of both protocols."""

    def __init__(self, connection: Connection, group_id: str, seed: int) -> None:
        """An empty group whose id nobody has used."""
        super().__init__(connection, group_id, seed)
        self.classics: list[Classic] = []
        self.dice = Loaded()
        self.driver.rng = self.dice  # type: ignore[assignment]

    # Both are asked, at once or not

    def _ours(self, body: Struct, version: int, call: Callable[[Ask, Turn], None]) -> Ask:
        ask = Ask(body, version, CLIENT_ID, "/127.0.0.1")
        self.driver.turn(lambda turn: call(ask, turn))
        return ask

    def _both(
        self, member: Classic, request: Message, version: int, call: Callable[[Ask, Turn], None]
    ) -> Answer:
        theirs = member.connection.ask(request, version)
        ask = self._ours(request, version, call)
        self.driver.sleep(100)
        self._check(request, theirs, ask)
        return theirs

    def _check(self, request: Message, theirs: Answer, ask: Ask) -> None:
        ours = self.driver.late.get(ask)
        self._compare(f"{request}", _plain(theirs), "waits" if ours is None else _plain(ours))

    def _join_request(self, member: Classic) -> JoinGroupRequest:
        return JoinGroupRequest(
            group_id=self.group_id,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=300_000,
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            protocol_type="consumer",
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=member.metadata())
                for name in member.protocols
            ],
        )

    # What members do

    def newcomer(self, port: int, names: list[str], *, static: bool = False) -> Classic:
        """Return a classic member that is not in the group yet, but a dynamic one knows its id."""
        protocols = self.rng.choice([["range"], ["cooperative-sticky", "range"]])
        self._made += 1
        instance = f"classic-{self._made}" if static else None
        member = Classic(Connection(port), names, protocols, instance)
        self.classics.append(member)
        if not static:
            request = self._join_request(member)
            theirs = member.connection.ask(request, JOIN)
            assert isinstance(theirs, JoinGroupResponse), theirs
            assert theirs.error_code == ErrorCode.MEMBER_ID_REQUIRED, theirs
            self.dice.next_id = _bits(theirs.member_id)
            self._check(request, theirs, self._ours(request, JOIN, self.driver.coordinator.join))
            member.member_id = theirs.member_id
        return member

    def join_all(self, members: list[Classic]) -> None:
        """Have members join, and wait for each other if Kafka says so; then sync."""
        asks = []
        for member in members:
            request = self._join_request(member)
            member.connection.send(request, JOIN)
            asks.append((member, request))
        ours = []
        answers: dict[int, JoinGroupResponse] = {}
        for member, request in asks:
            if not member.member_id:
                # Our id of a static member must be Kafka's, which comes with the answer.
                answers[id(member)] = self._read(member)
                self.dice.next_id = _bits(answers[id(member)].member_id)
            ours.append(self._ours(request, JOIN, self.driver.coordinator.join))
        self.driver.sleep(100)
        for (member, request), ask in zip(asks, ours, strict=True):
            answer = answers.get(id(member)) or self._read(member)
            self._check(request, answer, ask)
            if answer.error_code:
                member.generation, member.owned = -1, {}
                if answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID:
                    self.differences.append(f"{member.member_id} is not known")
                continue
            member.member_id, member.generation = answer.member_id, answer.generation_id
            member.protocol = answer.protocol_name or ""
            member.is_leader = answer.leader == answer.member_id
            member.must_join = False
        for member in sorted(members, key=lambda member: not member.is_leader):
            if not member.must_join:
                self.sync(member, members)

    def _read(self, member: Classic) -> JoinGroupResponse:
        frame = member.connection.read_frame()
        assert frame is not None
        answer = read_response(JoinGroupResponse, frame, JOIN)[1]
        assert isinstance(answer, JoinGroupResponse)
        return answer

    def sync(self, member: Classic, members: list[Classic]) -> None:
        """Ask for an assignment; a leader says everybody's."""
        request = SyncGroupRequest(
            group_id=self.group_id,
            generation_id=member.generation,
            member_id=member.member_id,
            group_instance_id=member.instance_id,
            protocol_type="consumer",
            protocol_name=member.protocol,
            assignments=self._assign(members) if member.is_leader else [],
        )
        answer = self._both(member, request, SYNC, self.driver.coordinator.sync)
        assert isinstance(answer, SyncGroupResponse), answer
        member.must_join = answer.error_code != 0
        if not answer.error_code:
            assigned = assignment_untrusted(bytes(answer.assignment)).assigned_partitions
            member.owned = {each.topic: sorted(each.partitions) for each in assigned}

    def _assign(self, members: list[Classic]) -> list[SyncGroupRequestAssignment]:
        shares: list[dict[str, list[int]]] = [{} for _ in members]
        for name, topic in self.driver.topics.by_name.items():
            takers = [place for place, one in enumerate(members) if name in one.names]
            for partition in range(topic.partition_count if takers else 0):
                share = shares[takers[partition % len(takers)]]
                share.setdefault(name, []).append(partition)
        return [
            SyncGroupRequestAssignment(
                member_id=member.member_id,
                assignment=encode_stored(
                    ConsumerProtocolAssignment(
                        assigned_partitions=[
                            ConsumerTopicPartitions(topic=topic, partitions=partitions)
                            for topic, partitions in share.items()
                        ]
                    ),
                    1,
                ),
            )
            for member, share in zip(members, shares, strict=True)
        ]

    def heartbeat(self, member: Classic) -> None:
        """Have a classic member say that it lives."""
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=member.generation,
            member_id=member.member_id,
            group_instance_id=member.instance_id,
        )
        answer = self._both(member, request, BEAT, self.driver.coordinator.heartbeat)
        assert isinstance(answer, HeartbeatResponse), answer
        member.must_join = answer.error_code == ErrorCode.REBALANCE_IN_PROGRESS

    def leave_classic(self, member: Classic) -> None:
        """Have a classic member go."""
        identity = MemberIdentity(member_id=member.member_id, group_instance_id=member.instance_id)
        request = LeaveGroupRequest(group_id=self.group_id, members=[identity])
        answer = self._both(member, request, LEAVE, self.driver.coordinator.leave)
        assert isinstance(answer, LeaveGroupResponse), answer
        self.classics.remove(member)
        member.connection.close()

    def close(self) -> None:
        """Hang up."""
        for member in self.classics:
            member.connection.close()

    # Games

    def play_both(self, port: int, steps: int) -> None:
        """A classic group, one with members of both protocols, a classic group again."""
        rng = self.rng
        topics = list(self.driver.topics.by_name)
        common = rng.sample(topics, rng.randint(1, 3))
        for _ in range(rng.randint(1, 3)):
            static = rng.random() < 0.3
            newcomer = self.newcomer(port, common, static=static and not self.classics)
            self.join_all([*(one for one in self.classics if one is not newcomer), newcomer])
        self.members.append(self.new_member(common))
        self.step(self.members[0])
        self.describe()
        for _ in range(steps):
            chance = rng.random()
            if chance < 0.15:
                member = self.new_member(common)
                self.members.append(member)
                self.step(member)
            elif chance < 0.3:
                names = common if rng.random() < 0.7 else rng.sample(topics, 2)
                self.join_all([self.newcomer(port, names, static=rng.random() < 0.3)])
            elif chance < 0.4 and len(self.members) > 1:
                self.leave(rng.choice(self.members))
            elif chance < 0.45 and len(self.classics) > 1:
                self.leave_classic(rng.choice(self.classics))
            elif chance < 0.5 and (statics := [one for one in self.members if one.instance_id]):
                self._become_classic(rng.choice(statics), port)
                if not self.members:
                    break
            elif chance < 0.55 and (olds := [one for one in self.classics if one.instance_id]):
                self._become_new(rng.choice(olds))
            elif chance < 0.75:
                self.step(rng.choice(self.members))
            elif self.classics:
                self._go_on(rng.choice(self.classics))
            self.describe()
        for member in list(self.members):
            self.leave(member)
        if not self.classics:
            return
        self.describe()
        for classic in self.classics:
            self.heartbeat(classic)
        if any(classic.must_join for classic in self.classics):
            self.join_all(self.classics)
        for classic in self.classics:
            self.heartbeat(classic)

    def _become_classic(self, member: Member, port: int) -> None:
        """A static member comes back as a classic one; with the last one so does the group."""
        self.members.remove(member)
        protocols = [*self.classics[0].protocols] if self.classics else ["range"]
        names = member.names or []
        classic = Classic(Connection(port), names, protocols, member.instance_id)
        self.classics.append(classic)
        self.join_all([classic])

    def _become_new(self, classic: Classic) -> None:
        """A static classic member comes back as a new one."""
        self.classics.remove(classic)
        classic.connection.close()
        member = self.new_member(classic.names)
        member.instance_id = classic.instance_id
        self.members.append(member)
        self.step(member)

    def _go_on(self, member: Classic) -> None:
        if not member.must_join:
            self.heartbeat(member)
        if member.must_join:
            self.join_all([member])


def _bits(member_id: str) -> int:
    """Return what our dice must show to make an id: a UUID at its end, or 22 characters."""
    if len(member_id) > 36:
        return UUID(member_id[-36:]).int
    return int.from_bytes(urlsafe_b64decode(member_id + "=="), "big")


def _plain(answer: Answer | Struct) -> object:
    if isinstance(answer, SyncGroupResponse):
        assigned = assignment_untrusted(bytes(answer.assignment)).assigned_partitions
        shares = sorted((each.topic, sorted(each.partitions)) for each in assigned)
        return answer.error_code, answer.protocol_type, answer.protocol_name, shares
    if isinstance(answer, JoinGroupResponse):
        members = sorted((one.member_id, bytes(one.metadata)) for one in answer.members)
        rest = {name: getattr(answer, name) for name in answer.FIELDS if name != "members"}
        return rest, members
    return answer
