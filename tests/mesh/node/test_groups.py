"""Partition groups with one voter: epochs, promises, ends and damage across restarts."""

from __future__ import annotations

import contextlib

import pytest

from mesh.model.errors import ErrorCode
from mesh.node.founding import identify
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedCrash, SimulatedDisk
from storage import journal
from storage.errors import JournalDamaged, JournalExists, JournalMissing
from storage.journal import read_journal
from storage.meta import read_meta
from tests.mesh.node.peer import BOOT_ID, DIRECTORY, Peer, a_produce

JOURNAL = f"{DIRECTORY}/{journal.FILE_NAME}"
META = f"{DIRECTORY}/meta.toml"
PRODUCE = 9


def produce(peer: Peer, *values: bytes, topic: str = "t") -> None:
    answer = peer.ask(a_produce(topic, *values), ProduceResponse, version=PRODUCE)
    assert answer.responses[0].partition_responses[0].error_code == 0


def epoch_told(peer: Peer, topic: str = "t") -> int:
    request = MetadataRequest(topics=[MetadataRequestTopic(name=topic)])
    answer = peer.ask(request, MetadataResponse, version=12)
    return answer.topics[0].partitions[0].leader_epoch


def stop(peer: Peer, boot_id: bytes = BOOT_ID) -> SimulatedDisk:
    """End a node cleanly."""
    peer.sync()

    def run(calls: object) -> None:
        for call in list(calls):  # type: ignore[call-overload]
            call()

    peer.node.close(boot_id, run)
    return peer.disk


def trim(peer: Peer, offset: int) -> DeleteRecordsPartitionResult:
    wanted = DeleteRecordsPartition(partition_index=0, offset=offset)
    request = DeleteRecordsRequest(
        topics=[DeleteRecordsTopic(name="t", partitions=[wanted])], timeout_ms=1_000
    )
    return peer.ask(request, DeleteRecordsResponse).topics[0].partitions[0]


def test_leader_epochs_begin_at_0_and_rise_with_every_start() -> None:
    """A leader of an earlier start is told from today's, after a clean end and after a crash."""
    peer = Peer()
    peer.create("t")
    assert epoch_told(peer) == 0
    produce(peer, b"one")
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert epoch_told(peer) == 1
    produce(peer, b"two")
    peer = Peer(disk=stop(peer))
    assert epoch_told(peer) == 2
    assert peer.fetch_values("t") == [b"one", b"two"]
    entries = peer.node.broker.partitions["t", 0].log.leader_epochs.entries()
    assert entries == [(0, 0), (1, 1)]


def test_what_is_acknowledged_is_in_the_journal_before() -> None:
    """The end that an acks=all answer rests on stands in the journal on disk when it leaves."""
    peer = Peer()
    peer.create("t")
    produce(peer, b"one")
    produce(peer, b"two")
    group = peer.node.broker.partitions["t", 0].topic_id, 0
    assert read_journal(peer.disk, DIRECTORY).promises[group].synced_end == 2


def test_log_and_journal_share_a_round_and_the_log_goes_first() -> None:
    """An acks=all produce costs one round: the log's sync, then the journal's word of its end."""
    peer = Peer()
    peer.create("t")
    produce(peer, b"zero")
    group = peer.node.broker.partitions["t", 0].topic_id, 0
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one"), version=PRODUCE)
    [sync] = peer.rounds
    assert sync.journal is not None
    assert peer.journal_rounds == []
    for _, ticket in sync.round:
        ticket.run()
    assert read_journal(peer.disk, DIRECTORY).promises[group].synced_end == 1
    peer.log_once()
    assert read_journal(peer.disk, DIRECTORY).promises[group].synced_end == 2
    assert len(peer.answers(connection)) == 1
    assert (peer.rounds, peer.journal_rounds) == ([], [])


def test_a_round_whose_journal_found_no_room_is_finished_later() -> None:
    """On a full disk the logs' half of a round counts, and nothing is answered on half a round."""
    peer = Peer()
    peer.create("t")
    connection = peer.connect()
    peer.send(connection, a_produce("t", b"one"), version=PRODUCE)
    sync = peer.rounds.pop(0)
    for _, ticket in sync.round:
        ticket.run()
    peer.carry_out(peer.node.synced(sync, peer.now))
    assert peer.answers(connection) == []
    [later] = peer.journal_rounds
    assert later.ticket is sync.journal
    peer.journal_once()
    assert len(peer.answers(connection)) == 1


class Syncs:
    """Counts the syncs of a disk from now on."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk, self._before = disk, disk.sync_count

    @property
    def count(self) -> int:
        return self._disk.sync_count - self._before


def syncs_of_a_start(partitions: int) -> int:
    """Return what a clean start with so many partitions of topics costs."""
    peer = Peer()
    if partitions:
        peer.create("t", partitions)
    disk = stop(peer)
    syncs = Syncs(disk)
    peer = Peer(disk=disk)
    assert peer.node.broker.groups.elections_count == partitions + 8
    return syncs.count


def test_a_thousand_elections_cost_three_syncs_at_most() -> None:
    """Votes and leaderships of all groups share the journal's rounds at a start."""
    assert syncs_of_a_start(1_000) - syncs_of_a_start(0) <= 3


def test_groups_of_a_new_topic_are_elected_in_two_rounds() -> None:
    """A vote and a leadership for each of 1,000 partitions: three syncs, whatever their number."""
    peer = Peer()
    connection = peer.connect()
    topic = CreatableTopic(name="t", num_partitions=1_000, replication_factor=-1)
    peer.send(connection, CreateTopicsRequest(topics=[topic], timeout_ms=1_000))
    peer.sync_once()  # The record's round, and the journal's word that it is on disk …
    assert peer.node.broker.groups.elections_count == 1_008  # … and those that follow from it.
    [answer] = peer.answers(connection)
    assert isinstance(answer, CreateTopicsResponse)
    topic = CreatableTopic(name="u", num_partitions=1_000, replication_factor=-1)
    peer.send(connection, CreateTopicsRequest(topics=[topic], timeout_ms=1_000))
    peer.log_once()
    syncs = Syncs(peer.disk)
    peer.journal_once()
    assert peer.node.broker.groups.elections_count == 2_008
    assert syncs.count <= 1 + 3, "the record's, and the elections'"


def test_a_deleted_topic_leaves_no_promise_behind() -> None:
    """When a topic id is gone for good, the journal forgets its groups."""
    peer = Peer()
    peer.create("t", 3)
    group = peer.node.broker.partitions["t", 0].topic_id, 0
    assert group in read_journal(peer.disk, DIRECTORY).promises
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000)
    assert peer.ask(request, DeleteTopicsResponse).responses[0].error_code == 0
    peer.create("other")  # Its round takes the removal along.
    assert group not in read_journal(peer.disk, DIRECTORY).promises


@pytest.mark.parametrize("seed", range(10))
def test_deleted_records_stay_deleted_through_a_crash(seed: int) -> None:
    """DeleteRecords answers once the journal has the new start; no crash brings records back."""
    peer = Peer(seed=seed)
    peer.create("t")
    produce(peer, b"1")
    produce(peer, b"2")
    produce(peer, b"3")
    assert trim(peer, 2).low_watermark == 2
    peer.disk.crash()
    peer = Peer(disk=peer.disk, seed=seed)
    assert peer.node.broker.partitions["t", 0].log.log_start_offset == 2
    assert peer.fetch_values("t", offset=2) == [b"3"]
    assert trim(peer, -1).low_watermark == 3
    assert trim(peer, 1).low_watermark == 3  # Below the start: nothing to do.
    assert trim(peer, 4).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("seed", range(5))
def test_damage_below_the_promised_end_is_no_torn_tail(seed: int) -> None:
    """What the journal says is synced is never cut off as torn, however young it is."""
    peer = Peer(seed=seed)
    peer.create("t")
    produce(peer, b"one")
    produce(peer, b"two")
    peer.disk.crash()
    path = f"{DIRECTORY}/t-0/{0:020d}.log"
    data = bytearray(peer.disk.read_file(path))
    data[-1] ^= 1
    peer.disk.write_atomically(path, bytes(data))
    peer = Peer(disk=peer.disk, seed=seed)
    assert "at offset 1 " in peer.node.broker.damaged["t", 0]
    assert peer.disk.read_file(path) == data


def damaged() -> Peer:
    """A node that holds `ok`, and `t` with a flipped bit in what it acknowledged."""
    peer = Peer()
    for topic in ("t", "ok"):
        peer.create(topic)
        produce(peer, b"one", topic=topic)
    peer.disk.crash()
    path = f"{DIRECTORY}/t-0/{0:020d}.log"
    data = bytearray(peer.disk.read_file(path))
    data[-1] ^= 1
    peer.disk.write_atomically(path, bytes(data))
    return Peer(disk=peer.disk)


def test_a_damaged_partition_is_not_served_and_all_others_are() -> None:
    """It has no leader, and what asks for it is told of its storage; nothing of it is changed."""
    peer = damaged()
    assert epoch_told(peer) == -1
    answer = peer.ask(a_produce("t", b"two"), ProduceResponse, version=PRODUCE)
    code = answer.responses[0].partition_responses[0].error_code
    assert code == ErrorCode.KAFKA_STORAGE_ERROR
    produce(peer, b"two", topic="ok")
    assert peer.fetch_values("ok") == [b"one", b"two"]


def test_damage_is_not_forgotten_by_a_clean_end() -> None:
    """After a clean end all logs are believed; so one with a damaged log leaves no mark."""
    peer = Peer(disk=stop(damaged()))
    assert ("t", 0) in peer.node.broker.damaged
    assert peer.fetch_values("ok") == [b"one"]


def test_a_damaged_partition_goes_with_its_topic() -> None:
    """Deleting the topic is the way to go on without it: the next one of its name is empty."""
    peer = damaged()
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000)
    assert peer.ask(request, DeleteTopicsResponse).responses[0].error_code == 0
    assert peer.node.broker.damaged == {}
    peer.create("t")
    produce(peer, b"new")
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert peer.fetch_values("t") == [b"new"]


def test_a_node_without_its_journal_does_not_start() -> None:
    """Missing or damaged, the journal is an error; it is never made anew for what was served."""
    peer = Peer()
    peer.create("t")
    disk = stop(peer)
    whole = disk.read_file(JOURNAL)
    disk.remove(JOURNAL)
    with pytest.raises(JournalMissing):
        Peer(disk=disk)
    disk.write_atomically(JOURNAL, b"".join(bytes([byte ^ 1]) for byte in whole))
    with pytest.raises(JournalDamaged):
        Peer(disk=disk)
    disk.write_atomically(JOURNAL, whole)
    Peer(disk=disk)


def test_a_founding_that_was_cut_short_begins_anew() -> None:
    """A crash between any two steps of founding leaves a directory in which it works next time."""
    for steps in range(40):
        disk = SimulatedDisk(steps)
        disk.crash_after = steps
        with contextlib.suppress(SimulatedCrash):
            Peer(disk=disk)
        disk.crash_after = None
        disk.crash()
        Peer(disk=disk)


def test_promises_without_an_identity_are_not_thrown_away() -> None:
    """Where a journal has rounds but meta.toml is gone, nobody founds another mesh."""
    disk = stop(Peer())
    for name in disk.list_directory(DIRECTORY):
        if name not in (journal.FILE_NAME, ".lock"):
            (disk.remove_tree if "__registry" in name else disk.remove)(f"{DIRECTORY}/{name}")
    with pytest.raises(JournalExists):
        identify(disk, DIRECTORY, lambda size: bytes(size))


def test_a_directory_of_the_first_format_is_taken_over() -> None:
    """Without a journal, as the first release left it: all is there, and epochs go on from 0."""
    peer = Peer()
    peer.create("t")
    produce(peer, b"one")
    disk = stop(peer)
    disk.remove(JOURNAL)
    text = disk.read_file(META).decode()
    disk.write_atomically(META, text.replace("format = 2", "format = 1").encode())
    peer = Peer(disk=disk)
    assert peer.fetch_values("t") == [b"one"]
    assert epoch_told(peer) == 1
    meta = read_meta(disk, DIRECTORY)
    assert meta is not None
    assert meta.format == 2


def test_records_without_a_promise_are_damage() -> None:
    """A log that the journal knows nothing of was not written under its promises."""
    peer = Peer()
    peer.create("t")
    produce(peer, b"one")
    group = peer.node.broker.partitions["t", 0].topic_id, 0
    own = peer.node.broker.groups.journal
    own.remove(group)
    ticket = own.begin_round()
    assert ticket is not None
    ticket.run()
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert "does not know of its leaders" in peer.node.broker.damaged["t", 0]


def test_the_journal_says_how_a_start_runs() -> None:
    """Durability and boot id stand in the journal before anything is acknowledged under them."""
    peer = Peer(durability="memory")
    facts = read_journal(peer.disk, DIRECTORY).facts
    assert (facts.memory, facts.boot_id, facts.clean) == (True, BOOT_ID, False)
    facts = read_journal(stop(peer), DIRECTORY).facts
    assert (facts.memory, facts.clean) == (True, True)


def test_in_memory_mode_a_node_alone_goes_on_after_another_boot() -> None:
    """All voters answered, none is sure of its log: the only one is elected, in a new epoch."""
    peer = Peer(durability="memory")
    peer.create("t")
    produce(peer, b"one")
    stop(peer)
    peer = Peer(disk=peer.disk, durability="memory")
    produce(peer, b"two")
    group = peer.node.broker.partitions["t", 0].topic_id, 0
    peer.disk.crash()
    peer = Peer(disk=peer.disk, durability="memory", boot_id=bytes(16))
    assert peer.node.broker.partitions["t", 0].leads
    assert peer.fetch_values("t")[:1] == [b"one"]
    promise = read_journal(peer.disk, DIRECTORY).promises[group]
    assert promise.leader_epoch > 1
    assert not promise.unsure
    assert ("t", 0) in {(lost.topic, lost.index) for lost, _ in peer.node.broker.groups.losses}
