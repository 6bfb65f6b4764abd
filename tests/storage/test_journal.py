"""What a node promised is on disk with one sync a round, and no journal is ever silently reset."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from simulations.disk import SimulatedCrash
from storage import (
    DiskFull,
    Journal,
    JournalExists,
    JournalForeign,
    JournalMissing,
    JournalTicket,
    OsDisk,
    Promise,
    SyncFailed,
    read_journal,
)
from storage.disk import Disk
from tests.storage.builders import DATA, a_disk

OURS = bytes(15) + b"\x01"
OTHER = bytes(15) + b"\x02"
BOOT = bytes(range(16))
TOPIC = bytes(range(1, 17))
PATH = f"{DATA}/promises.journal"
VOTERS = ((1, OURS), (2, OTHER), (3, bytes(15) + b"\x03"))


def a_promise(leader_epoch: int = 0, *, synced_end: int = 0) -> Promise:
    return Promise(
        leader_epoch=leader_epoch,
        session=0,
        voted_for=VOTERS[leader_epoch % 3],
        log_epoch=leader_epoch - 1,
        config_epoch=leader_epoch - 1,
        config_version=0,
        voters=VOTERS,
        synced_end=synced_end,
        log_start_offset=0,
    )


def a_journal(disk: Disk | None = None, *, data: str = DATA) -> Journal:
    return Journal.found(disk or a_disk(), data, OURS)


def finish(journal: Journal) -> None:
    """Write what was put, as the driver does, without the thread."""
    ticket = journal.begin_round()
    assert ticket is not None
    ticket.run()
    journal.finish_round(ticket)


def elect(journal: Journal, leader_epoch: int, count: int) -> None:
    """Grant a vote in `count` groups and, once that is durable, win them all."""
    for partition in range(count):
        journal.put((TOPIC, partition), a_promise(leader_epoch))
    finish(journal)
    for partition in range(count):
        won = a_promise(leader_epoch)._replace(log_epoch=leader_epoch, config_epoch=leader_epoch)
        journal.put((TOPIC, partition), won)
    finish(journal)


def due_for_a_new_file(journal: Journal) -> JournalTicket:
    """Return a small round, begun when the journal had just grown enough to be written whole."""
    for number in range(1000):
        journal.put((TOPIC, number % 100), a_promise(number))
        ticket = journal.begin_round()
        assert ticket is not None
        if ticket.whole is not None:
            return ticket
        ticket.run()
        journal.finish_round(ticket)
    raise AssertionError("the journal is never written whole")


def test_a_finished_round_survives() -> None:
    """Promises, removals, facts and the round's number are there after the power was lost."""
    disk = a_disk()
    journal = a_journal(disk)
    gone, left = (TOPIC, 0), (TOPIC, 1)
    journal.put(gone, a_promise(4))
    journal.put(left, a_promise(5))
    journal.put_facts(memory=True, boot_id=BOOT)
    finish(journal)
    journal.remove(gone)
    tombstone = a_promise(6)._replace(voted_for=None, voters=(), tombstone=True, unsure=True)
    journal.put((TOPIC, 2), tombstone)
    finish(journal)
    disk.crash()
    journal = Journal.open(disk, DATA, OURS)
    assert journal.promises == {left: a_promise(5), (TOPIC, 2): tombstone}
    assert (journal.round, journal.warnings) == (2, [])
    assert journal.facts == (OURS, True, BOOT, False)


def test_the_real_disk_keeps_it_too(tmp_path: Path) -> None:
    """The same bytes come back from this machine's file system, also once written whole."""
    disk, data = OsDisk(), str(tmp_path)
    journal = a_journal(disk, data=data)
    for leader_epoch in range(6):
        elect(journal, leader_epoch, 100)
    journal.close()
    assert (tmp_path / "promises.journal").stat().st_size < 6 * 100 * 300
    journal = Journal.open(disk, data, OURS)
    assert journal.round == 12
    assert {promise.log_epoch for promise in journal.promises.values()} == {5}


def test_a_thousand_elections_cost_at_most_three_syncs() -> None:
    """However full the journal is, votes and victories of 1,000 groups share few syncs."""
    disk = a_disk()
    journal = a_journal(disk)
    costs = []
    for leader_epoch in range(12):
        before = disk.sync_count
        elect(journal, leader_epoch, 1000)
        costs.append(disk.sync_count - before)
    assert set(costs) == {2, 3}  # A new file costs one more: its name is synced, too.


def test_the_file_stays_within_its_bound() -> None:
    """It is written whole when it has doubled, however long the node lives."""
    disk = a_disk()
    journal = a_journal(disk)
    elect(journal, 0, 1000)
    sizes = []
    for leader_epoch in range(300):
        for partition in range(leader_epoch % 100):
            journal.put((TOPIC, partition), a_promise(leader_epoch))
        journal.put((TOPIC, 0), a_promise(leader_epoch))
        finish(journal)
        sizes.append(disk.open(PATH).size)
    whole, round_ = 1000 * 2 * 150, 100 * 2 * 150
    assert max(sizes) < 2 * whole + round_
    assert any(after < before for before, after in pairwise(sizes))


def test_what_is_put_meanwhile_waits_for_the_next_round() -> None:
    """A round holds what was put before it began, and counts only once it is finished."""
    journal = a_journal()
    journal.put((TOPIC, 0), a_promise(1))
    first = journal.begin_round()
    assert first is not None
    journal.put((TOPIC, 0), a_promise(2))
    assert journal.begin_round() is None
    assert journal.promises == {}
    first.run()
    journal.finish_round(first)
    assert journal.promises == {(TOPIC, 0): a_promise(1)}
    finish(journal)
    assert journal.promises == {(TOPIC, 0): a_promise(2)}
    assert journal.begin_round() is None


def test_a_round_that_has_not_run_does_not_count() -> None:
    """Nobody can take a promise for durable before it is."""
    journal = a_journal()
    journal.put((TOPIC, 0), a_promise(1))
    ticket = journal.begin_round()
    assert ticket is not None
    with pytest.raises(AssertionError, match="only once it is on disk"):
        journal.finish_round(ticket)


def test_the_mark_of_a_clean_end_is_taken_off_before_anything_else() -> None:
    """A node that went on after its clean end cannot be taken for one that ended cleanly."""
    disk = a_disk()
    journal = a_journal(disk)
    journal.put_facts(memory=False, boot_id=BOOT, clean=True)
    with pytest.raises(AssertionError, match="clean end goes first"):
        journal.put((TOPIC, 0), a_promise())
    finish(journal)
    disk.crash()
    journal = Journal.open(disk, DATA, OURS)
    assert journal.facts.clean
    with pytest.raises(AssertionError, match="clean end goes first"):
        journal.remove((TOPIC, 0))
    journal.put_facts(memory=False, boot_id=BOOT)
    journal.put((TOPIC, 0), a_promise())
    finish(journal)
    assert not Journal.open(disk, DATA, OURS).facts.clean


def test_a_missing_journal_is_no_empty_one() -> None:
    """A node whose journal is gone does not begin with nothing promised."""
    with pytest.raises(JournalMissing, match="is missing: what this node promised is not known"):
        Journal.open(a_disk(), DATA, OURS)


def test_a_journal_of_another_directory_is_refused() -> None:
    """A journal copied from elsewhere is told by the directory id, and left as it is."""
    disk = a_disk()
    a_journal(disk)
    before = disk.read_file(PATH)
    with pytest.raises(JournalForeign, match=f"{OURS.hex()}, not {OTHER.hex()}"):
        Journal.open(disk, DATA, OTHER)
    assert disk.read_file(PATH) == before


def test_founding_never_replaces_promises() -> None:
    """What a founding cut short left behind is replaced; a journal with a round is not."""
    disk = a_disk()
    Journal.found(disk, DATA, OTHER)
    journal = Journal.found(disk, DATA, OURS)
    journal.put((TOPIC, 0), a_promise())
    finish(journal)
    with pytest.raises(JournalExists, match="not new"):
        Journal.found(disk, DATA, OURS)
    assert read_journal(disk, DATA).promises == {(TOPIC, 0): a_promise()}


@pytest.mark.parametrize("seed", range(20))
def test_what_a_failed_sync_covered_is_written_anew(seed: int) -> None:
    """A round that a failed sync left in the page cache as clean is on disk after a start."""
    disk = a_disk(seed)
    journal = a_journal(disk)
    journal.put((TOPIC, 0), a_promise())
    disk.syncs_fail = True
    ticket = journal.begin_round()
    assert ticket is not None
    with pytest.raises(SyncFailed):
        ticket.run()
    disk.syncs_fail = False
    disk.kill()
    assert Journal.open(disk, DATA, OURS).promises == {(TOPIC, 0): a_promise()}
    disk.crash()
    assert Journal.open(disk, DATA, OURS).promises == {(TOPIC, 0): a_promise()}


@pytest.mark.parametrize("seed", range(20))
def test_a_kill_before_a_new_file_has_its_name_costs_nothing(seed: int) -> None:
    """Rounds written after such a kill are not lost with the name when the power goes."""
    disk = a_disk(seed)
    ticket = due_for_a_new_file(a_journal(disk))
    disk.crash_after = 4  # Make, write, sync, rename: all but the directory.
    with pytest.raises(SimulatedCrash):
        ticket.run()
    disk.kill()
    journal = Journal.open(disk, DATA, OURS)
    assert journal.round == ticket.round
    journal.put((TOPIC, 1), a_promise(7))
    finish(journal)
    disk.crash()
    journal = Journal.open(disk, DATA, OURS)
    assert journal.round == ticket.round + 1
    assert journal.promises[TOPIC, 1] == a_promise(7)


def test_a_round_on_a_full_disk_may_run_again() -> None:
    """A full disk writes nothing of a round; with room it goes through, and nothing is torn."""
    disk = a_disk()
    journal = a_journal(disk)
    journal.put((TOPIC, 0), a_promise())
    disk.bytes_free = 10
    ticket = journal.begin_round()
    assert ticket is not None
    with pytest.raises(DiskFull):
        ticket.run()
    assert read_journal(disk, DATA).promises == {}
    disk.bytes_free = 10_000
    ticket.run()
    journal.finish_round(ticket)
    disk.crash()
    assert Journal.open(disk, DATA, OURS).promises == {(TOPIC, 0): a_promise()}


def test_without_room_for_a_new_file_the_round_is_appended() -> None:
    """A disk too full to write the journal whole still takes the round, and the room is kept."""
    disk = a_disk()
    journal = a_journal(disk)
    ticket = due_for_a_new_file(journal)
    disk.bytes_free = 1000
    ticket.run()
    journal.finish_round(ticket)
    assert not ticket.is_replaced
    assert disk.list_directory(DATA) == ["promises.journal"]
    disk.crash()
    reopened = Journal.open(disk, DATA, OURS)
    assert (reopened.round, reopened.promises) == (ticket.round, journal.promises)


def test_a_healthy_journal_opens_on_a_full_disk() -> None:
    """Opening needs no room unless something is to be mended."""
    disk = a_disk()
    elect(a_journal(disk), 0, 10)
    disk.kill()
    disk.bytes_free = 0
    assert len(Journal.open(disk, DATA, OURS).promises) == 10


@pytest.mark.parametrize("group", [(b"short", 0), (TOPIC + b"x", 0)])
def test_an_id_of_another_length_is_never_padded(group: tuple[bytes, int]) -> None:
    """An id that is not 16 bytes stops the node instead of becoming another one on disk."""
    journal = a_journal()
    journal.put(group, a_promise())
    ticket = journal.begin_round()
    assert ticket is not None
    with pytest.raises(AssertionError, match="16 bytes"):
        ticket.run()
