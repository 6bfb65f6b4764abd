"""Segments and what stands beside them: what is sound is shown, what is not is said where."""

from __future__ import annotations

import os
import random
import shutil
import tracemalloc
from pathlib import Path

import pytest

from storage import Log, LogConfig, OsDisk, Record, build_batch
from storage.checkpoints import RECOVERY_POINTS, write_offsets
from storage.records import read_batch_header
from tests.storage.test_compaction import compact, roll
from tests.tools.dump.places import (
    NOW_MS,
    a_partition,
    flip,
    of_kind,
    rows_of,
    values,
)
from tools.dump.batches import dump_log
from tools.dump.places import SEGMENT, partition_at
from tools.dump.rows import ReadingDisk, Row, Wanted

VERIFY = Wanted(verify=True)


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    return a_partition(tmp_path)


def segments(partition: Path) -> list[Path]:
    return sorted(partition.glob("*.log"))


def problems(rows: list[Row]) -> list[tuple[object, object, object]]:
    return [
        (row.fields["state"], row.fields["byte"], row.fields.get("offset"))
        for row in of_kind(rows, "problem")
    ]


def positions(log: Path) -> list[int]:
    """Where the batches of a sound file begin."""
    data, found = log.read_bytes(), [0]
    while found[-1] < len(data):
        found.append(found[-1] + read_batch_header(data, found[-1]).batch_size)
    return found


@pytest.mark.parametrize("codec", range(5))
def test_a_sound_partition_is_shown_whole(codec: int, tmp_path: Path) -> None:
    """Every batch, index entry, epoch and producer is there, and nothing is wrong."""
    rows = rows_of(a_partition(tmp_path, codec=codec), VERIFY)
    assert problems(rows) == []
    assert values(rows, "batch", "base_offset") == list(range(0, 36, 3))
    assert set(values(rows, "batch", "crc_right")) == {True}
    assert set(values(rows, "index", "sound")) == {True}
    assert set(values(rows, "timeindex", "sound")) == {True}
    assert values(rows, "epoch", "start_offset") == [0, 18]
    assert set(values(rows, "producer", "producer_id")) == {7}
    (summary,) = of_kind(rows, "partition")
    assert summary.fields["log_end_offset"] == 36
    assert summary.fields["leader_epoch"] == 1
    assert summary.fields["damages"] == 0
    assert summary.fields["whole"] is True


def test_a_compacted_partition_is_sound(tmp_path: Path) -> None:
    """Fewer records than offsets, or none, is what compaction leaves, and a flag says so."""
    log = Log.open(
        OsDisk(), str(tmp_path), "orders", 3, bytes(16), LogConfig(compact=True), clean=False
    )
    for number in range(6):
        pairs = [(b"a", b"v"), (b"b%d" % (number % 2), None)]
        batch = build_batch([Record(-1, NOW_MS, key, value) for key, value in pairs])
        log.append(memoryview(batch), read_batch_header(batch), 0, NOW_MS)
    roll(log)
    compact(log, NOW_MS)
    log.close(clean=True)
    rows = rows_of(tmp_path / "orders-3", VERIFY)
    assert problems(rows) == []
    assert values(rows, "batch", "last_offset")[-1] == 11
    assert values(rows, "batch", "records") == [0, 1, 2]
    assert values(rows, "batch", "compacted") == [True, True, False]
    horizon = NOW_MS + LogConfig().tombstone_retention_ms
    assert values(rows, "batch", "delete_horizon_ms") == [None, horizon, horizon]


def test_a_swap_under_way_is_no_damage(partition: Path) -> None:
    """A compacted segment that has not got its name yet stands for what seems to be missing."""
    for path in partition.glob(f"{segments(partition)[1].stem}.*"):
        if SEGMENT.fullmatch(path.name) and path.suffix != ".snapshot":
            path.rename(path.with_name(path.name + ".swap"))
    [(state, _, _)] = problems(rows_of(partition, VERIFY))
    assert state == "torn"


def test_records_are_shown_only_to_those_who_ask(partition: Path) -> None:
    """Keys and values are somebody's data: without --records none of it is in the output."""
    assert b"value-3" in segments(partition)[0].read_bytes() + segments(partition)[1].read_bytes()
    assert "value-" not in str(rows_of(partition, VERIFY))
    rows = rows_of(partition, Wanted(records=True, begin=10, end=13))
    assert values(rows, "record", "offset") == [10, 11, 12]
    assert values(rows, "record", "value") == ["value-3", "value-3", "value-4"]
    assert values(rows, "record", "timestamp_ms") == [NOW_MS + 31, NOW_MS + 32, NOW_MS + 40]


def test_offsets_and_limits_bound_what_is_shown(partition: Path) -> None:
    """Only what overlaps is shown; a limit counts for each file, and the summary says so."""
    rows = rows_of(segments(partition)[1], Wanted(begin=14, end=16))
    assert values(rows, "batch", "base_offset") == [12, 15]
    rows = rows_of(segments(partition)[1], Wanted(begin=100))
    assert values(rows, "batch", "base_offset") == []
    rows = rows_of(partition, Wanted(limit=1))
    assert problems(rows) == []
    assert len(of_kind(rows, "batch")) == len(segments(partition))
    assert set(values(rows, "log", "whole")) == {False}


def test_a_flipped_bit_in_a_record_is_told_and_gone_past(partition: Path) -> None:
    """The CRC of one batch differs: its place is said, and all others are shown."""
    log = segments(partition)[1]
    begin = positions(log)[1]
    offset = read_batch_header(log.read_bytes(), begin).base_offset
    flip(log, begin + 70)
    rows = rows_of(partition, VERIFY)
    assert problems(rows) == [("damaged", begin, offset)]
    assert len(of_kind(rows, "batch")) == 12
    assert values(rows, "batch", "crc_right").count(False) == 1
    assert problems(rows_of(partition)) == [], "without --verify sums are not looked at"


@pytest.mark.parametrize("byte", [8, 16, 23])
def test_behind_a_broken_header_it_goes_on(byte: int, partition: Path) -> None:
    """A wrong length, magic or count hides one batch; the next whose sum is right is found."""
    log = segments(partition)[0]
    begin = positions(log)[1]
    flip(log, begin + byte, 0x80)
    rows = rows_of(log, VERIFY)
    (found,) = problems(rows)
    assert found == ("damaged", begin, 3)
    assert f"byte {positions_after(log, begin)}" in str(of_kind(rows, "problem")[0].fields)
    assert values(rows, "batch", "base_offset")[:2] == [0, 6]


def positions_after(log: Path, begin: int) -> int:
    """Where the batch of offset 6 begins: batches of one shape have one length."""
    assert begin == read_batch_header(log.read_bytes()).batch_size
    return 2 * begin


def test_a_cut_tail_is_torn_and_no_damage(partition: Path) -> None:
    """The newest segment may end within a batch: that is a crash, or a write under way."""
    log = segments(partition)[-1]
    begin = positions(log)[-2]
    offset = read_batch_header(log.read_bytes(), begin).base_offset
    os.truncate(log, log.stat().st_size - 5)
    for index in partition.glob("*index"):
        if index.stem == log.stem:
            index.unlink()
    write_offsets(OsDisk(), str(partition.parent), RECOVERY_POINTS, {("orders", 3): offset})
    assert problems(rows_of(partition)) == [("torn", begin, offset)]
    log.write_bytes(log.read_bytes()[:begin] + bytes(5000))
    assert problems(rows_of(partition)) == [("torn", begin, offset)]


def test_a_cut_below_the_recovery_point_is_damage(partition: Path) -> None:
    """What the checkpoint calls synced must be there; and no older segment may be cut at all."""
    log = segments(partition)[-1]
    begin = positions(log)[-2]
    os.truncate(log, log.stat().st_size - 5)
    assert ("damaged", begin) in [found[:2] for found in problems(rows_of(log))]
    (partition.parent / RECOVERY_POINTS).unlink()
    older = segments(partition)[0]
    os.truncate(older, older.stat().st_size - 5)
    assert [found[0] for found in problems(rows_of(older))] == ["damaged"]


def test_a_lost_segment_is_a_hole(partition: Path) -> None:
    """Offsets follow without a gap from segment to segment."""
    for path in partition.glob(f"{segments(partition)[1].stem}.*"):
        path.unlink()
    rows = rows_of(partition)
    assert [found[0] for found in problems(rows)] == ["damaged"]
    assert "are missing" in str(of_kind(rows, "problem")[0].fields["reason"])


@pytest.mark.parametrize(("suffix", "byte"), [(".index", 3), (".index", 7), (".timeindex", 7)])
def test_an_index_that_disagrees_with_its_log(suffix: str, byte: int, partition: Path) -> None:
    """One bit of an entry's offset, byte or timestamp: the entry is told, the others are sound."""
    path = segments(partition)[0].with_suffix(suffix)
    flip(path, byte)
    rows = rows_of(path)
    assert ("damaged", 0) in [found[:2] for found in problems(rows)]
    assert values(rows, suffix[1:], "sound")[0] is False
    assert True in values(rows, suffix[1:], "sound")


def test_an_index_alone_is_shown_unjudged(partition: Path, tmp_path: Path) -> None:
    """Without its log nothing can be said of an entry but that it rises."""
    path = shutil.copy(segments(partition)[0].with_suffix(".index"), tmp_path)
    rows = rows_of(Path(path))
    assert set(values(rows, "index", "sound")) == {None}
    assert values(rows, "index_file", "compared") == [False]


def test_epochs_that_disagree_with_the_log(partition: Path) -> None:
    """A checkpoint that gives a batch another epoch than its header is damaged."""
    path = partition / "leader-epoch-checkpoint"
    path.write_text("0\n2\n0 0\n1 21\n")
    rows = rows_of(partition)
    assert problems(rows) == [("damaged", 0, 18)]
    path.write_text("0\n3\n0 0\n1 18\n")
    assert [found[1] for found in problems(rows_of(path))] == [2]


@pytest.mark.parametrize(
    ("name", "content", "byte"),
    [
        ("leader-epoch-checkpoint", b"0\n1\n0 x\n", 4),
        ("leader-epoch-checkpoint", b"1\n0\n", 0),
        ("recovery-point-offset-checkpoint", b"0\n1\norders 3\n", 4),
        ("recovery-point-offset-checkpoint", b"0\n1\norders 3 5", 2),
        ("partition.metadata", b"version: 0\ntopic_id: \0\0", 0),
        ("00000000000000000036.snapshot", b"\0\1junk", 0),
        ("meta.toml", b"format = 1\n", 0),
    ],
)
def test_small_files_that_are_damaged(name: str, content: bytes, byte: int, tmp_path: Path) -> None:
    """Each is told, with the byte where it stops to be what it should be."""
    path = tmp_path / name
    path.write_bytes(content)
    assert [found[:2] for found in problems(rows_of(path))] == [("damaged", byte)]


def test_it_changes_nothing(partition: Path) -> None:
    """Names, contents and times of change are what they were; unwritable files are read, too."""

    def state() -> dict[str, tuple[bytes, int]]:
        return {
            str(path): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(partition.parent.rglob("*"))
            if path.is_file()
        }

    before = state()
    for path in partition.iterdir():
        path.chmod(0o444)
    rows_of(partition, Wanted(verify=True, records=True))
    rows_of(partition.parent, VERIFY)
    assert state() == before


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_is_survived(seed: int, partition: Path) -> None:
    """Whatever stands in the files, a dump ends, and what it calls sound is as it was written."""
    rng = random.Random(seed)
    sound = set(values(rows_of(partition), "batch", "crc"))
    for path in partition.iterdir():
        content = bytearray(path.read_bytes())
        for _ in range(rng.choice((0, 1, 3))):
            if content:
                at = rng.randrange(len(content))
                content[at : at + rng.choice((0, 1, 9))] = rng.randbytes(rng.choice((0, 1, 9)))
        path.write_bytes(content)
    rows = rows_of(partition, Wanted(verify=True, records=True))
    for row in of_kind(rows, "batch"):
        if row.fields["crc_right"]:
            assert row.fields["crc"] in sound


def test_memory_does_not_grow_with_the_segment(tmp_path: Path) -> None:
    """A segment of some hundred megabytes, half of it rubbish, is walked with a few of them."""
    partition = a_partition(tmp_path, batches=2, segment_bytes=1 << 30)
    (log,) = segments(partition)
    one = log.read_bytes()
    with log.open("r+b") as file:
        file.truncate(200 << 20)
        file.seek(100 << 20)
        # Offsets that go on behind the hole of zeros.
        file.write((6).to_bytes(8, "big") + one[8 : len(one) // 2])
    segment = partition_at(ReadingDisk(), str(partition)).segment(str(log), is_newest=True)
    file_of = ReadingDisk().open(str(log))
    tracemalloc.start()
    try:
        rows = list(dump_log(file_of, segment, VERIFY))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert values(rows, "batch", "base_offset") == [0, 3, 6]
    assert [found[:2] for found in problems(rows)] == [
        ("damaged", len(one)),
        ("torn", (100 << 20) + len(one) // 2),
    ]
    assert peak < 16 << 20


def test_every_name_of_a_segment_is_known(partition: Path) -> None:
    """What a node writes beside its batches has a name that dump knows."""
    known = {"leader-epoch-checkpoint", "partition.metadata"}
    for path in partition.iterdir():
        assert SEGMENT.fullmatch(path.name) or path.name in known
