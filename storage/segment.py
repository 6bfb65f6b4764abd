"""One `.log` file and its two sparse indexes."""

from __future__ import annotations

from collections.abc import Iterator

from storage.disk import Disk, File
from storage.errors import CorruptBatch, DamagedLog
from storage.index import OFFSET_ENTRY, TIME_ENTRY, SparseIndex
from storage.records import HEADER_SIZE, MAGIC, BatchHeader, read_batch_header
from storage.types import Offset, TimestampMs

WALK_BYTES = 8192
"""Read at once while walking headers: two index intervals, so mostly one read per look-up."""


def file_name(base_offset: Offset, suffix: str) -> str:
    """Return Kafka's name of a segment's file: 20 digits, then `suffix` (with its dot)."""
    return f"{base_offset:020d}{suffix}"


class Segment:
    """Batches from `base_offset` on. Only the newest segment of a log grows."""

    __slots__ = (
        "_bytes_since_entry",
        "_disk",
        "_file",
        "_index_interval_bytes",
        "_stem",
        "base_offset",
        "crowded",
        "first_timestamp",
        "max_timestamp",
        "max_timestamp_offset",
        "offsets",
        "path",
        "size",
        "times",
    )

    def __init__(
        self,
        disk: Disk,
        directory: str,
        base_offset: Offset,
        index_interval_bytes: int,
        *,
        suffix: str = "",
    ) -> None:
        """Name the files; `hold`, `resume` and `note` then tell what they hold.

        `suffix` follows their usual names while compaction makes them.
        """
        self._disk = disk
        self._index_interval_bytes = index_interval_bytes
        self._bytes_since_entry = 0
        self._file: File | None = None
        self.base_offset = base_offset
        stem = f"{directory}/{file_name(base_offset, '')}"
        self._stem = stem
        self.path = f"{stem}.log{suffix}"
        self.offsets = SparseIndex(disk, f"{stem}.index{suffix}", OFFSET_ENTRY)
        self.times = SparseIndex(disk, f"{stem}.timeindex{suffix}", TIME_ENTRY)
        self.crowded = False
        """Whether the indexes should be flushed before the next append."""
        self.size = 0
        self.first_timestamp: TimestampMs = -1
        """Largest timestamp of the first batch, from which its age counts for rolling."""
        self.max_timestamp: TimestampMs = -1
        self.max_timestamp_offset: Offset = base_offset
        """Last offset of the batch that holds `max_timestamp`."""

    def paths(self) -> list[str]:
        """Return its files, the log first."""
        return [self.path, self.offsets.path, self.times.path]

    def rename(self, suffix: str) -> None:
        """Give the files their usual names and `suffix`, the log last. Raises DiskError."""
        for index, ending in ((self.offsets, ".index"), (self.times, ".timeindex")):
            path = f"{self._stem}{ending}{suffix}"
            self._disk.rename(index.path, path)
            index.path = path
        path = f"{self._stem}.log{suffix}"
        self._disk.rename(self.path, path)
        self.path = path

    @property
    def file(self) -> File:
        """The log file: held while it grows, else one of a bounded number of open ones."""
        return self._file or self._disk.open_cached(self.path)

    @property
    def indexes_changed(self) -> bool:
        """Whether a sync of an index is due."""
        return self.offsets.changed or self.times.changed

    def hold(self, *, create: bool = False) -> File:
        """Keep the file open, for appending. Raises DiskError."""
        if create:
            self._disk.open(self.path, create=True).close()
        # The very object that readers share: two would disagree on the size.
        self._file = self._disk.open_cached(self.path)
        self.size = self._file.size
        return self._file

    def let_go(self) -> None:
        """Keep the file open no longer."""
        self._file = None

    def seal(self) -> None:
        """Index the newest timestamp, as Kafka does when a segment grows no more; flush."""
        self._note_time()
        self.flush()

    def flush(self) -> None:
        """Write the indexes out to their files. Raises DiskError."""
        self.offsets.flush()
        self.times.flush()
        self.crowded = False

    def note(
        self, position: int, size: int, last_offset: Offset, max_timestamp: TimestampMs
    ) -> None:
        """Remember a batch that stands at `position`, in the indexes if an entry is due."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if position == 0:
            self.first_timestamp = max_timestamp
        if self._bytes_since_entry > self._index_interval_bytes:
            self.offsets.append(last_offset - self.base_offset, position)
            self._note_time()
            self._bytes_since_entry = 0
            self.crowded = self.offsets.crowded
        self._bytes_since_entry += size

    def _note_time(self) -> None:
        last = self.times.last()
        if self.max_timestamp > (last[0] if last else -1):
            self.times.append(self.max_timestamp, self.max_timestamp_offset - self.base_offset)

    def resume(self, end_offset: Offset) -> Offset:
        """Learn what the segment holds; return the offset after its last batch.

        The indexes are believed up to `end_offset` where they agree with the log. What they lack
        is added; if they lie, they are built anew. Raises DamagedLog, DiskError.
        """
        try:
            next_offset = self._note_from(self.believe_indexes(end_offset))
        except DamagedLog:
            next_offset = -1  # Perhaps only the index points astray.
        if next_offset < 0 or not self._times_agree():
            self.forget_indexes()
            next_offset = self._note_from(0)
        return next_offset

    def drop_torn_entries(self, end_offset: Offset) -> None:
        """Keep only index entries below `end_offset`, where those above were not synced."""
        for index, field in ((self.offsets, 0), (self.times, 1)):
            if len(index):
                index.keep_rising(end_offset - 1 - self.base_offset, field=field)

    def believe_indexes(self, end_offset: Offset) -> int:
        """Keep index entries below `end_offset`; return where to go on with `note`.

        That is the beginning of the last batch that is indexed, or 0.
        """
        self.size = self.file.size
        relative = end_offset - 1 - self.base_offset
        for index, field in ((self.offsets, 0), (self.times, 1)):
            kept = index.count_up_to(relative, field=field)
            if index is self.offsets:
                kept = min(kept, index.count_up_to(self.size - HEADER_SIZE, field=1))
            if kept < len(index):
                index.truncate(kept)
        last_time, last = self.times.last(), self.offsets.last()
        if last is None or last_time is None:
            self.forget_indexes()
            return 0
        self.max_timestamp = last_time[0]
        self.max_timestamp_offset = self.base_offset + last_time[1]
        self.first_timestamp = next(self.walk(0))[1].max_timestamp
        self._bytes_since_entry = 0
        return last[1]

    def forget_indexes(self) -> None:
        """Empty the indexes; `note` then builds them anew from the first batch on."""
        for index in (self.offsets, self.times):
            if len(index):
                index.truncate(0)
        self._bytes_since_entry = 0
        self.first_timestamp = self.max_timestamp = -1
        self.max_timestamp_offset = self.base_offset

    def _note_from(self, position: int) -> Offset:
        """Walk to the end; return the offset after it, or -1 if the last index entry lies."""
        next_offset = self.base_offset
        indexed = self.offsets.last()
        for at, header in self.walk(position):
            next_offset = header.last_offset + 1
            if indexed and at == indexed[1] and next_offset != self.base_offset + indexed[0] + 1:
                return -1
            self.note(at, header.batch_size, header.last_offset, header.max_timestamp)
        return next_offset

    def _times_agree(self) -> bool:
        """Whether the newest time entry says of its batch what the batch says of itself."""
        last = self.times.last()
        if last is None:
            return True
        offset = self.base_offset + last[1]
        for _, header in self.walk(self.position_of(offset)):
            return header.last_offset == offset and header.max_timestamp == last[0]
        return False

    def truncate(self, position: int, end_offset: Offset) -> None:
        """Cut the file at `position`, the beginning of a batch, and the indexes with it.

        `end_offset` is where the log ends then. Raises DiskError.
        """
        self.file.truncate(position)
        self.size = position
        if position == 0:
            self.forget_indexes()
        else:
            self.resume(end_offset)

    def walk(self, position: int) -> Iterator[tuple[int, BatchHeader]]:
        """Yield position and header of every batch from the one that begins at `position`.

        Raises DamagedLog where a header is impossible or the last batch is cut.
        """
        file = self.file
        data = b""
        data_position = position
        expected = self.base_offset
        while position < self.size:
            at = position - data_position
            if at + HEADER_SIZE > len(data):
                data = file.read(position, min(WALK_BYTES, self.size - position))
                data_position, at = position, 0
            try:
                header = read_batch_header(data, at)
            except CorruptBatch:
                raise DamagedLog(self.path, expected, position, "a batch is cut") from None
            end = position + header.batch_size
            if (
                header.magic != MAGIC
                or header.base_offset < expected
                or header.last_offset_delta < 0
                or header.batch_size < HEADER_SIZE
                or end > self.size
            ):
                raise DamagedLog(self.path, expected, position, "there is no whole batch")
            expected = header.last_offset + 1
            yield position, header
            position = end

    def position_of(self, offset: Offset) -> int:
        """Return where the batch begins that holds `offset`, or the first one above it.

        The file's size if there is none.
        """
        for position, header in self.walk(self.indexed_before(offset)):
            if header.last_offset >= offset:
                return position
        return self.size

    def indexed_before(self, offset: Offset) -> int:
        """Return a batch's beginning that is not after the batch that holds `offset`."""
        count = self.offsets.count_up_to(offset - self.base_offset, field=0)
        return self.offsets[count - 1][1] if count else 0

    def boundary(self, position: int, limit: int) -> tuple[int, Offset]:
        """Return the last end of a batch that is <= `limit`, and the offset after that batch.

        `position` is a batch's beginning; its batch is taken whole even beyond the limit.
        """
        count = self.offsets.count_up_to(limit, field=1)
        start = max(position, self.offsets[count - 1][1]) if count else position
        stop, next_offset = start, -1
        for at, header in self.walk(start):
            end = at + header.batch_size
            if end > limit and stop > position:
                # If this is the first batch looked at, its own offset is the one wanted.
                return stop, next_offset if next_offset >= 0 else header.base_offset
            stop, next_offset = end, header.last_offset + 1
            if stop >= limit:
                break
        return stop, next_offset

    def batches_since(
        self, timestamp_ms: TimestampMs, offset: Offset
    ) -> Iterator[tuple[int, BatchHeader]]:
        """Yield the batches that may hold `timestamp_ms` or later, none wholly below `offset`."""
        count = self.times.count_up_to(timestamp_ms - 1, field=0)
        if count:
            # All up to this offset is older: that is what the entry says.
            offset = max(offset, self.base_offset + self.times[count - 1][1] + 1)
        for position, header in self.walk(self.indexed_before(offset)):
            if header.last_offset >= offset and header.max_timestamp >= timestamp_ms:
                yield position, header
