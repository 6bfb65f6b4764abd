"""Which segments are too old or too many: plain arithmetic, `wall_ms` passed in."""

from collections.abc import Sequence
from typing import NamedTuple

from storage.config import LogConfig
from storage.types import Offset, TimestampMs


class SegmentFacts(NamedTuple):
    """What retention asks of a segment."""

    size: int
    max_timestamp: TimestampMs
    """-1 if no record has a time: then age never removes it."""
    end_offset: Offset


def expired_count(
    segments: Sequence[SegmentFacts],
    config: LogConfig,
    *,
    log_start_offset: Offset,
    deletable_end: Offset,
    wall_ms: TimestampMs,
) -> int:
    """Return how many of the oldest segments go.

    Only from the start, so that the log stays in one piece, and none that reaches beyond
    `deletable_end` (the high watermark). The size rule leaves at least `retention_bytes`
    (Kafka's UnifiedLog.deleteRetentionSizeBreachedSegments).
    """
    surplus = sum(segment.size for segment in segments) - config.retention_bytes
    count = 0
    for segment in segments:
        too_old = (
            config.retention_ms >= 0
            and segment.max_timestamp >= 0
            and wall_ms - segment.max_timestamp > config.retention_ms
        )
        too_much = config.retention_bytes >= 0 and surplus >= segment.size > 0
        unreachable = segment.end_offset <= log_start_offset and segment.size > 0
        if segment.end_offset > deletable_end or not (too_old or too_much or unreachable):
            break
        surplus -= segment.size
        count += 1
    return count
