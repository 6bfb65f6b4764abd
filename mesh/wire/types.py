"""The words of a declaration: wire types, version marks, and what a frame is made of.

Every wire type is an alias that mypy sees as the plain Python type; what it means on the wire
rides along as `Annotated` metadata, which only the codec reads.
"""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from storage.types import Buffer


class WireError(Exception):
    """These bytes are no such message; or, on encode, the message has no such form.

    The one exception that decoding untrusted bytes may raise. Its text never quotes the bytes.
    """


Part: TypeAlias = Buffer | Sized
"""A piece of a frame: bytes, or a thing with a length that the driver knows how to send."""


class Parts:
    """Records for the encoder to splice in uncopied, as several parts."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Part], size: int | None = None) -> None:
        """`size` in bytes is the sum of the parts' lengths; give it where it is known."""
        self.parts = parts
        self.size = sum(map(len, parts)) if size is None else size

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True, slots=True)
class Fixed:
    """A type that always takes the same room: its code in the `struct` module."""

    code: str
    size: int


@dataclass(frozen=True, slots=True)
class RecordsMark:
    """Length-prefixed record batches, handed through as they are."""


@dataclass(frozen=True, slots=True)
class Since:
    """The first version with this field."""

    version: int


@dataclass(frozen=True, slots=True)
class Until:
    """The last version with this field."""

    version: int


@dataclass(frozen=True, slots=True)
class NullableSince:
    """The first version in which None may be sent; before it None is an error."""

    version: int


@dataclass(frozen=True, slots=True)
class Tag:
    """The field is tagged: left out when it has its default (KIP-482)."""

    number: int
    tells_null: bool = False
    """A structure whose default in Kafka is not null: null and presence are both said."""


# In a declaration they read as words: Annotated[str | None, since(1), nullable_since(2)].
since = Since
until = Until
nullable_since = NullableSince
tag = Tag

Int8: TypeAlias = Annotated[int, Fixed("b", 1)]
Int16: TypeAlias = Annotated[int, Fixed("h", 2)]
UInt16: TypeAlias = Annotated[int, Fixed("H", 2)]
Int32: TypeAlias = Annotated[int, Fixed("i", 4)]
Int64: TypeAlias = Annotated[int, Fixed("q", 8)]
Bool: TypeAlias = Annotated[bool, Fixed("?", 1)]
Float64: TypeAlias = Annotated[float, Fixed("d", 8)]
Uuid: TypeAlias = Annotated[bytes, Fixed("16s", 16)]
"""16 raw bytes; see mesh.model.types.TopicId."""
Records: TypeAlias = Annotated[Buffer | Parts | None, RecordsMark()]
"""A memoryview of the frame when decoded; a Buffer or Parts to encode."""

NO_UUID: Final = bytes(16)
EMPTY_RECORDS: Final = b""
"""What a response without records carries: librdkafka breaks on null (KAFKA-18646)."""

NEVER: Final = 1 << 15
"""`flexible_from` of an API that never became flexible; no int16 version reaches it."""
