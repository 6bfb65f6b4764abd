"""The log of one partition: append, read, roll, sync, truncate, look up by time.

Offsets are given here: a batch takes the next ones, and nothing is ever written in between.
Everything is a plain call on the disk port but for three things that block and touch no state
of the log, which the driver runs in a thread: `SyncTicket.run`, and the callables that
`apply_retention` and `delete` return.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from struct import Struct

from storage import partition_metadata
from storage.compacted import Compacted
from storage.compaction import Compaction
from storage.config import LogConfig
from storage.disk import Disk, DiskFull, File, FileSlice
from storage.epochs import FILE_NAME as EPOCHS_NAME
from storage.epochs import LeaderEpochs
from storage.errors import DamagedLog, OffsetOutOfRange
from storage.producers import Producers
from storage.records import BatchHeader
from storage.recovery import OFFSET_MAX, Recovered, recover, verify
from storage.removal import remove_segments, take_away
from storage.retention import SegmentFacts, expired_count
from storage.segment import Segment
from storage.snapshots import Snapshots
from storage.sync import Directory, SyncTicket
from storage.times import Timed
from storage.types import LeaderEpoch, Offset, TimestampMs

RECENT_BATCHES_MAX = 1024
"""Newest batches of which the exact place is known without a look-up (16 bytes each)."""

HINTS_MAX = 64
"""Places where readers will go on, kept per log."""

INDEX_SYNC_BYTES = 16 << 20
"""A sync takes the indexes along after so much; a restart checks no more than this per log."""

RELATIVE_OFFSET_MAX = (1 << 31) - 1  # Offsets in an index are int32, counted from its base.

_OFFSET = Struct(">q")
_LEADER_EPOCH = Struct(">i")


class Log(Compacted, Timed):
    """One partition's log; made by `Log.open`. Not thread-safe: one thread calls it."""

    __slots__ = (
        "_active",
        "_cut_count",
        "_data_directory",
        "_directories",
        "_disk",
        "_hints",
        "_index_synced_size",
        "_is_new",
        "_leader_epoch",
        "_recent_offsets",
        "_recent_positions",
        "_rolled",
        "_segments",
        "_shared",
        "_snapshots",
        "_sync_begun",
        "_tickets",
        "_unsynced",
        "config",
        "directory",
        "leader_epochs",
        "log_end_offset",
        "log_start_offset",
        "name",
        "partition",
        "producers",
        "recovered",
        "recovery_point",
        "repaired_end",
        "synced_end",
        "topic",
        "topic_id",
    )

    def __init__(
        self,
        disk: Disk,
        data_directory: str,
        topic: str,
        partition: int,
        topic_id: bytes,
        config: LogConfig,
    ) -> None:
        """Use `Log.open`."""
        self._disk = disk
        self._data_directory = data_directory
        self.topic = topic
        self.partition = partition
        self.topic_id = topic_id
        self.name = f"{topic}-{partition}"
        self.directory = f"{data_directory}/{self.name}"
        self.config = config
        self.log_start_offset: Offset = 0
        self.log_end_offset: Offset = 0
        self.synced_end: Offset = 0
        """All below was on disk when a sync last ended."""
        self.recovery_point: Offset = 0
        """All below is synced with its indexes; what is above is checked after a crash."""
        self.repaired_end: Offset = 0
        """The start has checked whole segments up to here; they are to be written down as such."""
        self.cleaned_end: Offset = 0
        """All below is compacted: `checkpoints.CLEANED_ENDS`."""
        self.compaction: Compaction | None = None
        self.compaction_error: str | None = None
        """Why the log is not compacted any more until the next start."""
        self.size_bytes = 0
        self.leader_epochs = LeaderEpochs(lambda: self.log_end_offset)
        self.producers = Producers()
        self.recovered = Recovered()
        """What `open` found and repaired, for one line in the node's log."""
        self._leader_epoch: LeaderEpoch = -1
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._is_new = True
        self._snapshots = Snapshots(disk, self.directory, [])
        # What the next sync must cover besides the active segment's file.
        self._unsynced: list[File] = []
        self._rolled: list[Segment] = []
        self._directories: set[str] = set()
        self._sync_begun: Offset = 0
        self._shared = Directory(self.directory)
        self._tickets: list[SyncTicket] = []
        self._index_synced_size = 0
        self._cut_count = 0
        # Dense places of the newest batches, all of the active segment.
        self._recent_offsets = array("q")
        self._recent_positions = array("q")
        self._hints: dict[Offset, int] = {}

    @classmethod
    def open(
        cls,
        disk: Disk,
        data_directory: str,
        topic: str,
        partition: int,
        topic_id: bytes,
        config: LogConfig,
        *,
        clean: bool,
        recovery_point: Offset = 0,
        log_start_offset: Offset = 0,
        synced_end: Offset = 0,
        cleaned_end: Offset = 0,
    ) -> Log:
        """Open what is there, repaired, or an empty log that has no directory yet.

        Blocks. After an unclean end `synced_end` is the recovery point, and the next sync covers
        what was found above it (which recovery wrote anew): sync before serving acks=all.

        Args:
            clean: `checkpoints.take_clean_mark` said so.
            recovery_point: of `checkpoints.RECOVERY_POINTS`; 0 checks the whole log.
            log_start_offset: of `checkpoints.LOG_STARTS`; 0 where there is none.
            synced_end: as the promise journal knows it; what was below is there, or it is damage.
            cleaned_end: of `checkpoints.CLEANED_ENDS`; 0 compacts the whole log once more.

        Raises:
            WrongTopicId: the directory belongs to another topic of this name.
            DamagedLog: something that was synced is missing or altered; nothing was changed.
            DiskError: the disk failed.
        """
        log = cls(disk, data_directory, topic, partition, topic_id, config)
        synced = OFFSET_MAX if clean else recovery_point
        found = partition_metadata.directory_holds(
            disk, log.directory, topic_id, was_synced=clean or recovery_point > 0 or synced_end > 0
        )
        if found is None:
            if 0 < synced < OFFSET_MAX or synced_end > 0:
                raise DamagedLog(log.directory, 0, 0, "the directory is missing")
            return log
        log.recovered = recover(
            disk,
            log.directory,
            config,
            recovery_point=synced,
            log_start_offset=log_start_offset,
            synced_end=synced_end,
            epochs=log.leader_epochs,
            producers=log.producers,
        )
        log.recovered.warnings.extend(found)
        log._adopt(log.recovered, synced, log_start_offset)
        log.cleaned_end = min(cleaned_end, log.log_end_offset)
        return log

    def _adopt(self, found: Recovered, synced: Offset, log_start_offset: Offset) -> None:
        self.log_end_offset = found.log_end_offset
        self._snapshots = Snapshots(self._disk, self.directory, found.snapshots)
        self._leader_epoch = self.leader_epochs.latest
        if not found.segments:
            return
        self._is_new = False
        self._segments = found.segments
        self._active = found.segments[-1]
        self._active.hold()
        first_offset = found.segments[0].base_offset
        # A start beyond the end: what was deleted is gone, and so is what came after it.
        self.log_start_offset = min(max(first_offset, log_start_offset), self.log_end_offset)
        self.size_bytes = sum(segment.size for segment in found.segments)
        self.synced_end = self.recovery_point = min(synced, self.log_end_offset)
        self._sync_begun = self.synced_end
        self._rolled = [
            segment
            for number, segment in enumerate(found.segments[:-1])
            if self._end_of(number) > synced or segment.indexes_changed
        ]
        if self._rolled:
            self.repaired_end = self.log_end_offset
        if synced != OFFSET_MAX:
            self._unsynced = [segment.file for segment in self._rolled]
            for segment in self._rolled:
                segment.let_go()
            self._directories = {self.directory, self._data_directory}
        if synced == 0:  # Whoever made it may have been killed before the first sync.
            self._unsynced.append(partition_metadata.rewrite(self._disk, self.directory))

    # ---- append

    def append(
        self, batch: memoryview, header: BatchHeader, leader_epoch: LeaderEpoch, wall_ms: int
    ) -> Offset:
        """Append one whole batch, checked by the caller; return the offset of its first record.

        Offset and leader epoch are written into `batch` itself, which is then written uncopied.
        It is in the page cache afterwards, not on disk: see `begin_sync`.

        Args:
            batch: writable; exactly `header.batch_size` bytes.
            header: what `read_batch_header(batch)` gave.
            leader_epoch: not below that of the log's newest batch.
            wall_ms: the node's time, by which silent producers expire.

        Raises:
            DiskFull, DiskError: nothing was appended.
            SyncFailed: stop the node, as always.
        """
        offset = self.log_end_offset
        size = len(batch)
        last_offset = offset + header.last_offset_delta
        active = self._active
        if (
            active is None
            or active.crowded
            or active.size + size > self.config.segment_bytes
            or header.max_timestamp - active.first_timestamp > self.config.segment_ms
            or last_offset - active.base_offset > RELATIVE_OFFSET_MAX
        ):
            active = self._make_room(size, header.max_timestamp, last_offset)
        _OFFSET.pack_into(batch, 0, offset)
        _LEADER_EPOCH.pack_into(batch, 12, leader_epoch)
        position = active.size
        active.file.append((batch,))
        active.size = position + size
        active.note(position, size, last_offset, header.max_timestamp)
        recent = self._recent_offsets
        recent.append(offset)
        self._recent_positions.append(position)
        if len(recent) > RECENT_BATCHES_MAX:
            del recent[: RECENT_BATCHES_MAX // 2]
            del self._recent_positions[: RECENT_BATCHES_MAX // 2]
        if leader_epoch != self._leader_epoch:
            self.leader_epochs.assign(leader_epoch, offset)
            self._leader_epoch = leader_epoch
        if header.producer_id >= 0:
            self.producers.appended(header, offset, wall_ms)
        self.log_end_offset = last_offset + 1
        self.size_bytes += size
        return offset

    def _make_room(self, size: int, max_timestamp: TimestampMs, last_offset: Offset) -> Segment:
        """Return the segment that takes the batch: the active one, or a new one."""
        active = self._active
        if active is None:
            return self._begin()
        if active.crowded:
            active.flush()
        if active.size and (
            active.size + size > self.config.segment_bytes
            or (
                active.first_timestamp >= 0
                and max_timestamp - active.first_timestamp > self.config.segment_ms
            )
            or last_offset - active.base_offset > RELATIVE_OFFSET_MAX
        ):
            return self._roll()
        return active

    def _begin(self) -> Segment:
        """Make directory and files; they are durable only after the next sync."""
        self._disk.make_directory(self.directory)
        self._unsynced.append(partition_metadata.write(self._disk, self.directory, self.topic_id))
        self._directories |= {self.directory, self._data_directory}
        return self._add_segment()

    def _roll(self) -> Segment:
        """Close the active segment and begin another at the log's end."""
        active = self._active
        assert active is not None, "a log without segments begins instead"
        active.seal()
        unsynced = [self._directories, *(ticket.directories for ticket in self._tickets)]
        if any(self.directory in directories for directories in unsynced):
            # All names but the newest are durable, so that a crash leaves no gap between
            # segments. This blocks, but only for one that filled up before its first sync was over.
            self._disk.sync_directory(self.directory)
        added = self._add_segment()
        self._unsynced.append(active.file)
        self._rolled.append(active)
        active.let_go()
        return added

    def _add_segment(self) -> Segment:
        segment = Segment(
            self._disk, self.directory, self.log_end_offset, self.config.index_interval_bytes
        )
        segment.hold(create=True)
        self._directories.add(self.directory)
        self._segments.append(segment)
        self._active = segment
        self._index_synced_size = 0
        del self._recent_offsets[:], self._recent_positions[:]
        return segment

    # ---- read

    def read(self, offset: Offset, bytes_max: int, end_offset: Offset) -> list[FileSlice]:
        """Return the place of whole batches from the one that holds `offset` on, unread.

        The first batch may begin before `offset`, because batches are never cut; clients skip
        its head. At most one slice, of one segment.

        Args:
            offset: log_start_offset <= offset <= log_end_offset.
            bytes_max: soft limit; a first batch larger than this is returned, alone, so that
                a reader always makes progress (KIP-74).
            end_offset: exclusive; a batch that reaches it or beyond is not returned.

        Raises:
            OffsetOutOfRange: outside the bounds above (Kafka error 1).
            DamagedLog: on the way there is something that is no batch.
        """
        if not self.log_start_offset <= offset <= self.log_end_offset:
            raise OffsetOutOfRange(offset, self.log_start_offset, self.log_end_offset)
        if offset >= end_offset or offset == self.log_end_offset:
            return []
        number = self._segment_number(offset)
        segment = self._segments[number]
        position = self._position_of(segment, offset)
        segment_end = self._end_of(number)
        if end_offset >= segment_end:
            stop, next_offset = segment.size, segment_end
        else:
            stop, next_offset = self._position_of(segment, end_offset), end_offset
        if stop - position > bytes_max:
            stop, next_offset = self._boundary(segment, position, position + bytes_max)
        if stop <= position:
            return []
        if len(self._hints) >= HINTS_MAX:
            del self._hints[next(iter(self._hints))]
        self._hints[next_offset] = stop
        return [FileSlice(segment.file, position, stop - position)]

    def _end_of(self, number: int) -> Offset:
        """Return the offset after the last one of a segment."""
        if number + 1 < len(self._segments):
            return self._segments[number + 1].base_offset
        return self.log_end_offset

    def in_older_segment(self, offset: Offset) -> bool:
        """Whether a read there ends with its segment, though the log goes on."""
        return bool(self._segments) and offset < self._segments[-1].base_offset

    def _segment_number(self, offset: Offset) -> int:
        if not self.in_older_segment(offset):
            return len(self._segments) - 1
        return bisect_right(self._segments, offset, key=lambda segment: segment.base_offset) - 1

    def _position_of(self, segment: Segment, offset: Offset) -> int:
        """Return where the batch with `offset` begins in this segment, its size if beyond."""
        if offset <= segment.base_offset:
            return 0
        if segment is self._active:
            if offset >= self.log_end_offset:
                return segment.size
            recent = self._recent_offsets
            if recent and offset >= recent[0]:
                return self._recent_positions[bisect_right(recent, offset) - 1]
        hint = self._hints.get(offset)
        if hint is not None:
            return hint
        return segment.position_of(offset)

    def _boundary(self, segment: Segment, position: int, limit: int) -> tuple[int, Offset]:
        """Return the last end of a batch <= `limit`, at least one batch on, and what follows it.

        The segment goes on beyond `limit`.
        """
        places = self._recent_positions
        if segment is self._active and places and position >= places[0]:
            number = bisect_right(places, limit) - 1
            if places[number] <= position:
                number += 1  # The first batch alone is larger than allowed.
            if number < len(places):
                return places[number], self._recent_offsets[number]
            return segment.size, self.log_end_offset
        return segment.boundary(position, limit)

    # ---- sync

    @property
    def recovery_bytes(self) -> int:
        """Bytes above the recovery point, about: what a crash now would make a restart check."""
        if self.recovery_point >= self.log_end_offset:
            return 0
        number = self._segment_number(max(self.recovery_point, self._segments[0].base_offset))
        later = sum(segment.size for segment in self._segments[number + 1 :])
        segment = self._segments[number]
        return later + segment.size - segment.indexed_before(self.recovery_point)

    def begin_sync(self, *, indexes: bool = False) -> SyncTicket | None:
        """Return what must be synced for all appended so far; None if that was begun already.

        `ticket.run()` blocks and belongs in a thread; then `finish_sync(ticket)` here. If it
        raises SyncFailed, stop the node: nothing may be believed of the page cache any more.

        Args:
            indexes: take indexes, epochs and producers along, so that `recovery_point` moves
                too. It happens by itself after a roll and every 16 MiB.
        """
        active = self._active
        if active is None:
            return None
        end = self.log_end_offset
        changed = bool(self._rolled) or active.indexes_changed
        indexes = indexes and (self.recovery_point < end or changed)
        if end == self._sync_begun and not (self._unsynced or self._directories or indexes):
            return None
        ticket = SyncTicket(self._disk, self._shared, end, self._cut_count)
        self._tickets.append(ticket)
        ticket.files += self._unsynced
        ticket.files.append(active.file)
        ticket.directories += sorted(self._directories, reverse=True)  # Ours, then its parent.
        if self._is_new:
            ticket.forget = (self._data_directory, self.topic, self.partition)
            self._is_new = False
        if indexes or self._rolled or self._index_sync_due():
            self._add_indexes(ticket)
        self._unsynced.clear()
        self._directories.clear()
        self._sync_begun = end
        return ticket

    def _index_sync_due(self) -> bool:
        active = self._active
        assert active is not None, "an empty log has nothing to sync"
        return active.size - self._index_synced_size > INDEX_SYNC_BYTES

    def _add_indexes(self, ticket: SyncTicket) -> None:
        active = self._active
        assert active is not None, "an empty log has nothing to sync"
        try:
            for segment in [*self._rolled, active]:
                segment.flush()
        except DiskFull:
            return  # The indexes wait in memory, and the recovery point with them.
        for segment in [*self._rolled, active]:
            for index in (segment.offsets, segment.times):
                if index.changed:
                    ticket.files.append(self._disk.open_cached(index.path))
                    index.changed = False
        self._rolled.clear()
        self._index_synced_size = active.size
        if self.leader_epochs.changed:
            ticket.writes.append((f"{self.directory}/{EPOCHS_NAME}", self.leader_epochs.encode()))
            self.leader_epochs.changed = False
        self._snapshots.take(ticket, self.producers, self._segments)
        if self.directory not in ticket.directories:
            ticket.directories.insert(0, self.directory)
        ticket.takes_indexes = True

    def finish_sync(self, ticket: SyncTicket) -> None:
        """Take note that `ticket.run()` has returned.

        `synced_end` moves once all earlier tickets are back as well, since each covers only
        what the ones before do not.
        """
        ticket.is_done = True
        while self._tickets and self._tickets[0].is_done:
            done = self._tickets.pop(0)
            if done.takes_indexes:
                if self._snapshots.finished(done):
                    self._directories.add(self.directory)
                self.leader_epochs.changed |= not done.covers_indexes  # The disk was full.
            if done.cut_count != self._cut_count:
                continue  # The log was cut in between: its new end is for a later ticket.
            self.synced_end = max(self.synced_end, done.end_offset)
            if done.covers_indexes:
                self.recovery_point = max(self.recovery_point, done.end_offset)

    # ---- shrink

    def truncate(self, end_offset: Offset) -> None:
        """Cut the log so that it ends at `end_offset`, or before if that is within a batch.

        For followers. What speaks of the log as longer (the checkpoint of recovery points) must
        be lowered on disk before, and the cut be synced before the next append.

        Raises:
            OffsetOutOfRange: below the log start; the log is unchanged.
            DamagedLog: before that offset there is something that is no batch.
            DiskError: the disk failed.
        """
        if end_offset < self.log_start_offset:
            raise OffsetOutOfRange(end_offset, self.log_start_offset, self.log_end_offset)
        if end_offset >= self.log_end_offset:
            return
        self._abandon_compaction()
        number = self._segment_number(end_offset)
        for segment in reversed(self._segments[number + 1 :]):
            segment.let_go()
            for path in segment.paths():
                self._disk.remove(path)
            self._directories.add(self.directory)
        gone = self._segments[number + 1 :]
        del self._segments[number + 1 :]
        active = self._active = self._segments[-1]
        try:
            position = active.position_of(end_offset)
            end_offset = next((h.base_offset for _, h in active.walk(position)), end_offset)
        except DamagedLog as damage:
            if damage.offset != end_offset:
                raise
            position = damage.position  # What begins there is no batch any more; it is to go.
        active.hold()
        active.truncate(position, end_offset)
        self._cut_count += 1
        self._unsynced.append(active.file)
        self._rolled = [s for s in self._rolled if s in self._segments and s is not active]
        self._hints.clear()
        del self._recent_offsets[:], self._recent_positions[:]
        self.log_end_offset = end_offset
        self.log_start_offset = min(self.log_start_offset, end_offset)
        self.synced_end = min(self.synced_end, end_offset)
        self.recovery_point = min(self.recovery_point, end_offset)
        self.repaired_end = min(self.repaired_end, end_offset)
        self.cleaned_end = min(self.cleaned_end, end_offset)
        self._sync_begun = min(self._sync_begun, end_offset)
        self.size_bytes = sum(segment.size for segment in self._segments)
        self.leader_epochs.truncate_end(end_offset)
        self._leader_epoch = self.leader_epochs.latest
        if self._snapshots.cut(end_offset, gone):
            self._directories.add(self.directory)
        self.producers = self._snapshots.rebuild(self._segments)

    def restart(self, offset: Offset) -> None:
        """Drop everything and go on at `offset`: for a follower that ends below its leader's start.

        Durable with the next sync. Raises DiskError.
        """
        if self._active is None:
            self.log_end_offset = offset
            self._begin()
        else:
            self._abandon_compaction()
            self.truncate(self.log_start_offset)
            for segment in self._segments:
                segment.let_go()
                for path in segment.paths():
                    self._disk.remove(path)
            self._snapshots.cut(-1, self._segments)
            self._segments, self._unsynced, self._rolled = [], [], []
            self._hints.clear()
            self.log_end_offset = offset
            self._add_segment()
        self.leader_epochs, self.producers = LeaderEpochs(lambda: self.log_end_offset), Producers()
        self.leader_epochs.changed, self._leader_epoch = True, -1
        self.log_start_offset = self.synced_end = self.recovery_point = offset
        self.cleaned_end = self._sync_begun = self.repaired_end = offset
        self.size_bytes = 0

    def verify(self) -> None:
        """Check every byte of the log against its checksums. Blocks, for long.

        Raises:
            DamagedLog: the first batch that is not sound, with file, offset and byte.
        """
        verify(self._segments)

    def delete_before(self, offset: Offset) -> None:
        """Hide all below `offset` (DeleteRecords); retention removes the files later.

        It is durable once `checkpoints.LOG_STARTS` says so, which is the caller's to write
        before it answers.

        Raises:
            OffsetOutOfRange: above the log's end, or negative.
        """
        if not 0 <= offset <= self.log_end_offset:
            raise OffsetOutOfRange(offset, self.log_start_offset, self.log_end_offset)
        if offset > self.log_start_offset:
            self.log_start_offset = offset
            self.leader_epochs.truncate_start(offset)

    def apply_retention(
        self, wall_ms: TimestampMs, high_watermark: Offset
    ) -> list[Callable[[], None]]:
        """Drop what is too old, too much or below the log start; forget silent producers.

        It cannot be read any more at once. Run the returned callables, in order, in a thread:
        they remove the files; slices being sent stay valid.

        Raises:
            DiskFull, DiskError: a new segment could not be made; nothing was dropped.
        """
        self.producers.expire(wall_ms, self.config.producer_expiration_ms)
        if self.compaction is not None:
            return []  # It counts on its segments.
        facts = [
            SegmentFacts(segment.size, segment.max_timestamp, self._end_of(number))
            for number, segment in enumerate(self._segments)
        ]
        count = expired_count(
            facts,
            self.config,
            log_start_offset=self.log_start_offset,
            deletable_end=high_watermark,
            wall_ms=wall_ms,
        )
        if count == 0:
            return []
        if count == len(self._segments):
            self._roll()  # Its name keeps the offset at which the log goes on.
        gone = self._segments[:count]
        del self._segments[:count]
        self._rolled = [segment for segment in self._rolled if segment not in gone]
        self._hints.clear()
        self.size_bytes -= sum(segment.size for segment in gone)
        first_offset = self._segments[0].base_offset
        self.log_start_offset = max(self.log_start_offset, first_offset)
        self.leader_epochs.truncate_start(self.log_start_offset)
        paths = [path for segment in gone for path in segment.paths()]
        paths += self._snapshots.begins(first_offset, gone)
        left = self.producers.encode(first_offset)
        return [partial(remove_segments, self._disk, self.directory, paths, first_offset, left)]

    # ---- end

    def close(self, *, clean: bool) -> None:
        """Use the log no more. With `clean`, all of it is on disk afterwards, as `open` needs it.

        Blocks if `clean`. Raises SyncFailed, DiskError: then write no clean mark.
        """
        self._abandon_compaction()
        if self._active is None:
            return
        if clean:
            self._active.seal()
            ticket = self.begin_sync(indexes=True)
            if ticket is not None:
                ticket.run()
                self.finish_sync(ticket)
            if self.recovery_point < self.log_end_offset:
                raise DiskFull(self.directory, "no room for the indexes")
        for segment in self._segments:
            segment.let_go()
        self._active = None

    def delete(self) -> Callable[[], None]:
        """Rename the directory away, at once; the callable, for a thread, removes it.

        The log is empty and unusable afterwards. Raises DiskError.
        """
        # A crash, or a disk that was full, may have left one without a segment.
        had_directory = self._disk.exists(self.directory)
        self.close(clean=False)
        self._segments = []
        return take_away(
            self._disk,
            self._shared,
            self._data_directory,
            (self.topic, self.partition),
            self.topic_id,
            is_there=had_directory,
        )
