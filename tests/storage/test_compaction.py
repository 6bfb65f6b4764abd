"""After compaction the last record of each key is there, at its offset, and nothing is lost."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import dataclass, field, replace

import pytest
from crc32c import crc32c

from simulations.disk import SimulatedDisk
from storage import Log, LogConfig, Record, batches, build_batch, crc_matches, read_batch_header
from storage.compaction import Compaction
from storage.disk import DiskError
from storage.keymap import KeyMap
from storage.records import DELETE_HORIZON, HEADER_SIZE, read_records
from storage.types import Offset
from tests.storage.builders import DATA, a_disk, a_log, append, content, sync

CONFIG = LogConfig(
    segment_bytes=1500,
    index_interval_bytes=200,
    compact=True,
    dirty_ratio_min=0.0,
    tombstone_retention_ms=1000,
)
NOW_MS = 1_000_000


def keyed(
    pairs: list[tuple[bytes | None, bytes | None]],
    *,
    codec: int = 0,
    time_ms: int = 1000,
    producer_id: int = -1,
    base_sequence: int = -1,
) -> bytearray:
    """Return a batch of these keys and values."""
    return build_batch(
        [Record(-1, time_ms + number, *pair) for number, pair in enumerate(pairs)],
        codec=codec,
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=base_sequence,
    )


def compact(
    log: Log, wall_ms: int = NOW_MS, *, end_max: Offset | None = None, key_map_bytes: int = 1 << 20
) -> Compaction | None:
    """Run one compaction of all that may be compacted, without the thread."""
    dirt = log.dirt(wall_ms, log.log_end_offset if end_max is None else end_max)
    if dirt is None or not dirt.dirty_bytes:
        return None
    run = log.begin_compaction(dirt, wall_ms, key_map_bytes=key_map_bytes)
    while log.compaction is not None:
        run.step()
        log.swap(run)
    return run


def records(log: Log) -> list[Record]:
    """Return all records of the log, as a consumer reads it; every byte is checked on the way."""
    found: list[Record] = []
    expected = log.log_start_offset
    for batch in batches(content(log)):
        header = read_batch_header(batch)
        assert crc_matches(batch)
        assert header.base_offset <= expected <= header.last_offset
        expected = header.last_offset + 1
        found += read_records(batch)
    assert expected == log.log_end_offset
    return found


def roll(log: Log) -> Offset:
    """Close the active segment and sync everything; return the offset at which the next begins."""
    log._roll()
    sync(log, indexes=True)
    return log.log_end_offset


def sequences(log: Log) -> dict[int, list[tuple[int, ...]]]:
    """Return sequences and offsets of every producer's batches; a batch's time may have gone."""
    return {known: [b[:4] for b in state.batches] for known, state in log.producers.items()}


def test_the_last_record_of_each_key_stays_at_its_offset() -> None:
    """Older records of a key go; offsets, times and the log's end are as they were."""
    log = a_log(config=CONFIG)
    append(log, keyed([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]))
    append(log, keyed([(b"a", b"4")], time_ms=2000))
    roll(log)
    append(log, keyed([(b"b", b"5")], time_ms=3000))
    size = log.size_bytes
    compact(log)
    assert records(log) == [
        Record(1, 1001, b"b", b"2", []),
        Record(2, 1002, b"c", b"3", []),
        Record(3, 2000, b"a", b"4", []),
        Record(4, 3000, b"b", b"5", []),  # Not closed yet, so what it replaces is still there.
    ]
    assert log.log_end_offset == 5
    assert log.cleaned_end == 4
    assert log.size_bytes < size
    roll(log)
    compact(log)
    assert [record.offset for record in records(log)] == [2, 3, 4]
    assert len(log._segments) == 2


@dataclass
class Oracle:
    """A log and all that was ever appended to it, kept naively."""

    seed: int
    disk: SimulatedDisk = field(init=False)
    log: Log = field(init=False)
    config: LogConfig = CONFIG
    appended: list[Record] = field(default_factory=list)
    sequences: dict[int, int] = field(default_factory=dict)
    wall_ms: int = NOW_MS
    leader_epoch: int = 0
    cleaned_end: Offset = 0
    epochs: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = a_disk(self.seed)
        self.log = a_log(self.disk, config=self.config)
        self.keys = [b"k%d" % n * self.chance.choice((1, 9)) for n in range(8)]

    def append(self) -> None:
        chance = self.chance
        pairs: list[tuple[bytes | None, bytes | None]] = [
            (
                chance.choice(self.keys),
                None if chance.random() < 0.2 else chance.randbytes(chance.randrange(200)),
            )
            for _ in range(chance.randrange(1, 7))
        ]
        producer_id = chance.choice((-1, -1, 7, 8))
        if chance.random() < 0.1:
            self.leader_epoch += 1
        batch = keyed(
            pairs,
            codec=chance.randrange(5),
            time_ms=self.wall_ms,
            producer_id=producer_id,
            base_sequence=self.sequences.get(producer_id, 0) if producer_id >= 0 else -1,
        )
        offset = append(self.log, batch, leader_epoch=self.leader_epoch, wall_ms=self.wall_ms)
        if not self.epochs or self.leader_epoch > self.epochs[-1][0]:
            self.epochs.append((self.leader_epoch, offset))
        self.appended += [
            replace(record, offset=offset + number)
            for number, record in enumerate(read_records(batch))
        ]
        if producer_id >= 0:
            self.sequences[producer_id] = self.sequences.get(producer_id, 0) + len(pairs)

    def check(self) -> None:
        """What is there was appended, and of each key at least the newest value is there."""
        log = self.log
        found = records(log)
        by_offset = {record.offset: record for record in self.appended}
        assert [record for record in found if by_offset[record.offset] != record] == []
        assert [r.offset for r in found] == sorted(r.offset for r in found)
        there = {record.offset for record in found}
        newest: dict[bytes | None, Record] = {}
        for record in self.appended[: log.log_end_offset]:
            newest[record.key] = record
        view: dict[bytes | None, bytes | None] = {}
        for record in found:
            view[record.key] = record.value
        for key, record in newest.items():
            # A deleted key is deleted, whether its tombstone is there or not.
            assert view.get(key) == record.value
            assert record.value is None or record.offset in there
        self.cleaned_end = max(self.cleaned_end, log.cleaned_end)
        for record in self.appended[self.cleaned_end : log.log_end_offset]:
            assert record.offset in there  # Not compacted yet.
        assert log.leader_epochs.entries() == self.epochs

    def check_cleaned(self) -> None:
        """Below the cleaned end each key is there once, and tombstones in their time only."""
        found = [r for r in records(self.log) if r.offset < self.log.cleaned_end]
        assert len({record.key for record in found}) == len(found)


@pytest.mark.parametrize("seed", range(150))
def test_compaction_agrees_with_a_naive_oracle(seed: int) -> None:
    """Random logs, every codec, tombstones, idempotent producers, leader epochs, small key maps."""
    story = Oracle(seed)
    chance = story.chance
    for _ in range(6):
        for _ in range(chance.randrange(40)):
            story.append()
        story.wall_ms += chance.randrange(1500)
        sync(story.log, indexes=True)
        key_map_bytes = chance.choice((1, 1500, 1 << 20))
        run = compact(
            story.log,
            story.wall_ms,
            end_max=chance.randrange(story.log.log_end_offset + 1),
            key_map_bytes=key_map_bytes,
        )
        story.check()
        if run is not None:
            assert run.error is None
            story.check_cleaned()
        story.log.verify()
        if chance.random() < 0.3:
            clean = chance.random() < 0.5
            producers = sequences(story.log)
            story.log.close(clean=clean)
            story.disk.kill()
            story.log = a_log(
                story.disk,
                config=CONFIG,
                clean=clean,
                recovery_point=0 if clean else chance.choice((0, story.log.recovery_point)),
                cleaned_end=chance.choice((0, story.log.cleaned_end)),
            )
            story.check()
            assert producers == sequences(story.log)


def test_a_tombstone_stays_for_its_time_and_takes_all_of_its_key_with_it() -> None:
    """The first run that meets it sets the horizon, as KIP-534 has it; a later one drops it."""
    log = a_log(config=CONFIG)
    append(log, keyed([(b"a", b"1"), (b"b", b"2")]))
    append(log, keyed([(b"a", None)], time_ms=500_000))
    roll(log)
    append(log, keyed([(b"c", b"3")]))
    compact(log, NOW_MS)
    assert [(r.offset, r.value) for r in records(log)] == [(1, b"2"), (2, None), (3, b"3")]
    (marked,) = [b for b in batches(content(log)) if b[22] & DELETE_HORIZON]
    assert read_batch_header(marked).base_timestamp == NOW_MS + 1000
    assert read_batch_header(marked).max_timestamp == 500_000
    assert [record.timestamp_ms for record in read_records(marked)] == [500_000]
    roll(log)
    compact(log, NOW_MS + 999)
    assert [record.offset for record in records(log)] == [1, 2, 3]
    append(log, keyed([(b"d", b"4")]))
    roll(log)
    compact(log, NOW_MS + 1000)
    assert [record.offset for record in records(log)] == [1, 3, 4]


def test_the_key_map_stays_within_its_bound() -> None:
    """What it says of itself, and what Python allocates for it, is no more than was allowed."""
    bound = 4 << 20
    tracemalloc.start()
    try:
        keys, count, offset = KeyMap(bound), 200, 0
        while True:
            pairs = [Record(-1, 1, b"%036d" % (offset + n), b"") for n in range(count)]
            batch = build_batch(pairs, base_offset=offset)
            if not keys.note(bytes(batch[HEADER_SIZE:]), read_batch_header(batch)):
                break
            offset += count
        keys.seal()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert keys.is_full
    assert len(keys.latest) == offset > 15_000
    assert keys.bytes_used <= bound
    assert peak <= bound + (256 << 10)  # And one batch with its keys.


def test_a_batch_whose_offsets_lie_is_left_alone() -> None:
    """It must not make records of others go; and neither must one that cannot be read."""
    log = a_log(config=CONFIG)
    append(log, keyed([(b"a", b"1"), (b"b", b"2")]))
    lying = keyed([(b"c", b"3"), (b"d", b"4")])
    position = lying.index(b"\x02\x02", HEADER_SIZE) + 1  # The second record's offset delta.
    lying[position] = 0
    broken = keyed([(b"a", b"5")])
    broken[HEADER_SIZE] = 0x7F
    for batch in (lying, broken):
        batch[17:21] = crc32c(batch[21:]).to_bytes(4, "big")
        append(log, batch)
    append(log, keyed([(b"b", b"6")]))
    roll(log)
    append(log, keyed([(b"e", b"7")]))
    run = compact(log)
    assert run is not None
    assert run.error is None
    assert run.batches_left == 2
    kept = list(batches(content(log)))
    assert bytes(lying)[21:] in [bytes(batch[21:]) for batch in kept]
    assert bytes(broken)[21:] in [bytes(batch[21:]) for batch in kept]
    assert [r.key for r in read_records(kept[0])] == [b"a"]


def test_the_newest_record_is_found_where_empty_batches_are() -> None:
    """Of batches that vanished nothing is found by time, and a segment of them can still expire."""
    log = a_log(config=CONFIG)
    append(log, keyed([(b"a", b"1")], time_ms=9_000))
    append(log, keyed([(b"b", b"2")], time_ms=5_000))
    roll(log)
    append(log, keyed([(b"a", b"3")], time_ms=7_000))
    roll(log)
    compact(log)
    assert log.max_timestamp() == (2, 7_000)
    assert log.offset_for_time(1, 3) == (1, 5_000)
    assert log.offset_for_time(8_000, 3) is None
    log = a_log(config=replace(CONFIG, retention_ms=1_000, segment_bytes=100))
    append(log, keyed([(b"a", b"1")], time_ms=9_000))
    roll(log)
    append(log, keyed([(b"a", b"2" * 90)], time_ms=20_000))
    roll(log)
    compact(log)
    assert [segment.max_timestamp for segment in log._segments][:1] == [9_000]
    assert log.apply_retention(10_500, 2)
    assert log.log_start_offset == 1


class StubbornDisk(SimulatedDisk):
    """Removes no log while it is told so."""

    is_stubborn = False

    def remove(self, path: str) -> None:
        """See Disk; fails for logs with their usual name."""
        if self.is_stubborn and path.endswith(".log"):
            raise DiskError(path, "no")
        super().remove(path)


def test_a_log_whose_old_segments_cannot_be_removed_is_left_alone() -> None:
    """Another run took the new segment for an old one, and removed the only copy there was."""
    disk = StubbornDisk(1)
    disk.make_directory(DATA)
    disk.sync_directory("/")
    log = a_log(disk, config=CONFIG)
    append(log, keyed([(b"a", b"1"), (b"b", b"2")]))
    append(log, keyed([(b"a", b"3")]))
    roll(log)
    disk.is_stubborn = True
    run = compact(log)
    assert run is not None
    assert run.error is not None
    disk.is_stubborn = False
    append(log, keyed([(b"b", b"4")]))
    roll(log)
    compact(log)
    append(log, keyed([(b"c", b"5")]))
    sync(log)
    disk.crash()
    fresh = a_log(disk, config=CONFIG, recovery_point=log.recovery_point)
    assert {record.key: record.value for record in records(fresh)} == {
        b"a": b"3",
        b"b": b"4",
        b"c": b"5",
    }
