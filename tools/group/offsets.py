"""Where `mesh group reset` moves offsets: words, files and arithmetic. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from mesh.client import TopicPartition
from tools.places import OFFSET_MAX, UNITS_MS

INDEX_MAX = 2**31 - 1
ISO_DURATION = re.compile(
    r"P(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Scope:
    """A topic, and those of its partitions that are meant; None: all."""

    topic: str
    partitions: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Change:
    """One partition whose committed offset is to move."""

    partition: TopicPartition
    before: int | None
    """None: the group has none there."""
    after: int
    note: str
    """What became of what was asked for; empty if it is done as asked."""


def parse_scope(text: str) -> Scope:
    """Return the topic and partitions of `TOPIC` or `TOPIC:0,1,2`, as Kafka's tool writes them.

    Raises:
        ValueError: it is neither.
    """
    topic, colon, numbers = text.partition(":")
    if not topic:
        raise ValueError(f"{text!r} names no topic")
    if not colon:
        return Scope(topic, None)
    found = []
    for number in numbers.split(","):
        if not re.fullmatch(r"[0-9]{1,10}", number.strip()) or int(number) > INDEX_MAX:
            raise ValueError(f"{text!r}: {number!r} is no partition; write TOPIC:0,1,2")
        found.append(int(number))
    return Scope(topic, tuple(dict.fromkeys(found)))


def parse_duration_ms(text: str) -> int:
    """Return the milliseconds of `90s`, `15m`, `2h`, `7d` or of ISO 8601, as `P1DT2H30M`.

    Raises:
        ValueError: it is neither.
    """
    word = text.strip()
    if short := re.fullmatch(r"([0-9]{1,9})([smhd])", word.lower()):
        return int(short[1]) * UNITS_MS[short[2]]
    iso = ISO_DURATION.fullmatch(word)
    parts = {name: float(value) for name, value in iso.groupdict().items() if value} if iso else {}
    if not parts:
        raise ValueError(f"{text!r} is no duration: write 90s, 2h or PT2H30M")
    return round(timedelta(**parts) / timedelta(milliseconds=1))


def parse_csv(text: str, group: str) -> dict[TopicPartition, int]:
    """Return the offsets of a file as Kafka's tool exports it: `topic,partition,offset`.

    Lines of several groups begin with the group; those of other groups are passed over.

    Raises:
        ValueError: a line is something else; the text tells its number.
    """
    found: dict[TopicPartition, int] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) == 4:
            if cells[0] != group:
                continue
            cells = cells[1:]
        if len(cells) != 3:
            raise ValueError(f"line {number} is not topic,partition,offset")
        topic, index, offset = cells
        if not topic or not re.fullmatch(r"[0-9]{1,10}", index) or int(index) > INDEX_MAX:
            raise ValueError(f"line {number} names no partition")
        if not re.fullmatch(r"[0-9]{1,19}", offset) or int(offset) > OFFSET_MAX:
            raise ValueError(f"line {number}: {offset!r} is no offset")
        place = TopicPartition(topic, int(index))
        if place in found:
            raise ValueError(f"line {number} names {place} a second time")
        found[place] = int(offset)
    return found


def csv_text(offsets: Mapping[TopicPartition, int]) -> str:
    """Return offsets as Kafka's tool exports them; topics' names need no quotes."""
    return "".join(
        f"{topic},{partition},{offset}\n" for (topic, partition), offset in sorted(offsets.items())
    )


def plan(
    wanted: Mapping[TopicPartition, int],
    committed: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, tuple[int, int]],
) -> list[Change]:
    """Return the changes, each within its log, sorted by partition.

    Args:
        wanted: the offsets asked for; a negative one is before the first.
        committed: those that the group has.
        ends: first offset and end of the log, of each partition in `wanted`.
    """
    changes = []
    for place, offset in sorted(wanted.items()):
        first, end = ends[place]
        after, note = offset, ""
        if offset < first:
            after, note = first, f"{offset} is before the first offset"
        elif offset > end:
            after, note = end, f"{offset} is behind the end"
        changes.append(Change(place, committed.get(place), after, note))
    return changes


def shifted(
    places: Iterable[TopicPartition], committed: Mapping[TopicPartition, int], by: int
) -> dict[TopicPartition, int]:
    """Return the committed offsets moved by so many.

    Raises:
        ValueError: the group has none in one of the places.
    """
    found = {}
    for place in places:
        if place not in committed:
            raise ValueError(f"{place} has no committed offset that could be moved")
        found[place] = committed[place] + by
    return found
