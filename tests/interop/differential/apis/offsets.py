"""Offsets of groups without members, and what finds, lists and deletes groups."""

from __future__ import annotations

from mesh.wire import Message
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest
from mesh.wire.schemas.list_groups import ListGroupsRequest, ListGroupsResponse
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from mesh.wire.schemas.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from mesh.wire.types import NO_UUID
from tests.interop.differential.ask import topic_id
from tests.interop.differential.cases import case, differs
from tests.interop.differential.talk import Talk

GROUP, TRANSACTION, SHARE = 0, 1, 2
IDS_SINCE = 10
KEYS_SINCE = 4
GROUPS_SINCE = 8
LONG_TEXT = "x" * 4096


def commit(
    talk: Talk,
    group: str,
    *topics: tuple[str, list[tuple[int, int]]],
    metadata: str | None = "",
    generation: int = -1,
    member: str = "",
    instance: str | None = None,
    retention_ms: int = -1,
    leader_epoch: int = -1,
) -> OffsetCommitRequest:
    """Return a commit of (partition, offset) pairs; topics by id where the version wants it."""
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=instance,
        retention_time_ms=retention_ms,
        topics=[
            OffsetCommitRequestTopic(
                name=name,
                topic_id=topic_id(talk, name) if talk.version >= IDS_SINCE else NO_UUID,
                partitions=[
                    OffsetCommitRequestPartition(
                        partition_index=index,
                        committed_offset=offset,
                        committed_metadata=metadata,
                        committed_leader_epoch=leader_epoch,
                    )
                    for index, offset in offsets
                ],
            )
            for name, offsets in topics
        ],
    )


def fetch(
    talk: Talk, group: str, *topics: tuple[str, list[int]], every: bool = False
) -> OffsetFetchRequest:
    """Return what asks how far a group has come, in the form of the version; `every`: all."""
    if talk.version < GROUPS_SINCE:
        plain = [OffsetFetchRequestTopic(name=name, partition_indexes=at) for name, at in topics]
        return OffsetFetchRequest(group_id=group, topics=None if every else plain)
    return OffsetFetchRequest(groups=[_of_group(talk, group, *topics, every=every)])


def _of_group(
    talk: Talk, group: str, *topics: tuple[str, list[int]], every: bool = False
) -> OffsetFetchRequestGroup:
    wanted = [
        OffsetFetchRequestTopics(
            name=name,
            topic_id=topic_id(talk, name) if talk.version >= IDS_SINCE else NO_UUID,
            partition_indexes=indexes,
        )
        for name, indexes in topics
    ]
    return OffsetFetchRequestGroup(group_id=group, topics=None if every else wanted)


def fetch_all(group: str) -> OffsetFetchRequest:
    """Return what asks for all offsets of a group, by name."""
    return OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=None)])


@case(OffsetCommitRequest)
def commit_offsets(talk: Talk) -> None:
    """Several partitions at once, one of them again, and back."""
    group, topic = talk.group(), talk.topic(partitions=3)
    talk.ask(commit(talk, group, (topic, [(0, 5), (1, 0), (2, 2**62)])))
    talk.ask(commit(talk, group, (topic, [(0, 3)]), metadata="text", leader_epoch=4))
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(OffsetCommitRequest)
def commit_offsets_unknown(talk: Talk) -> None:
    """Unknown topics and partitions beside a known one, negative offsets, nothing at all."""
    group, topic = talk.group(), talk.topic()
    missing = talk.name()
    talk.ask(commit(talk, group, (topic, [(0, 5), (1, 5), (-1, 5)]), (missing, [(0, 1)])))
    talk.ask(commit(talk, group, (topic, [(0, -1), (0, -7)])), label="negative")
    talk.ask(commit(talk, group, (topic, [])), label="no partitions")
    talk.ask(commit(talk, group), label="nothing")
    talk.ask(commit(talk, group, (topic, [(0, 1), (0, 2)]), (topic, [(0, 3)])), label="twice")
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(OffsetCommitRequest)
def commit_offsets_texts(talk: Talk) -> None:
    """Text as long as allowed, one more, none."""
    group, topic = talk.group(), talk.topic()
    for text in (LONG_TEXT, LONG_TEXT + "x", None, "ü" * 4096):
        size = "none" if text is None else str(len(text.encode()))
        talk.ask(commit(talk, group, (topic, [(0, 1)]), metadata=text), label=f"text {size}")
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(OffsetCommitRequest)
def commit_offsets_in_bulk(talk: Talk) -> None:
    """More text than fits into a batch of the offsets' topic; then one that works"""
    group, topic = talk.group(), talk.topic()
    many = [(0, number) for number in range(300)]
    talk.ask(commit(talk, group, (topic, many), metadata=LONG_TEXT), label="too much")
    talk.ask(commit(talk, group, (topic, many[:100]), metadata=LONG_TEXT), label="much")
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(OffsetCommitRequest)
def commit_offsets_as_member(talk: Talk) -> None:
    """Generations, member ids and instances of groups that are not there, or have no members."""
    group, topic = talk.group(), talk.topic()
    one = (topic, [(0, 1)])
    for at in ("unknown", "known"):
        talk.ask(commit(talk, group, one, generation=1, member="m"), label=f"{at}: member")
        talk.ask(commit(talk, group, one, generation=0), label=f"{at}: generation 0")
        talk.ask(commit(talk, group, one, generation=-2), label=f"{at}: generation -2")
        if at == "unknown":
            talk.ask(commit(talk, group, one), label="simple")
    other = talk.group("other")
    talk.ask(commit(talk, other, one, member="m"), label="a member without generation")
    if talk.version >= 7:
        talk.ask(commit(talk, talk.group("third"), one, instance="i"), label="an instance")
    talk.ask(commit(talk, "", one), label="empty group")


@case(OffsetCommitRequest, versions=(2, 4))
def commit_offsets_for_a_time(talk: Talk) -> None:
    """A retention of its own, as old clients may ask."""
    group, topic = talk.group(), talk.topic()
    talk.ask(commit(talk, group, (topic, [(0, 1)]), retention_ms=3_600_000))
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(OffsetFetchRequest)
def fetch_committed(talk: Talk) -> None:
    """What was committed, what was not, all of it; partitions twice."""
    group, topic = talk.group(), talk.topic(partitions=3)
    keep = talk.version
    talk.version = min(keep, 9)
    talk.connection.ask(commit(talk, group, (topic, [(0, 5), (2, 7)]), metadata="a"), 9)
    talk.version = keep
    talk.ask(fetch(talk, group, (topic, [0, 1, 2, 9, -1])))
    talk.ask(fetch(talk, group, (topic, [0, 0]), (topic, [2])), label="twice")
    talk.ask(fetch(talk, group, (topic, [])), label="no partitions")
    talk.ask(fetch(talk, group), label="nothing")
    if talk.version >= 2:
        talk.ask(fetch(talk, group, every=True), label="all")


@case(OffsetFetchRequest)
def fetch_committed_unknown(talk: Talk) -> None:
    """A group and topics that are not there."""
    group, topic = talk.group(), talk.topic()
    talk.ask(fetch(talk, group, (topic, [0]), (talk.name(), [0, 1])))
    if talk.version >= 2:
        talk.ask(fetch(talk, group, every=True), label="all")
    talk.ask(fetch(talk, "", (topic, [0])), label="empty group")


@case(OffsetFetchRequest)
def fetch_committed_again(talk: Talk) -> None:
    """What was committed last, with its text and its leader's epoch; then without them"""
    group, topic = talk.group(), talk.topic()
    for offset, text, leader_epoch in ((5, "text", 3), (4, None, -1)):
        wanted = OffsetCommitRequestPartition(
            committed_offset=offset, committed_metadata=text, committed_leader_epoch=leader_epoch
        )
        named = OffsetCommitRequestTopic(name=topic, partitions=[wanted])
        talk.connection.ask(OffsetCommitRequest(group_id=group, topics=[named]), 9)
        talk.ask(fetch(talk, group, (topic, [0])), label=f"offset {offset}")


@case(OffsetFetchRequest, versions=(8, 10))
def fetch_committed_of_groups(talk: Talk) -> None:
    """Several groups in a request, one of them twice, and none."""
    groups = [talk.group("one"), talk.group("two"), talk.group("three")]
    topic = talk.topic(partitions=2)
    for number, group in enumerate(groups[:2]):
        request = OffsetCommitRequest(
            group_id=group,
            topics=[
                OffsetCommitRequestTopic(
                    name=topic,
                    partitions=[
                        OffsetCommitRequestPartition(partition_index=0, committed_offset=number)
                    ],
                )
            ],
        )
        talk.connection.ask(request, 9)
    wanted = [_of_group(talk, group, (topic, [0, 1])) for group in groups]
    talk.ask(OffsetFetchRequest(groups=wanted))
    talk.ask(OffsetFetchRequest(groups=wanted, require_stable=True), label="stable")
    talk.ask(OffsetFetchRequest(groups=[]), label="none")


@case(OffsetFetchRequest, versions=(9, 10))
def fetch_committed_as_member(talk: Talk) -> None:
    """Members of a group that is not there, and of one without members."""
    group, topic = talk.group(), talk.topic()
    for at in ("unknown", "known"):
        for member, epoch in (("m", 1), (None, 1), ("m", -1), ("", 0)):
            wanted = _of_group(talk, group, (topic, [0]))
            wanted.member_id, wanted.member_epoch = member, epoch
            talk.ask(OffsetFetchRequest(groups=[wanted]), label=f"{at}: {member} {epoch}")
        request = OffsetCommitRequest(
            group_id=group,
            topics=[
                OffsetCommitRequestTopic(
                    name=topic,
                    partitions=[OffsetCommitRequestPartition(committed_offset=1)],
                )
            ],
        )
        talk.connection.ask(request, 9)


@case(OffsetDeleteRequest)
def delete_committed(talk: Talk) -> None:
    """What was committed, what was not, of unknown topics; of no group."""
    group, topic = talk.group(), talk.topic(partitions=3)
    talk.connection.ask(commit(talk, group, (topic, [(0, 5), (1, 7)])), 9)

    def deletion(of: str, *topics: tuple[str, list[int]]) -> OffsetDeleteRequest:
        return OffsetDeleteRequest(
            group_id=of,
            topics=[
                OffsetDeleteRequestTopic(
                    name=name,
                    partitions=[OffsetDeleteRequestPartition(partition_index=at) for at in indexes],
                )
                for name, indexes in topics
            ],
        )

    talk.ask(deletion(group, (topic, [0, 2, 7, -1]), (talk.name(), [0])))
    talk.ask(fetch_all(group), version=9, label="fetch")
    talk.ask(deletion(group, (topic, [1])), label="the last")
    talk.ask(deletion(group, (topic, [1])), label="once more")
    talk.ask(deletion(talk.group("other"), (topic, [0])), label="unknown group")
    talk.ask(deletion(group), label="nothing")
    talk.ask(deletion(""), label="empty group")


@case(DeleteGroupsRequest)
def delete_groups(talk: Talk) -> None:
    """A group with offsets, one that is not there, one twice, none."""
    group, topic = talk.group(), talk.topic()
    talk.connection.ask(_simple(group, topic), 9)
    talk.ask(DeleteGroupsRequest(groups_names=[group, talk.group("other")]))
    talk.ask(DeleteGroupsRequest(groups_names=[group]), label="once more")
    talk.ask(DeleteGroupsRequest(groups_names=[]), label="none")
    talk.ask(fetch_all(group), version=9, label="fetch")


@case(DeleteGroupsRequest)
def delete_groups_twice(talk: Talk) -> None:
    """The same group twice in a request."""
    group, topic = talk.group(), talk.topic()
    talk.connection.ask(_simple(group, topic), 9)
    talk.ask(DeleteGroupsRequest(groups_names=[group, group]))


def _simple(group: str, topic: str) -> OffsetCommitRequest:
    partition = OffsetCommitRequestPartition(committed_offset=1)
    return OffsetCommitRequest(
        group_id=group, topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])]
    )


@case(ListGroupsRequest)
def list_groups(talk: Talk) -> None:
    """A group that only has offsets, by state and kind."""
    group, topic = talk.group(), talk.topic()
    talk.connection.ask(_simple(group, topic), 9)
    talk.wait_for_listing(group)
    filters: list[tuple[list[str], list[str]]] = [([], [])]
    if talk.version >= 4:
        filters += [(["Empty"], []), (["stable", "EMPTY"], []), (["Stable"], []), (["no"], [])]
    if talk.version >= 5:
        filters += [([], ["classic"]), ([], ["Consumer"]), (["Empty"], ["CLASSIC", "x"])]
    for states, kinds in filters:
        request = ListGroupsRequest(states_filter=states, types_filter=kinds)
        answer = talk.connection.ask(request, talk.version)
        if isinstance(answer, ListGroupsResponse):
            answer.groups = [each for each in answer.groups if each.group_id in talk.names]
        talk.hear(answer, label=f"states {states} kinds {kinds}")


@case(ListGroupsRequest)
def list_groups_that_went(talk: Talk) -> None:
    """A group that was deleted, and one that never was"""
    group, topic = talk.group(), talk.topic()
    talk.connection.ask(_simple(group, topic), 9)
    talk.wait_for_listing(group)
    talk.connection.ask(DeleteGroupsRequest(groups_names=[group]), 2)
    answer = talk.connection.ask(ListGroupsRequest(), talk.version)
    if isinstance(answer, ListGroupsResponse):
        answer.groups = [each for each in answer.groups if each.group_id in talk.names]
    talk.hear(answer)


@case(ListGroupsRequest)
def list_groups_of_nobody(talk: Talk) -> None:
    """Before this case has a group; by states and kinds that do not exist"""
    talk.group()
    request = ListGroupsRequest()
    if talk.version >= 4:
        request.states_filter = ["", "Nope"]
    if talk.version >= 5:
        request.types_filter = ["", "nope"]
    answer = talk.connection.ask(request, talk.version)
    if isinstance(answer, ListGroupsResponse):
        answer.groups = [each for each in answer.groups if each.group_id in talk.names]
    talk.hear(answer)


@case(FindCoordinatorRequest)
def find_coordinator(talk: Talk) -> None:
    """The coordinator of groups, of a share group's partition, and of what does not exist."""
    group = talk.group()
    for kind in (GROUP, 3, -1) if talk.version else (GROUP,):
        for key in (group, ""):
            talk.ask(finding(talk, kind, key), label=f"kind {kind} key {key and 'group'}")


@case(FindCoordinatorRequest)
def find_coordinator_of_odd_ids(talk: Talk) -> None:
    """Ids that nobody would choose: a space, signs, long ones"""
    talk.group()
    for key in (" ", "grüße/😀", "x" * 5_000):
        talk.ask(finding(talk, GROUP, key), label=f"{len(key)} characters")


@case(FindCoordinatorRequest)
def find_coordinator_again(talk: Talk) -> None:
    """The same group twice, one after the other"""
    group = talk.group()
    talk.ask(finding(talk, GROUP, group))
    talk.ask(finding(talk, GROUP, group), label="again")


@case(FindCoordinatorRequest, versions=(4, 6))
def find_coordinators(talk: Talk) -> None:
    """Several at once, one of them twice, none."""
    one = talk.group("one")
    keys = [one, talk.group("two"), one]
    talk.ask(FindCoordinatorRequest(coordinator_keys=keys))
    talk.ask(FindCoordinatorRequest(coordinator_keys=[]), label="none")


def finding(talk: Talk, kind: int, *keys: str) -> Message:
    """Return what asks for coordinators in the form of the version."""
    if talk.version >= KEYS_SINCE:
        return FindCoordinatorRequest(key_type=kind, coordinator_keys=[*keys])
    return FindCoordinatorRequest(key_type=kind, key=keys[0])


GONE = "A group of which nothing is left is gone; Kafka's stays in memory for a while"
AFTERWARDS = {"error_code": (0, 69), "topics/*": ("present", "absent")}

for _path, (_kafka, _ours) in AFTERWARDS.items():
    differs(
        OffsetDeleteRequest,
        _path,
        kafka=_kafka,
        ours=_ours,
        reason=GONE,
        cases="delete-committed",
    )
