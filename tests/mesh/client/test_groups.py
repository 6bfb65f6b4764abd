"""Calls about groups: they find the coordinator, outlast its moves, and name what stays wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.client import (
    Client,
    CommittedOffset,
    ConnectionLostError,
    GroupError,
    GroupNotEmptyError,
    GroupNotFoundError,
    GroupsUnservedError,
    TopicPartition,
    commit_offsets,
    delete_group,
    delete_offsets,
    describe_group,
    fetch_offsets,
    find_coordinator,
    list_groups,
    remove_members,
)
from mesh.client.settings import ClientSettings
from mesh.model.errors import ErrorCode, KafkaError
from mesh.wire import Message
from mesh.wire.schemas import consumer_group_describe as new_groups
from mesh.wire.schemas import describe_groups as classic_groups
from mesh.wire.schemas import offset_commit, offset_delete, offset_fetch
from mesh.wire.schemas.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)
from mesh.wire.schemas.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse
from mesh.wire.schemas.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse
from tests.mesh.client.builders import TOPIC_ID, metadata
from tests.mesh.client.naive_mesh import QUICK, Answers, NaiveMesh, naive_mesh

E = ErrorCode
PLACE = TopicPartition("t", 0)
RANGE_OF_T0 = b"\0\1\0\0\0\1\0\1t\0\0\0\1\0\0\0\0\0\0\0\0"
"""An assignment of partition 0 of topic t, without user data."""
SUBSCRIBED_TO_T = b"\0\1\0\0\0\1\0\1t\0\0\0\0"


class World:
    """A group's coordinator, and what it says; each test sets what it is about."""

    def __init__(self) -> None:
        self.coordinators = [1]
        """Answers of FindCoordinator in turn; the last one stays. Negative: an error code."""
        self.serves: Callable[[int, Message], Message | None] = lambda node, request: None
        self.mesh: NaiveMesh

    def answer(self, node: int, request: Message) -> Message | None:
        """Be a node."""
        if not isinstance(request, FindCoordinatorRequest):
            return self.serves(node, request)
        found = self.coordinators.pop(0) if len(self.coordinators) > 1 else self.coordinators[0]
        code = -found if found < 0 else 0
        where = -1 if found < 0 else found
        port = self.mesh.ports.get(where, -1)
        one = Coordinator(
            key="g", node_id=where, host="127.0.0.1", port=port, error_code=code, error_message=None
        )
        return FindCoordinatorResponse(
            node_id=where, host="127.0.0.1", port=port, error_code=code, coordinators=[one]
        )

    def times(self, kind: type[Message]) -> int:
        """How often something was asked."""
        return sum(isinstance(request, kind) for _, request in self.mesh.asked)


def deleted(code: ErrorCode) -> DeleteGroupsResponse:
    """An answer to DeleteGroups."""
    return DeleteGroupsResponse(results=[DeletableGroupResult(group_id="g", error_code=code)])


async def test_a_coordinator_that_moved_is_found_again() -> None:
    """NOT_COORDINATOR sends the client to ask who it is now, and the new one is asked."""
    world = World()
    world.coordinators = [1, 1, 2]

    def serves(node: int, request: Message) -> Message:
        return deleted(E.NONE if node == 2 else E.NOT_COORDINATOR)

    world.serves = serves
    async with naive_mesh(world.answer) as (client, world.mesh):
        await delete_group(client, "g")
    asked = [node for node, request in world.mesh.asked if isinstance(request, DeleteGroupsRequest)]
    assert asked == [1, 1, 2]


@pytest.mark.parametrize(
    "code", [E.COORDINATOR_LOAD_IN_PROGRESS, E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR]
)
async def test_a_coordinator_that_is_not_ready_is_waited_for(code: ErrorCode) -> None:
    """Loading and moving pass; the answer after them counts."""
    world = World()
    codes = [code, code, E.NONE]
    world.serves = lambda node, request: deleted(codes.pop(0))
    async with naive_mesh(world.answer) as (client, world.mesh):
        await delete_group(client, "g")
    assert not codes


async def test_one_that_never_gets_ready_is_told_after_a_bounded_time() -> None:
    """The error says which group and what the coordinator answered."""
    world = World()
    world.serves = lambda node, request: deleted(E.COORDINATOR_LOAD_IN_PROGRESS)
    hasty = ClientSettings(request_ms_max=50, backoff_ms_min=1, backoff_ms_max=1)
    async with naive_mesh(world.answer, settings=hasty) as (client, world.mesh):
        with pytest.raises(GroupsUnservedError) as raised:
            await delete_group(client, "g")
    assert raised.value.group == "g"
    assert raised.value.code is E.COORDINATOR_LOAD_IN_PROGRESS


async def test_without_any_coordinator_the_search_ends() -> None:
    """A mesh that names none is asked for a bounded time, by FindCoordinator itself, too."""
    world = World()
    world.coordinators = [-E.COORDINATOR_NOT_AVAILABLE]
    hasty = ClientSettings(request_ms_max=50, backoff_ms_min=1, backoff_ms_max=1)
    async with naive_mesh(world.answer, settings=hasty) as (client, world.mesh):
        with pytest.raises(GroupsUnservedError):
            await find_coordinator(client, "g")
    assert world.times(FindCoordinatorRequest) > 1


async def test_a_name_that_is_refused_is_refused_at_once() -> None:
    """A lasting error of FindCoordinator is not asked about again."""
    world = World()
    world.coordinators = [-E.GROUP_AUTHORIZATION_FAILED]
    async with naive_mesh(world.answer) as (client, world.mesh):
        with pytest.raises(GroupError) as raised:
            await find_coordinator(client, "g")
    assert raised.value.code is E.GROUP_AUTHORIZATION_FAILED
    assert world.times(FindCoordinatorRequest) == 1


async def test_a_deletion_whose_answer_was_lost_is_not_repeated() -> None:
    """A second try would be told that there is no such group, which would be no answer."""
    world = World()
    async with naive_mesh(world.answer) as (client, world.mesh):
        with pytest.raises(ConnectionLostError):
            await delete_group(client, "g")
    assert world.times(DeleteGroupsRequest) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [(E.GROUP_ID_NOT_FOUND, GroupNotFoundError), (E.NON_EMPTY_GROUP, GroupNotEmptyError)],
)
async def test_what_a_coordinator_objects_to_has_a_type(
    code: ErrorCode, kind: type[GroupError]
) -> None:
    """Callers tell a group that is not there from one that has members."""
    world = World()
    world.serves = lambda node, request: deleted(code)
    async with naive_mesh(world.answer) as (client, world.mesh):
        with pytest.raises(kind):
            await delete_group(client, "g")


def classic(state: str = "Stable", code: ErrorCode = E.NONE) -> Message:
    """A classic group with one member that holds t-0."""
    member = classic_groups.DescribedGroupMember(
        member_id="m",
        client_id="c",
        client_host="/10.0.0.7",
        member_metadata=SUBSCRIBED_TO_T,
        member_assignment=RANGE_OF_T0,
    )
    found = classic_groups.DescribedGroup(
        group_id="g",
        group_state=state,
        error_code=code,
        protocol_type="consumer",
        protocol_data="range",
        members=[member],
    )
    return classic_groups.DescribeGroupsResponse(groups=[found])


def new(code: ErrorCode = E.NONE) -> Message:
    """A new group with one member that is to get t-0."""
    target = new_groups.Assignment(
        topic_partitions=[
            new_groups.TopicPartitions(topic_id=TOPIC_ID, topic_name="t", partitions=[0])
        ]
    )
    member = new_groups.Member(
        member_id="m", member_epoch=3, target_assignment=target, subscribed_topic_names=["t"]
    )
    found = new_groups.DescribedGroup(
        group_id="g", error_code=code, group_state="Reconciling", group_epoch=4, members=[member]
    )
    return new_groups.ConsumerGroupDescribeResponse(groups=[found])


async def test_a_new_group_is_described_as_such() -> None:
    """Epochs, what its members hold, and what they are to hold."""
    world = World()
    world.serves = lambda node, request: new()
    async with naive_mesh(world.answer) as (client, world.mesh):
        found = await describe_group(client, "g")
    assert (found.kind, found.state, found.group_epoch) == ("consumer", "Reconciling", 4)
    [member] = found.members
    assert (member.assigned, member.target, member.member_epoch) == ((), (PLACE,), 3)


@pytest.mark.parametrize("code", [E.GROUP_ID_NOT_FOUND, E.UNSUPPORTED_VERSION])
async def test_what_is_no_new_group_is_described_as_a_classic_one(code: ErrorCode) -> None:
    """As Kafka's tools do, the new kind is asked for first."""
    world = World()

    def serves(node: int, request: Message) -> Message:
        old = isinstance(request, classic_groups.DescribeGroupsRequest)
        return classic() if old else new(code)

    world.serves = serves
    async with naive_mesh(world.answer) as (client, world.mesh):
        found = await describe_group(client, "g")
    assert (found.kind, found.assignor, found.group_epoch) == ("classic", "range", None)
    [member] = found.members
    assert (member.assigned, member.topics, member.host) == ((PLACE,), ("t",), "10.0.0.7")


async def test_an_old_broker_describes_classic_groups_and_calls_the_missing_dead() -> None:
    """Without the newer APIs, and below DescribeGroups 6, state Dead means not found."""
    world = World()
    states = ["Stable", "Dead"]
    world.serves = lambda node, request: classic(states.pop(0))
    async with naive_mesh(world.answer, {10: (0, 2), 15: (0, 3)}) as (client, world.mesh):
        assert (await describe_group(client, "g")).state == "Stable"
        with pytest.raises(GroupNotFoundError):
            await describe_group(client, "g")


async def test_members_of_another_kind_hold_nothing_that_we_know() -> None:
    """Bytes that are no assignment of consumers end no description."""
    world = World()
    answer = classic()
    assert isinstance(answer, classic_groups.DescribeGroupsResponse)
    answer.groups[0].members[0].member_assignment = b"\0\1\0\0\0\7"
    world.serves = lambda node, request: answer
    async with naive_mesh(world.answer, {10: (0, 6), 15: (0, 6)}) as (client, world.mesh):
        [member] = (await describe_group(client, "g")).members
    assert member.assigned is None


def offsets(code: ErrorCode = E.NONE, *, by_id: bool = True) -> Message:
    """Positions 5 in t-0 and none in t-1, in the form of all versions at once."""
    new_parts = [
        offset_fetch.OffsetFetchResponsePartitions(
            partition_index=0, committed_offset=5, metadata="x", error_code=code
        ),
        offset_fetch.OffsetFetchResponsePartitions(partition_index=1, committed_offset=-1),
    ]
    old_parts = [
        offset_fetch.OffsetFetchResponsePartition(
            partition_index=0, committed_offset=5, metadata="x", error_code=code
        )
    ]
    return offset_fetch.OffsetFetchResponse(
        topics=[offset_fetch.OffsetFetchResponseTopic(name="t", partitions=old_parts)],
        groups=[
            offset_fetch.OffsetFetchResponseGroup(
                group_id="g",
                topics=[
                    offset_fetch.OffsetFetchResponseTopics(
                        name="t", topic_id=TOPIC_ID, partitions=new_parts
                    )
                ],
            )
        ],
    )


@pytest.mark.parametrize("version", [2, 5, 7, 8, 9, 10])
async def test_positions_are_read_in_every_version(version: int) -> None:
    """By name or by topic id, of one group or of several, the answer is the same."""
    world = World()
    world.serves = lambda node, request: offsets()
    versions = {9: (version, version), 10: (0, 6)}
    topics = metadata({0: 1, 1: 1})
    async with naive_mesh(world.answer, versions, topics) as (client, world.mesh):
        found = await fetch_offsets(client, "g")
    assert found == {PLACE: CommittedOffset(5, -1, "x")}


async def test_positions_of_a_transaction_under_way_are_waited_for() -> None:
    """UNSTABLE_OFFSET_COMMIT passes when the transaction ends."""
    world = World()
    codes = [E.UNSTABLE_OFFSET_COMMIT, E.NONE]
    world.serves = lambda node, request: offsets(codes.pop(0))
    async with naive_mesh(world.answer, topics=metadata({0: 1})) as (client, world.mesh):
        assert PLACE in await fetch_offsets(client, "g")


def committed(code: ErrorCode) -> Message:
    """An answer to OffsetCommit."""
    part = offset_commit.OffsetCommitResponsePartition(partition_index=0, error_code=code)
    return offset_commit.OffsetCommitResponse(
        topics=[
            offset_commit.OffsetCommitResponseTopic(name="t", topic_id=TOPIC_ID, partitions=[part])
        ]
    )


async def commit_once(client: Client) -> None:
    await commit_offsets(client, "g", {PLACE: CommittedOffset(7, -1, "")})


async def test_an_administrators_commit_has_no_member_and_names_the_topic_by_its_id() -> None:
    """Generation -1, no member, and the id that version 10 asks for."""
    world = World()
    world.serves = lambda node, request: committed(E.NONE)
    async with naive_mesh(world.answer, topics=metadata({0: 1})) as (client, world.mesh):
        await commit_once(client)
    request = world.mesh.asked[-1][1]
    assert isinstance(request, offset_commit.OffsetCommitRequest)
    assert (request.member_id, request.generation_id_or_member_epoch) == ("", -1)
    assert request.topics[0].topic_id == TOPIC_ID


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (E.UNKNOWN_MEMBER_ID, GroupNotEmptyError),
        (E.ILLEGAL_GENERATION, GroupNotEmptyError),
        (E.OFFSET_METADATA_TOO_LARGE, KafkaError),
    ],
)
async def test_a_commit_that_is_refused_says_why(code: ErrorCode, kind: type[KafkaError]) -> None:
    """What a coordinator says to outsiders while there are members is said in our words."""
    world = World()
    world.serves = lambda node, request: committed(code)
    async with naive_mesh(world.answer, topics=metadata({0: 1})) as (client, world.mesh):
        with pytest.raises(kind):
            await commit_once(client)


async def test_groups_of_all_nodes_are_listed_by_name() -> None:
    """Each node lists those that it coordinates; one that is loading is asked again."""
    world = World()
    codes = {1: [E.COORDINATOR_LOAD_IN_PROGRESS, E.NONE], 2: [E.NONE]}

    def serves(node: int, request: Message) -> Message:
        assert isinstance(request, ListGroupsRequest)
        groups = [
            ListedGroup(group_id=f"{name}{node}", group_state=name, group_type="classic")
            for name in ("Empty", "Stable")
        ]
        return ListGroupsResponse(error_code=codes[node].pop(0), groups=groups)

    world.serves = serves
    async with naive_mesh(world.answer) as (client, world.mesh):
        found = await list_groups(client, states=["stable"])
    assert [(item.group, item.coordinator) for item in found] == [("Stable1", 1), ("Stable2", 2)]


async def test_members_and_offsets_have_outcomes_of_their_own() -> None:
    """One member or offset that is refused leaves the others done."""
    world = World()

    def serves(node: int, request: Message) -> Message:
        if isinstance(request, LeaveGroupRequest):
            return LeaveGroupResponse(
                members=[
                    MemberResponse(member_id="m", group_instance_id=None),
                    MemberResponse(
                        member_id="", group_instance_id="i", error_code=E.UNKNOWN_MEMBER_ID
                    ),
                ]
            )
        part = offset_delete.OffsetDeleteResponsePartition(
            partition_index=0, error_code=E.GROUP_SUBSCRIBED_TO_TOPIC
        )
        topic = offset_delete.OffsetDeleteResponseTopic(name="t", partitions=[part])
        return offset_delete.OffsetDeleteResponse(topics=[topic])

    world.serves = serves
    answers: Answers = world.answer
    async with naive_mesh(answers, settings=QUICK) as (client, world.mesh):
        left = await remove_members(client, "g", members=["m"], instances=["i"])
        gone = await delete_offsets(client, "g", [PLACE])
    assert left == {"m": E.NONE, "i": E.UNKNOWN_MEMBER_ID}
    assert gone == {PLACE: E.GROUP_SUBSCRIBED_TO_TOPIC}
