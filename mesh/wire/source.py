"""What both compilers share: lines of source, fresh names, and the run of fixed-size fields.

Speed comes from the run: neighbouring fields of fixed size, and the length byte behind them,
become one `struct` call (measured: 75 ns a call, whether for one field or for eight).
"""

from struct import Struct as Layout
from typing import TypeAlias

from mesh.wire.fields import Field, Kind, fields_of
from mesh.wire.message import Struct
from mesh.wire.types import Fixed, RecordsMark

Code: TypeAlias = tuple[str, str]
"""A `struct` code, and the expression that is packed or the target that is unpacked."""


class Source:
    """A function under construction, for one version of one message."""

    def __init__(self, version: int, is_flexible: bool) -> None:
        self.version = version
        self.is_flexible = is_flexible
        self.lines: list[str] = []
        self.depth = 1
        self.run: list[Code] = []
        self.names: dict[str, object] = {}
        self._count = 0

    def line(self, text: str) -> None:
        """Add a line at the present depth."""
        self.lines.append("    " * self.depth + text)

    def fresh(self, prefix: str) -> str:
        """Return a name that is used nowhere else."""
        self._count += 1
        return f"{prefix}{self._count}"

    def bind(self, value: object, prefix: str) -> str:
        """Return a name under which the function sees `value`."""
        for name, bound in self.names.items():
            if bound is value:
                return name
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    def layout(self, run: list[Code], method: str) -> tuple[str, int]:
        """Bind `pack` or `unpack_from` of a run's layout; returns its name and size in bytes."""
        layout = Layout(">" + "".join(code for code, _ in run))
        name = f"{method}_{layout.format[1:].replace('?', 'Z')}"
        self.names[name] = getattr(layout, method)
        return name, layout.size

    def compile(self, name: str, header: str) -> object:
        """Return the finished function."""
        text = "\n".join([header, *self.lines])
        exec(compile(text, f"<mesh.wire {name} v{self.version}>", "exec"), self.names)  # noqa: S102
        return self.names[header.removeprefix("def ").split("(")[0]]

    def size_min(self, kind: Kind, is_array: bool = False, is_nullable: bool = False) -> int:
        """Fewest bytes that one value takes: what bounds a count before it is believed."""
        if is_array:
            return 1 if self.is_flexible else 4
        if isinstance(kind, Fixed):
            return kind.size
        if kind is str:
            return 1 if self.is_flexible else 2
        if kind is bytes or isinstance(kind, RecordsMark):
            return 1 if self.is_flexible else 4
        assert issubclass(kind, Struct)
        if is_nullable:
            return 1
        size = sum(map(self._field_size_min, self.plain_fields(kind)))
        return size + 1 if self.is_flexible else size

    def _field_size_min(self, field: Field) -> int:
        return self.size_min(field.kind, field.is_array, field.is_nullable_in(self.version))

    def plain_fields(self, struct: type[Struct]) -> list[Field]:
        """Fields of this version that always stand in the body, in wire order."""
        return [f for f in fields_of(struct) if f.tag is None and f.is_in(self.version)]

    def tagged_fields(self, struct: type[Struct]) -> list[Field]:
        """Tagged fields of this version, by ascending tag."""
        tagged = [f for f in fields_of(struct) if f.tag is not None and f.is_in(self.version)]
        return sorted(tagged, key=lambda f: f.tag or 0)
