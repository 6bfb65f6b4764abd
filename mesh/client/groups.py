"""What a cluster is asked about its consumer groups, and told to do to them. trio.

Each call finds the group's coordinator by itself, and looks again when it has moved; one that is
still loading is asked until `request_ms_max` is over. What then stays is a `GroupError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from mesh.client.client import Client, now
from mesh.client.codes import code_of
from mesh.client.settings import (
    Address,
    CannotConnectError,
    ConnectionLostError,
    UnsupportedApiError,
)
from mesh.client.subscription import (
    BadMemberBytesError,
    assignment_untrusted,
    subscription_untrusted,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, TopicPartition
from mesh.wire import Message
from mesh.wire.schemas import consumer_group_describe as new_groups
from mesh.wire.schemas import describe_groups as classic_groups
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from mesh.wire.schemas.find_coordinator import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from mesh.wire.schemas.list_groups import ListGroupsRequest, ListGroupsResponse
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from mesh.wire.schemas.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
)
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
)
from storage.types import LeaderEpoch, Offset

A = TypeVar("A", bound=Message)

GROUP_KEY = 0
"""What a group's name is called in FindCoordinator."""
CLASSIC, CONSUMER = "classic", "consumer"
"""Kinds of groups whose members we can describe."""
CONSUMER_PROTOCOL = "consumer"
"""The protocol type whose member bytes are subscriptions and assignments."""
COMMIT_PARTITIONS_MAX = 10_000
"""Named in one OffsetCommit, so that its frame stays far below what a broker takes."""

TRY_MS_MAX = 10_000
"""For one coordinator, so that time is left for the one that replaces it."""

MOVED = frozenset(
    {
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
    }
)
"""Ask for the coordinator anew and try again a little later."""


class GroupError(KafkaError):
    """A group, or the request about it, is answered with an error code."""

    def __init__(self, code: ErrorCode, group: str, message: str | None = None) -> None:
        super().__init__(code, message or f"group {group}")
        self.group = group


class GroupNotFoundError(GroupError):
    """There is no group of this name."""


class GroupNotEmptyError(GroupError):
    """The group has members, and what was asked needs it to have none."""


class GroupsUnservedError(GroupError):
    """The group's coordinator is loading or moving for longer than the request may take."""


class MemberNotFoundError(GroupError):
    """The group has no such member."""


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group as its coordinator lists it."""

    group: str
    kind: str
    """`classic`, `consumer` and others; empty where the broker does not say."""
    state: str
    """Kafka's word, as `Stable`; empty where the broker does not say."""
    protocol_type: str
    coordinator: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """A member of a group."""

    member_id: str
    instance_id: str | None
    """Of a static member."""
    client_id: str
    host: str
    topics: tuple[str, ...]
    """What it subscribes to; with a pattern, what it named besides."""
    pattern: str | None
    assigned: tuple[TopicPartition, ...] | None
    """What it holds now; None if its bytes are of another protocol than consumers'."""
    target: tuple[TopicPartition, ...] | None
    """What it is to hold; None in classic groups, where nobody says."""
    member_epoch: int | None
    """None in classic groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """A group and its members."""

    group: str
    kind: str
    state: str
    protocol_type: str
    assignor: str
    """Of the generation that stands; empty if there is none."""
    coordinator: NodeId
    group_epoch: int | None
    """None in classic groups."""
    members: tuple[MemberState, ...]


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """A group's position in a partition."""

    offset: Offset
    leader_epoch: LeaderEpoch
    """-1 if the member did not say."""
    metadata: str


def _error(code: ErrorCode, group: str, message: str | None = None) -> GroupError:
    kinds: dict[ErrorCode, type[GroupError]] = {
        ErrorCode.GROUP_ID_NOT_FOUND: GroupNotFoundError,
        ErrorCode.NON_EMPTY_GROUP: GroupNotEmptyError,
        ErrorCode.UNKNOWN_MEMBER_ID: MemberNotFoundError,
        **dict.fromkeys(MOVED, GroupsUnservedError),
    }
    return kinds.get(code, GroupError)(code, group, message)


def _check(code: int, group: str, message: str | None = None) -> None:
    if code:
        raise _error(code_of(code), group, message)


async def find_coordinator(client: Client, group: str) -> NodeId:
    """Return the node that coordinates a group.

    Raises:
        GroupsUnservedError: no node does, for longer than request_ms_max.
        GroupError: the name is not allowed, or not ours to ask about.
    """
    deadline_ms = now().monotonic_ms + client.settings.request_ms_max
    attempt = 0
    while True:
        try:
            return await _find_once(client, group)
        except GroupsUnservedError:
            pause = client.settings.backoff_ms(attempt, client.chance)
            if now().monotonic_ms + pause >= deadline_ms:
                raise
        attempt += 1
        await trio.sleep(pause / 1000)


async def _find_once(client: Client, group: str) -> NodeId:
    # Each version reads its own one of the two.
    request = FindCoordinatorRequest(key=group, key_type=GROUP_KEY, coordinator_keys=[group])
    answer = await client.request(request, FindCoordinatorResponse)
    found = (answer.node_id, answer.host, answer.port)
    code, message = answer.error_code, answer.error_message
    for item in answer.coordinators:
        found = (item.node_id, item.host, item.port)
        code, message = item.error_code, item.error_message
    _check(code, group, message or None)
    node, host, port = found
    client.cluster.endpoint(node, Address(host, port))
    return node


async def ask_coordinator(
    client: Client,
    group: str,
    request: Message,
    answer: type[A],
    code: Callable[[A], int],
    *,
    repeat: bool = True,
) -> tuple[A, NodeId]:
    """Ask a group's coordinator until it answers for itself; return that and who it is.

    Args:
        client: connected.
        group: whose coordinator is asked.
        request: for it.
        answer: class of the response.
        code: tells the error of a response as far as it is about the whole request.
        repeat: send again when a connection ended and the broker may have acted already.

    Raises:
        GroupError: the code, if it is lasting, or passing for too long.
        CannotConnectError, ConnectionLostError: the coordinator was not reached in time.
    """
    deadline_ms = now().monotonic_ms + client.settings.request_ms_max
    attempt = 0
    while True:
        failure: GroupError | CannotConnectError | ConnectionLostError
        left_ms = max(1, deadline_ms - now().monotonic_ms)
        try:
            node = await _find_once(client, group)
            response = await client.request(
                request,
                answer,
                node=node,
                repeat=False,
                # What may be done once only is not begun for the last few milliseconds.
                timeout_ms=min(left_ms, TRY_MS_MAX) if repeat else client.settings.request_ms_max,
            )
            found = code_of(code(response))
            if found not in MOVED:
                _check(found, group)
                return response, node
            failure = _error(found, group)
        except (GroupsUnservedError, CannotConnectError) as error:
            failure = error
        except ConnectionLostError as error:
            if not repeat:
                raise
            failure = error
        pause = client.settings.backoff_ms(attempt, client.chance)
        if now().monotonic_ms + pause >= deadline_ms:
            raise failure
        attempt += 1
        await trio.sleep(pause / 1000)


async def list_groups(
    client: Client, *, states: Sequence[str] = (), kinds: Sequence[str] = ()
) -> list[GroupListing]:
    """Return the groups of all brokers, by name; with states or kinds, only those.

    Raises:
        GroupsUnservedError: a broker is loading its groups for longer than request_ms_max.
    """
    await client.refresh()
    found: dict[str, GroupListing] = {}
    for node in sorted(client.cluster.brokers):
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(kinds))
        response = await _list_of(client, node, request)
        for item in response.groups:
            found[item.group_id] = GroupListing(
                item.group_id, item.group_type, item.group_state, item.protocol_type, node
            )
    # Old brokers know no filters.
    wanted_states = {state.lower() for state in states}
    wanted_kinds = {kind.lower() for kind in kinds}
    return [
        listing
        for _, listing in sorted(found.items())
        if (not wanted_states or listing.state.lower() in wanted_states)
        and (not wanted_kinds or listing.kind.lower() in wanted_kinds)
    ]


async def _list_of(client: Client, node: NodeId, request: ListGroupsRequest) -> ListGroupsResponse:
    deadline_ms = now().monotonic_ms + client.settings.request_ms_max
    attempt = 0
    while True:
        response = await client.request(request, ListGroupsResponse, node=node)
        code = code_of(response.error_code)
        if code not in MOVED:
            _check(code, "", f"broker {node} lists no groups")
            return response
        pause = client.settings.backoff_ms(attempt, client.chance)
        if now().monotonic_ms + pause >= deadline_ms:
            raise _error(code, "", f"broker {node} is still loading its groups")
        attempt += 1
        await trio.sleep(pause / 1000)


async def describe_group(client: Client, group: str) -> GroupState:
    """Return a group with its members, whatever its kind.

    As Kafka's tools do, it is asked for as a new group (KIP-848) first.

    Raises:
        GroupNotFoundError: there is none of this name.
        GroupError: what else the coordinator objects to.
    """
    try:
        return await _describe_new(client, group)
    except (GroupNotFoundError, UnsupportedApiError):
        return await _describe_classic(client, group)
    except GroupError as error:
        if error.code is not ErrorCode.UNSUPPORTED_VERSION:
            raise
        return await _describe_classic(client, group)


async def _describe_new(client: Client, group: str) -> GroupState:
    request = new_groups.ConsumerGroupDescribeRequest(group_ids=[group])

    def code(response: new_groups.ConsumerGroupDescribeResponse) -> int:
        return response.groups[0].error_code if response.groups else 0

    response, node = await ask_coordinator(
        client, group, request, new_groups.ConsumerGroupDescribeResponse, code
    )
    if not response.groups:
        raise _error(ErrorCode.GROUP_ID_NOT_FOUND, group)
    found = response.groups[0]
    members = [
        MemberState(
            member_id=member.member_id,
            instance_id=member.instance_id,
            client_id=member.client_id,
            host=member.client_host.removeprefix("/"),
            topics=tuple(sorted(member.subscribed_topic_names)),
            pattern=member.subscribed_topic_regex or None,
            assigned=_partitions(member.assignment),
            target=_partitions(member.target_assignment),
            member_epoch=member.member_epoch,
        )
        for member in found.members
    ]
    return GroupState(
        group=group,
        kind=CONSUMER,
        state=found.group_state,
        protocol_type=CONSUMER_PROTOCOL,
        assignor=found.assignor_name,
        coordinator=node,
        group_epoch=found.group_epoch,
        members=tuple(sorted(members, key=lambda member: member.member_id)),
    )


def _partitions(assignment: new_groups.Assignment) -> tuple[TopicPartition, ...]:
    return tuple(
        sorted(
            TopicPartition(topic.topic_name, index)
            for topic in assignment.topic_partitions
            for index in topic.partitions
        )
    )


async def _describe_classic(client: Client, group: str) -> GroupState:
    request = classic_groups.DescribeGroupsRequest(groups=[group])

    def code(response: classic_groups.DescribeGroupsResponse) -> int:
        return response.groups[0].error_code if response.groups else 0

    response, node = await ask_coordinator(
        client, group, request, classic_groups.DescribeGroupsResponse, code
    )
    # Before version 6 one that is not there is said to be dead.
    if not response.groups or response.groups[0].group_state in ("Dead", ""):
        raise _error(ErrorCode.GROUP_ID_NOT_FOUND, group)
    found = response.groups[0]
    members = [_classic_member(member, found.protocol_type) for member in found.members]
    return GroupState(
        group=group,
        kind=CLASSIC,
        state=found.group_state,
        protocol_type=found.protocol_type,
        assignor=found.protocol_data,
        coordinator=node,
        group_epoch=None,
        members=tuple(sorted(members, key=lambda member: member.member_id)),
    )


def _classic_member(member: classic_groups.DescribedGroupMember, protocol_type: str) -> MemberState:
    topics: tuple[str, ...] = ()
    assigned: tuple[TopicPartition, ...] | None = None
    if protocol_type == CONSUMER_PROTOCOL:
        try:
            topics = subscription_untrusted(member.member_metadata)
            assigned = assignment_untrusted(member.member_assignment)
        except BadMemberBytesError:
            pass  # A client of its own kind: what it holds is not known.
    return MemberState(
        member_id=member.member_id,
        instance_id=member.group_instance_id,
        client_id=member.client_id,
        host=member.client_host.removeprefix("/"),
        topics=topics,
        pattern=None,
        assigned=assigned,
        target=None,
        member_epoch=None,
    )


async def fetch_offsets(client: Client, group: str) -> dict[TopicPartition, CommittedOffset]:
    """Return every position that a group has committed; none for a group that is not there."""
    request = OffsetFetchRequest(
        group_id=group,
        topics=None,
        groups=[OffsetFetchRequestGroup(group_id=group, topics=None)],
        require_stable=True,
    )

    def code(response: OffsetFetchResponse) -> int:
        errors = [response.error_code, *(item.error_code for item in response.groups)]
        inside = [p.error_code for t in response.topics for p in t.partitions]
        inside += [p.error_code for g in response.groups for t in g.topics for p in t.partitions]
        # A transaction that commits offsets is told by partition; it ends soon.
        unstable = ErrorCode.UNSTABLE_OFFSET_COMMIT
        return next(filter(None, errors), int(unstable) if unstable in inside else 0)

    try:
        response, _ = await ask_coordinator(client, group, request, OffsetFetchResponse, code)
    except GroupNotFoundError:
        return {}
    found: dict[TopicPartition, CommittedOffset] = {}
    for answer in response.groups:
        found |= await _positions(client, answer)
    for topic in response.topics:
        for part in topic.partitions:
            if part.committed_offset >= 0 and not part.error_code:
                found[TopicPartition(topic.name, part.partition_index)] = CommittedOffset(
                    part.committed_offset, part.committed_leader_epoch, part.metadata or ""
                )
    return found


async def _positions(
    client: Client, answer: OffsetFetchResponseGroup
) -> dict[TopicPartition, CommittedOffset]:
    nameless = [t for t in answer.topics if not client.cluster.name_of(t.name, t.topic_id)]
    if nameless:
        await client.refresh(None)  # From version 10 on topics are told by their ids.
    found: dict[TopicPartition, CommittedOffset] = {}
    for topic in answer.topics:
        name = client.cluster.name_of(topic.name, topic.topic_id)
        if not name:
            continue  # Deleted between the two answers.
        for part in topic.partitions:
            if part.committed_offset >= 0 and not part.error_code:
                found[TopicPartition(name, part.partition_index)] = CommittedOffset(
                    part.committed_offset, part.committed_leader_epoch, part.metadata or ""
                )
    return found


async def commit_offsets(
    client: Client, group: str, offsets: Mapping[TopicPartition, CommittedOffset]
) -> None:
    """Set positions of a group that has no members; one that is not there comes to be.

    With more than COMMIT_PARTITIONS_MAX of them the first may be set when a later one fails.

    Raises:
        GroupNotEmptyError: it has members, which would overwrite them.
        KafkaError: a partition is refused; those that are not named in the error are set.
    """
    places = sorted(offsets)
    await client.refresh(sorted({place.topic for place in places}))
    for start in range(0, len(places), COMMIT_PARTITIONS_MAX):
        await _commit_some(client, group, offsets, places[start : start + COMMIT_PARTITIONS_MAX])


async def _commit_some(
    client: Client,
    group: str,
    offsets: Mapping[TopicPartition, CommittedOffset],
    places: Sequence[TopicPartition],
) -> None:
    topics: dict[str, OffsetCommitRequestTopic] = {}
    for name, index in places:
        place = offsets[TopicPartition(name, index)]
        empty = OffsetCommitRequestTopic(name=name, topic_id=client.cluster.topic_id(name))
        topics.setdefault(name, empty).partitions.append(
            OffsetCommitRequestPartition(
                partition_index=index,
                committed_offset=place.offset,
                committed_leader_epoch=place.leader_epoch,
                committed_metadata=place.metadata,
            )
        )
    # Generation -1 without a member: an administrator's commit.
    request = OffsetCommitRequest(group_id=group, topics=list(topics.values()))

    def code(response: OffsetCommitResponse) -> int:
        codes = {part.error_code for topic in response.topics for part in topic.partitions}
        return next((item for item in codes if item in MOVED), 0)

    response, _ = await ask_coordinator(client, group, request, OffsetCommitResponse, code)
    refused: list[str] = []
    found = ErrorCode.NONE
    for topic in response.topics:
        name = client.cluster.name_of(topic.name, topic.topic_id)
        for part in topic.partitions:
            if part.error_code:
                found = code_of(part.error_code)
                refused.append(str(TopicPartition(name, part.partition_index)))
    if found in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION):
        # What a coordinator says to an outsider while the group has members.
        raise GroupNotEmptyError(ErrorCode.NON_EMPTY_GROUP, group)
    if found:
        raise _error(found, group, f"group {group}: no offset was set for {', '.join(refused)}")


async def delete_offsets(
    client: Client, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, ErrorCode]:
    """Forget positions of a group; return what became of each.

    GROUP_SUBSCRIBED_TO_TOPIC keeps one whose topic a member subscribes to.

    Raises:
        GroupNotFoundError: there is none of this name.
        GroupNotEmptyError: it has members of a protocol that names no topics.
    """
    topics: dict[str, OffsetDeleteRequestTopic] = {}
    for name, index in partitions:
        topic = topics.setdefault(name, OffsetDeleteRequestTopic(name=name))
        topic.partitions.append(OffsetDeleteRequestPartition(partition_index=index))
    request = OffsetDeleteRequest(group_id=group, topics=list(topics.values()))
    response, _ = await ask_coordinator(
        client, group, request, OffsetDeleteResponse, lambda answer: answer.error_code
    )
    return {
        TopicPartition(topic.name, part.partition_index): code_of(part.error_code)
        for topic in response.topics
        for part in topic.partitions
    }


async def delete_group(client: Client, group: str) -> None:
    """Forget a group that has no members, with all its positions.

    It is not repeated after its answer was lost: "not found" would be a lie about who did it.

    Raises:
        GroupNotFoundError: there is none of this name.
        GroupNotEmptyError: it has members.
    """
    request = DeleteGroupsRequest(groups_names=[group])

    def code(response: DeleteGroupsResponse) -> int:
        return response.results[0].error_code if response.results else 0

    await ask_coordinator(client, group, request, DeleteGroupsResponse, code, repeat=False)


async def remove_members(
    client: Client,
    group: str,
    *,
    members: Sequence[str] = (),
    instances: Sequence[str] = (),
    reason: str = "removed by an administrator",
) -> dict[str, ErrorCode]:
    """Have members leave; return what became of each, by its member or instance id.

    A member that still runs joins again. Only members of the classic protocol can be removed.

    Raises:
        GroupError: the whole request is refused.
    """
    identities = [MemberIdentity(member_id=member, reason=reason) for member in members]
    identities += [
        MemberIdentity(member_id="", group_instance_id=instance, reason=reason)
        for instance in instances
    ]
    first = members[0] if members else ""
    request = LeaveGroupRequest(group_id=group, member_id=first, members=identities)
    response, _ = await ask_coordinator(
        client, group, request, LeaveGroupResponse, lambda answer: answer.error_code
    )
    return {
        member.group_instance_id or member.member_id: code_of(member.error_code)
        for member in response.members
    }
