"""Compaction: of every key the last record stays, in closed segments, with every offset kept.

A `Compaction` is one run over one log. Its steps block and belong in a thread; they read closed
segments and write new files only. Between two steps the log takes over what is done (`Log.swap`),
on its own thread. What it does to records is what Kafka 4.3 does (LogCleaner, KIP-58, KIP-354,
KIP-534); how files change places is in swaps.py, and why nothing is left out in rewrite.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from storage.compression import decompress
from storage.disk import Disk, DiskError
from storage.errors import BatchTooLarge, CorruptBatch, DamagedLog
from storage.keymap import KeyMap, kept_at, kept_of
from storage.records import (
    CONTROL,
    DELETE_HORIZON,
    HEADER_SIZE,
    TRANSACTIONAL,
    UNPACKED_BYTES_MAX,
    BatchHeader,
    crc_matches,
)
from storage.rewrite import DELTA_MAX, Rewriter, batches_in, rebuild
from storage.segment import Segment
from storage.swaps import CLEANED, SWAP
from storage.sync import Directory
from storage.types import Offset, TimestampMs

if TYPE_CHECKING:
    from storage.config import LogConfig

KEY_MAP_BYTES_MAX = 64 << 20
"""For the newest offsets of all keys; some 400,000 keys. What does not fit is for the next run."""


UNPACKED_BYTES_MOSTLY = 1 << 20
"""Tried first: the libraries of lz4 and zstd allocate what may come, and clear it; with the full
bound that takes five times as long as a batch of 16 KB itself."""


class Dirt(NamedTuple):
    """How much a compaction would have to do."""

    first_dirty: Offset
    """All below was compacted already."""
    end: Offset
    """What is not below may not be compacted yet; the end of a segment."""
    clean_bytes: int
    dirty_bytes: int
    overdue_ms: int
    """By how much the oldest of it has waited longer than `compaction_lag_ms_max`."""

    @property
    def ratio(self) -> float:
        """Share of the bytes that are dirty; 0 if there are none at all."""
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0


def measure(
    segments: Sequence[tuple[Segment, Offset]],
    config: LogConfig,
    first_dirty: Offset,
    end_max: Offset,
    wall_ms: TimestampMs,
) -> Dirt:
    """Return what could be compacted.

    Args:
        segments: closed ones with the offset after each, oldest first.
        config: of the log.
        first_dirty: all below was compacted already.
        end_max: what reaches beyond it is not committed, or not on the disk.
        wall_ms: now.
    """
    clean_bytes = dirty_bytes = overdue_ms = 0
    end = first_dirty
    for segment, segment_end in segments:
        if segment_end <= first_dirty:
            clean_bytes += segment.size
            continue
        too_young = (
            config.compaction_lag_ms_min > 0
            and segment.max_timestamp > wall_ms - config.compaction_lag_ms_min
        )
        if segment_end > end_max or too_young:
            break
        end = segment_end
        dirty_bytes += segment.size
        if segment.first_timestamp > 0:
            waited_ms = wall_ms - segment.first_timestamp
            overdue_ms = max(overdue_ms, waited_ms - config.compaction_lag_ms_max)
    return Dirt(first_dirty, end, clean_bytes, dirty_bytes, overdue_ms)


class _Abandoned(Exception):
    """The log is cut, deleted or closed: what is not done yet is not wanted any more."""


def _no_pace(_: int) -> None:
    """Go as fast as it goes."""


@dataclass(slots=True)
class Compaction:
    """One run over one log; made by `Log.begin_compaction`."""

    disk: Disk
    directory: Directory
    segments: list[tuple[Segment, Offset]]
    """Closed ones that take part, with the offset after each."""
    first_dirty: Offset
    config: LogConfig
    wall_ms: TimestampMs
    active_producers: frozenset[int]
    remembered: frozenset[Offset]
    """Base offsets of the batches by which their producers' retries are told."""
    key_map_bytes: int = KEY_MAP_BYTES_MAX
    pace: Callable[[int], None] = _no_pace
    """Called again and again with the bytes read or written since; it may sleep."""

    is_done: bool = False
    error: str | None = None
    """Why it ended early; what was swapped in before counts."""
    is_cancelled: bool = False
    is_damaged: bool = False
    """Whether the error is one of the log itself, so that another run would meet it as well."""
    cleaned_end: Offset = 0
    """All below is compacted, once it is done."""
    ready: tuple[list[Segment], Segment] | None = None
    """What `Log.swap` is to put in place of what; on disk already, so that it must."""
    bytes_read: int = 0
    bytes_written: int = 0
    keys_bytes: int = 0
    batches_left: int = 0
    """Batches that could not be read, or are of transactions, and so stay as they are."""

    _keys: KeyMap | None = None
    _next: int = 0
    _swapped: tuple[list[Segment], Segment] | None = None
    _is_cleared: bool = False
    _rewriting: Segment | None = None
    _unreadable: set[Offset] = field(default_factory=set)
    _last_of_producer: dict[int, Offset] = field(default_factory=dict)

    # ---- on the thread of the log

    def cancel(self) -> None:
        """Have the thread stop soon. What it has put on the disk for `Log.swap` stays valid."""
        self.is_cancelled = True

    def take_ready(self) -> tuple[list[Segment], Segment] | None:
        """Return old segments and the one that takes their place; `Log.swap` calls this.

        The one before has its usual name afterwards if what it stood for is gone; if not, the
        next start sees to it. Raises DiskError.
        """
        if self._swapped is not None and self._is_cleared:
            self._swapped[1].rename("")
            self._swapped = None
        swap, self.ready = self.ready, None
        if swap is not None:
            self._swapped, self._is_cleared = swap, False
        return swap

    def abandon(self) -> None:
        """End the run now, with nothing half-done on the disk; blocks. Raises DiskError."""
        self.is_cancelled = True
        with self.directory.lock:
            self.is_done = True
            if self.directory.is_gone:
                return
            if self.ready is not None:  # The old ones are all there, so it never was.
                for path in self.ready[1].paths():
                    self.disk.remove(path)
                self.disk.sync_directory(self.directory.path)
                self.ready = None
            if self._swapped is not None:
                self._remove_replaced()
                self._swapped[1].rename("")
                self._swapped = None

    # ---- in a thread

    def step(self) -> None:
        """Do the next part: blocks, for seconds. Then `Log.swap`, and again until `is_done`.

        Raises SyncFailed: stop the node, as always. All else that goes wrong is in `error`.
        """
        try:
            with self.directory.lock:
                self._remove_replaced()
            self._check(0)
            if self._keys is None:
                self._keys = self._map_keys()
            if not self._write_group(self._keys):
                self.is_done = True
        except _Abandoned:
            self.is_done = True
        except (DiskError, DamagedLog, CorruptBatch) as error:
            self.is_done = True
            self.error = str(error)
            # What still stands beside its replacement would be taken for that by another run.
            is_stuck = self._swapped is not None and not self._is_cleared
            self.is_damaged = is_stuck or not isinstance(error, DiskError)
        if self.is_done:
            self._discard()

    def _unless_gone(self) -> _Guard:
        return _Guard(self)

    def _check(self, bytes_read: int) -> None:
        self.bytes_read += bytes_read
        self.pace(bytes_read)
        if self.is_cancelled:
            raise _Abandoned

    def _remove_replaced(self) -> None:
        """Remove the files that the last swap replaced; durably, before its own get their name."""
        if self._swapped is None or self._is_cleared or self.directory.is_gone:
            return
        for old in self._swapped[0]:
            for path in old.paths():
                self.disk.remove(path)
        self.disk.sync_directory(self.directory.path)
        self._is_cleared = True

    def _discard(self) -> None:
        """Remove what is half-written."""
        rewriting, self._rewriting = self._rewriting, None
        if rewriting is None:
            return
        rewriting.let_go()
        with self.directory.lock:
            if not self.directory.is_gone:
                for path in rewriting.paths():
                    self.disk.remove(path)

    def _batches(self, segment: Segment) -> Iterator[tuple[BatchHeader, memoryview]]:
        with self._unless_gone():
            file = self.disk.open(segment.path)
        try:
            for header, batch in batches_in(file, segment.size, segment.path):
                self._check(len(batch))
                yield header, batch
        finally:
            file.close()

    # The first pass: which offset of each key is the newest

    def _map_keys(self) -> KeyMap:
        """Note the keys of all that is dirty, or of as much as fits; `cleaned_end` says how far.

        A batch that cannot be read says so before anything of it is noted.
        """
        keys = KeyMap(self.key_map_bytes)
        self.cleaned_end = self.first_dirty
        for segment, end in self.segments:
            if end <= self.first_dirty:
                continue
            for header, batch in self._batches(segment):
                if header.last_offset < self.first_dirty:
                    continue
                if not self._note(keys, header, batch, segment):
                    break
                self.cleaned_end = header.last_offset + 1
            if keys.is_full:
                break
        keys.seal()
        self.keys_bytes = keys.bytes_used
        return keys

    def _note(self, keys: KeyMap, header: BatchHeader, batch: memoryview, segment: Segment) -> bool:
        """Note a batch's keys; False if they do not fit."""
        if header.record_count and not _is_left(header):
            data = _records_of(header, batch, segment)
            if data is None:
                self._unreadable.add(header.base_offset)
            else:
                try:
                    if not keys.note(data, header):
                        return False
                except CorruptBatch:
                    self._unreadable.add(header.base_offset)
        if header.producer_id in self.active_producers:
            self._last_of_producer[header.producer_id] = header.base_offset
        return True

    # The second pass: write what stays

    def _write_group(self, keys: KeyMap) -> bool:
        """Write one new segment in place of some old ones, durably; False if none is left."""
        while self._next < len(self.segments):
            first = self._next
            base = self.segments[first][0].base_offset
            if base >= self.cleaned_end:
                return False
            rewriter = self._begin(base)
            while self._next < len(self.segments) and self._fits(rewriter, base):
                self._rewrite(rewriter, self.segments[self._next][0], keys)
                self._next += 1
            olds = [segment for segment, _ in self.segments[first : self._next]]
            with self._unless_gone():
                rewriter.finish()
            if len(olds) == 1 and not rewriter.changed:
                self._discard()
                continue
            self._commit(olds, rewriter.segment)
            return True
        return False

    def _begin(self, base: Offset) -> Rewriter:
        interval = self.config.index_interval_bytes
        segment = Segment(self.disk, self.directory.path, base, interval, suffix=CLEANED)
        with self._unless_gone():
            for path in segment.paths():  # Of a run that failed.
                self.disk.remove(path)
            segment = Segment(self.disk, self.directory.path, base, interval, suffix=CLEANED)
            segment.hold(create=True)
        self._rewriting = segment
        return Rewriter(segment)

    def _fits(self, rewriter: Rewriter, base: Offset) -> bool:
        """Whether the next old segment may go into the new one, too."""
        segment, end = self.segments[self._next]
        if segment.base_offset == base:
            return True
        return (
            segment.base_offset < self.cleaned_end
            and rewriter.size + segment.size <= self.config.segment_bytes
            and end - 1 - base <= DELTA_MAX
        )

    def _rewrite(self, rewriter: Rewriter, segment: Segment, keys: KeyMap) -> None:
        for header, batch in self._batches(segment):
            if header.base_offset >= self.cleaned_end or _is_left(header):
                rewriter.keep(header, batch)
                self.batches_left += header.base_offset < self.cleaned_end
            elif not header.record_count:
                self._drop(rewriter, header)
            elif header.base_offset < self.first_dirty:
                self._rewrite_batch(rewriter, header, batch, keys, segment)
            elif header.base_offset in self._unreadable:
                rewriter.keep(header, batch)
                self.batches_left += 1
            else:
                wanted = keys.survivors(header.base_offset, header.last_offset)
                if not wanted:
                    self._drop(rewriter, header)
                elif keys.holds_tombstone(header.base_offset):
                    self._rewrite_batch(rewriter, header, batch, keys, segment)
                elif len(wanted) == header.record_count:
                    rewriter.keep(header, batch)
                else:
                    self._rewrite_batch(rewriter, header, batch, keys, segment, wanted)

    def _rewrite_batch(
        self,
        rewriter: Rewriter,
        header: BatchHeader,
        batch: memoryview,
        keys: KeyMap,
        segment: Segment,
        wanted: Sequence[Offset] = (),
    ) -> None:
        """Keep those records of a batch that are the newest of their keys.

        Where it is known already which those are, and that they are no tombstones, `wanted` says.
        """
        data = _records_of(header, batch, segment)
        has_horizon = bool(header.attributes & DELETE_HORIZON)
        try:
            if data is None:
                raise CorruptBatch("not to be unpacked")
            kept = (kept_at(data, header, wanted) if wanted else None) or kept_of(
                data,
                header.record_count,
                header.base_offset,
                keys.latest,
                tombstones_go=has_horizon and self.wall_ms >= header.base_timestamp,
            )
        except CorruptBatch:
            rewriter.keep(header, batch)
            self.batches_left += 1
            return
        sets_horizon = kept.has_tombstone and not has_horizon
        if not kept.starts:
            self._drop(rewriter, header)
        elif len(kept.starts) == header.record_count and not sets_horizon:
            rewriter.keep(header, batch)
        else:
            rewriter.changed = True
            horizon_ms = self.wall_ms + self.config.tombstone_retention_ms
            rewriter.keep(*rebuild(header, data, kept, horizon_ms if sets_horizon else None))

    def _drop(self, rewriter: Rewriter, header: BatchHeader) -> None:
        """No record of a batch is left. Kafka, too, keeps what tells of an active producer."""
        producer_id = header.producer_id
        last = self._last_of_producer.get(producer_id, header.base_offset)
        if producer_id in self.active_producers and (
            header.base_offset == last or header.base_offset in self.remembered
        ):
            rewriter.drop_records(header)
        else:
            rewriter.drop(header)

    def _commit(self, olds: list[Segment], new: Segment) -> None:
        """Bring the new segment to the disk, so that it counts from here on."""
        new.file.sync()
        for index in (new.offsets, new.times):
            self.disk.open_cached(index.path).sync()
            index.changed = False
        with self._unless_gone():
            new.rename(SWAP)
            new.let_go()
            self._rewriting = None
            self.ready = olds, new
            self.disk.sync_directory(self.directory.path)
        self.bytes_written += new.size
        self.pace(new.size)


class _Guard:
    """Holds the log's directory while its names are used; raises _Abandoned if it is gone."""

    __slots__ = ("_run",)

    def __init__(self, run: Compaction) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._run.directory.lock.acquire()
        if self._run.directory.is_gone or self._run.is_cancelled:
            self._run.directory.lock.release()
            raise _Abandoned

    def __exit__(self, *_: object) -> None:
        self._run.directory.lock.release()


def _is_left(header: BatchHeader) -> bool:
    """Whether a batch stays as it is: transactions are not served yet, and so not undone."""
    return bool(header.attributes & (CONTROL | TRANSACTIONAL))


def _records_of(header: BatchHeader, batch: memoryview, segment: Segment) -> bytes | None:
    """Return a batch's records, unpacked; None if they cannot be.

    Raises DamagedLog if it is not what was checksummed: that must not get a new checksum.
    """
    if not crc_matches(batch):
        raise DamagedLog(segment.path, header.base_offset, -1, "a batch is altered")
    for bytes_max in (UNPACKED_BYTES_MOSTLY, UNPACKED_BYTES_MAX):
        try:
            return bytes(decompress(header.codec, batch[HEADER_SIZE:], bytes_max=bytes_max))
        except BatchTooLarge:
            continue
        except CorruptBatch:
            break
    return None
