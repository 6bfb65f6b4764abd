"""What can be set per log, with Kafka's defaults; the broker maps Kafka's public names to it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Settings of one log; replace the whole to change one (`dataclasses.replace`)."""

    segment_bytes: int = 1 << 30
    """Roll before a segment would grow beyond this; 14 to 2**31 - 1."""
    segment_ms: int = 604_800_000
    """Roll when a batch is this much newer than the first one of the segment."""
    retention_ms: int = 604_800_000
    """Segments whose newest record is older than this go; -1 keeps them for ever."""
    retention_bytes: int = -1
    """Oldest segments go while the log would still hold this much; -1: no bound."""
    index_interval_bytes: int = 4096
    """Bytes of log between two entries of the sparse indexes."""
    max_message_bytes: int = 1_048_588
    """Largest batch; checked by whoever receives it, not by the log."""
    producer_expiration_ms: int = 86_400_000
    """An idempotent producer that was silent this long is forgotten."""
    compact: bool = False
    """Whether only the latest record of each key has to stay."""
    dirty_ratio_min: float = 0.5
    """Share of the bytes that could be compacted which must be new before that is done."""
    compaction_lag_ms_min: int = 0
    """A segment with a record younger than this is not compacted yet."""
    compaction_lag_ms_max: int = (1 << 63) - 1
    """A segment that began longer ago than this is compacted, whatever the ratio."""
    tombstone_retention_ms: int = 86_400_000
    """How long a tombstone stays after compaction first met it."""
