"""Files of the whole data directory: believed if whole, never in the way."""

import pytest

from storage.checkpoints import (
    LOG_STARTS,
    RECOVERY_POINTS,
    forget,
    mark_clean,
    read_offsets,
    take_clean_mark,
    write_offsets,
)
from tests.storage.builders import DATA, a_batch, a_disk, a_log, append, sync


def test_offsets_are_read_as_written_in_kafkas_format() -> None:
    """Version, count, one partition a line."""
    disk = a_disk()
    offsets = {("orders", 3): 42, ("a.b-c_d", 0): 7}
    write_offsets(disk, DATA, RECOVERY_POINTS, offsets)
    path = f"{DATA}/recovery-point-offset-checkpoint"
    assert disk.read_file(path) == b"0\n2\norders 3 42\na.b-c_d 0 7\n"
    disk.crash()
    assert read_offsets(disk, DATA, RECOVERY_POINTS) == (offsets, None)


def test_a_missing_file_is_no_error() -> None:
    """Nothing is known, nothing is wrong."""
    assert read_offsets(a_disk(), DATA, LOG_STARTS) == ({}, None)


@pytest.mark.parametrize(
    "data",
    [b"", b"1\n0\n", b"0\n2\na 0 1\n", b"0\n1\na 0\n", b"0\n1\na 0 -1\n", b"0\n1\na x 1\n",
     b"0\n1\na 0 1", b"\xff\xff"],
)  # fmt: skip
def test_a_malformed_file_is_ignored_with_a_warning(data: bytes) -> None:
    """Not a single offset of it is believed."""
    disk = a_disk()
    disk.write_atomically(f"{DATA}/{RECOVERY_POINTS}", data)
    offsets, warning = read_offsets(disk, DATA, RECOVERY_POINTS)
    assert offsets == {}
    assert warning is not None
    assert f"{DATA}/{RECOVERY_POINTS}" in warning


def test_one_partition_can_be_forgotten() -> None:
    """It goes from both files; the others stay."""
    disk = a_disk()
    for name in (RECOVERY_POINTS, LOG_STARTS):
        write_offsets(disk, DATA, name, {("orders", 3): 5, ("orders", 33): 6})
    forget(disk, DATA, "orders", 3)
    for name in (RECOVERY_POINTS, LOG_STARTS):
        assert read_offsets(disk, DATA, name) == ({("orders", 33): 6}, None)


def test_a_clean_mark_counts_once() -> None:
    """It is gone, durably, as soon as it was seen."""
    disk = a_disk()
    assert not take_clean_mark(disk, DATA)
    mark_clean(disk, DATA)
    disk.crash()
    assert take_clean_mark(disk, DATA)
    disk.crash()
    assert not take_clean_mark(disk, DATA)


def test_a_new_topic_does_not_inherit_an_older_ones_offsets() -> None:
    """Lines of a deleted topic are out of the files before anything of the new one counts."""
    disk = a_disk()
    old = a_log(disk)
    for _ in range(50):
        append(old, a_batch())
    sync(old, indexes=True)
    write_offsets(disk, DATA, RECOVERY_POINTS, {("orders", 3): old.recovery_point})
    old.delete()
    assert read_offsets(disk, DATA, RECOVERY_POINTS) == ({}, None)
    new = a_log(disk, topic_id=bytes(16))
    append(new, a_batch())
    sync(new)
    for name in disk.list_directory(DATA):
        if name.endswith("-delete"):
            disk.remove_tree(f"{DATA}/{name}")
    disk.crash()
    assert read_offsets(disk, DATA, RECOVERY_POINTS) == ({}, None)
    assert a_log(disk, topic_id=bytes(16)).log_end_offset == 1
