"""What to read: a partition, a place to begin at and places to end before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mesh.model.types import TopicPartition
from storage.records import Record
from storage.types import Offset, TimestampMs


@dataclass(frozen=True, slots=True)
class AtOffset:
    """The record at this offset, or the first one after it that is kept."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first record at or after this instant; negative ones are Kafka's special values."""

    timestamp_ms: TimestampMs


EARLIEST = AtTime(-2)
LATEST = AtTime(-1)
"""Behind the newest committed record, as it is when the reader asks."""
Place: TypeAlias = AtOffset | AtTime


@dataclass(frozen=True, slots=True)
class Assignment:
    """One partition to read: from `start` to before the nearest of `ends`, or for ever."""

    partition: TopicPartition
    start: Place = EARLIEST
    ends: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one batch, in order."""

    partition: TopicPartition
    records: list[Record]
