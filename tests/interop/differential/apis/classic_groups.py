"""Members of classic groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.wire import Message, read_response, response_class
from mesh.wire.schemas.describe_groups import DescribeGroupsRequest
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from mesh.wire.schemas.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Connection, Outcome, Talk

METADATA = bytes.fromhex("0000 00000001 0001 61 00000000")
"""Of a consumer that subscribes to `a`. Kafka never answers whoever sends what it cannot read."""
OTHER_METADATA = bytes.fromhex("0000 00000001 0001 62 00000000")
ASSIGNMENT = b"assignment of a member"
JOIN, SYNC = 9, 5
ID_REQUIRED_SINCE = 4
INSTANCE_SINCE = 5
MEMBER_ID_REQUIRED = 79
REBALANCE_IN_PROGRESS = 27
ASKS_MAX = 2_000
"""Heartbeats until a rebalance must have begun."""


def join(
    group: str,
    member_id: str = "",
    *,
    instance: str | None = None,
    kind: str = "consumer",
    protocols: tuple[tuple[str, bytes], ...] = (("range", METADATA),),
    session_ms: int = 30_000,
    rebalance_ms: int = 60_000,
) -> JoinGroupRequest:
    """Return a JoinGroup."""
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=rebalance_ms,
        member_id=member_id,
        group_instance_id=instance,
        protocol_type=kind,
        protocols=[JoinGroupRequestProtocol(name=name, metadata=data) for name, data in protocols],
    )


def sync(
    group: str,
    member_id: str,
    generation: int,
    *assigned: str,
    instance: str | None = None,
    kind: str | None = "consumer",
    protocol: str | None = "range",
) -> SyncGroupRequest:
    """Return a SyncGroup that gives the same to all members that it names."""
    return SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member_id,
        group_instance_id=instance,
        protocol_type=kind,
        protocol_name=protocol,
        assignments=[
            SyncGroupRequestAssignment(member_id=one, assignment=ASSIGNMENT) for one in assigned
        ],
    )


def heartbeat(
    group: str, member_id: str, generation: int, *, instance: str | None = None
) -> HeartbeatRequest:
    """Return a Heartbeat."""
    return HeartbeatRequest(
        group_id=group, generation_id=generation, member_id=member_id, group_instance_id=instance
    )


def leave(talk: Talk, group: str, *members: tuple[str, str | None]) -> LeaveGroupRequest:
    """Return a LeaveGroup of members by member and instance id, in the form of the version."""
    if talk.version < 3:
        return LeaveGroupRequest(group_id=group, member_id=members[0][0])
    identities = [
        MemberIdentity(member_id=member_id, group_instance_id=instance)
        for member_id, instance in members
    ]
    return LeaveGroupRequest(group_id=group, members=identities)


def commit(group: str, topic: str, member_id: str, generation: int) -> OffsetCommitRequest:
    """Return an OffsetCommit of a member."""
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=1)
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])],
    )


@dataclass
class Member:
    """A client on a connection of its own, whose requests may wait for those of others."""

    talk: Talk
    group: str
    version: int = JOIN
    instance: str | None = None
    protocols: tuple[tuple[str, bytes], ...] = (("range", METADATA),)
    rebalance_ms: int = 60_000
    kind: str = "consumer"
    member_id: str = ""
    generation: int = -1
    line: Connection = field(init=False)

    def __post_init__(self) -> None:
        """Connect."""
        self.line = self.talk.connect()

    def get_id(self) -> str:
        """Ask for an id where that must be; nothing is recorded."""
        if self.version >= ID_REQUIRED_SINCE and self.instance is None and not self.member_id:
            answer = self.line.ask(self.request(), self.version)
            assert isinstance(answer, JoinGroupResponse), answer
            assert answer.error_code == MEMBER_ID_REQUIRED, answer
            self.member_id = answer.member_id
        return self.member_id

    def request(self) -> JoinGroupRequest:
        """Return its JoinGroup."""
        return join(
            self.group,
            self.member_id,
            instance=self.instance,
            protocols=self.protocols,
            rebalance_ms=self.rebalance_ms,
            kind=self.kind,
        )

    def begin(self) -> None:
        """Send JoinGroup, and SyncGroup later by `sync`."""
        self.get_id()
        self.line.send(self.request(), self.version)

    def joined(self, label: str = "") -> JoinGroupResponse:
        """Wait for the answer to JoinGroup; recorded under a label if there is one."""
        answer = self._answer(JoinGroupResponse, self.version)
        assert isinstance(answer, JoinGroupResponse), answer
        if answer.error_code == 0:
            self.member_id, self.generation = answer.member_id, answer.generation_id
        if label:
            self.talk.hear(answer, label=label)
        return answer

    def sync(self, *assigned: str) -> None:
        """Send SyncGroup."""
        request = sync(
            self.group,
            self.member_id,
            self.generation,
            *assigned,
            instance=self.instance,
            kind=self.kind,
            protocol=self.protocols[0][0],
        )
        self.line.send(request, SYNC)

    def synced(self, label: str = "") -> SyncGroupResponse:
        """Wait for the answer to SyncGroup; recorded under a label if there is one."""
        answer = self._answer(SyncGroupResponse, SYNC)
        assert isinstance(answer, SyncGroupResponse), answer
        if label:
            self.talk.hear(answer, label=label)
        return answer

    def _answer(self, kind: type[Message], version: int) -> Message | Outcome:
        frame = self.line.read_frame()
        if frame is None:
            return Outcome.CLOSED
        return read_response(response_class(kind.API_KEY), frame, version)[1]


def stable(talk: Talk, group: str, *, version: int = JOIN) -> tuple[Member, Member]:
    """Return the leader and a follower of a stable second or third generation."""
    leader, follower = Member(talk, group, version), Member(talk, group, version)
    return settle(leader, follower)


def settle(leader: Member, follower: Member) -> tuple[Member, Member]:
    """Bring two members into one stable generation; nothing is recorded."""
    leader.begin()
    leader.joined()
    gather(leader, follower)
    leader.sync(leader.member_id, follower.member_id)
    follower.sync()
    assert {leader.synced().error_code, follower.synced().error_code} == {0}
    return leader, follower


def gather(leader: Member, follower: Member, *labels: str) -> None:
    """Bring another member into the group of one; both have joined, and none has synced.

    The follower's answer is recorded first: Kafka keeps members in no order, and the number that
    an id is compared by is that of its first appearance.
    """
    heard = labels or ("", "")
    follower.begin()
    wait_for_rebalance(leader)
    leader.begin()
    follower.joined(heard[0])
    leader.joined(heard[1])


def wait_for_rebalance(member: Member) -> None:
    """Return once a member is told to join again: the other one's JoinGroup has arrived."""
    request = heartbeat(member.group, member.member_id, member.generation, instance=member.instance)
    answer = None
    for _ in range(ASKS_MAX):
        answer = member.line.ask(request, 4)
        if isinstance(answer, HeartbeatResponse) and answer.error_code == REBALANCE_IN_PROGRESS:
            return
    raise AssertionError(f"no rebalance: {answer}")


@case(JoinGroupRequest)
def join_alone(talk: Talk) -> None:
    """The first member of a group joins, joins again, and again with other metadata"""
    group = talk.group()
    answer = talk.ask(join(group))
    assert isinstance(answer, JoinGroupResponse)
    if talk.version >= ID_REQUIRED_SINCE:
        answer = talk.ask(join(group, answer.member_id))
        assert isinstance(answer, JoinGroupResponse)
    talk.ask(join(group, answer.member_id), label="again before sync")
    other = (("other", METADATA), ("range", METADATA))
    talk.ask(join(group, answer.member_id, protocols=other), label="other metadata")
    talk.ask(join(group, answer.member_id, protocols=other, session_ms=6000), label="again")
    generation = 2
    alone = sync(group, answer.member_id, generation, answer.member_id, protocol="other")
    talk.ask(alone, version=SYNC, label="sync")
    talk.ask(join(group, answer.member_id, protocols=other), label="leader again")


@case(JoinGroupRequest)
def join_two(talk: Talk) -> None:
    """A second member makes the first one join again; only the leader is told of both"""
    group = talk.group()
    leader, follower = (Member(talk, group, talk.version) for _ in range(2))
    leader.begin()
    leader.joined("leader alone")
    gather(leader, follower, "follower", "leader")
    leader.sync(leader.member_id)
    follower.sync()
    leader.synced("leader synced")
    follower.synced("follower synced")
    follower.begin()
    follower.joined("follower again")


@case(JoinGroupRequest)
def join_wrongly(talk: Talk) -> None:
    """No group, sessions out of bounds, invented ids, nothing to agree on"""
    group = talk.group()
    for label, request in (
        ("no group", join("")),
        ("no group, an id", join("", "x")),
        ("short session", join(group, session_ms=5_999)),
        ("long session", join(group, "x", session_ms=1_800_001)),
        ("invented id", join(group, "invented")),
        ("no type", join(group, kind="")),
        ("no protocol", join(group, protocols=())),
    ):
        talk.ask(request, label=label)
    stable(talk, group)
    for label, request in (
        ("invented id of a member", join(group, "invented")),
        ("other type", join(group, kind="connect")),
        ("other type, an id", join(group, "invented", kind="connect")),
        ("no type, members", join(group, kind="")),
        ("no common protocol", join(group, protocols=(("other", METADATA),))),
        ("no protocol, members", join(group, protocols=())),
    ):
        talk.ask(request, label=label)


@case(JoinGroupRequest)
def join_and_choose(talk: Talk) -> None:
    """Members choose a protocol that both speak; who speaks none of theirs is refused"""
    group = talk.group()
    first = Member(
        talk, group, talk.version, protocols=(("b", METADATA), ("a", METADATA), ("c", METADATA))
    )
    second = Member(talk, group, talk.version, protocols=(("a", METADATA), ("d", METADATA)))
    first.begin()
    first.joined("alone")
    gather(first, second, "second", "first")
    talk.ask(join(group, protocols=(("c", METADATA),)), label="spoken by one")
    talk.ask(
        join(group, first.member_id, protocols=(("d", METADATA),)), label="spoken by the other"
    )


@case(JoinGroupRequest, versions=(INSTANCE_SINCE, JOIN))
def join_static(talk: Talk) -> None:
    """Static members join, come back without their id, and fence who they were"""
    group = talk.group()
    leader = Member(talk, group, talk.version, instance="i0")
    follower = Member(talk, group, talk.version, instance="i1")
    settle(leader, follower)
    old_leader, old_follower = leader.member_id, follower.member_id
    talk.ask(join(group, instance="i1"), label="follower is back")
    talk.ask(join(group, old_follower, instance="i1"), label="follower is fenced")
    talk.ask(join(group, instance="i0"), label="leader is back")
    talk.ask(join(group, old_leader, instance="i0"), label="leader is fenced")
    talk.ask(join(group, old_leader), label="leader without instance")
    talk.ask(join(group, old_leader, instance="x"), label="another instance")
    talk.ask(heartbeat(group, old_leader, leader.generation, instance="i0"), version=4)
    request = sync(group, old_leader, leader.generation, instance="i0")
    talk.ask(request, version=SYNC)
    talk.ask(DescribeGroupsRequest(groups=[group]), version=5)


@case(JoinGroupRequest, versions=(INSTANCE_SINCE, JOIN))
def join_static_while_waiting(talk: Talk) -> None:
    """A static member comes back while who it was waits for the others"""
    group = talk.group()
    leader = Member(talk, group, talk.version, instance="i0")
    follower = Member(talk, group, talk.version, instance="i1")
    settle(leader, follower)
    leader.begin()
    wait_for_rebalance(follower)
    new = Member(talk, group, talk.version, instance="i0")
    new.begin()
    leader.joined("fenced in join")
    follower.begin()
    follower.joined("follower")
    new.joined("leader")
    follower.sync()
    heir = Member(talk, group, talk.version, instance="i1")
    # Its SyncGroup has arrived once something later on its way has been answered.
    heir.line.ask(heartbeat(group, "x", 0), 4)
    talk.ask(heartbeat(group, follower.member_id, follower.generation), version=4)
    heir.begin()
    follower.synced("fenced in sync")
    wait_for_rebalance(new)


@case(JoinGroupRequest)
def join_when_members_go(talk: Talk) -> None:
    """Who does not join again in time is out, and another one leads"""
    group = talk.group()
    leader = Member(talk, group, talk.version, rebalance_ms=1_000)
    follower = Member(talk, group, talk.version, rebalance_ms=1_000)
    if talk.version == 0:
        return  # There the session is the rebalance time-out, which is six seconds at least.
    settle(leader, follower)
    follower.protocols = (("range", OTHER_METADATA),)
    follower.begin()
    follower.joined("alone")
    talk.ask(heartbeat(group, leader.member_id, leader.generation), version=4)


@case(SyncGroupRequest)
def sync_two(talk: Talk) -> None:
    """A follower waits for the leader; later both get what they had"""
    group = talk.group()
    leader, follower = Member(talk, group), Member(talk, group)
    leader.begin()
    leader.joined()
    gather(leader, follower, "joined", "leads")
    generation = follower.generation
    second = talk.connect()
    second.send(sync(group, follower.member_id, generation), talk.version)
    talk.ask(sync(group, leader.member_id, generation, follower.member_id, "nobody"), label="lead")
    frame = second.read_frame()
    assert frame is not None
    talk.hear(read_response(SyncGroupResponse, frame, talk.version)[1], label="follow")
    talk.ask(sync(group, leader.member_id, generation), label="leader again")
    talk.ask(sync(group, follower.member_id, generation), label="follower again")
    talk.ask(DescribeGroupsRequest(groups=[group]), version=5)


@case(SyncGroupRequest)
def sync_wrongly(talk: Talk) -> None:
    """No group, invented ids, other generations, other protocols, in a rebalance"""
    group = talk.group()
    leader, follower = stable(talk, group)
    member_id, generation = leader.member_id, leader.generation
    for label, request in (
        ("no group", sync("", member_id, generation)),
        ("other group", sync(talk.group("other"), member_id, generation)),
        ("invented id", sync(group, "invented", generation)),
        ("no id", sync(group, "", generation)),
        ("old generation", sync(group, member_id, generation - 1)),
        ("next generation", sync(group, member_id, generation + 1)),
        ("no generation", sync(group, member_id, -1)),
        ("other type", sync(group, member_id, generation, kind="other")),
        ("other protocol", sync(group, member_id, generation, protocol="other")),
        ("no type", sync(group, member_id, generation, kind=None)),
        ("no protocol", sync("", member_id, generation, protocol=None)),
        ("an instance", sync(group, member_id, generation, instance="x")),
    ):
        talk.ask(request, label=label)
    leader.begin()
    wait_for_rebalance(follower)
    talk.ask(sync(group, follower.member_id, generation), label="rebalance")


@case(SyncGroupRequest)
def sync_too_much(talk: Talk) -> None:
    """An assignment that is too large for a record"""
    group = talk.group()
    alone = Member(talk, group)
    alone.begin()
    alone.joined()
    request = sync(group, alone.member_id, alone.generation, alone.member_id)
    request.assignments[0].assignment = bytes(2 << 20)
    talk.ask(request)
    talk.ask(heartbeat(group, alone.member_id, alone.generation), version=4)


@case(HeartbeatRequest)
def heartbeats(talk: Talk) -> None:
    """In each state, and wrongly"""
    group, topic = talk.group(), talk.topic()
    pending = Member(talk, group)
    talk.ask(heartbeat(group, pending.get_id(), 0), label="not joined")
    leader, follower = pending, Member(talk, group)
    leader.begin()
    leader.joined()
    talk.ask(heartbeat(group, leader.member_id, 1), label="not synced")
    talk.ask(commit(group, topic, leader.member_id, 1), version=8, label="commit not synced")
    gather(leader, follower)
    leader.sync()
    follower.sync()
    leader.synced()
    follower.synced()
    member_id, generation = leader.member_id, leader.generation
    for label, request in (
        ("stable", heartbeat(group, member_id, generation)),
        ("old generation", heartbeat(group, member_id, generation - 1)),
        ("no generation", heartbeat(group, member_id, -1)),
        ("no group", heartbeat("", member_id, generation)),
        ("other group", heartbeat(talk.group("other"), member_id, generation)),
        ("invented id", heartbeat(group, "invented", generation)),
        ("no id", heartbeat(group, "", generation)),
        ("an instance", heartbeat(group, member_id, generation, instance="x")),
    ):
        talk.ask(request, label=label)
    for label, commits in (
        ("commit", commit(group, topic, member_id, generation)),
        ("commit of an old generation", commit(group, topic, member_id, generation - 1)),
        ("commit of an invented id", commit(group, topic, "invented", generation)),
        ("commit of nobody", commit(group, topic, "", -1)),
    ):
        talk.ask(commits, version=8, label=label)
    leader.begin()
    wait_for_rebalance(follower)
    talk.ask(heartbeat(group, follower.member_id, generation), label="rebalance")
    late = commit(group, topic, follower.member_id, generation)
    talk.ask(late, version=8, label="commit in a rebalance")


@case(LeaveGroupRequest)
def leave_one(talk: Talk) -> None:
    """A follower leaves, then the leader, while it is asked to join again"""
    group = talk.group()
    leader, follower = stable(talk, group)
    talk.ask(leave(talk, group, (follower.member_id, None)))
    talk.ask(heartbeat(group, follower.member_id, follower.generation), version=4)
    talk.ask(heartbeat(group, leader.member_id, leader.generation), version=4)
    talk.ask(leave(talk, group, (leader.member_id, None)))
    talk.ask(leave(talk, group, (leader.member_id, None)), label="again")
    talk.ask(DescribeGroupsRequest(groups=[group]), version=5)


@case(LeaveGroupRequest)
def leave_wrongly(talk: Talk) -> None:
    """No group, invented ids, and who has been given an id and not joined"""
    group = talk.group()
    talk.ask(leave(talk, "", ("x", None)), label="no group")
    talk.ask(leave(talk, group, ("x", None)), label="no such group")
    pending = Member(talk, group)
    talk.ask(leave(talk, group, (pending.get_id(), None)), label="not joined")
    stable(talk, group)
    talk.ask(leave(talk, group, ("x", None)), label="invented id")
    talk.ask(leave(talk, group, ("", None)), label="no id")


@case(LeaveGroupRequest)
def leave_while_waiting(talk: Talk) -> None:
    """Who leaves while its JoinGroup waits is told that it is no member any more"""
    group = talk.group()
    leader, follower = stable(talk, group)
    leader.begin()
    wait_for_rebalance(follower)
    talk.ask(leave(talk, group, (leader.member_id, None)))
    leader.joined("waiting")


@case(LeaveGroupRequest, versions=(3, 5))
def leave_several(talk: Talk) -> None:
    """Several at once, by instance id, with wrong ids, and none"""
    group = talk.group()
    leader, follower = Member(talk, group, instance="i0"), Member(talk, group, instance="i1")
    settle(leader, follower)
    talk.ask(leave(talk, group), label="nobody")
    for label, one in (
        ("unknown instance", ("", "x")),
        ("wrong instance", (leader.member_id, "i1")),
        ("other instance", (leader.member_id, "x")),
    ):
        talk.ask(leave(talk, group, one), label=label)
    talk.ask(leave(talk, group, (leader.member_id, "i0")), label="one")
    talk.ask(leave(talk, group, ("", "i1")), label="by instance")
    third = Member(talk, group)
    third.begin()
    third.joined()
    answer = talk.ask(leave(talk, group, ("x", None), (third.member_id, None)), label="some")
    assert isinstance(answer, LeaveGroupResponse)


@case(DescribeGroupsRequest)
def describe_groups(talk: Talk) -> None:
    """In each state, unknown ones, none, several, and one twice"""
    group, other = talk.group(), talk.group("other")
    talk.ask(DescribeGroupsRequest(groups=[group, other]), label="unknown")
    talk.ask(DescribeGroupsRequest(groups=[""]), label="no name")
    talk.ask(DescribeGroupsRequest(groups=[]), label="none")
    leader, follower = Member(talk, group), Member(talk, group)
    leader.get_id()
    talk.wait_for_listing(group)
    talk.ask(DescribeGroupsRequest(groups=[group]), label="not joined")
    leader.begin()
    leader.joined()
    talk.ask(DescribeGroupsRequest(groups=[group]), label="not synced")
    gather(leader, follower, "follower", "leader")
    leader.sync(leader.member_id)
    follower.sync()
    leader.synced()
    follower.synced()
    request = DescribeGroupsRequest(groups=[group], include_authorized_operations=True)
    talk.ask(request, label="stable")
    talk.ask(DescribeGroupsRequest(groups=[other, group]), label="two")
    talk.ask(DescribeGroupsRequest(groups=[group, group]), label="twice")
    leader.begin()
    wait_for_rebalance(follower)
    talk.ask(DescribeGroupsRequest(groups=[group]), label="rebalance")
    talk.connection.ask(
        LeaveGroupRequest(
            group_id=group,
            members=[MemberIdentity(member_id=one.member_id) for one in (leader, follower)],
        ),
        3,
    )
    talk.ask(DescribeGroupsRequest(groups=[group]), label="empty")


@case(DescribeGroupsRequest)
def describe_static_members(talk: Talk) -> None:
    """Members with instance ids, one of whom came back"""
    group = talk.group()
    leader, follower = Member(talk, group, instance="i0"), Member(talk, group, instance="i1")
    settle(leader, follower)
    talk.ask(join(group, instance="i1"), version=JOIN)
    answer = talk.ask(join(group, instance="i0"), version=JOIN)
    assert isinstance(answer, JoinGroupResponse)
    talk.ask(DescribeGroupsRequest(groups=[group]))


@case(DescribeGroupsRequest)
def describe_other_members(talk: Talk) -> None:
    """Members that are no consumers, whatever their metadata"""
    group = talk.group()
    alone = Member(talk, group, kind="connect", protocols=(("compatible", bytes(range(9))),))
    alone.begin()
    alone.joined("joined")
    talk.ask(DescribeGroupsRequest(groups=[group]), label="not synced")
    alone.sync(alone.member_id)
    alone.synced()
    talk.ask(DescribeGroupsRequest(groups=[group]), label="stable")


differs(
    DescribeGroupsRequest,
    "groups/group+",
    kafka="present",
    ours="absent",
    reason="What is named twice is answered once, or small requests would have huge answers",
    cases="describe-groups",
)

surprise(
    JoinGroupRequest,
    """A member of type `consumer` whose metadata is broken in some ways (a count of topics that is
    larger than the rest) is never answered: the broker fails each time it ends the join phase.
    Ours takes any metadata.""",
)
surprise(
    JoinGroupRequest,
    """A second JoinGroup of a member that waits takes the place of the first, which is never
    answered; ours answers the first with REBALANCE_IN_PROGRESS.""",
)
surprise(
    SyncGroupRequest,
    """A member that leaves while its SyncGroup waits is never answered; ours answers
    UNKNOWN_MEMBER_ID.""",
)
