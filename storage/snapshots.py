"""The files that tell what a log knew of its producers at some offset, and what to add to them.

They are `<offset>.snapshot`. The newest two that syncs wrote are kept, so that a start, or a
cut, walks over few batches. One more stands at the first segment's base, where segments before it
were deleted: it is all that is left of producers who wrote nothing since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storage.disk import Disk, DiskFull, Missing
from storage.errors import DamagedLog
from storage.producers import SNAPSHOT_SUFFIX, UNKNOWN_MS, Producers
from storage.segment import Segment, file_name
from storage.sync import SyncTicket
from storage.types import Offset


def snapshot_path(directory: str, offset: Offset) -> str:
    """Return the path of the snapshot at an offset."""
    return f"{directory}/{file_name(offset, SNAPSHOT_SUFFIX)}"


def snapshot_offsets(names: Iterable[str]) -> list[Offset]:
    """Return the offsets of the snapshots among a directory's names, rising."""
    stems = [name[: -len(SNAPSHOT_SUFFIX)] for name in names if name.endswith(SNAPSHOT_SUFFIX)]
    return sorted(int(stem) for stem in stems if len(stem) == 20 and stem.isdecimal())


def load_newest(
    disk: Disk, directory: str, snapshots: Sequence[Offset], producers: Producers
) -> tuple[Offset | None, list[Offset]]:
    """Take over the newest of these that can be read; return its offset, and those that cannot."""
    unreadable: list[Offset] = []
    for offset in reversed(snapshots):
        try:
            if producers.load(disk.read_file(snapshot_path(directory, offset))):
                return offset, unreadable
        except Missing:
            continue  # Its sync is under way, or found the disk full.
        unreadable.append(offset)
    return None, unreadable


def rebuild_producers(
    disk: Disk, directory: str, segments: Sequence[Segment], snapshots: Sequence[Offset]
) -> Producers:
    """Return what a snapshot, and all batches of `segments` after it, tell of producers.

    Args:
        disk: where they are.
        directory: of the log.
        segments: at least one, which follow one another.
        snapshots: offsets of those that may be used, rising.

    Raises:
        DamagedLog: on the way there is something that is no batch.
    """
    producers = Producers()
    start, _ = load_newest(disk, directory, snapshots, producers)
    if start is None:
        start = segments[0].base_offset
    for number, segment in enumerate(segments):
        if segments[number + 1 :] == [] or segments[number + 1].base_offset > start:
            for _, header in segment.walk(segment.position_of(start)):
                if header.producer_id >= 0:
                    producers.appended(header, header.base_offset, UNKNOWN_MS)
    return producers


def bequeath(disk: Disk, directory: str, base_offset: Offset, data: bytes) -> None:
    """Write down the snapshot at a log's new beginning, before what it tells of is deleted.

    It is on disk once the directory is synced. On a full disk it is left out, because the
    deletion makes room: a crash then forgets who wrote nothing to what is kept.
    """
    try:
        disk.replace(snapshot_path(directory, base_offset), data)
    except DiskFull:
        return


def inherited(
    disk: Disk, directory: str, gone: Sequence[Segment], snapshots: Sequence[Offset]
) -> Producers:
    """Return what segments that a start is about to delete tell of producers.

    Nothing if they are damaged: nobody may read them any more, so it is no reason not to start.

    Args:
        disk: where they are.
        directory: of the log.
        gone: those that lie below the log's beginning, and follow one another up to it.
        snapshots: those that are there, rising; none at the log's beginning or above is usable.
    """
    for segment in gone:
        segment.size = segment.file.size
    end = gone[-1].base_offset
    try:
        return rebuild_producers(disk, directory, gone, [o for o in snapshots if o <= end])
    except DamagedLog:
        return Producers()


class Snapshots:
    """Keeps track of one log's."""

    __slots__ = ("_directory", "_disk", "_offsets")

    def __init__(self, disk: Disk, directory: str, offsets: list[Offset]) -> None:
        """With those that are there, rising."""
        self._disk = disk
        self._directory = directory
        self._offsets = offsets

    def take(self, ticket: SyncTicket, producers: Producers, segments: Sequence[Segment]) -> None:
        """Have a sync write the producers' state at its end, and remove what that replaces."""
        ticket.writes.append(
            (snapshot_path(self._directory, ticket.end_offset), producers.encode())
        )
        # One may stand, or be about to, where the log begins or will: it goes with its segment.
        bases = {segment.base_offset for segment in segments}
        # The one before stays too, until this one is on disk.
        ticket.removals += [
            snapshot_path(self._directory, offset)
            for offset in self._offsets[:-1]
            if offset not in bases
        ]
        del self._offsets[:-1]
        if ticket.end_offset not in self._offsets:
            self._offsets.append(ticket.end_offset)

    def finished(self, ticket: SyncTicket) -> bool:
        """Take note that a ticket that `take` was given has run; whether a file was removed."""
        if not ticket.covers_indexes:  # The disk was full.
            self._offsets = [offset for offset in self._offsets if offset != ticket.end_offset]
        elif ticket.end_offset not in self._offsets:
            # The log was cut below it in between. What stands there later is something else.
            self._disk.remove(snapshot_path(self._directory, ticket.end_offset))
            return True
        return False

    def cut(self, end_offset: Offset, gone: Sequence[Segment]) -> bool:
        """Remove those beyond the log's new end, which tell of what is gone.

        Returns whether there may have been any. Then that must be on disk before the log is as
        long again, because recovery may believe them.

        Args:
            end_offset: where the log ends now.
            gone: segments that were removed for it.
        """
        beyond = {offset for offset in self._offsets if offset > end_offset}
        beyond.update(segment.base_offset for segment in gone)
        for offset in sorted(beyond):
            self._disk.remove(snapshot_path(self._directory, offset))
        self._offsets = [offset for offset in self._offsets if offset <= end_offset]
        return bool(beyond)

    def rebuild(self, segments: Sequence[Segment]) -> Producers:
        """Return the producers' state at the end of these segments. Raises DamagedLog."""
        usable = sorted({segment.base_offset for segment in segments}.union(self._offsets))
        return rebuild_producers(self._disk, self._directory, segments, usable)

    def begins(self, base_offset: Offset, gone: Sequence[Segment]) -> list[str]:
        """The log begins here now, without these segments; return the paths of what goes, too."""
        offsets = {segment.base_offset for segment in gone}
        offsets.update(offset for offset in self._offsets if offset < base_offset)
        self._offsets = [offset for offset in self._offsets if offset >= base_offset]
        return [snapshot_path(self._directory, offset) for offset in sorted(offsets)]
