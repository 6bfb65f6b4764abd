"""CBOR of anybody: what members write is read, and nothing costs more than its length."""

from __future__ import annotations

import random

import cbor2
import pytest

from mesh.model import untrusted
from mesh.model.untrusted import (
    AT_ONCE_BYTES_MAX,
    ITEM_BYTES_MAX,
    LIST_WEIGHS,
    PARTS_MAX,
    UnreadableError,
    read_untrusted,
)

MANY = AT_ONCE_BYTES_MAX + 1


def of(head: bytes, count: int, items: bytes) -> bytes:
    """Return a message with a list of so many items, and what stands before it."""
    return head + b"\x9a" + count.to_bytes(4, "big") + items


@pytest.mark.parametrize("seed", range(30))
def test_what_members_write_is_read_whatever_its_length(seed: int) -> None:
    """At once or item by item, the same comes out as went in."""
    rng = random.Random(seed)
    entries = {
        "peer": "x" * rng.randrange(200),
        "directory": rng.randbytes(16),
        "draining": rng.random() < 0.5,
        "weight": rng.choice((0, -5, 2**53)),
        "gone": None,
        "speaks": [1, 2],
        "names": ["a", "bc"],
    }
    record = [rng.randrange(2**31), 1, 0, 1, [4, 50], 2**53, 0, entries]
    count = rng.choice((0, 1, 20, 3_000, 12_000))
    message = [13, 2**32 - 1, rng.randbytes(16), list(range(count)), [record] * count]
    data = cbor2.dumps(message)
    assert read_untrusted(data) == message
    assert untrusted._read_by_item(data) == message


@pytest.mark.parametrize(
    "value",
    [
        b"\xc4\x82\x00\xc2\x41\x01",  # A fraction: of a million digits it took minutes.
        b"\xc5\x82\x01\xc2\x41\x01",
        b"\xd8\x1e\x82\x01\x02",
        b"\xd8\x23\x63(a)",  # A pattern, compiled: megabytes of it took ten seconds.
        b"\xd8\x24\x63a:b",
        b"\xc0\x64text",
        b"\xc1\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc2\x49\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd9\x01\x02\x81\x01",
        b"\xd8\x1c\x81\xd8\x1d\x00",
        b"\xd9\xd9\xf7\x01",
        b"\xd9\xff\xff\x01",
        b"\x9f\x01\xff",
        b"\xbf\x61a\x01\xff",
        b"\x5f\x41a\xff",
        b"\xa2\x61a\x01\x61a\x02",
        b"\xa1\x01\x02",
        b"\x81\x81\x81\x81\x81\x01",
        b"\x62\xff\xfe",
        b"\xff",
        b"\x1c",
    ],
)
def test_what_no_member_writes_is_not_read(value: bytes) -> None:
    """Tags, ends that are not told at the beginning, keys twice, deep nests: none is made of."""
    for data in (b"\x82\x08" + value, of(b"\x83\x08\x00", MANY, value + bytes(MANY))):
        with pytest.raises(UnreadableError):
            read_untrusted(data)


@pytest.mark.parametrize(
    "data",
    [
        of(b"", MANY, b"\x80" * MANY),
        of(b"\x82\x08", MANY, b"\x80" * MANY),
        of(b"\x82\x08", PARTS_MAX + 1, bytes(PARTS_MAX + 1)),
        of(b"\x82\x08", 2**32 - 1, bytes(MANY)),
        of(b"\x82\x08", 1, of(b"", MANY, bytes(MANY))),
        of(b"\x82\x08", 1, b"\x7a\x00\x20\x00\x00" + bytes(1 << 21)),
        b"\x82\x08\x7a\x00\x20\x00\x00" + bytes(1 << 21),
        b"\x82\x08\x5a\x00\x20\x00\x00" + bytes(1 << 21),
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff" + bytes(MANY),
        b"\x9f\x08" + bytes(MANY),
        b"\x82\x08\x9f" + bytes(MANY),
    ],
)
def test_what_is_long_has_short_items(data: bytes) -> None:
    """A long message of lists without end, or with one long item, is refused on the way."""
    with pytest.raises(UnreadableError):
        read_untrusted(data)


def test_lists_in_items_count_for_what_they_hold() -> None:
    """Items full of empty lists, which are sixty times as long here as there, are soon too much."""
    item = b"\x99\x01\x00" + b"\x80" * 256
    weight = LIST_WEIGHS + 256 + 256 * LIST_WEIGHS
    fits = PARTS_MAX // weight
    some = of(b"\x83\x10\x00", fits, item * fits)
    assert len(some) <= AT_ONCE_BYTES_MAX or untrusted._read_by_item(some)[0] == 16
    with pytest.raises(UnreadableError, match="too much"):
        untrusted._read_by_item(of(b"\x83\x10\x00", fits + 1, item * (fits + 1)))


def test_an_item_is_as_long_as_a_record_may_be() -> None:
    """The longest map of a member passes; one twice as long as any does not."""
    entries = {f"{number:02}" + "€" * 62: "x" * 256 for number in range(32)}
    record = [1, 1, 0, 0, 0, 1, 0, entries]
    assert len(cbor2.dumps(record)) < ITEM_BYTES_MAX
    assert untrusted._read_by_item(cbor2.dumps((16, 0, [record]))) == [16, 0, [record]]
    with pytest.raises(UnreadableError):
        read_untrusted(cbor2.dumps((16, 0, [["x" * 2 * ITEM_BYTES_MAX], "x" * MANY])))
