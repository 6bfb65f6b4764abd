"""What a log knows of its producers is what its history says, whatever was lost or deleted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from simulations.disk import SimulatedCrash, SimulatedDisk
from storage import Log, LogConfig, Record, build_batch, read_batch_header
from storage.checkpoints import LOG_STARTS, RECOVERY_POINTS, read_offsets, write_offsets
from storage.producers import BATCHES_KEPT, SEQUENCES
from storage.records import BatchHeader
from storage.sync import SyncTicket
from tests.storage.builders import DATA, TOPIC_ID, a_disk, append, sync

CONFIG = LogConfig(segment_bytes=1500, index_interval_bytes=300, retention_ms=-1)
KEY = ("orders", 3)
PRODUCERS = range(7, 12)
WALL_MS = 5000
FIRST = SEQUENCES - 8
"""Where producers begin, so that their numbers wrap soon."""

Known = dict[int, tuple[int, list[tuple[int, int, int]]]]
"""Epoch and last batches (first sequence, last sequence, first offset) by producer."""


def told(headers: Sequence[BatchHeader], before: Known | None = None) -> Known:
    """Return what a naive reader of these batches remembers of their producers."""
    known: Known = dict(before or {})
    for header in headers:
        if header.producer_id < 0:
            continue
        epoch, batches = known.get(header.producer_id, (header.producer_epoch, []))
        if header.producer_epoch != epoch:
            epoch, batches = header.producer_epoch, []
        last = (header.base_sequence + header.last_offset_delta) % SEQUENCES
        batches = [*batches, (header.base_sequence, last, header.base_offset)]
        known[header.producer_id] = epoch, batches[-BATCHES_KEPT:]
    return known


def progress(sequence: int) -> int:
    """How many records a producer has sent when it comes to this one."""
    return (sequence - FIRST) % SEQUENCES


def remembered(log: Log) -> Known:
    return {
        producer_id: (
            state.producer_epoch,
            [(each.base_sequence, each.last_sequence, each.base_offset) for each in state.batches],
        )
        for producer_id, state in log.producers.items()
    }


@dataclass
class Story:
    """Random work on a log whose producers retry, as a leader's or a follower's log sees it."""

    seed: int
    config: LogConfig = CONFIG
    disk: SimulatedDisk = field(init=False)
    log: Log = field(init=False)
    history: list[BatchHeader] = field(default_factory=list)
    """All that was ever appended, and neither lost nor cut off since."""
    cut: list[BatchHeader] = field(default_factory=list)
    """What was cut off by a cut that is not on disk yet: a crash may bring it back."""
    known: Known = field(default_factory=dict)
    """What the log must know."""
    answered: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Epoch and progress up to which a producer repeats nothing any more: five came after it."""
    committed_end: int = 0
    log_start: int = 0
    """Where the log begins, as it was promised."""
    ticket: SyncTicket | None = None
    has_run: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.keys = [b"%d" % number for number in range(12)]
        self.disk = a_disk(self.seed)
        self.log = self.open()

    def open(self, *, clean: bool = False) -> Log:
        points, _ = read_offsets(self.disk, DATA, RECOVERY_POINTS)
        starts, _ = read_offsets(self.disk, DATA, LOG_STARTS)
        return Log.open(
            self.disk,
            DATA,
            *KEY,
            TOPIC_ID,
            self.config,
            clean=clean,
            recovery_point=points.get(KEY, 0),
            log_start_offset=max(starts.get(KEY, 0), self.log_start),
            synced_end=self.committed_end,
        )

    def reopen(self, *, clean: bool = False) -> None:
        self.ticket = None
        self.log = self.open(clean=clean)
        end = self.log.log_end_offset
        assert end >= self.committed_end
        there = self.history + self.cut
        self.history = [each for each in there if each.base_offset < end]
        self.cut = [each for each in there if each.base_offset >= end]
        self.check_loss()
        if not clean:
            sync(self.log)  # As a node does before it serves.
        self.cut = []

    def check_loss(self) -> None:
        """After a cut or a crash: what was in flight and is still there must be known.

        Of what cannot be in flight any more some may be forgotten, if it was deleted; what a
        producer did last is not.
        """
        found, truth, end = remembered(self.log), told(self.history), self.log.log_end_offset
        for producer_id, (epoch, batches) in found.items():
            assert truth[producer_id][0] == epoch
            assert truth[producer_id][1][-1] == batches[-1]
            there = self.batches_of(producer_id, epoch)
            assert [each for each in there if each in batches] == batches
        for producer_id, (epoch, batches) in self.known.items():
            for batch in batches:
                in_flight = (epoch, progress(batch[1])) > self.answered.get(producer_id, (0, -1))
                if batch[2] < end and in_flight:
                    assert batch in found[producer_id][1]
        self.known = found

    def batches_of(self, producer_id: int, epoch: int) -> list[tuple[int, int, int]]:
        return [
            batch
            for header in self.history
            if (header.producer_id, header.producer_epoch) == (producer_id, epoch)
            for batch in told([header])[producer_id][1]
        ]

    def check(self) -> None:
        assert remembered(self.log) == self.known

    def step(self) -> None:
        match self.chance.randrange(20):
            case 0 | 1:
                self.sync(indexes=self.chance.random() < 0.3)
            case 2 | 3:
                self.go_on_syncing()
            case 4:
                self.write_checkpoints()
            case 5 if self.ticket is None:
                self.committed_end = self.log.synced_end
            case 6 if self.chance.random() < 0.5:
                self.truncate()
            case 7:
                self.retain()
            case 8 if self.chance.random() < 0.5:
                self.delete_records()
            case 9 if self.config.compact:
                self.compact()
            case _:
                self.append()
        self.check()

    def sync(self, *, indexes: bool = False) -> None:
        self.finish_ticket()
        sync(self.log, indexes=indexes)
        self.cut = []

    def go_on_syncing(self) -> None:
        """A sync runs in a thread: all sorts of things happen between its steps."""
        if self.ticket is None:
            self.ticket = self.log.begin_sync(indexes=self.chance.random() < 0.5)
            self.has_run = False
        elif not self.has_run:
            self.ticket.run()
            self.has_run = True
        else:
            self.finish_ticket()

    def finish_ticket(self) -> None:
        if self.ticket is not None:
            if not self.has_run:
                self.ticket.run()
            self.log.finish_sync(self.ticket)
            self.ticket = None

    def write_checkpoints(self) -> None:
        write_offsets(self.disk, DATA, RECOVERY_POINTS, {KEY: self.log.recovery_point})
        write_offsets(self.disk, DATA, LOG_STARTS, {KEY: self.log.log_start_offset})

    def truncate(self) -> None:
        """Followers are cut back, never below what is committed; the cut is synced at once."""
        log = self.log
        lowest = max(self.committed_end, log.log_start_offset)
        ends = [each.base_offset for each in self.history if each.base_offset >= lowest]
        end = self.chance.choice([*ends, log.log_end_offset])
        points, _ = read_offsets(self.disk, DATA, RECOVERY_POINTS)
        lowered = min(points.get(KEY, 0), end)
        write_offsets(self.disk, DATA, RECOVERY_POINTS, {KEY: lowered})
        self.cut = [each for each in self.history if each.base_offset >= end]
        self.history = [each for each in self.history if each.base_offset < end]
        log.truncate(end)
        self.check_loss()
        self.sync()

    def retain(self) -> None:
        self.log.config = replace(self.config, retention_bytes=self.chance.choice((0, 2000, 4000)))
        for remove in self.log.apply_retention(WALL_MS, self.committed_end):
            remove()

    def delete_records(self) -> None:
        if self.committed_end >= self.log.log_start_offset:
            offset = self.chance.randint(self.log.log_start_offset, self.committed_end)
            self.log_start = max(self.log_start, offset)  # It was promised first.
            self.log.delete_before(offset)

    def append(self) -> None:
        producer_id = self.chance.choice((-1, *PRODUCERS))
        count = self.chance.randrange(1, 4)
        epoch, sequence = -1, -1
        if producer_id >= 0:
            # Unknown ones begin where their numbers will wrap soon.
            epoch, batches = self.known.get(producer_id, (0, [(0, FIRST - 1, 0)]))
            sequence = (batches[-1][1] + 1) % SEQUENCES
            if self.chance.random() < 0.05:
                epoch, sequence = epoch + 1, 0
        batch = build_batch(
            [Record(-1, 1000, self.chance.choice(self.keys), self.value()) for _ in range(count)],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=sequence,
        )
        header = read_batch_header(batch)
        if producer_id >= 0:
            assert self.log.producers.check(header) is None
        append(self.log, batch)
        header = read_batch_header(batch)
        self.history.append(header)
        before = self.known.get(producer_id)
        self.known = told([header], self.known)
        if before is not None and before[1][0] != self.known[producer_id][1][0]:
            # Whoever raised the epoch repeats nothing of the old one.
            done = (before[0], progress(before[1][0][1])) if epoch == before[0] else (epoch, -1)
            self.answered[producer_id] = max(done, self.answered.get(producer_id, done))
        self.must_know_retries()

    def value(self) -> bytes:
        return self.chance.randbytes(self.chance.randrange(100))

    def compact(self) -> None:
        """Run a compaction, if there is anything to do, with the rest of the work between steps."""
        dirt = self.log.dirt(WALL_MS, min(self.committed_end, self.log.recovery_point))
        if dirt is not None and dirt.dirty_bytes:
            run = self.log.begin_compaction(dirt, WALL_MS, key_map_bytes=1 << 20)
            while self.log.compaction is run:
                run.step()
                for _ in range(self.chance.randrange(4)):
                    self.append()
                self.log.swap(run)

    def must_know_retries(self) -> None:
        """Whatever is in flight and comes again is a duplicate of what is there."""
        sent = {each.base_offset: each for each in self.history}
        for producer_id, (_, batches) in self.known.items():
            for _, _, base_offset in batches:
                original = self.log.producers.check(sent[base_offset])
                assert original is not None
                assert original.base_offset == base_offset, producer_id


COMPACTED = replace(CONFIG, compact=True, dirty_ratio_min=0.0)


@pytest.mark.parametrize("config", [CONFIG, COMPACTED], ids=["deleted", "compacted"])
@pytest.mark.parametrize("seed", [*range(60), 760, 1400, 2809])
def test_producers_are_what_the_history_says_after_any_crash(seed: int, config: LogConfig) -> None:
    """Cut, retained, compacted, crashed at any step or killed: no batch in flight is forgotten.

    Neither is a producer whose batches were all deleted: it goes on where it was.
    """
    story = Story(seed, config)
    for _ in range(5):
        story.disk.crash_after = story.chance.randrange(200)
        try:
            for _ in range(story.chance.randrange(80)):
                story.step()
        except SimulatedCrash:
            pass  # In the midst of anything.
        crash = story.disk.crash if story.chance.random() < 0.7 else story.disk.kill
        crash()
        if story.chance.random() < 0.3:  # And again, in the midst of the repair.
            story.disk.crash_after = story.chance.randrange(15)
            try:
                story.reopen()
            except SimulatedCrash:
                pass  # The next start begins with what this one left.
            crash()
        story.reopen()


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("config", [CONFIG, COMPACTED], ids=["deleted", "compacted"])
def test_producers_are_what_the_history_says_after_a_clean_end(
    seed: int, config: LogConfig
) -> None:
    """A clean end keeps all of it, also of those whose batches are deleted."""
    story = Story(seed, config)
    for _ in range(3):
        for _ in range(story.chance.randrange(80)):
            story.step()
        story.finish_ticket()
        story.log.close(clean=True)
        story.write_checkpoints()
        story.disk.crash()
        story.reopen(clean=True)
