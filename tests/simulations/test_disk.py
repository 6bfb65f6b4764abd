"""The simulated disk really loses what a crash may take, or nothing else here proves a thing."""

import pytest

from simulations.disk import SimulatedCrash, SimulatedDisk
from storage.disk import DiskError, DiskFull, SyncFailed


def outcomes(*, synced: bool, named: bool) -> set[bytes | None]:
    """Return what is left of a first, synced or not, and a second, unsynced write."""
    found: set[bytes | None] = set()
    for seed in range(200):
        disk = SimulatedDisk(seed)
        file = disk.open("/f", create=True)
        file.append((b"abc",))
        if synced:
            file.sync()
        if named:
            disk.sync_directory("/")
        file.append((b"def",))
        disk.crash()
        found.add(disk.read_file("/f") if disk.exists("/f") else None)
    return found


def test_unsynced_bytes_survive_in_any_piece() -> None:
    """Whole, not at all, torn, and filled with zeros all happen; synced bytes always stay."""
    found = outcomes(synced=True, named=True)
    assert found == {
        b"abc", b"abcd", b"abcde", b"abcdef", b"abc\0\0\0", b"abcd\0\0", b"abcde\0"
    }  # fmt: skip


def test_unsynced_writes_survive_in_any_subset() -> None:
    """A later write may be there while an earlier one is not."""
    found = outcomes(synced=False, named=True)
    assert {b"", b"abcdef", b"\0\0\0def", b"ab\0def"} <= found


def test_an_unsynced_name_may_be_gone_with_its_synced_bytes() -> None:
    """Syncing a file does not sync its name."""
    assert None in outcomes(synced=True, named=False)
    assert None not in outcomes(synced=True, named=True)


def test_a_rename_is_there_or_not_but_never_half() -> None:
    """An atomic write leaves the old or the new content at any crash."""
    found = set()
    for steps in range(6):
        for seed in range(20):
            disk = SimulatedDisk(seed)
            disk.write_atomically("/f", b"old")
            disk.crash_after = steps
            try:
                disk.write_atomically("/f", b"new")
            except SimulatedCrash:
                pass  # The point of it.
            disk.crash()
            found.add(disk.read_file("/f"))
    assert found == {b"old", b"new"}


def test_a_failed_sync_saves_nothing_and_neither_does_the_next() -> None:
    """What it covered can be read until the crash, and is lost in some of them."""
    left = set()
    for seed in range(50):
        disk = SimulatedDisk(seed)
        file = disk.open("/f", create=True)
        disk.sync_directory("/")
        file.append((b"abc",))
        disk.syncs_fail = True
        with pytest.raises(SyncFailed):
            file.sync()
        disk.syncs_fail = False
        file.sync()
        assert file.read(0, 3) == b"abc"
        disk.crash()
        left.add(disk.read_file("/f"))
    assert b"" in left


def test_a_kill_loses_nothing_but_handles_and_locks() -> None:
    """The page cache outlives the process."""
    disk = SimulatedDisk(1)
    lock = disk.lock("/lock")
    file = disk.open("/f", create=True)
    file.append((b"abc",))
    disk.kill()
    assert disk.read_file("/f") == b"abc"
    assert disk.lock("/lock") is not lock
    with pytest.raises(DiskError):
        file.append((b"d",))


def test_the_same_seed_loses_the_same() -> None:
    """A seed is a complete report."""

    def run(seed: int) -> bytes:
        disk = SimulatedDisk(seed)
        file = disk.open("/f", create=True)
        disk.sync_directory("/")
        for number in range(20):
            file.append((bytes([number]) * 9,))
        disk.crash()
        return disk.read_file("/f")

    assert [run(seed) for seed in range(9)] == [run(seed) for seed in range(9)]


def test_a_full_disk_takes_nothing() -> None:
    """An append that does not fit leaves the file as it was."""
    disk = SimulatedDisk(1, bytes_free=5)
    file = disk.open("/f", create=True)
    file.append((b"abc",))
    with pytest.raises(DiskFull):
        file.append((b"def",))
    assert (file.size, disk.read_file("/f"), disk.free_bytes("/")) == (3, b"abc", 2)


def test_what_a_failed_sync_covered_never_comes_over_what_was_synced_later() -> None:
    """A page that was written again, and is on disk, is not what an earlier failure left behind."""
    for seed in range(50):
        disk = SimulatedDisk(seed)
        file = disk.open("/f", create=True)
        disk.sync_directory("/")
        file.append((b"abc",))
        file.sync()
        file.append((b"old",))
        disk.syncs_fail = True
        with pytest.raises(SyncFailed):
            file.sync()
        disk.syncs_fail = False
        file.truncate(4)
        file.append((b"new!",))
        file.sync()
        disk.crash()
        left = disk.read_file("/f")
        assert (left[:3], left[4:]) == (b"abc", b"new!")
        assert left[3:4] in (b"o", b"\0")
