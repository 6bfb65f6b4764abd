"""From a time to an offset: the exact record, by unpacking one batch as a rule.

Everything here blocks if the page cache is cold.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from storage.errors import CorruptBatch
from storage.records import (
    BYTES_LOOKED_AT_MAX,
    RECORDS_LOOKED_AT_MAX,
    BatchHeader,
    Record,
    read_records,
)
from storage.segment import Segment
from storage.types import Offset, TimestampMs


def offset_for_time(
    segments: Sequence[Segment],
    log_start_offset: Offset,
    timestamp_ms: TimestampMs,
    end_offset: Offset,
) -> tuple[Offset, TimestampMs] | None:
    """Return the first record at or after `timestamp_ms` in [log_start_offset, end_offset).

    With its time; None if there is none. Raises DamagedLog where there is no batch.
    """
    for segment in segments:
        if segment.max_timestamp < timestamp_ms:
            continue
        for position, header in segment.batches_since(timestamp_ms, log_start_offset):
            if header.base_offset >= end_offset:
                return None
            for record in records_of(segment, position, header):
                if record.timestamp_ms >= timestamp_ms and record.offset >= log_start_offset:
                    found = record.offset, record.timestamp_ms
                    return found if record.offset < end_offset else None
    return None


def max_timestamp(
    segments: Sequence[Segment], log_start_offset: Offset, log_end_offset: Offset
) -> tuple[Offset, TimestampMs] | None:
    """Return the first record that has the largest timestamp of all that are kept, and that.

    `segments` begin with the one that holds `log_start_offset`.
    """
    # What a segment says of itself may stand below the log start, or in a batch of which
    # compaction left no record: then it is looked at once.
    claims = [segment.max_timestamp for segment in segments]
    while (newest := max(claims, default=-1)) >= 0:
        found = offset_for_time(segments, log_start_offset, newest, log_end_offset)
        if found is not None:
            return found
        number = claims.index(newest)
        kept = _newest_kept(segments[number], log_start_offset)
        claims[number] = kept if kept < newest else -1  # A batch that lies about its records.
    return None


def _newest_kept(segment: Segment, log_start_offset: Offset) -> TimestampMs:
    """Return the largest timestamp in a segment at or above the log start; -1 if none."""
    newest = -1
    for position, header in segment.walk(segment.position_of(log_start_offset)):
        if not header.record_count:
            continue
        if header.base_offset >= log_start_offset:
            newest = max(newest, header.max_timestamp)
            continue
        for record in records_of(segment, position, header):
            if record.offset >= log_start_offset:
                newest = max(newest, record.timestamp_ms)
    return newest


def records_of(segment: Segment, position: int, header: BatchHeader) -> list[Record]:
    """Return the records of the batch at `position`, or one that stands for them all.

    The broker stores records unread, so a batch may hold nonsense, or 3 million records in
    2 KB. Its first offset is then the best answer that there is in bounded time.
    """
    whole = Record(header.base_offset, header.max_timestamp, None, None)
    if header.record_count > RECORDS_LOOKED_AT_MAX:
        return [whole]
    data = segment.file.read(position, header.batch_size)
    try:
        return list(read_records(data, unpacked_bytes_max=BYTES_LOOKED_AT_MAX))
    except CorruptBatch:
        return [whole]


class Timed:
    """What `Log` inherits: from a time to an offset."""

    __slots__ = ()

    _segments: list[Segment]
    log_end_offset: Offset
    log_start_offset: Offset

    def offset_for_time(
        self, timestamp_ms: TimestampMs, end_offset: Offset
    ) -> tuple[Offset, TimestampMs] | None:
        """Return the first record at or after `timestamp_ms`, with its time; None if there is none.

        Unpacks one batch, as a rule. Only records below `end_offset` count. Blocks if cold.

        Raises:
            DamagedLog: on the way there is something that is no batch.
        """
        start = self.log_start_offset
        return offset_for_time(self._kept_segments(), start, timestamp_ms, end_offset)

    def max_timestamp(self) -> tuple[Offset, TimestampMs] | None:
        """Return the first record that has the log's largest timestamp, and that timestamp."""
        return max_timestamp(self._kept_segments(), self.log_start_offset, self.log_end_offset)

    def _kept_segments(self) -> list[Segment]:
        segments = self._segments
        bases = bisect_right(segments, self.log_start_offset, key=lambda one: one.base_offset)
        return segments[max(0, bases - 1) :]
