"""How a compacted segment takes the place of old ones, whatever a crash leaves.

The new one is written as `….log.cleaned`, with its indexes, and synced: until then the old ones
count. Renamed to `….log.swap`, durably, it counts, and the old ones go; then it takes its name.
Each change of a name may reach the disk or not, so recovery does what is left to do: a `.swap`
log removes what it stands for and takes its name, and everything half-made goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.disk import Disk
from storage.segment import Segment, file_name
from storage.types import Offset

CLEANED, SWAP = ".cleaned", ".swap"
_ENDINGS = (CLEANED, SWAP)


def complete_swaps(disk: Disk, directory: str, names: Sequence[str]) -> list[str]:
    """Finish, or undo, what a crash interrupted; return the names in the directory afterwards.

    Raises:
        DamagedLog: a new segment is not what was synced; nothing was changed.
        DiskError: the disk failed.
    """
    if not any(name.endswith(_ENDINGS) for name in names):
        return list(names)
    done = [
        (int(name[:20]), _end_of(disk, directory, int(name[:20])))
        for name in names
        if name.endswith(f".log{SWAP}") and name[:20].isdecimal()
    ]
    for base, end in done:
        replaced = [n for n in names if _is_of(n, base, end)]
        for name in replaced:
            disk.remove(f"{directory}/{name}")
        # What it stands for must not come back once its own name says nothing of that.
        disk.sync_directory(directory)
        for suffix in (".index", ".timeindex", ".log"):
            path = f"{directory}/{file_name(base, suffix)}"
            if disk.exists(path + SWAP):  # An index may be missing: it is built anew.
                disk.rename(path + SWAP, path)
    for name in disk.list_directory(directory):
        if name.endswith(_ENDINGS):
            disk.remove(f"{directory}/{name}")
    disk.sync_directory(directory)
    return disk.list_directory(directory)


def _end_of(disk: Disk, directory: str, base: Offset) -> Offset:
    segment = Segment(disk, directory, base, 1, suffix=SWAP)
    segment.size = segment.file.size
    end = base
    for _, header in segment.walk(0):
        end = header.last_offset + 1
    return end


def _is_of(name: str, base: Offset, end: Offset) -> bool:
    """Whether this is a file of a segment that begins in a range."""
    stem, _, suffix = name.partition(".")
    return (
        suffix in ("log", "index", "timeindex")
        and len(stem) == 20
        and stem.isdecimal()
        and base <= int(stem) < end
    )
