"""Small files of a whole data directory: what is safely on disk, where logs begin, clean ends.

`recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`, `cleaner-offset-checkpoint`
(what is compacted) and `replication-offset-checkpoint` (what was known to be committed; of the
registry alone) are Kafka's: version 0, count, one `topic partition offset` a line. A missing
one only means that more is scanned at the next start, or compacted once more. All functions
block: call them in a thread, and never at once with a sync round, because a new partition's first
sync takes what is left of an older one of its name out of them.
"""

from collections.abc import Mapping
from threading import Lock

from storage.disk import Disk, Missing
from storage.types import Offset

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
LOG_STARTS = "log-start-offset-checkpoint"
CLEANED_ENDS = "cleaner-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
CLEAN_MARK = "clean-shutdown"
DELETED_SUFFIX = "-delete"

_ALL = (RECOVERY_POINTS, LOG_STARTS, CLEANED_ENDS, HIGH_WATERMARKS)

Offsets = dict[tuple[str, int], Offset]

_one_writer = Lock()
"""Syncs and removals run in several threads, and each reads and replaces a whole file."""


def read_offsets(disk: Disk, data_directory: str, name: str) -> tuple[Offsets, str | None]:
    """Return what `write_offsets` wrote, and a warning if the file was not usable.

    A file that is missing or not usable gives no offsets. Partitions of which a directory waits
    to be removed are left out: the line may speak of the one that is gone. Raises DiskError.
    """
    offsets = _read(disk, data_directory, name)
    if offsets is None:
        path = f"{data_directory}/{name}"
        return {}, f"{path} is not readable as offsets and is ignored; logs are checked whole"
    for leftover in leftovers(disk, data_directory):
        topic, _, partition = leftover.rpartition(".")[0].rpartition("-")
        if partition.isdecimal():
            offsets.pop((topic, int(partition)), None)
    return offsets, None


def _read(disk: Disk, data_directory: str, name: str) -> Offsets | None:
    """Return the file as it is, nothing if it is missing, None if it is malformed."""
    try:
        data = disk.read_file(f"{data_directory}/{name}")
    except Missing:
        return {}
    return parse_offsets(data)


def parse_offsets(data: bytes) -> Offsets | None:
    """Return what `write_offsets` wrote, None if this is something else."""
    lines = data.decode("ascii", "replace").split("\n")
    offsets: Offsets = {}
    try:
        if lines[0] != "0" or int(lines[1]) != len(lines) - 3 or lines[-1] != "":
            return None
        for line in lines[2:-1]:
            topic, partition, offset = line.split(" ")
            offsets[topic, int(partition)] = int(offset)
    except (ValueError, IndexError):
        return None
    return offsets if min(offsets.values(), default=0) >= 0 else None


def write_offsets(
    disk: Disk, data_directory: str, name: str, offsets: Mapping[tuple[str, int], Offset]
) -> None:
    """Replace the file, atomically. Raises DiskError."""
    with _one_writer:
        _write(disk, data_directory, name, offsets)


def _write(
    disk: Disk, data_directory: str, name: str, offsets: Mapping[tuple[str, int], Offset]
) -> None:
    lines = [f"{topic} {partition} {offset}\n" for (topic, partition), offset in offsets.items()]
    text = f"0\n{len(lines)}\n{''.join(lines)}"
    disk.write_atomically(f"{data_directory}/{name}", text.encode("ascii"))


def forget(disk: Disk, data_directory: str, topic: str, partition: int) -> None:
    """Take one partition out of all three files, if it is in them. Raises DiskError."""
    with _one_writer:
        for name in _ALL:
            offsets = _read(disk, data_directory, name) or {}
            if offsets.pop((topic, partition), None) is not None:
                _write(disk, data_directory, name, offsets)


def discard(disk: Disk, data_directory: str) -> None:
    """Remove all three files, durably. Raises DiskError."""
    with _one_writer:
        for name in _ALL:
            disk.remove(f"{data_directory}/{name}")
        disk.sync_directory(data_directory)


def leftovers(disk: Disk, data_directory: str) -> list[str]:
    """Return the names of deleted partitions' directories that are still to be removed."""
    return [name for name in disk.list_directory(data_directory) if name.endswith(DELETED_SUFFIX)]


def mark_clean(disk: Disk, data_directory: str) -> None:
    """Say that all logs were closed cleanly; the last act of a shutdown. Raises DiskError."""
    disk.write_atomically(f"{data_directory}/{CLEAN_MARK}", b"0\n")


def take_clean_mark(disk: Disk, data_directory: str) -> bool:
    """Return whether the last shutdown was clean; the mark is gone afterwards, durably.

    Call it before the logs are opened: a crash from here on must not be taken for a clean end.
    Raises DiskError.
    """
    path = f"{data_directory}/{CLEAN_MARK}"
    if not disk.exists(path):
        return False
    disk.remove(path)
    disk.sync_directory(data_directory)
    return True
