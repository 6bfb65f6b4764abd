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
