"""What a producer holds for a partition: batches in line, and where its sequence stands. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mesh.client.settings import DeliveryError
from mesh.model.errors import ErrorCode
from mesh.model.types import TopicPartition
from storage.records import Record
from storage.types import Buffer, Offset

RECORD_OVERHEAD = 20
"""Bytes that lengths, deltas and the header count add to a record, at most for common sizes."""
Headers: TypeAlias = "Sequence[tuple[str, bytes | None]]"


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return what a record takes of the buffer and, roughly, of its batch, in bytes."""
    size = RECORD_OVERHEAD + len(key or b"") + len(value or b"")
    for name, content in headers:
        size += 8 + len(name) + len(content or b"")
    return size


class Batch:
    """Records of one partition that travel and are settled together."""

    __slots__ = (
        "attempts",
        "base_offset",
        "base_sequence",
        "born_ms",
        "closed",
        "count",
        "done",
        "error",
        "in_flight",
        "log_append_time_ms",
        "maybe_written",
        "partition",
        "payload",
        "records",
        "rest",
        "size",
    )

    def __init__(self, partition: TopicPartition, born_ms: int) -> None:
        self.partition = partition
        self.born_ms = born_ms
        self.records: list[Record] = []
        """Emptied once the batch is done."""
        self.count = 0
        self.size = 0
        self.closed = False
        """Takes no more records."""
        self.attempts = 0
        self.in_flight = False
        self.maybe_written = False
        self.base_sequence = -1
        """-1: never numbered, so giving it up leaves no hole."""
        self.payload: Buffer | None = None
        """The encoded batch, kept for the next attempt."""
        self.rest: Batch | None = None
        """Where the records from `count` on went when a broker found the batch too large."""
        self.done = False
        self.error: DeliveryError | None = None
        self.base_offset: Offset = -1
        self.log_append_time_ms = -1

    def add(self, record: Record, size: int) -> None:
        """Take in one record."""
        self.records.append(record)
        self.size += size
        self.count += 1


@dataclass(slots=True)
class Lane:
    """What one partition has waiting; batches in flight stand in front, oldest first."""

    partition: TopicPartition
    queue: deque[Batch]
    in_flight: int = 0
    proven: bool = False
    """The last answer was a success. Until then one batch at a time: a broker takes any first
    sequence of a producer it does not know, so a second batch could overtake a refused first."""
    recovering: bool = False
    """A batch failed while others were in flight; nothing is sent until all are answered."""
    hole: bool = False
    """A numbered batch was given up; the numbers behind it can never be accepted."""
    retry_at_ms: int = 0
    failures: int = 0
    last_error: ErrorCode = ErrorCode.REQUEST_TIMED_OUT
    producer_id: int = -1
    producer_epoch: int = -1
    next_sequence: int = 0
