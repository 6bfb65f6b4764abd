"""One sync of one log: what must reach the disk, gathered by the log and run in a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from storage import checkpoints
from storage.disk import Disk, DiskFull, File
from storage.types import Offset


@dataclass(slots=True)
class Directory:
    """The directory of a log, shared with its tickets: they must not write where it once was."""

    path: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_gone: bool = False
    """Renamed away. Its name may be another topic's by now."""


@dataclass(slots=True)
class SyncTicket:
    """Made by `Log.begin_sync`; run once, anywhere; given back to `Log.finish_sync`."""

    disk: Disk
    directory: Directory
    end_offset: Offset
    """All below is on disk when this and all earlier tickets have run."""
    cut_count: int
    takes_indexes: bool = False
    covers_indexes: bool = False
    """Whether indexes, epochs and producers are on disk, too."""
    is_done: bool = False
    files: list[File] = field(default_factory=list)
    writes: list[tuple[str, bytes]] = field(default_factory=list)
    """Small files to replace."""
    removals: list[str] = field(default_factory=list)
    """What they replace, to be removed after them."""
    directories: list[str] = field(default_factory=list)
    forget: tuple[str, str, int] | None = None
    """Data directory, topic and partition of a log whose directory is new."""

    def run(self) -> None:
        """Block until everything is on disk. Touches no state of the log.

        Log files go first, then what speaks of them, then the names. On a full disk the log is
        synced all the same; only the recovery point stays where it was.

        Raises:
            SyncFailed: stop the node; never retry.
            DiskError: the disk failed; nothing may be taken as synced.
        """
        for file in self.files:
            file.sync()
        with self.directory.lock:
            if self.directory.is_gone:
                return  # Nobody will ask for what was in it.
            if self.forget is not None:
                self._forget_namesake(*self.forget)
            try:
                for path, data in self.writes:
                    self.disk.replace(path, data)
                self.covers_indexes = self.takes_indexes
            except DiskFull:
                self.removals.clear()
            for directory in self.directories:
                self.disk.sync_directory(directory)
            for path in self.removals:
                self.disk.remove(path)

    def _forget_namesake(self, data_directory: str, topic: str, partition: int) -> None:
        try:
            checkpoints.forget(self.disk, data_directory, topic, partition)
        except DiskFull:
            # Without them the next start checks everything: slow, but never wrong.
            checkpoints.discard(self.disk, data_directory)
