"""Whatever a crash takes, the journal holds every finished round, and no round by halves."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from simulations.disk import SimulatedCrash, SimulatedDisk
from storage import Facts, Journal, Promise
from storage import journal as journal_module
from tests.storage.builders import DATA, a_disk
from tests.storage.test_journal import BOOT, OURS, TOPIC, a_promise

State = tuple[int, Facts, dict[tuple[bytes, int], Promise]]


@pytest.fixture(autouse=True)
def _rewrites_are_common(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small journals be written whole, so that crashes find that often."""
    monkeypatch.setattr(journal_module, "REWRITE_BYTES_MIN", 1500)


@dataclass
class Story:
    """Random rounds, and a naive memory of what must or may be found after a crash."""

    seed: int
    disk: SimulatedDisk = field(init=False)
    finished: State = (0, Facts(OURS), {})
    under_way: State | None = None
    rewrites: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = a_disk(self.seed)

    def work(self, journal: Journal, rounds: int) -> None:
        for _ in range(rounds):
            number, facts, promises = self.finished
            promises = dict(promises)
            if self.chance.random() < 0.1:
                facts = Facts(OURS, self.chance.random() < 0.5, BOOT)
                journal.put_facts(memory=facts.memory, boot_id=facts.boot_id)
            for _ in range(self.chance.randrange(1, 6)):
                group = (TOPIC, self.chance.randrange(8))
                if self.chance.random() < 0.2:
                    promises.pop(group, None)
                    journal.remove(group)
                else:
                    chosen = a_promise(self.chance.randrange(9), synced_end=number)
                    promises[group] = chosen
                    journal.put(group, chosen)
            self.under_way = (number + 1, facts, promises)
            ticket = journal.begin_round()
            assert ticket is not None
            ticket.run()
            journal.finish_round(ticket)
            self.rewrites += ticket.is_replaced
            self.finished, self.under_way = self.under_way, None
            assert self.finished == (journal.round, journal.facts, journal.promises)

    def reopen(self) -> Journal:
        journal = Journal.open(self.disk, DATA, OURS)
        found = (journal.round, journal.facts, dict(journal.promises))
        assert found == self.finished or found == self.under_way
        # Whichever it is, it is on disk from here on.
        self.finished, self.under_way = found, None
        return journal

    def stop(self) -> None:
        """Lose power, or just the process."""
        if self.chance.random() < 0.6:
            self.disk.crash()
        else:
            self.disk.kill()


@pytest.mark.parametrize("seed", range(300))
def test_a_crash_takes_at_most_the_round_under_way(seed: int) -> None:
    """After any run of crashes and kills: all finished rounds, the last one whole or not at all."""
    story = Story(seed)
    journal = Journal.found(story.disk, DATA, OURS)
    for _ in range(5):
        story.disk.crash_after = story.chance.randrange(60)
        try:
            story.work(journal, story.chance.randrange(25))
        except SimulatedCrash:
            pass  # In the middle of a round, or of writing it whole.
        story.stop()
        if story.chance.random() < 0.4:  # And again, in the middle of the repair.
            story.disk.crash_after = story.chance.randrange(8)
            try:
                story.reopen()
            except SimulatedCrash:
                pass  # The next start begins with what this one left.
            story.stop()
        journal = story.reopen()


def test_the_stories_write_the_journal_whole() -> None:
    """The stories above are about new files, too, not only about appended rounds."""
    story = Story(0)
    story.work(Journal.found(story.disk, DATA, OURS), 60)
    assert story.rewrites > 5


@pytest.mark.parametrize("steps", range(8))
def test_a_crash_amid_founding_leaves_nothing_or_an_empty_journal(steps: int) -> None:
    """A founding that was cut short can be begun anew, with another directory id."""
    disk = a_disk(steps)
    disk.crash_after = steps
    try:
        Journal.found(disk, DATA, bytes(16))
    except SimulatedCrash:
        pass  # Before the identity of the directory was written.
    disk.crash()
    Journal.found(disk, DATA, OURS)
    disk.crash()
    journal = Journal.open(disk, DATA, OURS)
    assert (journal.round, journal.promises) == (0, {})
