"""Torn tails are cut, damage is named, and what only lies beside the log is derived anew."""

from __future__ import annotations

import pytest

from simulations.disk import SimulatedDisk
from storage import DamagedLog, Log, LogConfig
from storage.disk import Disk
from storage.segment import Segment
from tests.storage.builders import DATA, a_batch, a_disk, a_log, append, content, sync

CONFIG = LogConfig(segment_bytes=1000, index_interval_bytes=200)
FIRST = f"{DATA}/orders-3/00000000000000000000.log"


def a_synced_log(disk: SimulatedDisk, count: int = 20, config: LogConfig = CONFIG) -> Log:
    """Return a log of `count` batches of two records, all on disk with their indexes."""
    log = a_log(disk, config=config)
    for number in range(count):
        append(log, a_batch(2, times=[number * 10, number * 10 + 5], value=bytes(40)))
    sync(log, indexes=True)
    assert log.recovery_point == log.log_end_offset == 2 * count
    return log


def entries(log: Log) -> list[tuple[Segment, list[tuple[int, int]], list[tuple[int, int]]]]:
    """Return all index entries of all segments."""
    return [
        (
            segment,
            [segment.offsets[n] for n in range(len(segment.offsets))],
            [segment.times[n] for n in range(len(segment.times))],
        )
        for segment in log._segments
    ]


def flip_in_batch(disk: SimulatedDisk, log: Log, offset: int) -> tuple[str, int]:
    """Let a bit of the batch with `offset` rot; return its file and position."""
    segment = log._segments[log._segment_number(offset)]
    position = segment.position_of(offset)
    disk.flip_bit(segment.path, position + 70)
    return segment.path, position


@pytest.mark.parametrize("cut", [1, 30, 61, 100, 140])
def test_a_torn_tail_is_cut(cut: int) -> None:
    """A last batch that is not whole is gone, all before it stays, and offsets go on."""
    disk = a_disk()
    log = a_synced_log(disk, 3)
    before = content(log)
    append(log, a_batch(2, value=bytes(40)))
    file = disk.open(FIRST)
    file.truncate(file.size - cut)
    disk.kill()
    log = a_log(disk, config=CONFIG, recovery_point=6)
    assert content(log) == before
    assert log.recovered.truncated_bytes == file.size - len(before)
    assert "were torn by a crash" in log.recovered.warnings[0]
    assert append(log, a_batch()) == 6


def test_rot_above_the_recovery_point_ends_the_log_there() -> None:
    """What follows an unsound batch goes with it, whole segments included."""
    disk = a_disk()
    log = a_synced_log(disk, 2)
    for _ in range(12):
        append(log, a_batch(2, value=bytes(40)))
    flip_in_batch(disk, log, 6)
    disk.kill()
    log = a_log(disk, config=CONFIG, recovery_point=4)
    assert log.log_end_offset == 6
    assert [name for name in disk.list_directory(log.directory) if name.endswith(".log")] == [
        "00000000000000000000.log"
    ]


def test_rot_below_the_recovery_point_is_damage() -> None:
    """What was synced is never cut away: file, offset and byte of the damage are named."""
    disk = a_disk()
    log = a_synced_log(disk, 5)
    path, position = flip_in_batch(disk, log, 8)
    disk.kill()
    before = disk.read_file(path)
    with pytest.raises(DamagedLog) as caught:
        a_log(disk, config=CONFIG, recovery_point=10)
    assert (caught.value.path, caught.value.offset, caught.value.position) == (path, 8, position)
    assert f"{path} is damaged" in str(caught.value)
    assert f"at offset 8 (byte {position})" in str(caught.value)
    assert disk.read_file(path) == before


def test_a_lower_leader_epoch_ends_the_log() -> None:
    """Batches of an older leader after those of a newer are what a crash left of the past."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch(2), leader_epoch=5)
    append(log, a_batch(2), leader_epoch=4)
    disk.kill()
    assert a_log(disk).log_end_offset == 2


def test_a_log_that_ends_below_the_recovery_point_is_damage() -> None:
    """Missing bytes, segments and directories that were synced are named, not forgotten."""
    disk = a_disk()
    log = a_synced_log(disk, 20)
    last = log._segments[-1].path
    file = disk.open(last)
    file.truncate(0)
    disk.kill()
    with pytest.raises(DamagedLog, match="the log ends"):
        a_log(disk, config=CONFIG, recovery_point=40)
    disk.remove(last)
    with pytest.raises(DamagedLog, match="the log ends"):
        a_log(disk, config=CONFIG, recovery_point=40)
    disk.remove_tree(f"{DATA}/orders-3")
    with pytest.raises(DamagedLog, match="the directory is missing"):
        a_log(disk, config=CONFIG, recovery_point=40)


@pytest.mark.parametrize("clean", [True, False])
def test_a_missing_segment_in_the_middle_is_damage(clean: bool) -> None:
    """A hole among what was synced is noticed at the start, clean or not."""
    disk = a_disk()
    log = a_synced_log(disk, 20)
    gone = log._segments[1]
    disk.remove(gone.path)
    disk.kill()
    with pytest.raises(DamagedLog, match=r"its batches end") as caught:
        a_log(disk, config=CONFIG, clean=clean, recovery_point=40)
    assert caught.value.offset == gone.base_offset


def test_missing_checkpoints_only_mean_that_all_is_checked() -> None:
    """Without a recovery point the whole log is read, and the same log is found."""
    disk = a_disk()
    log = a_synced_log(disk, 20)
    before, was = content(log), entries(log)
    disk.kill()
    log = a_log(disk, config=CONFIG)
    assert content(log) == before
    assert log.recovered.scanned_bytes == len(before)
    assert [(o, t) for _, o, t in entries(log)][:-1] == [(o, t) for _, o, t in was][:-1]


def test_only_what_lies_above_the_recovery_point_is_checked() -> None:
    """A restart after kill -9 reads back to the last index entry before it, no further."""
    disk = a_disk()
    config = LogConfig(index_interval_bytes=1000)
    log = a_log(disk, config=config)
    for _ in range(100):  # Of one time, so that the one time entry has the offset 0.
        append(log, a_batch(1, value=bytes(80)))
    sync(log, indexes=True)
    for _ in range(10):
        append(log, a_batch(1, value=bytes(80)))
    above = log.size_bytes - log._segments[0].position_of(100)
    disk.kill()
    log = a_log(disk, config=config, recovery_point=100)
    assert log.log_end_offset == 110
    assert above <= log.recovered.scanned_bytes <= above + 1300


def spoil(disk: Disk, path: str, how: str) -> None:
    """Make an index lie."""
    if how == "missing":
        disk.remove(path)
        return
    data = bytearray(disk.read_file(path))
    if how == "empty":
        data.clear()
    elif how == "short":
        del data[-3:]
    elif how == "astray" and data:
        data[-1] ^= 1
    elif how == "beyond" and data:
        data[-4:] = b"\x7f\xff\xff\xff"
    disk.write_atomically(path, data)


@pytest.mark.parametrize("how", ["missing", "empty", "short", "astray", "beyond"])
@pytest.mark.parametrize("kind", [".index", ".timeindex"])
@pytest.mark.parametrize("clean", [True, False])
def test_indexes_that_lie_are_built_anew(how: str, kind: str, clean: bool) -> None:
    """Lost, cut or altered indexes cost a walk and no answer."""
    disk = a_disk()
    log = a_synced_log(disk, 20)
    log._segments[-1].seal()
    was = [(offsets, times) for _, offsets, times in entries(log)]
    sync(log, indexes=True)
    disk.kill()
    for segment in log._segments:
        spoil(disk, segment.path.replace(".log", kind), how)
    log = a_log(disk, config=CONFIG, clean=clean, recovery_point=40)
    for segment in log._segments:
        segment.seal()
    assert [(offsets, times) for _, offsets, times in entries(log)] == was
    for number in range(20):
        assert log.offset_for_time(number * 10 + 1, 40) == (2 * number + 1, number * 10 + 5)


def test_files_that_belong_to_nothing_are_removed() -> None:
    """Half-written files and indexes without a log do not stay, nor confuse a later segment."""
    disk = a_disk()
    log = a_synced_log(disk, 2)
    for name in ("x.tmp", "00000000000000000099.index", "00000000000000000099.snapshot"):
        disk.open(f"{log.directory}/{name}", create=True).append((b"junk",))
    disk.kill()
    a_log(disk, config=CONFIG, recovery_point=4)
    left = disk.list_directory(log.directory)
    assert not [name for name in left if "99" in name or name.endswith(".tmp")]


def test_a_directory_that_was_never_synced_is_set_aside() -> None:
    """Without a readable topic id nothing in it was promised; it is kept, under another name."""
    disk = a_disk()
    log = a_log(disk)
    append(log, a_batch())
    disk.remove(f"{log.directory}/partition.metadata")
    disk.kill()
    log = a_log(disk)
    assert log.log_end_offset == 0
    assert disk.list_directory(DATA) == ["orders-3.1-stray"]
    append(log, a_batch())
    disk.open(f"{log.directory}/partition.metadata").truncate(20)
    disk.kill()
    a_log(disk)
    assert disk.list_directory(DATA) == ["orders-3.1-stray", "orders-3.2-stray"]


def test_a_topic_id_that_was_synced_and_is_gone_is_damage() -> None:
    """Data that was promised is not set aside."""
    disk = a_disk()
    log = a_synced_log(disk, 2)
    disk.remove(f"{log.directory}/partition.metadata")
    disk.kill()
    with pytest.raises(DamagedLog, match="topic id is missing"):
        a_log(disk, config=CONFIG, recovery_point=4)


def test_damage_found_while_reading_is_named() -> None:
    """A header that rotted while the log is open gives the file and the byte."""
    disk = a_disk()
    config = LogConfig(index_interval_bytes=100_000)
    log = a_synced_log(disk, 5, config)
    log.close(clean=True)
    log = a_log(disk, config=config, clean=True)
    position = log._segments[0].position_of(4)
    disk.flip_bit(FIRST, position + 16, bit=4)
    with pytest.raises(DamagedLog) as caught:
        log.read(8, 1, 10)
    assert (caught.value.path, caught.value.position) == (FIRST, position)


def test_verify_finds_rot_anywhere() -> None:
    """Every batch is checked, in closed segments too; a sound log passes."""
    disk = a_disk()
    log = a_synced_log(disk, 20)
    log.verify()
    path, position = flip_in_batch(disk, log, 13)
    with pytest.raises(DamagedLog) as caught:
        log.verify()
    assert (caught.value.path, caught.value.offset, caught.value.position) == (path, 12, position)


@pytest.mark.parametrize("seed", range(150))
def test_no_crash_leaves_a_hole_at_the_front(seed: int) -> None:
    """Segments that were rolled before the first sync are all there, or the last is not."""
    disk = a_disk(seed)
    log = a_log(disk, config=CONFIG)
    for _ in range(20):
        append(log, a_batch(2, value=bytes(40)))
    disk.crash()
    log = a_log(disk, config=CONFIG)
    assert log.log_start_offset == 0
    assert log.log_end_offset == 0 or log.read(0, 1, log.log_end_offset)


@pytest.mark.parametrize("seed", range(20))
def test_indexes_that_recovery_mended_are_synced_before_they_are_believed(seed: int) -> None:
    """A segment rolled above the recovery point has its whole index after the next crash."""
    disk = a_disk(seed)
    log = a_synced_log(disk, 3)
    for number in range(20):
        append(log, a_batch(2, times=[100 + number] * 2, value=bytes(40)))
    disk.kill()
    log = a_log(disk, config=CONFIG, recovery_point=6)
    was = [(offsets, times) for _, offsets, times in entries(log)][:-1]
    sync(log, indexes=True)
    point = log.recovery_point
    disk.crash()
    log = a_log(disk, config=CONFIG, recovery_point=point)
    assert [(offsets, times) for _, offsets, times in entries(log)][:-1] == was
    for segment in log._segments[:-1]:
        assert segment.max_timestamp == max(h.max_timestamp for _, h in segment.walk(0))


@pytest.mark.parametrize("seed", range(60))
def test_what_was_cut_off_does_not_come_back_behind_new_records(seed: int) -> None:
    """A second crash cannot undo a cut, of bytes or of segments, once there are new records."""
    disk = a_disk(seed)
    log = a_synced_log(disk, 20)
    old = content(log)
    path, position = flip_in_batch(disk, log, 4)
    assert path == FIRST
    disk.kill()
    log = a_log(disk, config=CONFIG)  # Without a recovery point all that follows is cut.
    assert log.log_end_offset == 4
    for number in range(seed % 9):
        append(log, a_batch(2, times=[number, number], value=b"new" + bytes(37)))
    expected = content(log)
    assert expected[:position] == old[:position]
    disk.crash()
    log = a_log(disk, config=CONFIG)
    assert expected.startswith(content(log))


@pytest.mark.parametrize("seed", range(20))
def test_what_was_killed_before_its_first_sync_is_whole_after_the_next_one(seed: int) -> None:
    """Not only the records must be on disk then, but also the file that says whose they are."""
    disk = a_disk(seed)
    append(a_log(disk), a_batch())
    disk.kill()
    log = a_log(disk)
    append(log, a_batch())
    sync(log)
    disk.crash()
    assert a_log(disk).log_end_offset == 2
