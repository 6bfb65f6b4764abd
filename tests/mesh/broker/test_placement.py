"""ElectLeaders and the two APIs of reassignments on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.broker.broker import Address
from mesh.links import Led
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from mesh.wire.schemas.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    TopicPartitions,
)
from mesh.wire.schemas.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
)
from tests.mesh.node.peer import Peer

PREFERRED, UNCLEAN = 0, 1
UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
WRONG = ErrorCode.INVALID_REPLICA_ASSIGNMENT
NOT_NEEDED = ErrorCode.ELECTION_NOT_NEEDED


@pytest.fixture
def peer() -> Peer:
    """A node with the topics `a` of one partition and `b` of two."""
    peer = Peer()
    peer.create("a")
    peer.create("b", 2)
    return peer


def elect(
    peer: Peer,
    wanted: list[tuple[str, list[int]]] | None,
    *,
    kind: int = PREFERRED,
    timeout_ms: int = 1_000,
    version: int = 2,
) -> ElectLeadersResponse:
    """Ask for elections; None asks for all."""
    named = None
    if wanted is not None:
        named = [TopicPartitions(topic=topic, partitions=indexes) for topic, indexes in wanted]
    request = ElectLeadersRequest(election_type=kind, topic_partitions=named, timeout_ms=timeout_ms)
    return peer.ask(request, ElectLeadersResponse, version=version)


def elected(answer: ElectLeadersResponse) -> list[tuple[str, int, int]]:
    """Topic, partition and error code of every result."""
    return [
        (topic.topic, each.partition_id, each.error_code)
        for topic in answer.replica_election_results
        for each in topic.partition_result
    ]


@pytest.mark.parametrize("version", range(3))
def test_a_led_partition_needs_no_election(peer: Peer, version: int) -> None:
    """Preferred or unclean: who should lead does, and every version says so."""
    for kind in (PREFERRED, UNCLEAN)[: version + 1]:
        answer = elect(peer, [("a", [0]), ("b", [1, 0])], kind=kind, version=version)
        assert answer.error_code == 0
        assert elected(answer) == [("a", 0, NOT_NEEDED), ("b", 1, NOT_NEEDED), ("b", 0, NOT_NEEDED)]


def test_what_is_unknown_is_named(peer: Peer) -> None:
    """Unknown topics and partitions have Kafka's code and text beside known ones."""
    answer = elect(peer, [("a", [0, 1, -1]), ("nah", [0]), ("__registry", [0])])
    assert elected(answer) == [
        ("a", 0, NOT_NEEDED),
        ("a", 1, UNKNOWN),
        ("a", -1, UNKNOWN),
        ("nah", 0, UNKNOWN),
        ("__registry", 0, UNKNOWN),
    ]
    texts = [each.error_message for each in answer.replica_election_results[0].partition_result]
    assert texts[1:] == ["No such partition as a-1", "No such partition as a--1"]


def test_of_all_only_those_that_need_an_election_are_told(peer: Peer) -> None:
    """Null names every topic, each without the partitions that are led as they should be."""
    answer = elect(peer, None)
    assert [each.topic for each in answer.replica_election_results] == ["a", "b"]
    assert elected(answer) == []
    del peer.node.broker.partitions["b", 1]  # As if its log could not be opened.
    assert elected(elect(peer, None)) == [("b", 1, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)]
    unclean = elect(peer, None, kind=UNCLEAN)
    assert elected(unclean) == [("b", 1, ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)]


def test_another_leader_than_the_preferred_is_only_wrong_for_the_preferred(peer: Peer) -> None:
    """An unclean election asks for any leader; a preferred one for the first of the replicas."""
    topic = peer.node.broker.registry.topics["a"]
    led = Led(9, 0, (1, 2), (1, 2))
    peer.node.broker.partitions["a", 0].leads = False
    peer.node.broker.members = {**peer.node.broker.members, 2: Address("n2", 9092, None)}
    assert list(peer.node.broker.groups.owners.hear(2, {(topic.topic_id, 0): led}, 0))
    assert elected(elect(peer, [("a", [0])], kind=UNCLEAN)) == [("a", 0, NOT_NEEDED)]
    [(_, _, code)] = elected(elect(peer, [("a", [0])]))
    assert code == ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("kind", "timeout_ms", "code"),
    [
        (2, 1_000, ErrorCode.INVALID_REQUEST),
        (-1, 1_000, ErrorCode.INVALID_REQUEST),
        (PREFERRED, 0, ErrorCode.REQUEST_TIMED_OUT),
        (9, -1, ErrorCode.REQUEST_TIMED_OUT),
    ],
)
def test_a_refused_election_is_refused_for_every_partition(
    peer: Peer, kind: int, timeout_ms: int, code: int
) -> None:
    """A wrong type, or no time: the whole and each of its partitions; an empty list is fine."""
    answer = elect(peer, [("a", [0]), ("nah", [1])], kind=kind, timeout_ms=timeout_ms)
    assert answer.error_code == code
    assert elected(answer) == [("a", 0, code), ("nah", 1, code)]
    everything = elect(peer, None, kind=kind, timeout_ms=timeout_ms)
    assert (everything.error_code, everything.replica_election_results) == (code, [])
    assert elect(peer, [], kind=kind, timeout_ms=timeout_ms).error_code == 0


def reassign(
    peer: Peer,
    *wanted: tuple[str, int, list[int] | None],
    may_resize: bool = True,
    timeout_ms: int = 1_000,
    version: int = 1,
) -> AlterPartitionReassignmentsResponse:
    """Ask for moves of (topic, partition, replicas)."""
    topics = [
        ReassignableTopic(
            name=topic,
            partitions=[ReassignablePartition(partition_index=index, replicas=replicas)],
        )
        for topic, index, replicas in wanted
    ]
    request = AlterPartitionReassignmentsRequest(
        timeout_ms=timeout_ms, allow_replication_factor_change=may_resize, topics=topics
    )
    return peer.ask(request, AlterPartitionReassignmentsResponse, version=version)


def reassigned(answer: AlterPartitionReassignmentsResponse) -> list[tuple[int, str | None]]:
    """Error code and text of every result."""
    return [
        (each.error_code, each.error_message)
        for topic in answer.responses
        for each in topic.partitions
    ]


@pytest.mark.parametrize("version", range(2))
def test_a_partition_may_stay_where_it_is(peer: Peer, version: int) -> None:
    """A wish that is fulfilled already succeeds; there is no move that could be stopped."""
    answer = reassign(peer, ("a", 0, [1]), ("b", 1, None), version=version)
    assert (answer.error_code, answer.error_message) == (0, None)
    assert reassigned(answer) == [(0, None), (ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, None)]
    assert peer.node.broker.registry.topics["a"].replicas == ((1,),)


def test_wrong_wishes_are_told_one_by_one(peer: Peer) -> None:
    """Unknown nodes, doubled ones, none at all, unknown topics and partitions: Kafka's words."""
    answer = reassign(
        peer,
        ("a", 0, [7]),
        ("a", 0, [1, 1]),
        ("a", 0, []),
        ("a", 1, [1]),
        ("nah", 0, None),
        ("a", 0, [1]),
    )
    begin = "The manual partition assignment includes"
    assert reassigned(answer) == [
        (WRONG, f"{begin} broker 7, but no such broker is registered."),
        (WRONG, f"{begin} the broker 1 more than once."),
        (WRONG, f"{begin} an empty replica list."),
        (UNKNOWN, "Unable to find partition a:1."),
        (UNKNOWN, "Unable to find a topic named nah."),
        (0, None),
    ]


def test_a_wish_is_written_down_and_listed_until_it_is_fulfilled_or_taken_back(peer: Peer) -> None:
    """What should move is told by ListPartitionReassignments, with what comes and what goes."""
    peer.node.broker.registry.members = {1: "d1", 2: "d2"}
    [(code, text)] = reassigned(reassign(peer, ("a", 0, [1, 2]), may_resize=False))
    assert (code, text) == (
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "The replication factor is changed from 1 to 2",
    )
    assert reassigned(reassign(peer, ("a", 0, [2]))) == [(0, None)]
    listed = peer.ask(ListPartitionReassignmentsRequest(), ListPartitionReassignmentsResponse)
    [partition] = listed.topics[0].partitions
    assert partition.replicas == [2, 1]
    assert (partition.adding_replicas, partition.removing_replicas) == ([2], [1])
    assert reassigned(reassign(peer, ("a", 0, None))) == [(0, None)]
    listed = peer.ask(ListPartitionReassignmentsRequest(), ListPartitionReassignmentsResponse)
    assert listed.topics == []


def test_moves_without_time_are_all_late(peer: Peer) -> None:
    """A time-out of zero or less fails the whole; an empty request has nothing to be late with."""
    late = ErrorCode.REQUEST_TIMED_OUT
    for timeout_ms in (0, -1):
        answer = reassign(peer, ("a", 0, [1]), ("nah", 0, [1]), timeout_ms=timeout_ms)
        assert answer.error_code == late
        assert reassigned(answer) == [(late, None), (late, None)]
        assert reassign(peer, timeout_ms=timeout_ms).error_code == 0


def test_nothing_is_being_moved(peer: Peer) -> None:
    """The list is empty whether all or some partitions are asked for."""
    some = [ListPartitionReassignmentsTopics(name="a", partition_indexes=[0, 9])]
    for request in (
        ListPartitionReassignmentsRequest(timeout_ms=1_000, topics=None),
        ListPartitionReassignmentsRequest(timeout_ms=-1, topics=some),
    ):
        answer = peer.ask(request, ListPartitionReassignmentsResponse)
        assert (answer.error_code, answer.error_message, answer.topics) == (0, None, [])
