"""Whatever a crash takes, what was synced is there, and what is there was appended."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from simulations.disk import SimulatedCrash, SimulatedDisk
from storage import Log, LogConfig, crc_matches, read_batch_header
from storage.checkpoints import RECOVERY_POINTS, read_offsets, write_offsets
from tests.storage.builders import DATA, a_batch, a_disk, a_log, append, sync

CONFIG = LogConfig(segment_bytes=2000, index_interval_bytes=300)


@dataclass
class Story:
    """Random work on a log, and a naive memory of what it must hold."""

    seed: int
    disk: SimulatedDisk = field(init=False)
    appended: list[tuple[int, bytes]] = field(default_factory=list)
    synced_end: int = 0
    sequences: dict[int, int] = field(default_factory=dict)
    leader_epoch: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = a_disk(self.seed)

    def work(self, log: Log, steps: int) -> None:
        for _ in range(steps):
            match self.chance.randrange(12):
                case 0 | 1:
                    sync(log, indexes=self.chance.random() < 0.3)
                    self.synced_end = log.synced_end
                case 2:
                    points = {("orders", 3): log.recovery_point}
                    write_offsets(self.disk, DATA, RECOVERY_POINTS, points)
                case 3:
                    self.leader_epoch += 1
                case _:
                    self.append(log)

    def append(self, log: Log) -> None:
        producer_id = self.chance.choice((-1, -1, 7, 8))
        count = self.chance.randrange(1, 6)
        batch = a_batch(
            count,
            value=self.chance.randbytes(self.chance.randrange(200)),
            times=[self.chance.randrange(1, 10_000) for _ in range(count)],
            producer_id=producer_id,
            producer_epoch=0 if producer_id >= 0 else -1,
            base_sequence=self.sequences.get(producer_id, 0) if producer_id >= 0 else -1,
        )
        offset = append(log, batch, leader_epoch=self.leader_epoch)
        self.appended.append((offset, bytes(batch)))
        if producer_id >= 0:
            self.sequences[producer_id] = self.sequences.get(producer_id, 0) + count

    def reopen(self) -> Log:
        points, _ = read_offsets(self.disk, DATA, RECOVERY_POINTS)
        point = points.get(("orders", 3), 0)
        log = a_log(self.disk, config=CONFIG, recovery_point=point)
        self.check(log)
        # What the crash took was never promised, and never was.
        self.appended = [entry for entry in self.appended if entry[0] < log.log_end_offset]
        self.sequences = {}
        for _, batch in self.appended:
            header = read_batch_header(batch)
            if header.producer_id >= 0:
                end = header.base_sequence + header.record_count
                self.sequences[header.producer_id] = end
        self.leader_epoch = max(self.leader_epoch, log.leader_epochs.latest)
        return log

    def check(self, log: Log) -> None:
        assert log.log_end_offset >= self.synced_end
        there = [batch for offset, batch in self.appended if offset < log.log_end_offset]
        check_content(log, there)
        check_indexes(log)
        check_producers(log, there)
        epochs: list[tuple[int, int]] = []
        for batch in there:
            header = read_batch_header(batch)
            if not epochs or header.leader_epoch > epochs[-1][0]:
                epochs.append((header.leader_epoch, header.base_offset))
        assert log.leader_epochs.entries() == epochs


def check_content(log: Log, batches: list[bytes]) -> None:
    """Every batch is found from each of its offsets, byte for byte, and nothing more."""
    assert log.log_end_offset == sum(read_batch_header(batch).record_count for batch in batches)
    for batch in batches:
        header = read_batch_header(batch)
        for offset in range(header.base_offset, header.last_offset + 1):
            (part,) = log.read(offset, 1, log.log_end_offset)
            assert part.read() == batch


def check_indexes(log: Log) -> None:
    """Each entry speaks of a batch that stands where it says."""
    for segment in log._segments:
        batches = dict(segment.walk(0))
        for number in range(len(segment.offsets)):
            relative, position = segment.offsets[number]
            assert batches[position].last_offset == segment.base_offset + relative
        newest = -1
        by_last = {header.last_offset: header for header in batches.values()}
        for number in range(len(segment.times)):
            time, relative = segment.times[number]
            assert by_last[segment.base_offset + relative].max_timestamp == time > newest
            newest = time
        times = [header.max_timestamp for header in batches.values()]
        assert segment.max_timestamp == max(times, default=-1)


def check_producers(log: Log, batches: list[bytes]) -> None:
    """The last five batches of each producer are known as duplicates; the next is new."""
    for producer_id in (7, 8):
        headers = [h for h in map(read_batch_header, batches) if h.producer_id == producer_id]
        for header in headers[-5:]:
            original = log.producers.check(header)
            assert original is not None
            assert original.base_offset == header.base_offset
        if headers:
            last = headers[-1]
            following = last.base_sequence + last.record_count
            fresh = last._replace(base_sequence=following, last_offset_delta=0)
            assert log.producers.check(fresh) is None


@pytest.mark.parametrize("seed", range(200))
def test_a_crash_takes_only_what_was_not_synced(seed: int) -> None:
    """After any crash the log is a prefix of what was appended, at least the synced part."""
    story = Story(seed)
    log = a_log(story.disk, config=CONFIG)
    for _ in range(4):
        story.disk.crash_after = story.chance.randrange(150)
        try:
            story.work(log, story.chance.randrange(60))
        except SimulatedCrash:
            pass  # In the middle of anything; an append that was cut short never answered.
        story.disk.crash()
        if story.chance.random() < 0.3:  # And again, in the middle of the repair.
            story.disk.crash_after = story.chance.randrange(15)
            try:
                story.reopen()
            except SimulatedCrash:
                pass  # The next start begins with what this one left.
            story.disk.crash()
        log = story.reopen()


@pytest.mark.parametrize("seed", range(60))
def test_a_killed_process_loses_nothing(seed: int) -> None:
    """After kill -9 everything appended is there, synced or not."""
    story = Story(seed)
    log = a_log(story.disk, config=CONFIG)
    for _ in range(4):
        story.work(log, story.chance.randrange(60))
        story.disk.kill()
        appended = len(story.appended)
        log = story.reopen()
        assert len(story.appended) == appended


@pytest.mark.parametrize("seed", range(60))
def test_a_clean_end_needs_no_check(seed: int) -> None:
    """A log closed cleanly is whole after a crash, without a batch being checked."""
    story = Story(seed)
    log = a_log(story.disk, config=CONFIG)
    for _ in range(3):
        story.work(log, story.chance.randrange(60))
        log.close(clean=True)
        story.disk.crash()
        log = a_log(story.disk, config=CONFIG, clean=True)
        story.check(log)
        assert len(story.appended) == 0 or log.log_end_offset > story.appended[-1][0]
        assert log.recovered.scanned_bytes == 0
        assert log.synced_end == log.log_end_offset


def test_what_a_failed_sync_covered_is_written_anew() -> None:
    """A second sync, after a restart, saves what the failed one only marked as clean."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(3))
    sync(log)
    batch = a_batch(2, value=b"from before the failure")
    append(log, batch)
    disk.syncs_fail = True
    ticket = log.begin_sync()
    assert ticket is not None
    with pytest.raises(Exception, match="told to fail"):
        ticket.run()
    disk.syncs_fail = False
    disk.kill()
    log = a_log(disk)
    assert log.log_end_offset == 5
    sync(log)
    disk.crash()
    log = a_log(disk)
    assert log.log_end_offset == 5
    (part,) = log.read(3, 1, 5)
    assert crc_matches(part.read())
    assert part.read() == bytes(batch)


def a_long_log(disk: SimulatedDisk) -> tuple[Log, list[bytes]]:
    """Return a log of some ten segments, all on disk, and its batches."""
    log = a_log(disk, config=CONFIG)
    batches = []
    for number in range(60):
        batch = a_batch(3, value=bytes(60), times=[number + 1] * 3)
        append(log, batch, leader_epoch=number // 20)
        batches.append(bytes(batch))
    sync(log, indexes=True)
    return log, batches


@pytest.mark.parametrize("seed", range(80))
def test_a_crash_amid_retention_leaves_no_hole(seed: int) -> None:
    """Some of the oldest segments are gone, or none; everything after them is there."""
    disk = a_disk(seed)
    log, batches = a_long_log(disk)
    point = log.recovery_point
    log.config = replace(log.config, retention_bytes=3000, retention_ms=-1)
    disk.crash_after = seed % 40
    try:
        for remove in log.apply_retention(1000, log.log_end_offset):
            remove()
    except SimulatedCrash:
        pass  # Between any two removals.
    disk.crash()
    log = a_log(disk, config=CONFIG, recovery_point=point)
    assert log.log_end_offset == 180
    assert log.recovered.warnings == []
    for number, batch in enumerate(batches):
        if number * 3 >= log.log_start_offset:
            (part,) = log.read(number * 3, 1, 180)
            assert part.read() == batch
    assert append(log, a_batch()) == 180


@pytest.mark.parametrize("seed", range(80))
def test_a_crash_amid_a_cut_leaves_a_prefix(seed: int) -> None:
    """The log is as before, or cut, or in between, but never other batches in its midst."""
    disk = a_disk(seed)
    chance = random.Random(seed)
    log, batches = a_long_log(disk)
    end = chance.randrange(1, 60) * 3
    write_offsets(disk, DATA, RECOVERY_POINTS, {("orders", 3): end})
    disk.crash_after = chance.randrange(60)
    fresh: list[bytes] = []
    synced = False
    try:
        log.truncate(end)
        sync(log)
        synced = True
        for _ in range(5):
            batch = a_batch(3, value=b"of the new leader")
            append(log, batch, leader_epoch=9)
            fresh.append(bytes(batch))
        sync(log, indexes=True)
    except SimulatedCrash:
        pass  # Between any two changes of the disk.
    disk.crash()
    log = a_log(disk, config=CONFIG, recovery_point=end)
    found = []
    for offset in range(0, log.log_end_offset, 3):
        (part,) = log.read(offset, 1, log.log_end_offset)
        found.append(part.read())
    assert found[: end // 3] == batches[: end // 3]
    tail = found[end // 3 :]
    if synced:
        assert tail == fresh[: len(tail)]
    else:
        assert tail == batches[end // 3 : len(found)]
