"""DescribeQuorum, AddRaftVoter and RemoveRaftVoter."""

from __future__ import annotations

from mesh.wire.schemas.add_raft_voter import AddRaftVoterRequest, Listener
from mesh.wire.schemas.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from mesh.wire.schemas.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RequestPartitionData,
    RequestTopicData,
)
from mesh.wire.schemas.remove_raft_voter import RemoveRaftVoterRequest
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import SetupError, Talk

METADATA = "__cluster_metadata"
DIRECTORY = bytes(range(32, 48))
CONTROLLER = Listener(name="CONTROLLER", host="127.0.0.1", port=9)


def describe(talk: Talk, *wanted: tuple[str, list[int]], label: str = "") -> None:
    """Ask, and record what does not depend on what else a broker has done."""
    topics = [
        RequestTopicData(
            topic_name=topic,
            partitions=[RequestPartitionData(partition_index=index) for index in indexes],
        )
        for topic, indexes in wanted
    ]
    answer = talk.connection.ask(DescribeQuorumRequest(topics=topics), talk.version)
    if isinstance(answer, DescribeQuorumResponse):
        for partition in [each for topic in answer.topics for each in topic.partitions]:
            for voter in partition.current_voters:
                # How far it is behind the high watermark; nothing, where it is alone.
                voter.log_end_offset -= partition.high_watermark
            partition.high_watermark = min(partition.high_watermark, 0)
            partition.leader_epoch = min(partition.leader_epoch, 0)
    talk.hear(answer, label=label)


@case(DescribeQuorumRequest)
def quorum(talk: Talk) -> None:
    """Who leads and votes on what belongs to the whole cluster, and how far each is"""
    describe(talk, (METADATA, [0]))


@case(DescribeQuorumRequest)
def quorum_of_others(talk: Talk) -> None:
    """Unknown topics and partitions, known ones, several at once, nothing"""
    topic = talk.topic()
    describe(talk, (talk.name(), [0, 1]), label="unknown")
    describe(talk, (METADATA, [1]), label="no such partition")
    describe(talk, (topic, [9, -1]), label="no such partition of a topic")
    describe(talk, (topic, [0]), label="a topic's")
    describe(talk, (METADATA, [0]), (topic, [0]), label="both")
    describe(talk, (METADATA, [0, 1]), label="and one that is not")
    describe(talk, (METADATA, []), label="no partitions")
    describe(talk, label="nothing")


def cluster_id(talk: Talk) -> str:
    """Return the broker's cluster id."""
    answer = talk.connection.ask(DescribeClusterRequest(), 0)
    if not isinstance(answer, DescribeClusterResponse):
        raise SetupError(f"DescribeCluster was answered with {answer}")
    return answer.cluster_id


@case(AddRaftVoterRequest)
def add_voter(talk: Talk) -> None:
    """A new voter, one with the id that there is, one of nobody's, another cluster's"""
    own = cluster_id(talk)
    for label, cluster, voter_id, directory_id, listeners in (
        ("new", own, 2, DIRECTORY, [CONTROLLER]),
        ("of any cluster", None, 2, DIRECTORY, [CONTROLLER]),
        ("known", own, 1, DIRECTORY, [CONTROLLER]),
        ("of another cluster", "x", 2, DIRECTORY, [CONTROLLER]),
        ("of the empty cluster", "", 2, DIRECTORY, [CONTROLLER]),
        ("negative", own, -1, DIRECTORY, [CONTROLLER]),
        ("without a directory", own, 2, bytes(16), [CONTROLLER]),
        ("without a listener", own, 2, DIRECTORY, []),
        ("negative without a listener", own, -1, DIRECTORY, []),
        ("with another listener", own, 2, DIRECTORY, [Listener(name="X", host="h", port=9)]),
    ):
        request = AddRaftVoterRequest(
            cluster_id=cluster,
            timeout_ms=15_000,
            voter_id=voter_id,
            voter_directory_id=directory_id,
            listeners=listeners,
        )
        talk.ask(request, label=label)


@case(AddRaftVoterRequest, versions=(1, 1))
def add_voter_without_waiting(talk: Talk) -> None:
    """An answer is wanted before the new voter is committed; and a time that is up at once"""
    for at_once, timeout_ms in ((True, 15_000), (False, -1), (False, 0)):
        request = AddRaftVoterRequest(
            cluster_id=None,
            timeout_ms=timeout_ms,
            voter_id=2,
            voter_directory_id=DIRECTORY,
            listeners=[CONTROLLER],
            ack_when_committed=not at_once,
        )
        talk.ask(request, label=f"{at_once} {timeout_ms} ms")


@case(RemoveRaftVoterRequest)
def remove_voter(talk: Talk) -> None:
    """The only voter, one that is none, one of nobody's, another cluster's"""
    own = cluster_id(talk)
    for label, cluster, voter_id, directory_id in (
        ("the only one", own, 1, DIRECTORY),
        ("of any cluster", None, 1, DIRECTORY),
        ("unknown", own, 2, DIRECTORY),
        ("of another cluster", "x", 1, DIRECTORY),
        ("negative", own, -1, DIRECTORY),
        ("without a directory", own, 1, bytes(16)),
    ):
        request = RemoveRaftVoterRequest(
            cluster_id=cluster, voter_id=voter_id, voter_directory_id=directory_id
        )
        talk.ask(request, label=label)


for path, kafka, ours in (
    ("topics/topic/partitions/0/error_code", 3, 0),
    ("topics/topic/partitions/0/leader_id", 0, 1),
    ("topics/topic/partitions/0/current_voters/*", "absent", "present"),
):
    differs(
        DescribeQuorumRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Every partition has a quorum of its own, and can be asked for",
        cases="quorum-of-others",
    )
for path, kafka, ours in (
    ("topics/__cluster_metadata/partitions/0/error_code", 3, 0),
    ("topics/__cluster_metadata/partitions/0/leader_id", 0, 1),
    ("topics/__cluster_metadata/partitions/0/current_voters/*", "absent", "present"),
):
    differs(
        DescribeQuorumRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Kafka refuses all of a request that asks for more than its one quorum",
        cases="quorum-of-others",
    )
differs(
    DescribeQuorumRequest,
    "topics/*/partitions/0/error_message",
    kafka="text",
    ours="",
    reason="Goes with the two rows above",
    cases="quorum-of-others",
    versions=(2, 2),
)
differs(
    DescribeQuorumRequest,
    "nodes/1",
    kafka="absent",
    ours="present",
    reason="Goes with the rows above",
    cases="quorum-of-others",
    versions=(2, 2),
)
differs(
    DescribeQuorumRequest,
    "topics/__cluster_metadata/partitions/0/current_voters/0/replica_directory_id",
    kafka="none",
    ours="replica_directory_id 1",
    reason="Kafka's fixed quorum (kraft.version 0) does not know its voters' directories",
    cases="quorum",
    versions=(2, 2),
)
differs(
    DescribeQuorumRequest,
    "nodes/1/listeners/*",
    kafka=ANY,
    ours=ANY,
    reason="There are no controllers with a listener of their own; a node is named by the one "
    "that clients use",
    cases="quorum",
    versions=(2, 2),
)
differs(
    AddRaftVoterRequest,
    "error_code",
    kafka=42,
    ours=35,
    reason="There is no listener of controllers whose endpoint could be missing",
    cases="add-voter",
)

surprise(
    DescribeQuorumRequest,
    """Whoever asks for anything beside `__cluster_metadata` partition 0 is told
    UNKNOWN_TOPIC_OR_PARTITION (3) for all of it.""",
)
surprise(
    AddRaftVoterRequest,
    """Where the quorum is fixed by configuration the answer is UNSUPPORTED_VERSION (35), after
    cluster id, voter and listener were checked.""",
)
