"""What a declaration becomes: a slotted class with a keyword-only constructor.

A subclass of `Struct` lists its fields as annotated attributes with their schema defaults. The
metaclass takes the defaults out of the class body, because `__slots__` wants the names for
itself, and writes them into the constructor; a list or a structure is a fresh one each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Self, TypeAlias, TypeVar, dataclass_transform

from mesh.wire.types import NEVER, Part
from storage.types import Buffer

M_co = TypeVar("M_co", covariant=True)

Decoder: TypeAlias = Callable[[Buffer, int, int], M_co]
"""(frame, where the body begins, where it ends) -> message."""
Encoder: TypeAlias = "Callable[[Message, list[bytes], list[Part]], None]"
"""(message, bytes not yet joined, parts done): see encoder.py."""

_FRESH: Final = object()
"""Stands in a constructor's defaults for a new list or structure that nobody else holds."""


@dataclass_transform(kw_only_default=True)
class Declaration(type):
    """Builds the slots and the constructor of a declaration."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, object],
        *,
        api_key: int = -1,
        versions: tuple[int, int] | None = None,
        flexible_from: int = NEVER,
    ) -> Declaration:
        """`api_key`, `versions` (inclusive) and `flexible_from` are for a `Message` only.

        What is stored and never sent has no `api_key`.
        """
        annotations = namespace.get("__annotations__", {})
        assert isinstance(annotations, dict)
        names = tuple(n for n, hint in annotations.items() if not hint.startswith("ClassVar"))
        defaults = {field: namespace.pop(field) for field in names}
        namespace["__slots__"] = names
        namespace["FIELDS"] = names
        namespace["DEFAULTS"] = defaults
        if names:
            namespace["__init__"] = _constructor(defaults)
        if versions is not None:
            namespace["API_KEY"] = api_key
            namespace["VERSIONS"] = versions
            namespace["FLEXIBLE_FROM"] = flexible_from
            namespace["DECODERS"] = {}
            namespace["ENCODERS"] = {}
        return super().__new__(mcls, name, bases, namespace)


def _constructor(defaults: dict[str, object]) -> object:
    """Write `__init__` out in source, since a loop over the fields takes three times as long."""
    lines = [f"def __init__(self, *, {', '.join(f'{name}=None' for name in defaults)}):"]
    namespace: dict[str, object] = {"FRESH": _FRESH}
    for name, default in defaults.items():
        value = name
        if _is_mutable(default):
            namespace[f"new_{name}"] = type(default)
            value = f"new_{name}() if {name} is FRESH else {name}"
        lines.append(f"    self.{name} = {value}")
    exec("\n".join(lines), namespace)  # noqa: S102 - our own text, built from identifiers
    init = namespace["__init__"]
    init.__kwdefaults__ = {  # type: ignore[attr-defined]
        name: _FRESH if _is_mutable(default) else default for name, default in defaults.items()
    }
    return init


def _is_mutable(default: object) -> bool:
    return default == [] or isinstance(type(default), Declaration)


class Struct(metaclass=Declaration):
    """A declared structure: a part of a message, or a whole one."""

    FIELDS: ClassVar[tuple[str, ...]]
    """Names in wire order, of all versions."""
    DEFAULTS: ClassVar[dict[str, object]]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.FIELDS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self.FIELDS)
        return f"{type(self).__name__}({fields})"


def _shown(value: object) -> str:
    """Bytes may be records, passwords or tokens, and a repr ends up in logs: show how many."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


class Message(Struct):
    """A request's or a response's body, for all of its versions at once."""

    API_KEY: ClassVar[int]
    VERSIONS: ClassVar[tuple[int, int]]
    """First and last declared version, inclusive; what is advertised is for handlers to say."""
    FLEXIBLE_FROM: ClassVar[int]
    """First version with compact lengths and tags (KIP-482); `NEVER` if there is none."""
    DECODERS: ClassVar[dict[int, Decoder[Self]]]
    """Compiled at first use, by version."""
    ENCODERS: ClassVar[dict[int, Encoder]]
