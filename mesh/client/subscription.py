"""What members of classic consumer groups tell each other, and no broker reads: bytes. Pure.

Kafka's consumer protocol: an int16 version, then topics. Older readers ignore what newer writers
put behind, so only the part that every version has is read here.
"""

from __future__ import annotations

import struct

from mesh.model.types import TopicPartition

ELEMENTS_MAX = 1_000_000
"""Topics and partitions that one member's bytes may name; a stranger wrote the counts."""


class BadMemberBytesError(ValueError):
    """The bytes are not of the consumer protocol, or are cut off."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._left = ELEMENTS_MAX

    def take(self, count: int) -> bytes:
        end = self._position + count
        if count < 0 or end > len(self._data):
            raise BadMemberBytesError("cut off")
        taken, self._position = self._data[self._position : end], end
        return taken

    def int16(self) -> int:
        value: int = struct.unpack(">h", self.take(2))[0]
        return value

    def int32(self) -> int:
        value: int = struct.unpack(">i", self.take(4))[0]
        return value

    def count(self) -> int:
        """Return the length of an array; a null one has no elements."""
        count = max(0, self.int32())
        self._left -= count
        if self._left < 0:
            raise BadMemberBytesError("it names too much")
        return count

    def text(self) -> str:
        try:
            return self.take(self.int16()).decode()
        except UnicodeDecodeError:
            raise BadMemberBytesError("a name is no text") from None


def assignment_untrusted(data: bytes) -> tuple[TopicPartition, ...]:
    """Return the partitions that a leader gave a member, sorted; none for no bytes.

    Raises:
        BadMemberBytesError: these bytes are something else.
    """
    if not data:
        return ()
    reader = _Reader(data)
    reader.int16()
    found: list[TopicPartition] = []
    for _ in range(reader.count()):
        topic = reader.text()
        found += [TopicPartition(topic, reader.int32()) for _ in range(reader.count())]
    return tuple(sorted(found))


def subscription_untrusted(data: bytes) -> tuple[str, ...]:
    """Return the topics that a member asks for, sorted; none for no bytes.

    Raises:
        BadMemberBytesError: these bytes are something else.
    """
    if not data:
        return ()
    reader = _Reader(data)
    reader.int16()
    return tuple(sorted(reader.text() for _ in range(reader.count())))
