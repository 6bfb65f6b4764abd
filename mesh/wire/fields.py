"""Reads a declaration: from annotations to a list of plain facts per field."""

import typing
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, TypeAlias, get_args, get_origin

from mesh.wire.message import Struct
from mesh.wire.types import NEVER, Fixed, NullableSince, RecordsMark, Since, Tag, Until

Kind: TypeAlias = Fixed | RecordsMark | type[str] | type[bytes] | type[Struct]
"""What one value is on the wire; of an array, what one element is."""


@dataclass(frozen=True, slots=True)
class Field:
    """One declared field, as the compilers want it."""

    name: str
    kind: Kind
    is_array: bool
    since: int
    until: int
    nullable_since: int
    """`NEVER` where None is never allowed."""
    tag: int | None
    tells_null: bool
    """Whether a tagged structure is always sent, with a byte that says whether it is None."""
    default: object

    def is_in(self, version: int) -> bool:
        """Whether this version has the field."""
        return self.since <= version <= self.until

    def is_nullable_in(self, version: int) -> bool:
        """Whether None can be said in this version."""
        return version >= self.nullable_since


@cache
def fields_of(struct: type[Struct]) -> tuple[Field, ...]:
    """Return the fields of a declaration in wire order.

    Raises:
        TypeError: an annotation says nothing that can go over the wire.
    """
    hints = typing.get_type_hints(struct, include_extras=True)
    return tuple(_field(name, hints[name], struct.DEFAULTS[name]) for name in struct.FIELDS)


def _field(name: str, hint: object, default: object) -> Field:
    kind, is_array, is_nullable, marks = _resolve(hint)
    tells_null = False
    first, last, nullable_since, number = 0, NEVER, 0 if is_nullable else NEVER, None
    for mark in marks:
        match mark:
            case Since(version):
                first = version
            case Until(version):
                last = version
            case NullableSince(version):
                nullable_since = version
            case Tag(value, tells_null):
                number = value
            case Fixed() | RecordsMark():
                pass
            case _:
                raise TypeError(f"{name}: {mark!r} is no mark of the wire")
    return Field(name, kind, is_array, first, last, nullable_since, number, tells_null, default)


def _resolve(hint: object) -> tuple[Kind, bool, bool, tuple[object, ...]]:
    """Take an annotation apart: (kind, is array, is nullable, marks)."""
    marks: tuple[object, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        marks = tuple(extras)
        for mark in marks:
            if isinstance(mark, Fixed):
                return mark, False, False, marks
            if isinstance(mark, RecordsMark):
                return mark, False, True, marks
    if get_origin(hint) in (UnionType, typing.Union):
        choices = [choice for choice in get_args(hint) if choice is not NoneType]
        if len(choices) != 1:
            raise TypeError(f"{hint} is more than one type or None")
        kind, is_array, _, inner = _resolve(choices[0])
        return kind, is_array, True, inner + marks
    if get_origin(hint) is list:
        kind, _, _, _ = _resolve(get_args(hint)[0])
        return kind, True, False, marks
    if hint is str or hint is bytes or (isinstance(hint, type) and issubclass(hint, Struct)):
        return hint, False, False, marks
    raise TypeError(f"{hint} is not a type of the wire")
