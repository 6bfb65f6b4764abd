"""CBOR that anybody may have sent, read at a price in time and memory that its length bounds.

What cbor2 would make of a tag costs its sender nothing and us minutes (a number of a million digits
in base ten, a pattern to compile): none of our messages has tags, so none is read. A million empty
lists are a megabyte on the wire and sixty in memory: of a long message, each item is looked at
before the next one is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any, NoReturn

import cbor2

DEPTH_MAX = 5
"""Of a value in a list in a member's map, in a record, in the items of a message."""
AT_ONCE_BYTES_MAX = 1 << 20
AT_ONCE_LISTS_MAX = 16 << 10
"""A message with no more bytes that could begin a list or map is read at once: that is quicker."""
ITEM_BYTES_MAX = 32 << 10
"""A record's map has 32 entries with values of 256 bytes, and names of 64 characters."""
PARTS_MAX = 2_000_000
"""Of a message that is read item by item: a record has some fifty, a stub five."""
LIST_WEIGHS = 5
"""As many parts, for so many times the memory."""
HEAD_PARTS_MAX = 23
"""Of a message itself, what is in its lists not counted: its first byte tells."""

_NO_LIST_BEGINS = bytes(byte for byte in range(256) if byte >> 5 not in (4, 5))


class UnreadableError(Exception):
    """It is nothing that we would write."""


class _NoTags(Mapping[int, Callable[..., NoReturn]]):
    """What cbor2 asks how to read a tag, for every tag there can be."""

    def __getitem__(self, tag: int) -> Callable[..., NoReturn]:
        return _refuse

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a tag")


NO_TAGS: Any = _NoTags()
"""For `semantic_decoders` of cbor2, where our own form of a message is checked afterwards."""
_STRICT: Any = {
    "semantic_decoders": NO_TAGS,
    "max_depth": DEPTH_MAX,
    "allow_indefinite": False,
    "allow_duplicate_keys": False,
    # Numbers as keys can be chosen so that all fall into one place of the table.
    "strict_hashable_types": True,
}


def read_untrusted(data: bytes) -> object:
    """Return what bytes say: numbers, texts, bytes, lists, maps by text, true, false, null.

    Raises:
        UnreadableError: they are no such thing, or too much of it.
    """
    try:
        if len(data) <= AT_ONCE_LISTS_MAX or (
            len(data) <= AT_ONCE_BYTES_MAX
            and len(data.translate(None, _NO_LIST_BEGINS)) <= AT_ONCE_LISTS_MAX
        ):
            return cbor2.loads(data, **_STRICT)
        return _read_by_item(data)
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise UnreadableError("no CBOR") from error


class _Feed(BytesIO):
    """Gives a decoder its bytes, and of one item only so many."""

    left = 0
    """Bytes that may still be asked for."""

    def read(self, size: int | None = -1) -> bytes:
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        found = super().read(wanted)
        self.left -= len(found)
        return found


def _read_by_item(data: bytes) -> list[object]:
    """Return a list; those in it may be long, with items of which each is short."""
    feed = _Feed(data)
    decoder = cbor2.CBORDecoder(feed, **{**_STRICT, "max_depth": DEPTH_MAX - 2})
    feed.left = ITEM_BYTES_MAX
    major, count = _head(decoder)
    if major != _LIST or count > HEAD_PARTS_MAX:
        raise UnreadableError("no message")
    left = PARTS_MAX
    found: list[object] = []
    for _ in range(count):
        feed.left = ITEM_BYTES_MAX
        major, value = _head(decoder)
        if major == _NUMBER:
            found.append(value)
        elif major == _BYTES:
            found.append(decoder.read(value))
        elif major == _LIST:
            items: list[object] = []
            found.append(items)
            for _ in range(value):
                feed.left = ITEM_BYTES_MAX
                item = decoder.decode()
                left -= _parts_of(item) if type(item) is list or type(item) is dict else 1
                if left < 0:
                    raise UnreadableError("too much")
                items.append(item)
        else:
            raise UnreadableError("no message")
    return found


_NUMBER, _BYTES, _LIST = 0, 2, 4
"""Kinds of items of CBOR, as far as they stand in a long message itself."""


def _head(decoder: cbor2.CBORDecoder) -> tuple[int, int]:
    """Read what CBOR begins an item with: its kind, and its count or value."""
    first = decoder.read(1)[0]
    short = first & 31
    if short < 24:
        return first >> 5, short
    if short > 27:
        raise UnreadableError("no message")
    return first >> 5, int.from_bytes(decoder.read(1 << short - 24), "big")


def _parts_of(item: list[Any] | dict[str, Any]) -> int:
    values = item.values() if type(item) is dict else item
    parts = LIST_WEIGHS + len(item)
    return parts + sum(_parts_of(one) for one in values if type(one) is list or type(one) is dict)
