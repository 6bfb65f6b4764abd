"""Valid requests of every served API and version, drawn from our own declarations.

What a field is called says which values get far into a handler: names of topics that exist, batches
that can be appended, small counts. Wrong values are not made here; mutation makes them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from mesh.broker.handlers import HANDLERS
from mesh.wire import Message, Struct, encode_request
from mesh.wire.fields import Field, fields_of
from mesh.wire.types import Fixed, RecordsMark
from storage.records import Record, build_batch
from storage.types import Buffer

TOPICS = tuple(f"fuzz-{number}" for number in range(4))
"""Topics that requests name. None of them holds what is checked."""
PARTITIONS = 2
"""Of each of these topics."""
MARKERS = tuple(f"fuzz-marker-{number:04}".encode() for number in range(4))
"""Stand for the ids of these topics, 16 bytes each, until a node that has them is known."""

PRODUCE = 0
_NAMES = (*TOPICS, *TOPICS, *TOPICS, "fuzz-none", "fuzz.0", "", "__registry", "a" * 249, "ü")
_CONFIGS = ("retention.ms", "cleanup.policy", "segment.bytes", "max.message.bytes", "min.x")
_VALUES = ("1000", "compact", "delete", "-1", "", "x" * 300, "1048576")
_WORDS = ("", "a", "fuzz", "zürich", "x" * 127, "y" * 128, "1", "-1")
_STRINGS = {
    "topic": _NAMES,
    "topics": _NAMES,
    "topic_name": _NAMES,
    "topic_names": _NAMES,
    "resource_name": (*TOPICS, "1", ""),
    "value": _VALUES,
}
_NUMBERS = {
    "partition": (0, 1, 0, 1, 2),
    "partitions": (0, 1, 0, 1, 2),
    "index": (0, 1, 0, 1, 2),
    "partition_index": (0, 1, 0, 1, 2),
    "partition_indexes": (0, 1, 0, 1, 2),
    "num_partitions": (1, 2, 3, -1),
    "count": (1, 2, 3, 4),
    "replication_factor": (-1, 1, 1, 2),
    "broker_ids": (1, 1, 2),
    "acks": (-1, -1, 0, 1, 2),
    "timestamp": (-1, -2, -3, -4, -5, 0, 1_700_000_000_000),
    "resource_type": (2, 2, 2, 4, 8, 16, 32),
    "config_operation": (0, 1, 2, 3),
    "isolation_level": (0, 1),
    "max_bytes": (0, 1, 1 << 20),
    "min_bytes": (0, 1, 1 << 20),
    "partition_max_bytes": (0, 1, 1 << 20),
    "session_id": (0, 0, 1),
    "session_epoch": (-1, 0, 1),
    "replica_id": (-1, -1, -1, 1),
}
_ANY = (0, 0, 1, -1, 2, 5, 10, 100)
_EXTREMES = {"b": (-128, 127), "h": (-(2**15), 2**15 - 1), "H": (0, 2**16 - 1)} | {
    code: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for code, bits in (("i", 32), ("q", 64))
}


def corpus(rng: random.Random, of_each: int) -> dict[int, list[bytes]]:
    """Return frames without their length prefix, by API key: `of_each` of every version."""
    return {
        key: [
            encoded(draw(handler.request, version, rng), version, rng)
            for version in range(handler.versions[0], handler.versions[1] + 1)
            for _ in range(of_each)
        ]
        for key, handler in sorted(HANDLERS.items())
    }


def encoded(message: Message, version: int, rng: random.Random) -> bytes:
    """Return a whole frame without its length prefix."""
    client_id = rng.choice((None, "", "fuzz", "ü" * 40))
    parts = encode_request(message, version, rng.randrange(1 << 31), client_id)
    return b"".join(_plain(part) for part in parts)[4:]


def _plain(part: object) -> bytes:
    assert isinstance(part, bytes | bytearray | memoryview)  # no request holds a file's slice
    return bytes(part)


def draw(cls: type[Message], version: int, rng: random.Random) -> Message:
    """Return a request of this class that is encodable as `version`."""
    message = cls()
    _fill(message, version, rng)
    return message


def _fill(struct: Struct, version: int, rng: random.Random) -> None:
    for field in fields_of(type(struct)):
        if not field.is_in(version):
            continue
        if field.tag is not None and rng.random() < 0.7:
            continue
        if field.is_nullable_in(version) and rng.random() < 0.15:
            setattr(struct, field.name, None)
        elif field.is_array:
            count = rng.choice((0, 1, 1, 1, 2, 3))
            values = [_value(type(struct), field, version, rng) for _ in range(count)]
            setattr(struct, field.name, values)
        else:
            setattr(struct, field.name, _value(type(struct), field, version, rng))


def _value(owner: type[Struct], field: Field, version: int, rng: random.Random) -> object:
    match field.kind:
        case Fixed(code="?"):
            # Or Metadata would make topics and dry runs would be all there is.
            return rng.random() < 0.3
        case Fixed(code="d"):
            return rng.choice((0.0, -1.0, 1e300))
        case Fixed(code="16s"):
            return rng.choice((*MARKERS, *MARKERS, bytes(16), rng.randbytes(16)))
        case Fixed(code=code):
            return _number(field.name, code, rng)
        case RecordsMark():
            return batch(rng)
        case kind if kind is str:
            return _text(owner, field.name, rng)
        case kind if kind is bytes:
            return rng.randbytes(rng.choice((0, 1, 20)))
    assert isinstance(field.kind, type)
    assert issubclass(field.kind, Struct)
    inner = field.kind()
    _fill(inner, version, rng)
    return inner


def _number(name: str, code: str, rng: random.Random) -> int:
    if name in _NUMBERS and rng.random() < 0.95:
        return rng.choice(_NUMBERS[name])
    if name.endswith("_ms"):
        return rng.choice((0, 1, 50))
    number = rng.choice(_ANY) if rng.random() < 0.95 else rng.choice(_EXTREMES[code])
    return abs(number) if code == "H" else number


def _text(owner: type[Struct], name: str, rng: random.Random) -> str:
    if name == "name":
        return rng.choice(_CONFIGS if "onfig" in owner.__name__ else _NAMES)
    return rng.choice(_STRINGS.get(name, _WORDS))


def batch(rng: random.Random) -> Buffer:
    """Return records as a producer sends them, of any codec, mostly right."""
    records = [
        Record(0, 1_700_000_000_000 + number, rng.choice((None, b"key")), rng.randbytes(20))
        for number in range(rng.choice((1, 1, 2, 5)))
    ]
    producer_id = rng.choice((-1, -1, 0, 1, 2))
    return build_batch(
        records,
        codec=rng.randrange(5),
        producer_id=producer_id,
        producer_epoch=0 if producer_id >= 0 else -1,
        base_sequence=rng.choice((0, 1, 5)) if producer_id >= 0 else -1,
        transactional=rng.random() < 0.05,
        control=rng.random() < 0.05,
    )


def every_request(rng: random.Random) -> Iterator[tuple[int, int, bytes]]:
    """Yield key, version and a valid frame of everything that is served."""
    for key, handler in sorted(HANDLERS.items()):
        for version in range(handler.versions[0], handler.versions[1] + 1):
            yield key, version, encoded(draw(handler.request, version, rng), version, rng)
