"""The order in which Kafka's hash tables give out what they hold.

Kafka's assignors walk through hash tables, so who gets which partition follows from that order.
To come to the same assignment, partition by partition, we walk in the same one: a pure function
of the keys, their hashes and the order in which they were put in. (The hashes are those of Java's
String, Integer and of Kafka's Uuid; the tables are java.util.HashMap of OpenJDK 17 and Kafka's
TimelineHashMap.) Nothing is wrong where it differs, only another assignment just as good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")

_MASK_32 = 2**32 - 1
_MASK_64 = 2**64 - 1
_SLOTS = 16
_LOAD = 0.75
_FIBONACCI = -7046029254386353131
"""2**64 divided by the golden ratio, as a signed number: Fibonacci hashing."""


def text_hash(text: str) -> int:
    """Return the hash of a text, without its sign."""
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for at in range(1, len(units), 2):
        value = (value * 31 + (units[at - 1] << 8 | units[at])) & _MASK_32
    return value


def id_hash(topic_id: bytes) -> int:
    """Return the hash of a topic's id, without its sign."""
    folded = int.from_bytes(topic_id[:8], "big") ^ int.from_bytes(topic_id[8:], "big")
    return (folded >> 32 ^ folded) & _MASK_32


def number_hash(number: int) -> int:
    """Return the hash of a partition's number, without its sign."""
    return number & _MASK_32


class HashOrder(Generic[K]):
    """A set that gives its keys out as a java.util.HashSet does, or a HashMap its keys."""

    __slots__ = ("_first", "_hash_of", "_keys", "_last", "_slots")

    def __init__(
        self, hash_of: Callable[[K], int], keys: Iterable[K] = (), capacity: int = _SLOTS
    ) -> None:
        """Put in some keys.

        Args:
            hash_of: 32 bits, without a sign.
            keys: in this order.
            capacity: that the table is made with; it grows as Java's does.
        """
        self._hash_of = hash_of
        self._keys: dict[K, tuple[int, int]] = {}
        """Each with its hash, and its place among those that share a slot with it."""
        self._first = self._last = 0
        self._slots = 1 << max(capacity - 1, 0).bit_length()
        for key in keys:
            self.add(key)

    @classmethod
    def copy_of(cls, hash_of: Callable[[K], int], keys: Sequence[K]) -> HashOrder[K]:
        """Return what `new HashSet(keys)` makes."""
        return cls(hash_of, keys, max(int(len(keys) / _LOAD) + 1, _SLOTS))

    def add(self, key: K) -> None:
        """Put in a key as `put` does: behind others in its slot. Nothing happens if it is there."""
        if key not in self._keys:
            self._last += 1
            self._keys[key] = self._spread(key), self._last
            if len(self._keys) > _LOAD * self._slots:
                self._slots *= 2

    def compute(self, key: K) -> None:
        """Put in a key as `compute` does: before others in its slot, and growing later."""
        if key not in self._keys:
            if len(self._keys) > _LOAD * self._slots:
                self._slots *= 2
            self._first -= 1
            self._keys[key] = self._spread(key), self._first

    def _spread(self, key: K) -> int:
        hashed = self._hash_of(key)
        return hashed ^ hashed >> 16

    def discard(self, key: K) -> None:
        """Take out a key, if it is there."""
        self._keys.pop(key, None)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        mask, keys = self._slots - 1, self._keys

        def place(key: K) -> tuple[int, int]:
            spread, rank = keys[key]
            return spread & mask, rank

        return iter(sorted(keys, key=place))


def timeline_order(keys: Sequence[str], count_max: int) -> list[str]:
    """Return texts in the order of Kafka's TimelineHashMap.

    Args:
        keys: in the order in which they were put in.
        count_max: the most that it has ever held; it never shrinks.
    """
    bits = 1
    # It grows as if for one more whenever something is put in, a new value for an old key, too.
    for count in range(1, count_max + 2):
        if count * _LOAD > 1 << bits:
            bits += 1
    slots = [_timeline_slot(text_hash(key), bits) for key in keys]
    indexes = sorted(range(len(keys)), key=lambda index: (slots[index], -index))
    return [keys[index] for index in indexes]


def _timeline_slot(hashed: int, bits: int) -> int:
    signed = hashed - 2**32 if hashed >> 31 else hashed
    return (signed * _FIBONACCI & _MASK_64) >> 64 - bits


def text_order(text: str) -> bytes:
    """Return a key that sorts texts as Java does: by their UTF-16 units."""
    return text.encode("utf-16-be", "surrogatepass")
