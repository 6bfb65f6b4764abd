"""What compiled codecs call at run time: variable-length integers, tags, runs of integers."""

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct as Layout
from typing import Final

from mesh.wire.types import Part, Parts, WireError
from storage.types import Buffer

ELEMENTS_MAX: Final = 1_000_000
"""Array elements in one frame, all arrays together.

Kafka 4.4 allows as many in each array (its upgrade notes); an element of three bytes becomes an
object of a hundred, so we count them all.
"""
TAGS_MAX: Final = 10_000
"""Tagged fields in one structure (Kafka 4.4 upgrade notes)."""

_VARINT_BYTES_MAX: Final = 5
"""An unsigned 32-bit number in groups of seven bits."""

SMALL: Final = tuple(bytes((n,)) for n in range(128))
"""The numbers that take one byte."""


def uvarint(number: int) -> bytes:
    """Encode 0 <= number < 2**32, least significant seven bits first."""
    if number < 128:
        return SMALL[number]
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def uvarint_rest(frame: Buffer, position: int, first: int) -> tuple[int, int]:
    """Finish a number whose first byte, already read, has its high bit set.

    Returns:
        the number and the position behind it.

    Raises:
        WireError: more than five bytes, or more than 2**31 - 1.
        IndexError: the frame ends within the number.
    """
    number = first & 127
    for shift in range(7, 7 * _VARINT_BYTES_MAX, 7):
        byte = frame[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >= 1 << 31:
                raise WireError("a length is 2**31 or more")
            return number, position
    raise WireError("a variable-length number has more than five bytes")


def tag_section(
    frame: Buffer, position: int, count: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """Walk the tagged fields of one structure: (tag, where it begins, where it ends).

    `position` is behind the count.

    Raises:
        WireError: too many, not ascending, or longer than the frame.
    """
    if count > min(TAGS_MAX, (end - position) // 2):
        raise WireError("more tagged fields than the frame can hold")
    previous = -1
    for _ in range(count):
        number = frame[position]
        position += 1
        if number > 127:
            number, position = uvarint_rest(frame, position, number)
        size = frame[position]
        position += 1
        if size > 127:
            size, position = uvarint_rest(frame, position, size)
        stop = position + size
        if number <= previous or stop > end:
            raise WireError("tagged fields are not in order or overrun the frame")
        yield number, position, stop
        position, previous = stop, number


def skip_tags(frame: Buffer, position: int, count: int, end: int) -> int:
    """Pass over a section in which no tag is known; returns the position behind it."""
    for _, _, stop in tag_section(frame, position, count, end):
        position = stop
    return position


@lru_cache(maxsize=512)
def layout_of(code: str, count: int) -> Layout:
    """Return the layout of an array of integers; its own size does not grow with `count`."""
    return Layout(f">{count}{code}")


def splice(out: list[bytes], parts: list[Part], records: Part | Parts) -> None:
    """End the bytes written so far as one part, and put the records behind it uncopied."""
    parts.append(b"".join(out))
    out.clear()
    if isinstance(records, Parts):
        parts.extend(records.parts)
    else:
        parts.append(records)
