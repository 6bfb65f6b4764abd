"""ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments."""

from __future__ import annotations

from mesh.wire.schemas.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
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
    ListPartitionReassignmentsTopics,
)
from tests.interop.differential.cases import case, surprise
from tests.interop.differential.talk import Talk

PREFERRED, UNCLEAN = 0, 1
INTERNAL = "__cluster_metadata"


def elect(
    *wanted: tuple[str, list[int]], kind: int = PREFERRED, timeout_ms: int = 15_000
) -> ElectLeadersRequest:
    """Return an ElectLeaders of these partitions."""
    named = [TopicPartitions(topic=topic, partitions=indexes) for topic, indexes in wanted]
    return ElectLeadersRequest(election_type=kind, topic_partitions=named, timeout_ms=timeout_ms)


def elect_all(talk: Talk, *, kind: int = PREFERRED, timeout_ms: int = 15_000) -> None:
    """Ask for every partition, and record what is said of this case's topics."""
    request = ElectLeadersRequest(election_type=kind, topic_partitions=None, timeout_ms=timeout_ms)
    answer = talk.connection.ask(request, talk.version)
    if isinstance(answer, ElectLeadersResponse):
        answer.replica_election_results = [
            each for each in answer.replica_election_results if each.topic in talk.names
        ]
    talk.hear(answer, label=f"all, type {kind}, {timeout_ms} ms")


@case(ElectLeadersRequest)
def elect_leaders(talk: Talk) -> None:
    """Partitions that are led by their preferred replica, in one request and twice"""
    topic = talk.topic(partitions=3)
    talk.ask(elect((topic, [0, 1])))
    talk.ask(elect((topic, [2, 2])), label="twice")
    talk.ask(elect((topic, [0]), (topic, [1])), label="topic twice")
    talk.ask(elect((topic, [])), label="no partitions")
    talk.ask(elect(), label="nothing")


@case(ElectLeadersRequest)
def elect_leaders_unknown(talk: Talk) -> None:
    """Unknown topics and partitions beside a known one"""
    topic = talk.topic()
    talk.ask(elect((topic, [0, 7, -1]), (talk.name(), [0, 1]), ("a/b", [0]), (INTERNAL, [0])))
    talk.ask(elect(("", [0])), label="empty name")


@case(ElectLeadersRequest)
def elect_leaders_everywhere(talk: Talk) -> None:
    """Null asks for all: topics are named, partitions that need no election are not"""
    talk.topic(partitions=2)
    elect_all(talk)
    elect_all(talk, timeout_ms=-1)


@case(ElectLeadersRequest, versions=(1, 2))
def elect_leaders_types(talk: Talk) -> None:
    """An unclean election where there is a leader, and types that do not exist"""
    topic = talk.topic(partitions=2)
    for kind in (UNCLEAN, 2, -1):
        talk.ask(elect((topic, [0, 1]), (talk.name(), [0]), kind=kind), label=f"type {kind}")
        talk.ask(elect(kind=kind), label=f"nothing, type {kind}")
        elect_all(talk, kind=kind)


@case(ElectLeadersRequest)
def elect_leaders_no_time(talk: Talk) -> None:
    """A time that is up at once"""
    topic = talk.topic()
    for timeout_ms in (0, -1):
        wanted = (topic, [0]), (talk.name(), [0])
        talk.ask(elect(*wanted, timeout_ms=timeout_ms), label=f"{timeout_ms} ms")
    talk.ask(elect((topic, [0]), kind=9, timeout_ms=-1), label="type 9")
    talk.ask(elect(timeout_ms=-1), label="nothing")


def reassign(
    *wanted: tuple[str, list[tuple[int, list[int] | None]]],
    may_resize: bool = True,
    timeout_ms: int = 15_000,
) -> AlterPartitionReassignmentsRequest:
    """Return an AlterPartitionReassignments; null replicas stop a move."""
    topics = [
        ReassignableTopic(
            name=topic,
            partitions=[
                ReassignablePartition(partition_index=index, replicas=replicas)
                for index, replicas in places
            ],
        )
        for topic, places in wanted
    ]
    return AlterPartitionReassignmentsRequest(
        timeout_ms=timeout_ms, allow_replication_factor_change=may_resize, topics=topics
    )


@case(AlterPartitionReassignmentsRequest)
def reassign_to_the_same(talk: Talk) -> None:
    """To where the partition is, and null where nothing moves; side by side and twice"""
    topic = talk.topic(partitions=3)
    talk.ask(reassign((topic, [(0, [1])])))
    talk.ask(reassign((topic, [(0, None)])), label="stop")
    talk.ask(reassign((topic, [(0, [1]), (1, None), (2, [77])])), label="each its own")
    talk.ask(reassign((topic, [(0, [1]), (0, None)])), label="twice")
    talk.ask(reassign((topic, [(0, [1])]), (topic, [(1, [1])])), label="topic twice")
    talk.ask(list_moves(topic, 0, 1, 2), version=0)


@case(AlterPartitionReassignmentsRequest)
def reassign_to_wrong_replicas(talk: Talk) -> None:
    """Replicas that no partition can have"""
    topic = talk.topic()
    for replicas in ([77], [1, 77], [1, 1], [], [-1], [1, 1, 77]):
        for may_resize in (True, False):
            request = reassign((topic, [(0, replicas)]), may_resize=may_resize)
            talk.ask(request, label=f"{replicas} {may_resize}")
    talk.ask(reassign((topic, [(0, [1])]), may_resize=False), label="right")


@case(AlterPartitionReassignmentsRequest)
def reassign_unknown(talk: Talk) -> None:
    """Unknown topics and partitions, right and wrong replicas for them, nothing"""
    topic = talk.topic()
    talk.ask(reassign((topic, [(1, [1]), (-1, [1]), (9, None), (8, [])])))
    talk.ask(reassign((talk.name(), [(0, [1]), (1, None), (2, [])]), ("a/b", [(0, [1])])))
    talk.ask(reassign((INTERNAL, [(0, [1])])), label="internal")
    talk.ask(reassign((topic, [])), label="no partitions")
    talk.ask(reassign(), label="nothing")


@case(AlterPartitionReassignmentsRequest)
def reassign_no_time(talk: Talk) -> None:
    """A time that is up at once"""
    topic = talk.topic()
    for timeout_ms in (0, -1):
        request = reassign(
            (topic, [(0, [1]), (5, [1])]), (talk.name(), [(0, None)]), timeout_ms=timeout_ms
        )
        talk.ask(request, label=f"{timeout_ms} ms")
        talk.ask(reassign((topic, []), timeout_ms=timeout_ms), label="no partitions")
        talk.ask(reassign(timeout_ms=timeout_ms), label="nothing")


def list_moves(
    topic: str | None = None, *indexes: int, timeout_ms: int = 15_000
) -> ListPartitionReassignmentsRequest:
    """Return a ListPartitionReassignments of one topic, or (None) of everything."""
    wanted = None
    if topic is not None:
        wanted = [ListPartitionReassignmentsTopics(name=topic, partition_indexes=[*indexes])]
    return ListPartitionReassignmentsRequest(timeout_ms=timeout_ms, topics=wanted)


@case(ListPartitionReassignmentsRequest)
def list_reassignments(talk: Talk) -> None:
    """Nothing moves: of everything, of known and unknown partitions, with and without time"""
    topic = talk.topic(partitions=2)
    for timeout_ms in (15_000, 0, -1):
        talk.ask(list_moves(timeout_ms=timeout_ms), label=f"everything, {timeout_ms} ms")
    talk.ask(list_moves(topic, 0, 1))
    talk.ask(list_moves(topic, 1, 1, 9, -1), label="odd")
    talk.ask(list_moves(topic), label="no partitions")
    for name in (talk.name(), "a/b", "", INTERNAL):
        talk.ask(list_moves(name, 0), label=name)
    request = ListPartitionReassignmentsRequest(timeout_ms=15_000, topics=[])
    talk.ask(request, label="nothing")


surprise(
    ElectLeadersRequest,
    """Where all partitions are asked for, every topic is named, with an empty list if none of
    its partitions needed an election.""",
)
surprise(
    ElectLeadersRequest,
    """A type that does not exist is no error if the list of topics is empty.""",
)
surprise(
    ElectLeadersRequest,
    """A time-out of zero or less is REQUEST_TIMED_OUT (7) for every partition, known or not,
    without a text. Version 0 has no place for the error of the whole; there it is 0.""",
)
surprise(
    AlterPartitionReassignmentsRequest,
    """A partition twice in a request gets two answers, each by itself.""",
)
surprise(
    AlterPartitionReassignmentsRequest,
    """An empty request is answered with an empty text, any other with none.""",
)
surprise(
    ListPartitionReassignmentsRequest,
    """Unknown topics and partitions are no error, and no time-out runs out.""",
)
