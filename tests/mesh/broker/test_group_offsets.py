"""Offsets of groups on a whole node, over the wire: what is committed stays, until it must go."""

from __future__ import annotations

import pytest

from mesh.broker.coordinators import java_hash, partition_of
from mesh.broker.purgatory import PRUNE_COUNT_MIN
from mesh.model.errors import ErrorCode
from mesh.model.limits import DISK_RESERVE_BYTES
from mesh.model.names import OFFSETS_TOPIC
from mesh.model.types import Now
from mesh.wire.schemas.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
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
)
from mesh.wire.schemas.produce import ProduceResponse
from tests.mesh.node.peer import Peer, a_produce

BY_NAME = 9
"""The last version of OffsetCommit and OffsetFetch that names topics."""
DAY_MS = 86_400_000


def a_peer(**config: str) -> Peer:
    """A node with a topic of two partitions, and the offsets' topic; `_` stands for dots."""
    peer = Peer(config={name.replace("_", "."): value for name, value in config.items()})
    peer.create("orders", 2)
    found = peer.ask(FindCoordinatorRequest(coordinator_keys=["g"]), FindCoordinatorResponse)
    assert [each.error_code for each in found.coordinators] == [ErrorCode.NONE]
    return peer


def restarted(peer: Peer, *, load: bool = True) -> Peer:
    """The node after a crash that took all that was not synced; its coordinators have loaded."""
    peer.disk.crash()
    after = Peer(disk=peer.disk)
    after.now = Now(after.now.monotonic_ms, peer.now.wall_ms)
    if load:
        load_all(after)
    return after


def load_all(peer: Peer) -> None:
    """Let the coordinators replay their logs."""
    while peer.node.wake_at_ms <= peer.now.monotonic_ms:
        peer.pass_time(0)
    peer.sync()


def committing(
    offset: int = 5,
    *,
    group: str = "g",
    topic: str = "orders",
    partition: int = 0,
    metadata: str = "",
    generation: int = -1,
) -> OffsetCommitRequest:
    """Say that a group has come so far."""
    wanted = OffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_metadata=metadata
    )
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[wanted])],
    )


def commit(peer: Peer, request: OffsetCommitRequest, version: int = BY_NAME) -> int:
    """Return the one error code of a commit."""
    answer = peer.ask(request, OffsetCommitResponse, version=version)
    return answer.topics[0].partitions[0].error_code


def fetched(peer: Peer, *groups: str) -> list[dict[tuple[str, int], int]]:
    """Return all that some groups have committed, by topic and partition."""
    wanted = [OffsetFetchRequestGroup(group_id=group, topics=None) for group in groups]
    answer = peer.ask(OffsetFetchRequest(groups=wanted), OffsetFetchResponse, version=BY_NAME)
    return [
        {
            (topic.name, each.partition_index): each.committed_offset
            for topic in group.topics
            for each in topic.partitions
        }
        for group in answer.groups
    ]


def group_ids(peer: Peer) -> list[str]:
    """Return the groups that there are."""
    groups = peer.ask(ListGroupsRequest(), ListGroupsResponse).groups
    return sorted(group.group_id for group in groups)


@pytest.mark.parametrize(
    ("text", "code"),
    [("", 0), ("g", 103), ("hello", 99162322), ("polygenelubricants", -(2**31)), ("😀", 1772899)],
)
def test_a_group_is_where_kafka_has_it(text: str, code: int) -> None:
    """Strings are hashed as Java does, so that tools find a group's partition."""
    assert java_hash(text) == code


def test_what_is_committed_is_there_after_a_crash() -> None:
    """An answered commit survives the loss of all that was not synced."""
    peer = a_peer()
    assert commit(peer, committing(5)) == commit(peer, committing(7, partition=1)) == 0
    peer = restarted(peer)
    assert fetched(peer, "g", "other") == [{("orders", 0): 5, ("orders", 1): 7}, {}]


def test_a_commit_is_answered_once_it_is_on_the_disk() -> None:
    """Before the sync nobody is told of it: neither who commits, nor who asks."""
    peer = a_peer()
    writer, reader = peer.connect(), peer.connect()
    peer.send(writer, committing(5), version=BY_NAME)
    group = OffsetFetchRequestGroup(group_id="g", topics=None)
    peer.send(reader, OffsetFetchRequest(groups=[group]), version=BY_NAME)
    assert peer.answers(writer) == peer.answers(reader) == []
    peer.sync()
    assert len(peer.answers(writer)) == len(peer.answers(reader)) == 1


def test_each_partition_gets_its_own_answer() -> None:
    """Unknown topics, partitions beyond the last, and long texts are refused with Kafka's codes."""
    peer = a_peer()
    assert commit(peer, committing(topic="gone")) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert commit(peer, committing(partition=2)) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert commit(peer, committing(metadata="x" * 4097)) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert commit(peer, committing(metadata="x" * 4096)) == ErrorCode.NONE
    assert commit(peer, committing(), version=10) == ErrorCode.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize(
    ("version", "code"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)]
)
def test_a_generation_of_no_group_is_refused(version: int, code: ErrorCode) -> None:
    """Who claims to be a member of a group that is not there, commits nothing."""
    peer = a_peer()
    assert commit(peer, committing(generation=3), version=version) == code
    assert fetched(peer, "g") == [{}]


def test_a_deleted_topic_takes_its_offsets_along() -> None:
    """They go with the topic's id, so its namesake begins without any; also over a restart."""
    peer = a_peer()
    peer.create("others")
    commit(peer, committing(5))
    commit(peer, committing(6, topic="others"))
    peer.ask(
        DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000),
        DeleteTopicsResponse,
        version=5,
    )
    peer.create("orders", 2)
    assert fetched(peer, "g") == [{("others", 0): 6}]
    assert fetched(restarted(peer), "g") == [{("others", 0): 6}]


def test_offsets_are_deleted_one_by_one() -> None:
    """OffsetDelete takes what it names, and the group goes with the last."""
    peer = a_peer()
    commit(peer, committing(5))
    wanted = [OffsetDeleteRequestPartition(partition_index=index) for index in (0, 1, 2)]
    request = OffsetDeleteRequest(
        group_id="g", topics=[OffsetDeleteRequestTopic(name="orders", partitions=wanted)]
    )
    answer = peer.ask(request, OffsetDeleteResponse)
    codes = [each.error_code for each in answer.topics[0].partitions]
    assert codes == [0, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert group_ids(peer) == []
    assert peer.ask(request, OffsetDeleteResponse).error_code == ErrorCode.GROUP_ID_NOT_FOUND


def test_groups_are_deleted_with_all_they_committed() -> None:
    """DeleteGroups answers each by itself, and nothing of a deleted group comes back."""
    peer = a_peer()
    for group in ("a", "b", "c"):
        commit(peer, committing(5, group=group))
    answer = peer.ask(DeleteGroupsRequest(groups_names=["a", "x", "c"]), DeleteGroupsResponse)
    assert [each.error_code for each in answer.results] == [0, ErrorCode.GROUP_ID_NOT_FOUND, 0]
    assert group_ids(peer) == ["b"]
    assert group_ids(restarted(peer)) == ["b"]


def test_offsets_expire_a_week_after_the_last_commit() -> None:
    """Those of a group that never had members go by the age of the commit, and the group after."""
    peer = a_peer()
    commit(peer, committing(5))
    peer.pass_time(6 * DAY_MS)
    commit(peer, committing(9, partition=1))
    peer.pass_time(2 * DAY_MS)
    peer.sync()
    assert fetched(peer, "g") == [{("orders", 1): 9}]
    peer.pass_time(7 * DAY_MS)
    peer.sync()
    assert group_ids(peer) == []


def test_a_coordinator_answers_only_once_all_is_replayed() -> None:
    """While a log is replayed, piece by piece, its groups are said to be loading."""
    peer = a_peer()
    for offset in range(1_000):
        peer.send(peer.connect(), committing(offset, metadata="x" * 1000), version=BY_NAME)
    peer.sync()
    peer = restarted(peer, load=False)
    assert commit(peer, committing(1)) == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    load_all(peer)
    assert fetched(peer, "g") == [{("orders", 0): 999}]


def test_the_offsets_topic_is_made_as_it_is_configured() -> None:
    """Its partitions and segments are those of the settings, and it is compacted."""
    peer = a_peer(offsets_topic_num_partitions="7", offsets_topic_segment_bytes="2000000")
    topic = peer.node.broker.registry.topics["__consumer_offsets"]
    assert topic.partition_count == 7
    assert topic.configs["segment.bytes"] == "2000000"
    assert topic.configs["cleanup.policy"] == "compact"


def test_text_with_an_offset_is_bounded_by_its_setting() -> None:
    """offset.metadata.max.bytes counts characters, as in Kafka."""
    peer = a_peer(offset_metadata_max_bytes="3")
    assert commit(peer, committing(metadata="äöü")) == ErrorCode.NONE
    assert commit(peer, committing(metadata="abcd")) == ErrorCode.OFFSET_METADATA_TOO_LARGE


def test_offsets_expire_as_their_settings_say() -> None:
    """A look every second finds what is older than a minute."""
    minute = {
        "offsets_retention_minutes": "1",
        "offsets_retention_check_interval_ms": "1000",
    }
    peer = a_peer(**minute)
    commit(peer, committing(5))
    peer.pass_time(59_000)
    peer.sync()
    assert group_ids(peer) == ["g"]
    peer.pass_time(3_000)
    peer.sync()
    assert group_ids(peer) == []


def test_a_commit_that_the_disk_holds_up_is_tried_again_elsewhere() -> None:
    """After offsets.commit.timeout.ms the client is told to look for the coordinator again."""
    peer = a_peer(offsets_commit_timeout_ms="700")
    connection = peer.connect()
    peer.send(connection, committing(5), version=BY_NAME)
    peer.pass_time(699)
    assert peer.answers(connection) == []
    peer.pass_time(1)
    (answer,) = peer.answers(connection)
    assert isinstance(answer, OffsetCommitResponse)
    code = answer.topics[0].partitions[0].error_code
    assert code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_clients_do_not_write_among_the_records_of_groups() -> None:
    """Produce to the offsets' topic is refused, as by Kafka; so its records are a coordinator's."""
    peer = a_peer()
    answer = peer.ask(a_produce("__consumer_offsets", b"x"), ProduceResponse, version=9)
    code = answer.responses[0].partition_responses[0].error_code
    assert code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_a_full_disk_refuses_commits_and_nothing_else() -> None:
    """What was committed can be read meanwhile, and commits go on once there is room."""
    peer = a_peer()
    commit(peer, committing(5))
    peer.disk.bytes_free = DISK_RESERVE_BYTES
    for _ in range(10):  # So much is taken before the disk is asked again.
        peer.ask(a_produce("orders", bytes(900_000)), ProduceResponse, version=9)
    assert commit(peer, committing(6)) == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert fetched(peer, "g") == [{("orders", 0): 5}]
    peer.disk.bytes_free = 1 << 40
    assert commit(peer, committing(7)) == ErrorCode.NONE
    assert fetched(peer, "g") == [{("orders", 0): 7}]


def test_a_coordinator_that_could_not_write_is_what_its_log_says() -> None:
    """An append that fails changes nothing that anybody sees, then or later."""
    peer = a_peer()
    commit(peer, committing(5))
    coordinators = peer.node.broker.coordinators
    broken = peer.node.broker.partitions[OFFSETS_TOPIC, partition_of("g", 50)]
    broken.takes_writes = False  # As while leadership is handed over.
    assert commit(peer, committing(6)) == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert commit(peer, committing(6)) == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    broken.takes_writes = True
    peer.pass_time(2_000)
    assert coordinators.find("g")[1] == ErrorCode.NONE
    assert fetched(peer, "g") == [{("orders", 0): 5}]


def test_a_commit_that_no_batch_holds_is_refused_whole() -> None:
    """More text than a batch of the topic takes gets Kafka's code, and nothing is kept."""
    peer = a_peer()
    request = committing(metadata="x" * 4096)
    request.topics[0].partitions *= 300
    assert commit(peer, request) == ErrorCode.UNKNOWN_SERVER_ERROR
    assert fetched(peer, "g") == [{}]


def test_what_answers_rest_on_is_not_remembered_for_ever() -> None:
    """Where there is always a commit under way, groups whose records are on disk are forgotten."""
    peer = a_peer(offsets_topic_num_partitions="1")
    count = PRUNE_COUNT_MIN + 200
    connections = [peer.connect() for _ in range(count)]
    most = 0
    for number, connection in enumerate(connections):
        peer.send(connection, committing(number, group=f"g{number}"), version=BY_NAME)
        seat, _ = peer.node.broker.coordinators.find("g0")
        assert seat is not None
        most = max(most, len(seat.rests))
        if number:
            peer.sync_once()  # It holds the commit before, and begins the round of this one.
    peer.sync()
    assert 2 <= most <= PRUNE_COUNT_MIN
    assert sum(len(peer.answers(connection)) for connection in connections) == count
