"""The newest offset of every key, in bounded memory; and which records of a batch it leaves.

The loops here are what compaction costs: they look at every record without making an object of it.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from xxhash import xxh3_128_digest

from storage.errors import CorruptBatch
from storage.records import RECORD_SIZE_MIN, BatchHeader, read_varint
from storage.types import Offset

RAW_KEY_BYTES_MAX = 15
"""Keys up to this size are kept as they are; of longer ones 16 bytes of xxh3-128 stand for them.
Kafka's cleaner keeps 16 bytes of MD5 of all."""

KEY_BYTES = 64 + 32 + 16
"""Of one key: at most 48 bytes of object for 15 or 16 bytes of key, rounded up; its offset, an
object as well; twice 8 bytes while the survivors are sorted. CPython 3.11 and later."""


def keys_max(bytes_max: int) -> int:
    """Return how many keys fit, the table of the dictionary, and its doubling, included."""
    slots, fits = 8, 0
    while True:
        # A table of 2**k slots holds two thirds of that, 24 bytes each, and 4 bytes a slot. It
        # doubles when it is full, and both are there meanwhile.
        table = slots * 4 + slots * 2 // 3 * 24
        room = (bytes_max - table) // KEY_BYTES
        before = slots // 3
        doubling = before * KEY_BYTES + table + table // 2
        if room <= before or (before > fits and doubling > bytes_max):
            return max(fits, 1)
        fits = min(room, slots * 2 // 3)
        slots *= 2


_EVEN = list(range(0, 1 << 17, 2))
"""Offset deltas as they stand in most batches; larger ones take a longer way."""


class KeyMap:
    """Which offset of each key is the newest, of the batches noted."""

    __slots__ = ("_keys_max", "_survivors", "is_full", "latest", "tombstoned")

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max` bounds all of it; one batch that alone needs more is taken all the same."""
        self._keys_max = keys_max(bytes_max)
        self._survivors = array("q")
        self.latest: dict[bytes, Offset] = {}
        self.tombstoned = array("q")
        """Base offsets, rising, of the batches with a record without a value."""
        self.is_full = False

    @property
    def bytes_used(self) -> int:
        """About what it takes in memory, from above."""
        marks = 8 * len(self.tombstoned)
        return sys.getsizeof(self.latest) + KEY_BYTES * len(self.latest) + marks

    def note(self, data: bytes, header: BatchHeader) -> bool:
        """Take in the keys of one batch's records; False, with nothing taken, if it is full.

        Args:
            data: the records, unpacked.
            header: of the batch; batches come in order.

        Raises:
            CorruptBatch: these are not the records that the header announces; nothing was taken.
        """
        base_offset = header.base_offset
        keys, deltas, has_tombstone = _keys_of(data, header.record_count)
        offsets: Iterable[Offset]
        # A broker does not look at every batch that it stores, and offsets that lie would make us
        # drop records of others.
        if deltas == _EVEN[: len(deltas)] and len(deltas) <= header.last_offset_delta + 1:
            offsets = range(base_offset, base_offset + len(deltas))
        elif _rise_within(deltas, 2 * header.last_offset_delta):
            offsets = [base_offset + (delta >> 1) for delta in deltas]
        else:
            raise CorruptBatch("a record's offset is not within its batch, or does not rise")
        marks = len(self.tombstoned) // (KEY_BYTES // 8)
        if self.latest and len(self.latest) + len(keys) + marks > self._keys_max:
            self.is_full = True
            return False
        self.latest.update(zip(keys, offsets, strict=True))
        if has_tombstone:
            self.tombstoned.append(base_offset)
        return True

    def seal(self) -> None:
        """All batches are noted: sort what survives of them."""
        self._survivors = array("q", sorted(self.latest.values()))

    def survivors(self, first: Offset, last: Offset) -> array[int]:
        """Return the offsets in this range, both ends included, that are the newest of a key.

        It speaks of batches that were noted only.
        """
        low = bisect_left(self._survivors, first)
        return self._survivors[low : bisect_left(self._survivors, last + 1, low)]

    def holds_tombstone(self, base_offset: Offset) -> bool:
        """Whether the batch there was noted to hold a record without a value."""
        number = bisect_left(self.tombstoned, base_offset)
        return number < len(self.tombstoned) and self.tombstoned[number] == base_offset


def _rise_within(deltas: list[int], last: int) -> bool:
    """Whether these, each twice an offset less the batch's first, can be true."""
    if not deltas:
        return True
    return all(low < high for low, high in pairwise(deltas)) and deltas[-1] <= last


@dataclass(slots=True)
class Kept:
    """What compaction leaves of one batch."""

    starts: list[int]
    """Where the kept records begin in its unpacked data."""
    ends: list[int]
    has_tombstone: bool = False


def _keys_of(data: bytes, count: int) -> tuple[list[bytes], list[int], bool]:
    """Return keys and twice the offset deltas of a batch's records that have a key.

    And whether one of them has no value.
    """
    keys: list[bytes] = []
    deltas: list[int] = []
    note_key, note_delta = keys.append, deltas.append
    has_tombstone = False
    _must_fit(data, count)
    position = 0
    try:
        for _ in range(count):
            # Varints of one and two bytes are read in place: a call would double the time.
            # All are zigzag, so that a length is half of the number that stands there.
            number = data[position]
            if number < 0x80:
                at = position + 2  # Behind the record's attributes, which no one uses so far.
            elif (more := data[position + 1]) < 0x80:
                number += (more - 1) << 7
                at = position + 3
            else:
                number, at = _length(data, position)
                at += 1
            end = at - 1 + (number >> 1)
            while data[at] >= 0x80:  # The timestamp.
                at += 1
            delta = data[at + 1]
            if delta < 0x80:
                at += 2
            elif (more := data[at + 2]) < 0x80:
                delta += (more - 1) << 7
                at += 3
            else:
                delta, at = read_varint(data, at + 1)
                delta <<= 1
            number = data[at]
            if number < 0x80:
                at += 1
            elif (more := data[at + 1]) < 0x80:
                number += (more - 1) << 7
                at += 2
            else:
                number, at = _length(data, at)
            position = end
            if number & 1:
                continue  # No key: compaction does not keep it, as Kafka's does not.
            stop = at + (number >> 1)
            if stop >= end:
                raise CorruptBatch("a key is longer than its record")
            if data[stop] == 1:
                has_tombstone = True
            if number <= 2 * RAW_KEY_BYTES_MAX:
                note_key(data[at:stop])
            else:
                note_key(xxh3_128_digest(data[at:stop]))
            note_delta(delta)
    except IndexError as error:
        raise CorruptBatch("a record ends too early") from error
    if position != len(data):
        raise CorruptBatch("the records end elsewhere than their batch")
    return keys, deltas, has_tombstone


def _must_fit(data: bytes, count: int) -> None:
    if not 0 <= count * RECORD_SIZE_MIN <= len(data):
        raise CorruptBatch(f"{count} records cannot be in {len(data)} bytes")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Return twice a length of three bytes or more, and where it ends."""
    number, position = read_varint(data, position)
    if number < 0:
        raise CorruptBatch("a length is negative")
    return number << 1, position


def kept_at(data: bytes, header: BatchHeader, wanted: Sequence[Offset]) -> Kept | None:
    """Return the records of a batch at these offsets, which rise; None if it takes `kept_of`.

    Keys are not looked at. Only for a batch of which every offset has its record, as producers
    send it; and each of those wanted says itself where it stands.
    """
    count = header.record_count
    if count != header.last_offset_delta + 1:
        return None
    kept = Kept([], [])
    indexes = iter([offset - header.base_offset for offset in wanted])
    wanted_index = next(indexes, -1)
    position = 0
    try:
        for index in range(count):
            start = position
            number = data[position]
            if number < 0x80:
                at = position + 2
            elif (more := data[position + 1]) < 0x80:
                number += (more - 1) << 7
                at = position + 3
            else:
                number, at = _length(data, position)
                at += 1
            position = at - 1 + (number >> 1)
            if index != wanted_index:
                continue
            while data[at] >= 0x80:
                at += 1
            delta = data[at + 1]
            if delta >= 0x80:
                delta = read_varint(data, at + 1)[0] << 1
            if delta >> 1 != index:
                return None
            kept.starts.append(start)
            kept.ends.append(position)
            wanted_index = next(indexes, -1)
            if wanted_index < 0:
                break
    except (IndexError, CorruptBatch):
        return None
    return kept


def kept_of(
    data: bytes,
    count: int,
    base_offset: Offset,
    latest: dict[bytes, Offset],
    *,
    tombstones_go: bool,
) -> Kept:
    """Return the records of a batch of whose keys `latest` knows no newer one.

    `tombstones_go` drops records without a value, too. Raises CorruptBatch if `data` is not
    `count` records.
    """
    kept = Kept([], [])
    newest_of = latest.get
    _must_fit(data, count)
    position = 0
    try:
        for _ in range(count):
            start = position
            number = data[position]  # As in `_keys_of`: the loop is there twice for its speed.
            if number < 0x80:
                at = position + 2
            elif (more := data[position + 1]) < 0x80:
                number += (more - 1) << 7
                at = position + 3
            else:
                number, at = _length(data, position)
                at += 1
            position = at - 1 + (number >> 1)
            while data[at] >= 0x80:
                at += 1
            delta = data[at + 1]
            if delta < 0x80:
                at += 2
            elif (more := data[at + 2]) < 0x80:
                delta += (more - 1) << 7
                at += 3
            else:
                delta, at = read_varint(data, at + 1)
                delta <<= 1
            number = data[at]
            if number < 0x80:
                at += 1
            elif (more := data[at + 1]) < 0x80:
                number += (more - 1) << 7
                at += 2
            else:
                number, at = _length(data, at)
            if number & 1:
                continue
            stop = at + (number >> 1)
            if stop >= position:
                raise CorruptBatch("a key is longer than its record")
            key = data[at:stop]
            if number > 2 * RAW_KEY_BYTES_MAX:
                key = xxh3_128_digest(key)
            if newest_of(key, -1) > base_offset + (delta >> 1):
                continue
            if data[stop] == 1:
                if tombstones_go:
                    continue
                kept.has_tombstone = True
            kept.starts.append(start)
            kept.ends.append(position)
    except IndexError as error:
        raise CorruptBatch("a record ends too early") from error
    if position != len(data):
        raise CorruptBatch("the records end elsewhere than their batch")
    return kept
