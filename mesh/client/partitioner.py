"""Which partition a record goes to: the same as Kafka's Java client for the same key.

murmur2 is Austin Appleby's; seed and the treatment of the tail are those that Kafka's clients
agree on, because records of one key must meet in one partition whoever writes them.
"""

from __future__ import annotations

from storage.types import Buffer

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF


def murmur2(data: Buffer) -> int:
    """Return the unsigned 32-bit hash."""
    length = len(data)
    digest = SEED ^ length
    whole = length & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(data[position : position + 4], "little") * MULTIPLIER & MASK
        word = (word ^ word >> 24) * MULTIPLIER & MASK
        digest = digest * MULTIPLIER & MASK ^ word
    if whole < length:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    digest = (digest ^ digest >> 13) * MULTIPLIER & MASK
    return digest ^ digest >> 15


def partition_of_key(key: Buffer, partition_count: int) -> int:
    """Return the partition, from 0, that every Java producer gives this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partition_count


class StickyPartitioner:
    """Where records without a key go: to one partition for a batch's worth, then to the next.

    Spreading each record by itself would leave every batch small (KIP-480, KIP-794).
    """

    __slots__ = ("_bytes_left", "_current", "_run_bytes")

    def __init__(self, run_bytes: int, first: int) -> None:
        """`run_bytes`: how much one partition gets in a row; `first`: any number to begin at."""
        self._run_bytes = run_bytes
        self._bytes_left = run_bytes
        self._current = first

    def choose(self, record_bytes: int, partition_count: int) -> int:
        """Return the partition for one record of this size."""
        if self._bytes_left <= 0:
            self._current += 1
            self._bytes_left = self._run_bytes
        self._bytes_left -= record_bytes
        return self._current % partition_count
