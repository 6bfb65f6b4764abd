"""Random messages in kio's terms, and the same messages in ours: the independent second opinion.

Values are drawn from kio's types alone, never from our declarations, so that a field that we
lack, misname, misplace or mistype shows itself.
"""

import dataclasses
import io
import random
import types
import typing
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from kio.index import load_request_schema, load_response_schema
from kio.schema.errors import ErrorCode as KioErrorCode
from kio.serial import entity_reader, entity_writer
from kio.static.protocol import Entity

from mesh.wire import NO_UUID, Struct
from mesh.wire.fields import fields_of

INTEGER_BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}
WORDS = ("a", "orders", "zürich", "數據", "x" * 127, "y" * 128, "-" * 300)


class Style(Enum):
    """What a random message is good for."""

    FULL = auto()  # every field has some value, every array two elements
    HOLLOW = auto()  # as full, but whatever inside may be null is null
    BARE = auto()  # whatever may be null is null, every array is empty, no tag is set
    MIXED = auto()  # every field for itself


@dataclass
class Draw:
    """The dice, and which fields they have given a value that is not the default."""

    rng: random.Random
    style: Style
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    turns: Counter[str] = field(default_factory=Counter)

    def is_bare(self) -> bool:
        """Whether the next field is left out as far as its type allows."""
        if self.style is Style.MIXED:
            return self.rng.random() < 0.3
        return self.style is Style.BARE


def kio_class(api_key: int, version: int, side: str) -> type[Entity]:
    """kio's class of one request or response."""
    if side == "request":
        return load_request_schema(api_key, version)
    return load_response_schema(api_key, version)


def kio_encode(message: Entity) -> bytes:
    buffer = io.BytesIO()
    entity_writer(type(message))(buffer, message)
    return buffer.getvalue()


def kio_decode(cls: type[Entity], body: bytes) -> Entity:
    """Decode a whole body; kio must have read all of it."""
    message, size = entity_reader(cls)(body, 0)
    assert size == len(body), f"kio read {size} of {len(body)} bytes"
    return message


def draw_message(cls: type[Entity], draw: Draw) -> Entity:
    """Return a random instance of a kio dataclass, nested ones included."""
    values = {}
    for f in dataclasses.fields(cls):
        value = _draw_field(f, draw)
        values[f.name] = value
        if value != implicit_default(f):
            draw.seen[cls.__name__, f.name] += 1
    return cls(**values)


def implicit_default(f: dataclasses.Field[object]) -> object:
    """What Kafka calls the default of a field, where kio does not say it."""
    if f.default is not dataclasses.MISSING:
        return f.default
    is_array, is_nullable, inner = unwrap(f.type)
    kind = f.metadata.get("kafka_type")
    if is_array:
        return ()
    if kind is None:
        return None if is_nullable else _all_defaults(inner)
    if kind == "error_code":
        return KioErrorCode.none
    if kind in ("timedelta_i32", "timedelta_i64"):
        return timedelta(0)
    if kind in ("records", "uuid", "datetime_i64"):
        return None
    return {"string": "", "bytes": b"", "bool": False}.get(str(kind), 0)


def _all_defaults(cls: type[Entity]) -> Entity:
    return cls(**{f.name: implicit_default(f) for f in dataclasses.fields(cls)})


def unwrap(hint: object) -> tuple[bool, bool, type[Entity]]:
    """Take a kio field's type apart: (is array, is nullable, type of the value or element).

    The last is an `Entity` only where the field has no `kafka_type`.
    """
    is_nullable = isinstance(hint, types.UnionType)
    if is_nullable:
        hint = next(choice for choice in typing.get_args(hint) if choice is not types.NoneType)
    is_array = typing.get_origin(hint) is tuple
    if is_array:
        hint = typing.get_args(hint)[0]
    assert isinstance(hint, type), hint
    return is_array, is_nullable, hint


def _draw_field(f: dataclasses.Field[object], draw: Draw) -> object:
    is_array, is_nullable, inner = unwrap(f.type)
    kind = f.metadata.get("kafka_type")
    if draw.style is Style.HOLLOW and is_nullable:
        draw.turns[f.name] += 1
        holds_others = is_array or kind is None  # now and then kept, for the nulls inside of it
        if not holds_others or draw.turns[f.name] % 2 == 0:
            return None
    if draw.is_bare():
        if is_nullable:
            return None
        if is_array or kind in ("uuid", "string", "bytes") or "tag" in f.metadata:
            return () if is_array else implicit_default(f)
    if not is_array:
        return _draw_value(kind, inner, draw, f)
    count = draw.rng.choice((0, 1, 2, 3)) if draw.style is Style.MIXED else 2
    if draw.style is Style.MIXED and kind is not None and draw.rng.random() < 0.05:
        count = 200  # its count takes two bytes
    return tuple(_draw_value(kind, inner, draw, f) for _ in range(count))


def _draw_value(
    kind: object, inner: type[Entity], draw: Draw, f: dataclasses.Field[object]
) -> object:
    rng = draw.rng
    match kind:
        case None:
            return draw_message(inner, draw)
        case "int8" | "int16" | "int32" | "int64":
            bits = INTEGER_BITS[str(kind)]
            return _other_than(f, lambda: rng.randrange(-(1 << bits), 1 << bits))
        case "uint16":
            return rng.randrange(1, 1 << 16)
        case "float64":
            return rng.uniform(-1e9, 1e9)
        case "bool":
            if draw.style is Style.FULL:
                return not implicit_default(f)
            return rng.random() < 0.5
        case "string":
            return rng.choice(WORDS)
        case "bytes" | "records":
            return rng.randbytes(rng.choice((1, 40, 127, 128, 20_000)))
        case "uuid":
            return uuid.UUID(bytes=rng.randbytes(16))
        case "error_code":
            return rng.choice([code for code in KioErrorCode if code is not KioErrorCode.none])
        case "timedelta_i32":
            return timedelta(milliseconds=rng.randrange(1, 1 << 31))
        case "timedelta_i64":
            return timedelta(milliseconds=rng.randrange(1, 1 << 40))
        case "datetime_i64":
            return datetime.fromtimestamp(rng.randrange(1, 1 << 33), UTC)
    raise AssertionError(f"kio has a type that this test does not know: {kind}")


def _other_than(f: dataclasses.Field[object], roll: typing.Callable[[], object]) -> object:
    """Roll until it is not the default; an int is only equal to it once in a great while."""
    while (value := roll()) == implicit_default(f):
        pass
    return value


def to_ours(message: Entity, cls: type[Struct]) -> Struct:
    """Say a kio message in our terms, by name: a name that we lack is an error."""
    values: dict[str, object] = {}
    ours = {f.name: f for f in fields_of(cls)}
    for f in dataclasses.fields(message):
        kind = f.metadata.get("kafka_type")
        name = f.name
        if kind in ("timedelta_i32", "timedelta_i64", "datetime_i64"):
            name += "_ms"  # kio says the unit by the type, Kafka and we by the name
        declared = ours[name]
        nested = declared.kind if isinstance(declared.kind, type) else None
        value = getattr(message, f.name)
        if isinstance(value, tuple):
            values[name] = [_value_to_ours(kind, element, nested) for element in value]
        elif declared.tag is not None and nested is not None and value == f.default:
            values[name] = declared.default  # our tagged structures are None when left out
        else:
            values[name] = _value_to_ours(kind, value, nested)
    return cls(**values)


def _value_to_ours(kind: object, value: object, nested: type[object] | None) -> object:
    match value:
        case None if kind == "uuid":
            return NO_UUID
        case None if kind == "datetime_i64":
            return -1
        case uuid.UUID():
            return value.bytes
        case timedelta():
            return round(value / timedelta(milliseconds=1))
        case datetime():
            return round(value.timestamp()) * 1000
        case KioErrorCode():
            return value.value
    if nested is None or value is None or not issubclass(nested, Struct):
        return value
    return to_ours(typing.cast(Entity, value), nested)
