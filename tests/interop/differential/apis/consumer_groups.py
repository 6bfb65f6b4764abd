"""Groups by KIP-848: ConsumerGroupHeartbeat, ConsumerGroupDescribe, and others' views of them.

Who is assigned what is compared in tests/interop/test_shadow.py, with equal ids on both sides.
"""

from __future__ import annotations

import time
from typing import Any

from mesh.broker.coordinators import partition_of
from mesh.wire.schemas.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
)
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from mesh.wire.schemas.describe_groups import DescribeGroupsRequest
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest
from mesh.wire.schemas.leave_group import LeaveGroupRequest, MemberIdentity
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from mesh.wire.schemas.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import ANSWER_WAIT_S, SetupError, Talk

KAFKA_PARTITIONS, OUR_PARTITIONS = 3, 50
"""Of the offsets' topic, of Kafka's broker here and of ours."""
NOT_YET = (14, 15, 16)


def beat(group: str, epoch: int = 0, **fields: Any) -> ConsumerGroupHeartbeatRequest:
    """Return a heartbeat of member `m1`; a first one says what it must."""
    plain: dict[str, Any] = {
        "group_id": group,
        "member_id": "m1",
        "member_epoch": epoch,
        "topic_partitions": None,
    }
    if epoch == 0:
        plain |= {
            "rebalance_timeout_ms": 60_000,
            "topic_partitions": [],
            "subscribed_topic_names": ["nothing"],
        }
    return ConsumerGroupHeartbeatRequest(**{**plain, **fields})


def group_of(talk: Talk, topic: str | None = None) -> str:
    """Return a group that nobody used, once its coordinator has heard of a topic."""
    group = talk.coordinated_here("group")
    counts = (KAFKA_PARTITIONS, OUR_PARTITIONS)
    places = [partition_of(group, count) for count in counts]
    names = (f"{group}-probe-{number}" for number in range(10_000))
    probe = next(
        name for name in names if [partition_of(name, count) for count in counts] == places
    )
    request = beat(probe, subscribed_topic_names=["nothing" if topic is None else topic])
    deadline = time.monotonic() + ANSWER_WAIT_S
    while time.monotonic() < deadline:
        talk.connection.ask(FindCoordinatorRequest(coordinator_keys=[probe]), 4)
        answer = talk.connection.ask(request, 1)
        if not isinstance(answer, ConsumerGroupHeartbeatResponse):
            break
        assignment = answer.assignment
        if answer.error_code == 0:
            talk.connection.ask(beat(probe, -1), 1)
            if topic is None or (assignment is not None and assignment.topic_partitions):
                return group
        elif answer.error_code not in NOT_YET:
            break
    raise SetupError(f"{probe}: no coordinator that knows {topic}")


def epoch_of(talk: Talk, group: str, member_id: str = "m1") -> int:
    """Return a member's epoch, once its group is stable; its members must be so by then."""
    deadline = time.monotonic() + ANSWER_WAIT_S
    while time.monotonic() < deadline:
        answer = talk.connection.ask(ConsumerGroupDescribeRequest(group_ids=[group]), 0)
        if isinstance(answer, ConsumerGroupDescribeResponse):
            (found,) = answer.groups
            if found.group_state == "Stable":
                return next(m.member_epoch for m in found.members if m.member_id == member_id)
    raise SetupError(f"{group} is not stable")


@case(ConsumerGroupHeartbeatRequest)
def member_comes_and_goes(talk: Talk) -> None:
    """Joins, lives, is asked for all, joins again, leaves, and is not known any more"""
    topic = talk.topic(partitions=3)
    group = group_of(talk, topic)
    names = [topic]
    talk.ask(beat(group, subscribed_topic_names=names, rack_id="left"), label="joins")
    epoch = epoch_of(talk, group)
    talk.ask(beat(group, epoch), label="lives")
    talk.ask(beat(group, epoch, topic_partitions=[]), label="says it has nothing")
    full = beat(group, epoch, rebalance_timeout_ms=1, subscribed_topic_names=names)
    full.topic_partitions = []
    talk.ask(full, label="in full")
    talk.ask(beat(group, subscribed_topic_names=names), label="joins again")
    talk.ask(beat(group, -1), label="leaves")
    for late in (-1, epoch, 0):
        talk.ask(beat(group, late, subscribed_topic_names=names), label=f"after it, {late}")


@case(ConsumerGroupHeartbeatRequest)
def member_refused(talk: Talk) -> None:
    """All that can be wrong with a heartbeat, of a group that is not there"""
    group = group_of(talk)
    refused: tuple[tuple[str, dict[str, Any]], ...] = (
        ("no group", {"group_id": ""}),
        ("blank group", {"group_id": "  "}),
        ("blank member", {"member_id": " "}),
        ("empty instance", {"instance_id": ""}),
        ("empty rack", {"rack_id": ""}),
        ("no time-out", {"rebalance_timeout_ms": -1}),
        ("null partitions", {"topic_partitions": None}),
        ("partitions", {"topic_partitions": [TopicPartitions(topic_id=bytes(16), partitions=[1])]}),
        ("no subscription", {"subscribed_topic_names": None}),
        ("unknown assignor", {"server_assignor": "mine"}),
    )
    for label, fields in refused:
        talk.ask(beat(group, **fields), label=label)
    for epoch in (1, -1, -2, -3, -(2**31), 2**31 - 1):
        talk.ask(beat(group, epoch), label=f"epoch {epoch}")
        talk.ask(beat(group, epoch, member_id=""), label=f"epoch {epoch}, no member")
    talk.ask(beat(group, -2, instance_id="i"), label="away without having been there")


@case(ConsumerGroupHeartbeatRequest, versions=(0, 0))
def member_without_id(talk: Talk) -> None:
    """Before version 1 the broker makes ids"""
    group = group_of(talk)
    talk.ask(beat(group, member_id=""))


@case(ConsumerGroupHeartbeatRequest)
def member_epochs(talk: Talk) -> None:
    """One too large, one too small, a stranger's; with and without what it has"""
    topic = talk.topic(partitions=2)
    group = group_of(talk, topic)
    joined = talk.ask(beat(group, subscribed_topic_names=[topic]), label="joins")
    assert isinstance(joined, ConsumerGroupHeartbeatResponse)
    epoch = epoch_of(talk, group)
    for wrong in (epoch + 1, epoch - 1, 1):
        talk.ask(beat(group, wrong), label=f"{wrong}")
        talk.ask(beat(group, wrong, topic_partitions=[]), label=f"{wrong}, has nothing")
    talk.ask(beat(group, epoch, member_id="stranger"), label="stranger")
    talk.ask(beat(group, -1, member_id="stranger"), label="stranger leaves")
    talk.ask(beat(group, epoch, instance_id="i"), label="not static")


@case(ConsumerGroupHeartbeatRequest)
def member_static(talk: Talk) -> None:
    """Joins, is asked for by another one, leaves for a moment, is replaced, and fenced"""
    topic = talk.topic(partitions=2)
    group = group_of(talk, topic)
    static: dict[str, Any] = {"instance_id": "i1", "subscribed_topic_names": [topic]}
    talk.ask(beat(group, **static), label="joins")
    epoch = epoch_of(talk, group)
    talk.ask(beat(group, member_id="m2", **static), label="another one")
    talk.ask(beat(group, epoch, instance_id="i1", member_id="m2"), label="another one's epoch")
    talk.ask(beat(group, -2, instance_id="i1"), label="leaves for a moment")
    talk.ask(beat(group, member_id="m2", **static), label="is replaced")
    talk.ask(beat(group, epoch, instance_id="i1"), label="is fenced")
    talk.ask(beat(group, -1, instance_id="i1"), label="is fenced as it leaves")
    talk.ask(beat(group, -1, instance_id="i1", member_id="m2"), label="the other one leaves")
    talk.ask(beat(group, -1, instance_id="i1", member_id="m2"), label="twice")


@case(ConsumerGroupHeartbeatRequest, versions=(1, 1))
def member_patterns(talk: Talk) -> None:
    """Patterns that are none, one that matches nothing, and one that matches a topic"""
    topic = talk.topic(partitions=2)
    group = group_of(talk, topic)
    for pattern in ("(a", "a**", "[b-a]", r"(a)\1", "(?=a)", "a{1001}"):
        talk.ask(beat(group, subscribed_topic_regex=pattern), label=pattern)
    only: dict[str, Any] = {"subscribed_topic_names": None}
    talk.ask(beat(group, subscribed_topic_regex="nothing-.*", **only), label="matches nothing")
    talk.ask(beat(group, -1), label="leaves")
    # The first answer is empty; names are looked through behind it.
    talk.ask(beat(group, subscribed_topic_regex=topic[:-1] + ".", **only), label="joins")
    deadline = time.monotonic() + ANSWER_WAIT_S
    while time.monotonic() < deadline:
        request = beat(group, subscribed_topic_regex=topic[:-1] + ".", **only)
        answer = talk.connection.ask(request, 1)
        assert isinstance(answer, ConsumerGroupHeartbeatResponse), answer
        if answer.assignment is not None and answer.assignment.topic_partitions:
            talk.hear(answer, label="has it")
            return
    raise SetupError(f"{topic} was not found by its pattern")


@case(ConsumerGroupHeartbeatRequest, versions=(1, 1))
def member_pattern_bomb(talk: Talk) -> None:
    """A short pattern that takes a million steps to say, and one of five thousand characters"""
    group = group_of(talk)
    talk.ask(beat(group, subscribed_topic_regex="((a{99}){99}){99}"), label="short")
    talk.ask(beat(group, subscribed_topic_regex="a" * 5_000), label="long")


for field in ("assignment*", "error_*", "heartbeat_interval_ms", "member_*"):
    differs(
        ConsumerGroupHeartbeatRequest,
        field,
        kafka=ANY,
        ours=ANY,
        reason="Kafka's broker compiles such patterns, whatever memory they take; here a pattern "
        "has its bounds, and INVALID_REGULAR_EXPRESSION says so",
        cases="member-pattern-bomb",
    )


@case(ConsumerGroupDescribeRequest)
def new_groups_described(talk: Talk) -> None:
    """Unknown, without a name, twice, empty, with a member, with offsets alone, with operations"""
    topic = talk.topic(partitions=2)
    group, simple = group_of(talk, topic), talk.coordinated_here("simple")

    def ask(label: str, *groups: str, operations: bool = False) -> None:
        request = ConsumerGroupDescribeRequest(
            group_ids=list(groups), include_authorized_operations=operations
        )
        talk.ask(request, label=label)

    ask("unknown", group)
    ask("without a name", "")
    ask("twice", group, group)
    ask("nothing")
    names: dict[str, Any] = {"subscribed_topic_names": [topic, "nothing"], "rack_id": "left"}
    talk.connection.ask(beat(group, instance_id="i1", server_assignor="range", **names), 1)
    epoch_of(talk, group)
    ask("one member", group)
    ask("operations", group, operations=True)
    talk.connection.ask(beat(group, -1, instance_id="i1"), 1)
    ask("empty", group)
    talk.connection.ask(commit(simple, topic, "", -1), 9)
    ask("with offsets alone", simple)
    ask("several", group, simple, talk.coordinated_here("other"))


differs(
    ConsumerGroupDescribeRequest,
    "groups/group+",
    kafka="present",
    ours="absent",
    reason="What is named twice is answered once, or small requests would have huge answers",
    cases="new-groups-described",
)


def commit(group: str, topic: str, member_id: str, epoch: int) -> OffsetCommitRequest:
    """Return an OffsetCommit of one partition."""
    wanted = [OffsetCommitRequestPartition(partition_index=0, committed_offset=1)]
    return OffsetCommitRequest(
        group_id=group,
        member_id=member_id,
        generation_id_or_member_epoch=epoch,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=wanted)],
    )


@case(OffsetCommitRequest, versions=(2, 9))
def commits_of_new_members(talk: Talk) -> None:
    """By its epoch, another one's, nobody's; and as a stranger"""
    topic = talk.topic()
    group = group_of(talk, topic)
    talk.connection.ask(beat(group, subscribed_topic_names=[topic]), 1)
    epoch = epoch_of(talk, group)
    for member_id, said in (
        ("m1", epoch),
        ("m1", epoch + 1),
        ("m1", epoch - 1),
        ("", -1),
        ("x", 1),
    ):
        talk.ask(commit(group, topic, member_id, said), label=f"{member_id} at {said}")
    talk.connection.ask(beat(group, -1), 1)
    talk.ask(commit(group, topic, "", -1), label="empty, nobody")
    talk.ask(commit(group, topic, "m1", epoch), label="empty, a member of before")


@case(OffsetFetchRequest, versions=(8, 9))
def fetches_of_new_members(talk: Talk) -> None:
    """By its epoch, another one's, nobody's; and as a stranger"""
    topic = talk.topic()
    group = group_of(talk, topic)
    talk.connection.ask(beat(group, subscribed_topic_names=[topic]), 1)
    epoch = epoch_of(talk, group)
    for member_id, said in (("m1", epoch), ("m1", epoch + 1), ("m1", 0), (None, -1), ("x", 1)):
        wanted = OffsetFetchRequestGroup(group_id=group, member_id=member_id, member_epoch=said)
        wanted.topics = None
        talk.ask(OffsetFetchRequest(groups=[wanted]), label=f"{member_id} at {said}")


@case(DescribeGroupsRequest)
def new_group_described_as_classic(talk: Talk) -> None:
    """A group by KIP-848 is no classic one, with members and without"""
    group = group_of(talk)
    talk.connection.ask(beat(group), 1)
    talk.ask(DescribeGroupsRequest(groups=[group]), label="with a member")
    talk.connection.ask(beat(group, -1), 1)
    talk.ask(DescribeGroupsRequest(groups=[group]), label="empty")


@case(LeaveGroupRequest, versions=(3, 5))
def new_members_removed(talk: Talk) -> None:
    """As an administrator does it: a stranger, a member, twice, a static one by its instance"""
    group = group_of(talk)
    talk.connection.ask(beat(group), 1)
    talk.connection.ask(beat(group, member_id="m2", instance_id="i2"), 1)
    for label, member_id, instance_id in (
        ("stranger", "x", None),
        ("member", "m1", None),
        ("twice", "m1", None),
        ("another one's instance", "m1", "i2"),
        ("instance", "", "i2"),
        ("unknown instance", "", "i3"),
    ):
        identity = MemberIdentity(member_id=member_id, group_instance_id=instance_id)
        talk.ask(LeaveGroupRequest(group_id=group, members=[identity]), label=label)


surprise(
    ConsumerGroupHeartbeatRequest,
    """Neither assignor looks at racks in 4.3; a member's rack is only kept and described.""",
)
surprise(
    ConsumerGroupHeartbeatRequest,
    """A coordinator may hear of a new topic seconds after Metadata names it, and assigns nothing
    of it until then.""",
)
surprise(
    ConsumerGroupHeartbeatRequest,
    """Of two assignors with as many votes, ConsumerGroupDescribe may name the one that is not
    used.""",
)
