"""One sync of one log: what must reach the disk, gathered by the log and run in a thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage import checkpoints
from storage.disk import Disk, File
from storage.types import Offset


@dataclass(slots=True)
class SyncTicket:
    """Made by `Log.begin_sync`; run once, anywhere; given back to `Log.finish_sync`."""

    disk: Disk
    end_offset: Offset
    """All below is on disk when `run` has returned."""
    cut_count: int
    covers_indexes: bool = False
    files: list[File] = field(default_factory=list)
    writes: list[tuple[str, bytes]] = field(default_factory=list)
    """Small files to replace atomically."""
    removals: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    forget: tuple[str, str, int] | None = None
    """Data directory, topic and partition of a log whose directory is new."""

    def run(self) -> None:
        """Block until everything is on disk. Touches no state of the log.

        Log files go first, then what speaks of them, then the names.

        Raises:
            SyncFailed: stop the node; never retry.
            DiskError: a small file could not be replaced; nothing may be taken as synced.
        """
        for file in self.files:
            file.sync()
        if self.forget is not None:
            checkpoints.forget(self.disk, *self.forget)
        for path, data in self.writes:
            self.disk.replace(path, data)
        for directory in self.directories:
            self.disk.sync_directory(directory)
        for path in self.removals:
            self.disk.remove(path)
