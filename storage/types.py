"""The words of the log: plain integers under the names that the field uses.

They are aliases, not classes, because offsets are added and compared on the hot path.
End offsets are exclusive everywhere: the first offset *not* included.
"""

from typing import TypeAlias

Offset: TypeAlias = int
"""Place of a record in its partition, from 0 to 2**63 - 1."""

LeaderEpoch: TypeAlias = int
"""Term of a partition's leader, from 0; -1 means unknown (Kafka)."""

TimestampMs: TypeAlias = int
"""Wall clock, milliseconds since 1970-01-01 UTC; -1 means none (Kafka)."""

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Anything that holds bytes and can be sliced and sent without a copy."""
