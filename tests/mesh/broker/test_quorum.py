"""DescribeQuorum, AddRaftVoter and RemoveRaftVoter on a whole node, over the wire."""

from __future__ import annotations

from uuid import UUID

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse, Listener
from mesh.wire.schemas.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RequestPartitionData,
    RequestTopicData,
    ResponsePartitionData,
)
from mesh.wire.schemas.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from storage.meta import read_meta
from tests.mesh.node.peer import DIRECTORY, WALL_MS, Peer, a_produce

UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
SOMEBODY = bytes(range(16))


def describe(peer: Peer, *wanted: tuple[str, int], version: int = 2) -> DescribeQuorumResponse:
    """Ask for the quorums of these partitions."""
    topics = [
        RequestTopicData(topic_name=topic, partitions=[RequestPartitionData(partition_index=index)])
        for topic, index in wanted
    ]
    return peer.ask(DescribeQuorumRequest(topics=topics), DescribeQuorumResponse, version=version)


def quorums(answer: DescribeQuorumResponse) -> list[ResponsePartitionData]:
    """All partitions of an answer."""
    return [partition for topic in answer.topics for partition in topic.partitions]


@pytest.mark.parametrize("version", range(3))
def test_every_partition_has_a_quorum(version: int) -> None:
    """A topic's partition is led and held by this node, up to what is on its disk."""
    peer = Peer()
    peer.create("a")
    connection = peer.connect()
    peer.send(connection, a_produce("a", b"1", b"2"), version=9)
    peer.sync()
    peer.send(connection, a_produce("a", b"3"), version=9)  # Not on disk yet.
    [found] = quorums(describe_unsynced(peer, "a", version))
    partition = peer.node.broker.partitions["a", 0]
    assert (found.error_code, found.error_message) == (0, "")
    assert (found.leader_id, found.leader_epoch) == (1, partition.leader_epoch)
    assert (found.high_watermark, found.observers) == (2, [])
    [voter] = found.current_voters
    assert (voter.replica_id, voter.log_end_offset) == (1, 3)
    if version >= 1:
        assert voter.last_fetch_timestamp == voter.last_caught_up_timestamp == WALL_MS


def describe_unsynced(peer: Peer, topic: str, version: int) -> DescribeQuorumResponse:
    """Ask without bringing anything to the disk first."""
    connection = peer.connect()
    wanted = [
        RequestTopicData(topic_name=topic, partitions=[RequestPartitionData(partition_index=0)])
    ]
    peer.send(connection, DescribeQuorumRequest(topics=wanted), version=version)
    [answer] = peer.answers(connection)
    assert isinstance(answer, DescribeQuorumResponse)
    return answer


def test_voters_are_told_with_directory_and_address() -> None:
    """From version 2 on: the directory of meta.toml, and where the node can be reached."""
    peer = Peer()
    answer = describe(peer, ("__cluster_metadata", 0))
    meta = read_meta(peer.disk, DIRECTORY)
    assert meta is not None
    [found] = quorums(answer)
    assert UUID(bytes=found.current_voters[0].replica_directory_id) == meta.directory_id
    [node] = answer.nodes
    [listener] = node.listeners
    assert (node.node_id, listener.name) == (1, "PLAINTEXT")
    assert (listener.host, listener.port) == ("127.0.0.1", 9092)


def test_kafkas_metadata_quorum_is_that_of_the_meshs_own_records() -> None:
    """Kafka's tools ask for `__cluster_metadata`: it is the registry's shard for the mesh."""
    peer = Peer()
    metadata, first, last, none = quorums(
        describe(
            peer,
            ("__cluster_metadata", 0),
            ("__registry", 0),
            ("__registry", 7),
            ("__registry", 8),
        )
    )
    assert metadata == first
    assert metadata.high_watermark == peer.node.broker.shards[0].high_watermark > 0
    assert (last.error_code, last.high_watermark) == (0, 0)
    assert none.error_code == UNKNOWN


def test_each_unknown_partition_is_told_by_itself() -> None:
    """What does not exist is said so; what does is described beside it."""
    peer = Peer()
    peer.create("a")
    wanted = ("a", 0), ("a", 1), ("a", -1), ("nah", 0), ("__cluster_metadata", 1)
    answer = describe(peer, *wanted)
    assert [each.error_code for each in quorums(answer)] == [0, *[UNKNOWN] * 4]
    assert len(answer.nodes) == 1
    assert describe(peer, ("nah", 0)).nodes == []


def add(
    peer: Peer,
    *,
    cluster_id: str | None = None,
    voter_id: int = 2,
    directory_id: bytes = SOMEBODY,
    listening: bool = True,
    version: int = 1,
) -> tuple[int, str | None]:
    """Ask for one more voter."""
    request = AddRaftVoterRequest(
        cluster_id=cluster_id,
        timeout_ms=1_000,
        voter_id=voter_id,
        voter_directory_id=directory_id,
        listeners=[Listener(name="CONTROLLER", host="h", port=9)] if listening else [],
    )
    answer = peer.ask(request, AddRaftVoterResponse, version=version)
    return answer.error_code, answer.error_message


def remove(
    peer: Peer, *, cluster_id: str | None = None, voter_id: int = 1, directory_id: bytes = SOMEBODY
) -> tuple[int, str | None]:
    """Ask for one voter less."""
    request = RemoveRaftVoterRequest(
        cluster_id=cluster_id, voter_id=voter_id, voter_directory_id=directory_id
    )
    answer = peer.ask(request, RemoveRaftVoterResponse)
    return answer.error_code, answer.error_message


def test_there_is_no_quorum_of_controllers_to_change() -> None:
    """Right requests are refused with Kafka's code and with what is so here."""
    peer = Peer()
    own = peer.node.broker.cluster_id
    why = (
        "a mesh has no controllers, and who votes on a partition follows from where its "
        "replicas are."
    )
    for cluster_id in (None, own):
        for version in (0, 1):
            assert add(peer, cluster_id=cluster_id, version=version) == (
                ErrorCode.UNSUPPORTED_VERSION,
                f"No voter can be added: {why}",
            )
        assert remove(peer, cluster_id=cluster_id) == (
            ErrorCode.UNSUPPORTED_VERSION,
            f"No voter can be removed: {why}",
        )


def test_wrong_voters_are_refused_first() -> None:
    """Another cluster's, a negative id, nobody's directory, and to add one, no endpoint."""
    peer = Peer()
    for ask in (add, remove):
        assert ask(peer, cluster_id="x")[0] == ErrorCode.INCONSISTENT_CLUSTER_ID
        assert ask(peer, cluster_id="x", voter_id=-1)[0] == ErrorCode.INCONSISTENT_CLUSTER_ID
        assert ask(peer, voter_id=-1)[0] == ErrorCode.INVALID_REQUEST
        assert ask(peer, directory_id=bytes(16))[0] == ErrorCode.INVALID_REQUEST
    assert add(peer, listening=False)[0] == ErrorCode.INVALID_REQUEST
