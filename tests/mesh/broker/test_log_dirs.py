"""DescribeLogDirs and AlterReplicaLogDirs on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopic,
)
from mesh.wire.schemas.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
)
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedDisk
from storage.disk import DiskError
from tests.mesh.node.peer import DIRECTORY, Peer, a_batch, a_produce

UNKNOWN, NO_DIRECTORY = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.LOG_DIR_NOT_FOUND


@pytest.fixture
def peer() -> Peer:
    """A node with the topics `a` of one partition and `b` of two; `b-1` holds one batch."""
    peer = Peer()
    peer.create("a")
    peer.create("b", 2)
    peer.ask(a_produce("b", b"value", partition=1), ProduceResponse, version=9)
    return peer


def describe(
    peer: Peer, topics: dict[str, list[int]] | None, version: int = 5
) -> DescribeLogDirsResult:
    """Ask for partitions of topics, or with None for all."""
    wanted = None
    if topics is not None:
        wanted = [DescribableLogDirTopic(topic=name, partitions=topics[name]) for name in topics]
    answer = peer.ask(
        DescribeLogDirsRequest(topics=wanted), DescribeLogDirsResponse, version=version
    )
    [result] = answer.results
    return result


def sizes(result: DescribeLogDirsResult) -> dict[tuple[str, int], int]:
    """Bytes of each partition that was told; none lags, none moves."""
    partitions = [(topic.name, each) for topic in result.topics for each in topic.partitions]
    assert all((each.offset_lag, each.is_future_key) == (0, False) for _, each in partitions)
    found = {(name, each.partition_index): each.partition_size for name, each in partitions}
    assert len(found) == len(partitions)
    return found


@pytest.mark.parametrize("version", range(1, 6))
def test_all_partitions_are_told_with_what_they_take(peer: Peer, version: int) -> None:
    """Null asks for all; the registry's own topic is hidden; the disk's size is in version 4."""
    result = describe(peer, None, version)
    assert (result.error_code, result.log_dir, result.is_cordoned) == (0, DIRECTORY, False)
    size = len(a_batch(b"value"))
    assert sizes(result) == {("a", 0): 0, ("b", 0): 0, ("b", 1): size}
    disk = (1 << 40, peer.disk.bytes_free)
    assert (result.total_bytes, result.usable_bytes) == (disk if version >= 4 else (-1, -1))


def test_what_is_asked_for_and_not_here_is_left_out(peer: Peer) -> None:
    """Each partition once, and the directory always, as in Kafka."""
    asked = {"b": [1, 1, 7, -1], "nah": [0], "__registry": [0], "a": []}
    assert list(sizes(describe(peer, asked))) == [("b", 1)]
    assert sizes(describe(peer, {})) == {}


def test_sizes_are_known_after_a_restart(peer: Peer) -> None:
    """They are the logs', not what was counted since the start."""
    peer.disk.kill()
    peer = Peer(disk=peer.disk)
    assert sizes(describe(peer, {"b": [1]})) == {("b", 1): len(a_batch(b"value"))}


class UnknowableDisk(SimulatedDisk):
    """A disk that works but does not say how large it is."""

    def total_bytes(self, path: str) -> int:
        raise DiskError(path, "told to fail")


def test_a_disk_that_does_not_say_is_a_storage_error() -> None:
    """The directory is answered with error 56, not with numbers that nobody knows."""
    peer = Peer(disk=UnknowableDisk(0))
    result = describe(peer, None)
    assert (result.error_code, result.log_dir) == (ErrorCode.KAFKA_STORAGE_ERROR, DIRECTORY)
    assert (result.total_bytes, result.topics) == (-1, [])


def move(peer: Peer, *moves: tuple[str, str, int], version: int = 2) -> dict[tuple[str, int], int]:
    """Ask for moves, each (directory, topic, partition); return their codes."""
    dirs = [
        AlterReplicaLogDir(
            path=path, topics=[AlterReplicaLogDirTopic(name=name, partitions=[index])]
        )
        for path, name, index in moves
    ]
    answer = peer.ask(
        AlterReplicaLogDirsRequest(dirs=dirs), AlterReplicaLogDirsResponse, version=version
    )
    return {
        (topic.topic_name, each.partition_index): each.error_code
        for topic in answer.results
        for each in topic.partitions
    }


@pytest.mark.parametrize("version", [1, 2])
def test_a_partition_moves_only_to_where_it_is(peer: Peer, version: int) -> None:
    """The one directory is fine, another does not exist, whatever the partition."""
    moves = [
        (DIRECTORY, "a", 0),
        (DIRECTORY, "a", 1),
        ("/elsewhere", "b", 0),
        (f"{DIRECTORY}/", "b", 1),
        ("/elsewhere", "nah", 0),
        (DIRECTORY, "__registry", 0),
    ]
    assert move(peer, *moves, version=version) == {
        ("a", 0): 0,
        ("a", 1): UNKNOWN,
        ("b", 0): NO_DIRECTORY,
        ("b", 1): NO_DIRECTORY,
        ("nah", 0): NO_DIRECTORY,
        ("__registry", 0): UNKNOWN,
    }


def test_of_two_directories_the_later_counts(peer: Peer) -> None:
    """A partition is answered once."""
    assert move(peer, (DIRECTORY, "a", 0), ("/elsewhere", "a", 0)) == {("a", 0): NO_DIRECTORY}
    assert move(peer, ("/elsewhere", "a", 0), (DIRECTORY, "a", 0)) == {("a", 0): 0}
