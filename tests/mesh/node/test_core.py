"""The node as a machine: what follows from requests, syncs, deadlines and crashes."""

from __future__ import annotations

import random

import pytest

from mesh.model.errors import ErrorCode
from mesh.model.limits import RECOVERY_BYTES_MAX
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from mesh.wire.schemas.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from mesh.wire.schemas.produce import PartitionProduceResponse, ProduceRequest, ProduceResponse
from simulations.disk import SimulatedDisk
from storage.records import Record, build_batch
from tests.mesh.node.peer import WALL_MS, Peer, a_batch, a_fetch, a_produce, records_of

SOFTWARE = ApiVersionsRequest(client_software_name="t", client_software_version="1")
PRODUCE = 9  # A version with topic names; from 13 on topics have ids.


@pytest.fixture
def peer() -> Peer:
    peer = Peer()
    peer.create("t", 2)
    return peer


def only(answer: object) -> PartitionProduceResponse:
    assert isinstance(answer, ProduceResponse)
    return answer.responses[0].partition_responses[0]


def create(name: str) -> CreateTopicsRequest:
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=-1)
    return CreateTopicsRequest(topics=[topic], timeout_ms=1_000)


def delete(peer: Peer, name: str) -> None:
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=1_000)
    assert peer.ask(request, DeleteTopicsResponse).responses[0].error_code == 0


def test_acks_all_is_answered_only_when_the_disk_has_it(peer: Peer) -> None:
    """An acks=all produce is silent until its sync round is done; acks=1 is answered at once."""
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one"), version=PRODUCE)
    assert peer.answers(connection) == []
    peer.sync_once()
    assert only(*peer.answers(connection)).base_offset == 0
    peer.send(connection, a_produce("t", b"two", acks=1), version=PRODUCE)
    assert only(*peer.answers(connection)).base_offset == 1


def test_in_memory_durability_acks_all_does_not_wait_for_the_disk() -> None:
    """With --durability memory the page cache is enough, for the answer and for readers."""
    peer = Peer(durability="memory")
    peer.create("t")
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one"), version=PRODUCE)
    assert only(*peer.answers(connection)).error_code == 0
    assert peer.rounds == []
    assert peer.fetch_values("t") == [b"one"]


def test_acks_0_has_no_answer_and_a_failure_ends_the_connection(peer: Peer) -> None:
    """Nothing is sent for acks=0; an error can only be told by hanging up."""
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one", acks=0), SOFTWARE, version=3)
    assert [type(answer) for answer in peer.answers(connection)] == [ApiVersionsResponse]
    peer.send(connection, a_produce("nowhere", b"two", acks=0), version=PRODUCE)
    assert [hung for hung, _ in peer.hung_up] == [connection]


def test_answers_leave_in_the_order_of_the_requests(peer: Peer) -> None:
    """A request that is ready waits for those that came before it on its connection, only."""
    first, second = peer.connect(), peer.connect()
    peer.send(first, a_produce("t", b"one"), SOFTWARE, version=3)
    peer.send(second, SOFTWARE, version=3)
    assert peer.answers(first) == []
    assert len(peer.answers(second)) == 1
    peer.sync()
    assert [type(answer) for answer in peer.answers(first)] == [
        ProduceResponse,
        ApiVersionsResponse,
    ]


def test_what_arrives_during_a_round_shares_the_next_one(peer: Peer) -> None:
    """One round runs at a time, and all partitions with appends travel in the next together."""
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"1"), version=PRODUCE)
    for partition in (0, 1, 0):
        peer.send(connection, a_produce("t", b"2", partition=partition), version=PRODUCE)
    assert len(peer.rounds) == 1
    peer.sync_once()
    assert len(peer.answers(connection)) == 1
    assert [len(sync.round) for sync in peer.rounds] == [2]
    peer.sync_once()
    assert len(peer.answers(connection)) == 3


def test_readers_see_nothing_that_is_not_on_disk(peer: Peer) -> None:
    """An unsynced record has an offset and is invisible: a crash could take it away."""
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one", acks=1), version=PRODUCE)
    reader = peer.connect()
    peer.send(reader, a_fetch("t", max_wait_ms=0), version=12)
    (answer,) = peer.answers(reader)
    assert isinstance(answer, FetchResponse)
    assert answer.responses[0].partitions[0].high_watermark == 0
    peer.sync()
    assert peer.fetch_values("t") == [b"one"]


def test_a_parked_fetch_is_answered_by_a_commit_or_by_its_deadline(peer: Peer) -> None:
    """A fetch waits for bytes, no longer than it said, and nobody else waits with it."""
    reader, producer = peer.connect(), peer.connect()
    peer.send(reader, a_fetch("t"), version=12)
    peer.send(producer, a_produce("t", b"one"), version=PRODUCE)
    assert peer.answers(reader) == []
    peer.sync()
    (answer,) = peer.answers(reader)
    assert isinstance(answer, FetchResponse)
    found = records_of(answer.responses[0].partitions[0].records)
    assert [record.value for record in found] == [b"one"]
    peer.send(reader, a_fetch("t", offset=1, max_wait_ms=500), version=12)
    peer.pass_time(499)
    assert peer.answers(reader) == []
    peer.pass_time(1)
    (answer,) = peer.answers(reader)
    assert isinstance(answer, FetchResponse)
    assert answer.responses[0].partitions[0].error_code == 0


def test_a_fetch_waits_for_min_bytes_over_all_its_commits(peer: Peer) -> None:
    """Less than min_bytes does not wake a reader; reaching it does."""
    reader, producer = peer.connect(), peer.connect()
    size = len(a_batch(b"x"))
    peer.send(reader, a_fetch("t", min_bytes=size + 1), version=12)
    peer.send(producer, a_produce("t", b"x"), version=PRODUCE)
    peer.sync()
    assert peer.answers(reader) == []
    peer.send(producer, a_produce("t", b"y"), version=PRODUCE)
    peer.sync()
    assert len(peer.answers(reader)) == 1


def test_a_produce_whose_sync_does_not_come_times_out_and_keeps_its_data(peer: Peer) -> None:
    """At the deadline the client hears REQUEST_TIMED_OUT; the record stays and is committed."""
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"slow", timeout_ms=100), version=PRODUCE)
    peer.pass_time(100)
    assert only(*peer.answers(connection)).error_code == ErrorCode.REQUEST_TIMED_OUT
    peer.sync()
    assert peer.fetch_values("t") == [b"slow"]


def test_a_duplicate_is_answered_like_its_original_once_that_is_committed(peer: Peer) -> None:
    """A retried batch is appended once; its answer waits for the original's commit."""
    batch = a_batch(b"a", b"b", producer_id=7, producer_epoch=0, base_sequence=0)
    connection = peer.connect()
    peer.send(connection, a_produce("t", batch=batch), version=PRODUCE)
    peer.send(connection, a_produce("t", batch=batch), version=PRODUCE)
    assert peer.answers(connection) == []
    peer.sync()
    results = [only(answer) for answer in peer.answers(connection)]
    assert [(result.error_code, result.base_offset) for result in results] == [(0, 0), (0, 0)]
    assert peer.fetch_values("t") == [b"a", b"b"]


def test_an_unknown_api_ends_only_its_connection(peer: Peer) -> None:
    """There is no error frame; the node hangs up, after the answers that were due before."""
    good, bad = peer.connect(), peer.connect()
    peer.send(bad, SOFTWARE, version=3)
    peer.send_bytes(bad, bytes.fromhex("7fff 0000 00000001 ffff"))
    peer.send_bytes(bad, b"\x00")
    peer.send(good, SOFTWARE, version=3)
    assert len(peer.answers(bad)) == 1
    assert [hung for hung, _ in peer.hung_up] == [bad]
    assert len(peer.answers(good)) == 1


def test_of_two_creates_in_one_commit_window_one_wins(peer: Peer) -> None:
    """The second sees the first although that is not committed yet."""
    first, second = peer.connect(), peer.connect()
    peer.send(first, create("new"))
    peer.send(second, create("new"))
    peer.sync()
    codes = []
    for connection in (first, second):
        (answer,) = peer.answers(connection)
        assert isinstance(answer, CreateTopicsResponse)
        codes.append(answer.topics[0].error_code)
    assert codes == [0, ErrorCode.TOPIC_ALREADY_EXISTS]


def test_a_topic_made_anew_is_another_one(peer: Peer) -> None:
    """Deleting ends readers and writers at once; the new topic has a new id and is empty."""
    peer.ask(a_produce("t", b"old"), ProduceResponse, version=PRODUCE)
    old_id = peer.node.broker.registry.topics["t"].topic_id
    reader = peer.connect()
    peer.send(reader, a_fetch("t", offset=1, max_wait_ms=60_000), version=12)
    delete(peer, "t")
    (answer,) = peer.answers(reader)
    assert isinstance(answer, FetchResponse)
    code = answer.responses[0].partitions[0].error_code
    assert code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    peer.create("t")
    assert peer.node.broker.registry.topics["t"].topic_id != old_id
    assert peer.end_offset("t") == 0
    again = Peer(disk=peer.disk)
    assert again.end_offset("t") == 0


def test_producer_ids_are_never_given_twice(peer: Peer) -> None:
    """Ids differ within a start and over restarts, clean or not."""
    given: list[int] = []
    for _ in range(3):
        for _ in range(5):
            request = InitProducerIdRequest(transactional_id=None)
            answer = peer.ask(request, InitProducerIdResponse)
            assert answer.error_code == 0
            given.append(answer.producer_id)
        peer.disk.crash()
        peer = Peer(disk=peer.disk, seed=len(given))
    assert len(set(given)) == len(given)


def test_a_transactional_id_is_refused(peer: Peer) -> None:
    """Nobody is made to believe in transactions that are not there."""
    request = InitProducerIdRequest(transactional_id="tx", transaction_timeout_ms=1_000)
    answer = peer.ask(request, InitProducerIdResponse)
    assert answer.error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_more_answers_than_the_bound_stop_the_reading(peer: Peer) -> None:
    """A connection says that it is full, so that its driver takes no more from it."""
    connection = peer.connect()
    fetches = [a_fetch("t", max_wait_ms=60_000)] * 127
    peer.send(connection, *fetches, version=12)
    full = [connection.full]
    peer.send(connection, a_fetch("t", max_wait_ms=60_000), version=12)
    full.append(connection.full)
    assert full == [False, True]


@pytest.mark.parametrize("seed", range(40))
def test_what_was_acknowledged_survives_every_crash(seed: int) -> None:
    """Whatever a crash takes of what was not synced: acknowledged records are there, in order."""
    chance = random.Random(seed)
    peer = Peer(disk=SimulatedDisk(seed), seed=seed)
    peer.create("t", 2)
    acknowledged: dict[int, list[bytes]] = {0: [], 1: []}
    for life in range(4):
        connection = peer.connect()
        sent: list[tuple[int, bytes]] = []
        for number in range(chance.randrange(1, 30)):
            value = b"%d/%d" % (life, number)
            partition = chance.randrange(2)
            peer.send(connection, a_produce("t", value, partition=partition), version=PRODUCE)
            sent.append((partition, value))
            if chance.random() < 0.3 and peer.rounds:
                peer.sync_once()
            for answer in peer.answers(connection):
                assert only(answer).error_code == 0
                where, what = sent.pop(0)
                acknowledged[where].append(what)
        peer.disk.crash()
        peer = Peer(disk=peer.disk, seed=seed)
        for partition, expected in acknowledged.items():
            found = peer.fetch_values("t", partition)
            assert found[: len(expected)] == expected
            # What more was kept was sent, though not acknowledged; from now on it counts.
            assert set(found[len(expected) :]) <= {value for _, value in sent}
            acknowledged[partition] = found


def test_every_version_of_produce_and_fetch_carries_the_same_records(peer: Peer) -> None:
    """Topics by name or by id, old or new form: what goes in comes out."""
    topic_id = peer.node.broker.registry.topics["t"].topic_id
    for version in range(3, 14):
        request: ProduceRequest = a_produce("t", b"v%d" % version)
        request.topic_data[0].topic_id = topic_id
        assert only(peer.ask(request, ProduceResponse, version=version)).error_code == 0
    expected = [b"v%d" % version for version in range(3, 14)]
    for version in range(4, 19):
        fetch = a_fetch("t")
        fetch.topics[0].topic_id = topic_id
        answer = peer.ask(fetch, FetchResponse, version=version)
        found = records_of(answer.responses[0].partitions[0].records)
        assert [record.value for record in found] == expected


def test_a_full_disk_refuses_producers_and_nothing_else(peer: Peer) -> None:
    """Above the reserve nothing more is taken; reads and deletions go on, and it ends by itself."""
    peer.ask(a_produce("t", b"before"), ProduceResponse, version=PRODUCE)
    peer.create("victim")
    peer.disk.bytes_free = 33 << 20
    refused = 0
    for _ in range(20):
        answer = peer.ask(a_produce("t", bytes(900_000)), ProduceResponse, version=PRODUCE)
        refused += only(answer).error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert refused >= 10
    assert peer.fetch_values("t")[0] == b"before"
    delete(peer, "victim")
    peer.disk.bytes_free = 1 << 40
    answer = peer.ask(a_produce("t", b"after"), ProduceResponse, version=PRODUCE)
    assert only(answer).error_code == 0


def test_what_a_restart_must_check_is_bounded(peer: Peer) -> None:
    """However much was appended, a crash leaves little more than the bound to check."""
    big = [bytes([number]) * 900_000 for number in range(60)]
    for number, value in enumerate(big * 2):
        request = a_produce("t", value, partition=number % 2)
        assert only(peer.ask(request, ProduceResponse, version=PRODUCE)).error_code == 0
    peer.disk.crash()
    again = Peer(disk=peer.disk)
    partitions = again.node.broker.partitions.values()
    scanned = sum(partition.log.recovered.scanned_bytes for partition in partitions)
    assert 0 < scanned < 2 * RECOVERY_BYTES_MAX
    assert again.end_offset("t", 0) == again.end_offset("t", 1) == len(big)
    # And what was checked once is not checked again by the next start.
    again.disk.crash()
    third = Peer(disk=again.disk)
    partitions = third.node.broker.partitions.values()
    scanned = sum(partition.log.recovered.scanned_bytes for partition in partitions)
    assert scanned < 2 << 20


def test_a_read_that_ends_with_its_segment_does_not_wait_for_more() -> None:
    """What follows is in the next segment; waiting for min_bytes would bring nothing."""
    peer = Peer(config={"log.segment.bytes": str(1 << 20)})
    peer.create("t")
    for _ in range(3):
        peer.ask(a_produce("t", bytes(600_000)), ProduceResponse, version=PRODUCE)
    reader = peer.connect()
    peer.send(reader, a_fetch("t", min_bytes=900_000), version=12)
    (answer,) = peer.answers(reader)
    assert isinstance(answer, FetchResponse)
    assert len(records_of(answer.responses[0].partitions[0].records)) == 1


def test_a_fetch_never_waits_for_more_than_it_may_get(peer: Peer) -> None:
    """min_bytes beyond max_bytes is max_bytes."""
    for _ in range(2):
        peer.ask(a_produce("t", bytes(700_000)), ProduceResponse, version=PRODUCE)
    reader = peer.connect()
    fetch = a_fetch("t", min_bytes=10 << 20)
    fetch.max_bytes = 600_000
    peer.send(reader, fetch, version=12)
    assert len(peer.answers(reader)) == 1


def test_a_batch_that_unpacks_to_millions_of_records_stalls_nobody(peer: Peer) -> None:
    """Looking a time up in a batch of 2 KB does not unpack 3 million records."""
    bomb = bytearray(build_batch([Record(0, WALL_MS, None, None)] * 150_000, codec=4))
    assert len(bomb) < 100_000
    answer = peer.ask(a_produce("t", batch=bytes(bomb)), ProduceResponse, version=PRODUCE)
    assert only(answer).error_code == 0
    wanted = ListOffsetsPartition(partition_index=0, timestamp=WALL_MS)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name="t", partitions=[wanted])])
    found = peer.ask(request, ListOffsetsResponse).topics[0].partitions[0]
    assert (found.error_code, found.offset, found.timestamp) == (0, 0, WALL_MS)


def test_a_reader_is_told_where_a_leader_epoch_ends(peer: Peer) -> None:
    """The epoch in force ends at the log's end; one that never was is unknown, not an error."""
    peer.ask(a_produce("t", b"a", b"b"), ProduceResponse, version=PRODUCE)
    wanted = [
        OffsetForLeaderPartition(partition=0, leader_epoch=0),
        OffsetForLeaderPartition(partition=0, leader_epoch=5),
        OffsetForLeaderPartition(partition=0, leader_epoch=0, current_leader_epoch=9),
        OffsetForLeaderPartition(partition=7, leader_epoch=0),
    ]
    topic = OffsetForLeaderTopic(topic="t", partitions=wanted)
    request = OffsetForLeaderEpochRequest(replica_id=-1, topics=[topic])
    found = peer.ask(request, OffsetForLeaderEpochResponse).topics[0].partitions
    assert [(one.error_code, one.leader_epoch, one.end_offset) for one in found] == [
        (0, 0, 2),
        (0, -1, -1),
        (ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
    ]
