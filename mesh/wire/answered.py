"""Which error codes stand in a response: its declaration tells where, plain loops read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from mesh.wire.fields import fields_of
from mesh.wire.message import Message, Struct

Reader: TypeAlias = Callable[[Message], list[int]]
FIELD = "error_code"


def error_codes(response: Message) -> list[int]:
    """Return the error codes of a response other than 0, one for each place that has one."""
    kind = type(response)
    if kind not in _READERS:
        _READERS[kind] = _reader(kind)
    return _READERS[kind](response)


_READERS: dict[type[Message], Reader] = {}
"""Made at first use."""


def _reader(kind: type[Message]) -> Reader:
    """Write the loops out in source: they run for every answer, and mostly find nothing."""
    lines = ["def read(m):", "    found = []", *_lines(kind, "m", 1, ()), "    return found"]
    namespace: dict[str, object] = {}
    exec("\n".join(lines), namespace)  # noqa: S102 - our own text, built from identifiers
    return cast("Reader", namespace["read"])


def _lines(kind: type[Struct], name: str, depth: int, above: tuple[type[Struct], ...]) -> list[str]:
    """Return what looks into a structure called `name`; nothing if no error can be in it."""
    indent = "    " * depth
    lines: list[str] = []
    for field in fields_of(kind):
        value = f"{name}.{field.name}"
        if field.name == FIELD:
            lines.append(f"{indent}if {value}: found.append({value})")
        elif isinstance(field.kind, type) and issubclass(field.kind, Struct):
            if field.kind in above:
                continue  # A structure that holds itself; none does so far.
            inner = f"m{depth}"
            below = _lines(field.kind, inner, depth + 1, (*above, kind))
            if below:
                many = (
                    f"{value} or ()" if field.is_array else f"() if {value} is None else ({value},)"
                )
                lines += [f"{indent}for {inner} in {many}:", *below]
    return lines
