"""Everything of one node on its disk: identity, logs, checkpoints; opened, tidied, closed.

All of it blocks. It runs before the node serves, after it has drained, or in a thread.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from mesh.broker.groups import RunAll
from mesh.model.types import TopicId
from mesh.node.introductions import FILE_NAME as MARKS
from mesh.node.introductions import decode_marks, encode_marks
from storage import partition_metadata
from storage.checkpoints import (
    CLEANED_ENDS,
    HIGH_WATERMARKS,
    LOG_STARTS,
    RECOVERY_POINTS,
    leftovers,
    mark_clean,
    read_offsets,
    take_clean_mark,
    write_offsets,
)
from storage.config import LogConfig
from storage.disk import DiskError, Missing, parent
from storage.log import Log

if TYPE_CHECKING:
    from mesh.replication.standing import Mark
    from storage.disk import Disk
    from storage.types import Offset, TimestampMs

log = logging.getLogger("mesh.node")

RECOVERY_STEP_BYTES = 1 << 20
"""A log with less than this above its recovery point is checked quickly enough next time."""
STRAY_SUFFIX = "-stray"
DAMAGED_SUFFIX = "-damaged"
"""Of the directory of a log that was damaged, and is copied anew from other replicas."""
PARTITION_DIRECTORY = re.compile(r"([a-zA-Z0-9._-]+)-([0-9]+)")


def make_directories(disk: Disk, path: str) -> None:
    """Make a directory and those above it that are missing, durably.

    Raises:
        DiskError: one of them cannot be made, or is a file.
    """
    if disk.exists(path):
        return
    above = parent(path)
    if above != path:
        make_directories(disk, above)
    disk.make_directory(path)
    disk.sync_directory(above)  # Or a crash takes all that was ever synced below it.


def keep_directories(disk: Disk, path: str) -> None:
    """Bring to the disk that a directory is there; who made it may have been killed before that.

    Those above that hold nothing else may have been made with it. Where we may not look, we made
    nothing.

    Raises:
        SyncFailed: the node must not start.
    """
    while (above := parent(path)) != path:
        try:
            others = len(disk.list_directory(above)) > 1
            disk.sync_directory(above)
        except DiskError:
            return
        if others:
            return
        path = above


class Store:
    """The logs of one data directory."""

    def __init__(self, disk: Disk, directory: str) -> None:
        """Read the checkpoints; the clean mark is gone afterwards.

        Raises:
            DiskError: the directory cannot be read or written.
        """
        self.disk = disk
        self.directory = directory
        self.was_clean = take_clean_mark(disk, directory)
        self._recovery_points = self._read(RECOVERY_POINTS)
        self._log_starts = self._read(LOG_STARTS)
        self._cleaned_ends = self._read(CLEANED_ENDS)
        self.high_watermarks = self._read(HIGH_WATERMARKS)
        """What was known to be committed of the registry's partitions when it was last noted."""
        self._logs: dict[Log, None] = {}

    def _read(self, name: str) -> dict[tuple[str, int], Offset]:
        offsets, warning = read_offsets(self.disk, self.directory, name)
        if warning is not None:
            log.warning("%s", warning)
        return offsets

    def open_log(
        self,
        topic: str,
        partition: int,
        topic_id: TopicId,
        config: LogConfig,
        *,
        synced_end: Offset = 0,
        log_start_offset: Offset = 0,
    ) -> Log:
        """Open the log of a partition, recovering what is there.

        Args:
            topic: its name.
            partition: its index.
            topic_id: 16 bytes; a directory of another id is not touched.
            config: settings of the log.
            synced_end: as the promise journal has it.
            log_start_offset: as the promise journal has it; the checkpoint may know a later one.

        Raises:
            DamagedLog, DiskError: it cannot be used; nothing was changed that matters.
        """
        key = (topic, partition)
        recovery_point = self._recovery_points.get(key, 0)
        if log_start_offset < synced_end < recovery_point:
            recovery_point = synced_end  # The log was about to be cut; the journal went first.
        opened = Log.open(
            self.disk,
            self.directory,
            topic,
            partition,
            topic_id,
            config,
            clean=self.was_clean,
            recovery_point=recovery_point,
            log_start_offset=max(log_start_offset, self._log_starts.get(key, 0)),
            synced_end=synced_end,
            cleaned_end=self._cleaned_ends.get(key, 0),
        )
        self._logs[opened] = None
        for warning in opened.recovered.warnings:
            log.warning("%s", warning)
        return opened

    def read_marks(self) -> dict[str, Mark]:
        """Return how far other nodes' journals were when they were last heard of."""
        try:
            return decode_marks(self.disk.read_file(f"{self.directory}/{MARKS}"))
        except Missing:
            return {}

    def write_marks(self, marks: tuple[tuple[str, Mark], ...]) -> None:
        """Write that down, durably. Raises DiskError."""
        self.disk.write_atomically(f"{self.directory}/{MARKS}", encode_marks(marks))

    def disk_bytes(self) -> tuple[int, int]:
        """Return the size of the disk of the data directory, and how much more fits on it.

        Raises:
            DiskError: it does not say.
        """
        return self.disk.total_bytes(self.directory), self.disk.free_bytes(self.directory)

    def let_go(self, opened: Log) -> None:
        """Close a log that turned out not to be one to use; its files stay as they are."""
        del self._logs[opened]
        opened.close(clean=False)

    def discard(self, topic: str, partition: int, topic_id: TopicId) -> Callable[[], None]:
        """Take away a log that could not be opened; the returned call removes its files."""
        self._forget((topic, partition))
        return Log(self.disk, self.directory, topic, partition, topic_id, LogConfig()).delete()

    def delete_log(self, gone: Log) -> Callable[[], None]:
        """Take a log out of use; the returned call removes its files, in a thread."""
        del self._logs[gone]
        self._forget((gone.topic, gone.partition))
        return gone.delete()

    def set_aside(self, topic: str, partition: int) -> None:
        """Take a damaged log out of the way, for people to look at; others have what it held.

        Raises:
            DiskError: it is where it was.
        """
        path = f"{self.directory}/{topic}-{partition}"
        self._forget((topic, partition))
        if not self.disk.exists(path):
            return
        number = 0
        while self.disk.exists(aside := f"{path}.{number}{DAMAGED_SUFFIX}"):
            number += 1
        self.disk.rename(path, aside)
        self.disk.sync_directory(self.directory)

    def new_log(self, topic: str, partition: int, topic_id: TopicId, config: LogConfig) -> Log:
        """Return an empty log in place of one that was deleted."""
        made = Log(self.disk, self.directory, topic, partition, topic_id, config)
        self._logs[made] = None
        return made

    def retain(
        self, kept: Log, wall_ms: TimestampMs, high_watermark: Offset
    ) -> list[Callable[[], None]]:
        """Apply a log's retention; the returned calls remove files, in order, in a thread."""
        try:
            return kept.apply_retention(wall_ms, high_watermark)
        except DiskError as error:  # A full disk, mostly. Nothing was dropped.
            log.warning("retention waits for its next time: %s", error)
            return []

    def tidy(
        self,
        expected: Mapping[tuple[str, int], TopicId],
        deleted: Collection[TopicId],
        promised: Collection[tuple[TopicId, int]] = (),
    ) -> None:
        """Before any of these logs is opened: remove what deleted topics left behind.

        A partition's directory that the registry does not know is moved aside, never removed; one
        with promises in the journal stays where it is: of its topic the registry may hear in a
        moment, even if it knows another one of that name now, which is deleted by then.
        """
        removals = [f"{self.directory}/{name}" for name in leftovers(self.disk, self.directory)]
        strays: list[tuple[str, TopicId]] = []
        for name in self.disk.list_directory(self.directory):
            found = PARTITION_DIRECTORY.fullmatch(name)
            if found is None:
                continue
            path = f"{self.directory}/{name}"
            topic_id, key = self._topic_id(path), (found[1], int(found[2]))
            if topic_id is None or expected.get(key) == topic_id:
                continue  # Without an id it is a directory whose first append never returned.
            if topic_id not in deleted and (topic_id, key[1]) in promised:
                continue
            self._forget(key)
            if topic_id in deleted:
                removals.append(path)
            else:
                strays.append((path, topic_id))
        if removals or strays:
            # First: what a checkpoint says of a log, the next one of its name must have.
            write_offsets(self.disk, self.directory, RECOVERY_POINTS, self._recovery_points)
            write_offsets(self.disk, self.directory, LOG_STARTS, self._log_starts)
            write_offsets(self.disk, self.directory, CLEANED_ENDS, self._cleaned_ends)
        for path in removals:
            self.disk.remove_tree(path)
        for path, topic_id in strays:
            log.warning("moving aside %s, which belongs to no topic", path)
            self.disk.rename(path, f"{path}.{topic_id.hex()}{STRAY_SUFFIX}")

    def _forget(self, key: tuple[str, int]) -> None:
        """The next log of this name is another one: it has nothing yet."""
        self._recovery_points.pop(key, None)
        self._log_starts.pop(key, None)
        self._cleaned_ends.pop(key, None)

    def _topic_id(self, path: str) -> TopicId | None:
        try:
            return partition_metadata.decode(
                self.disk.read_file(f"{path}/{partition_metadata.FILE_NAME}")
            )
        except Missing:
            return None

    def sync_recovered(self, run: RunAll) -> bool:
        """Bring to the disk what recovery found above the recovery points; then it is committed.

        Args:
            run: runs all of these blocking calls, in any order or at once, and returns.

        Returns whether there was any.

        Raises:
            SyncFailed: the node must not start.
        """
        found = [
            (log, log.begin_sync(indexes=log.recovery_bytes > RECOVERY_STEP_BYTES))
            for log in self._logs
            if log.synced_end < log.log_end_offset
        ]
        tickets = [(log, ticket) for log, ticket in found if ticket is not None]
        run([ticket.run for _, ticket in tickets])
        for log, ticket in tickets:
            log.finish_sync(ticket)
        return bool(tickets)

    def checkpoint(self) -> Callable[[], None]:
        """Note how far logs are synced and compacted, and where they begin; the call writes it.

        The call is for a thread, and never at once with a sync round.
        """
        recovery_points = {(log.topic, log.partition): log.recovery_point for log in self._logs}
        log_starts = {
            (log.topic, log.partition): log.log_start_offset
            for log in self._logs
            if log.log_start_offset > 0
        }
        high_watermarks = dict(self.high_watermarks)
        cleaned_ends = {
            (log.topic, log.partition): log.cleaned_end for log in self._logs if log.cleaned_end > 0
        }

        def write() -> None:
            write_offsets(self.disk, self.directory, RECOVERY_POINTS, recovery_points)
            write_offsets(self.disk, self.directory, LOG_STARTS, log_starts)
            write_offsets(self.disk, self.directory, HIGH_WATERMARKS, high_watermarks)
            if cleaned_ends:
                write_offsets(self.disk, self.directory, CLEANED_ENDS, cleaned_ends)

        return write

    def close(self, run: RunAll, promised: Callable[[], None], *, clean: bool) -> None:
        """Sync and close every log, and say that the end was clean.

        Args:
            run: as for `sync_recovered`.
            promised: has the promise journal say how far the logs are synced; blocks.
            clean: not while a log is known to be damaged: after a clean end all are believed.

        Raises:
            DiskError, SyncFailed: something did not get to the disk; the next start recovers.
        """
        run([functools.partial(each.close, clean=True) for each in self._logs])
        self.checkpoint()()
        promised()
        if clean:
            mark_clean(self.disk, self.directory)
