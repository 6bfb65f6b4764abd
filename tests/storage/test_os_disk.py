"""What only the real disk can show: errors of the system, descriptors, other processes."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from storage import Log, LogConfig
from storage.disk import DiskError, DiskFull, OsDisk, ReadOnly, SyncFailed, disk_error
from tests.storage.builders import TOPIC_ID, a_batch, append, content, sync


def test_a_write_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """At the file size limit a part is written, the rest refused, and nothing stays."""
    script = (
        "import resource, signal, sys\n"
        "from storage.disk import OsDisk, DiskError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "file = OsDisk().open(sys.argv[1], create=True)\n"
        "file.append((b'a' * 900,))\n"
        "try:\n"
        "    file.append((b'b' * 60, b'c' * 60))\n"
        "except DiskError as error:\n"
        "    print(type(error).__name__, file.size)\n"
        "file.append((b'd' * 50,))\n"
    )
    path = tmp_path / "f"
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "DiskError 900\n"
    assert path.read_bytes() == b"a" * 900 + b"d" * 50


def test_full_and_read_only_disks_are_told_apart() -> None:
    """Both are typed, because one may end by itself and the other not."""
    with pytest.raises(DiskFull, match="No space left"):
        OsDisk().open("/dev/full").append((b"a",))
    assert isinstance(disk_error("f", PermissionError(13, "denied")), ReadOnly)
    assert isinstance(disk_error("f", OSError(30, "read-only")), ReadOnly)
    assert isinstance(disk_error("f", OSError(122, "quota")), DiskFull)


def test_a_sync_that_the_system_refuses_is_typed(tmp_path: Path) -> None:
    """A descriptor that cannot be synced raises SyncFailed, never something else."""
    read_end, write_end = os.pipe()
    os.close(write_end)
    path = f"/proc/self/fd/{read_end}"
    file = OsDisk().open(path)
    try:
        with pytest.raises(SyncFailed):
            file.sync()
    finally:
        os.close(read_end)


def test_a_lock_keeps_another_process_out(tmp_path: Path) -> None:
    """The second process is refused while the first holds it, and free to go on after."""
    lock = OsDisk().lock(str(tmp_path / "lock"))
    script = (
        "import sys\n"
        "from storage.disk import Locked, OsDisk\n"
        "try:\n"
        "    OsDisk().lock(sys.argv[1])\n"
        "except Locked:\n"
        "    print('locked')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"locked\n"
    lock.release()
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""


def test_a_directory_where_a_file_should_be_is_typed(tmp_path: Path) -> None:
    """Whatever else the system says is a DiskError with the path."""
    disk = OsDisk()
    with pytest.raises(DiskError, match=str(tmp_path)):
        disk.open(str(tmp_path))
    (tmp_path / "f").touch()
    with pytest.raises(DiskError):
        disk.make_directory(str(tmp_path / "f"))


def test_old_segments_do_not_hold_descriptors(tmp_path: Path) -> None:
    """A log of many segments is read with a bounded number of open files."""

    def open_count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_count()
    disk = OsDisk(cached_files_max=8)
    log = Log.open(
        disk, str(tmp_path), "orders", 3, TOPIC_ID, LogConfig(segment_bytes=100), clean=False
    )
    for _ in range(200):
        append(log, a_batch(value=bytes(60)))
    sync(log)
    assert len(log._segments) == 200
    assert len(content(log)) == log.size_bytes
    assert open_count() - before <= 12
    log.close(clean=True)
    del log, disk
    gc.collect()
    assert open_count() == before


def test_a_log_on_the_real_disk_survives_its_process(tmp_path: Path) -> None:
    """Killed with -9 right after an append, another process finds every batch."""
    script = (
        "import os, signal, sys\n"
        "from storage import Log, LogConfig, OsDisk\n"
        "from tests.storage.builders import TOPIC_ID, a_batch, append\n"
        "log = Log.open(OsDisk(), sys.argv[1], 'orders', 3, TOPIC_ID,\n"
        "               LogConfig(segment_bytes=5000), clean=False)\n"
        "for number in range(100):\n"
        "    append(log, a_batch(3, producer_id=7, producer_epoch=0, base_sequence=3 * number))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=False, cwd=Path(__file__).parents[2]
    )
    assert ran.returncode == -9
    log = Log.open(OsDisk(), str(tmp_path), "orders", 3, TOPIC_ID, LogConfig(), clean=False)
    assert log.log_end_offset == 300
    assert log.recovered.truncated_bytes == 0
    assert log.producers[7].next_sequence == 300
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0
