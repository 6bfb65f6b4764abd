"""The part of a log that compaction concerns: what could be done, a run begun, a segment swapped.

All of it is quick and belongs on the log's own thread; the work is `Compaction.step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from storage.compaction import Compaction, Dirt, measure
from storage.disk import DiskError

if TYPE_CHECKING:
    from storage.config import LogConfig
    from storage.disk import Disk
    from storage.producers import Producers
    from storage.segment import Segment
    from storage.sync import Directory
    from storage.types import Offset, TimestampMs


class Compacted:
    """What `Log` inherits; it alone makes one."""

    __slots__ = ("cleaned_end", "compaction", "compaction_error", "size_bytes")

    if TYPE_CHECKING:
        _disk: Disk
        _segments: list[Segment]
        _rolled: list[Segment]
        _hints: dict[Offset, int]
        _shared: Directory
        cleaned_end: Offset
        compaction: Compaction | None
        compaction_error: str | None
        config: LogConfig
        directory: str
        log_start_offset: Offset
        producers: Producers
        recovery_point: Offset
        size_bytes: int

    def dirt(self, wall_ms: TimestampMs, end_max: Offset) -> Dirt | None:
        """Return how much could be compacted; None if the log may not be, or is just now.

        Args:
            wall_ms: now.
            end_max: the high watermark, and the last stable offset: what is above may change.
        """
        if (
            not self.config.compact
            or self.compaction is not None
            or self.compaction_error is not None
            or len(self._segments) < 2
        ):
            return None
        first_dirty = max(self.cleaned_end, self.log_start_offset)
        end_max = min(end_max, self.recovery_point)
        return measure(self._closed(), self.config, first_dirty, end_max, wall_ms)

    def _closed(self) -> Sequence[tuple[Segment, Offset]]:
        """Return the closed segments, from the one with the log start on, and their ends.

        They end before the first one that a sync does not cover yet.
        """
        ends = [segment.base_offset for segment in self._segments[1:]]
        found: list[tuple[Segment, Offset]] = []
        for segment, end in zip(self._segments, ends, strict=False):
            if segment in self._rolled:
                break
            if end > self.log_start_offset:
                found.append((segment, end))
        return found

    def begin_compaction(
        self, dirt: Dirt, wall_ms: TimestampMs, *, key_map_bytes: int
    ) -> Compaction:
        """Begin a run: `step` in a thread and `swap` here, in turn, until it is done.

        Nothing is removed from the log by its age or size meanwhile.

        Args:
            dirt: of `dirt`, just now; something of it is dirty.
            wall_ms: now, from which the time counts for which tombstones stay.
            key_map_bytes: for the newest offsets of all keys.
        """
        assert self.compaction is None, "one run at a time"
        producers = self.producers.items()
        self.compaction = Compaction(
            self._disk,
            self._shared,
            [pair for pair in self._closed() if pair[1] <= dirt.end],
            dirt.first_dirty,
            self.config,
            wall_ms,
            frozenset(producer_id for producer_id, _ in producers),
            frozenset(
                batch.base_offset
                for _, producer in producers
                for batch in producer.batches
                if batch.base_offset < dirt.end
            ),
            key_map_bytes,
        )
        return self.compaction

    def swap(self, run: Compaction) -> None:
        """Put in place what a step has made; once it is done, the log is compacted that far."""
        if run is not self.compaction:
            return  # The log was cut, closed or deleted meanwhile.
        try:
            ready = run.take_ready()
        except DiskError as error:
            ready, run.is_done, run.error, run.is_damaged = None, True, str(error), True
        if ready is not None:
            olds, new = ready
            first = self._segments.index(olds[0])
            assert self._segments[first : first + len(olds)] == olds, "a run's segments stay"
            self._segments[first : first + len(olds)] = [new]
            self.size_bytes += new.size - sum(old.size for old in olds)
            self._hints.clear()
        if run.is_done:
            self.compaction = None
            if run.error is None and not run.is_cancelled:
                self.cleaned_end = run.cleaned_end
            elif run.is_damaged:
                self.compaction_error = run.error

    def _abandon_compaction(self) -> None:
        """End a run of compaction, so that what it counts on may change; blocks for a sync."""
        run, self.compaction = self.compaction, None
        if run is not None:
            run.abandon()
