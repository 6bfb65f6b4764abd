"""Compiles the function that turns a frame into a message.

The generated code moves one position `p` forward over the frame `b`. A slice past the end is not
checked where it is taken, because `p` only grows: the next fixed read fails, or the last line
sees it. Counts are checked before anything is allocated for them.
"""

from typing import TypeVar, cast

from mesh.wire.fields import Field, Kind
from mesh.wire.message import Decoder, Message, Struct
from mesh.wire.primitives import (
    ELEMENTS_MAX,
    layout_of,
    skip_tags,
    tag_section,
    uvarint_rest,
)
from mesh.wire.source import Source
from mesh.wire.types import Fixed, RecordsMark, WireError

M = TypeVar("M", bound=Message)

_HELPERS = {
    "new": object.__new__,
    "uvarint_rest": uvarint_rest,
    "tag_section": tag_section,
    "skip_tags": skip_tags,
    "layout_of": layout_of,
    "WireError": WireError,
}


def compile_decoder(cls: type[M], version: int) -> Decoder[M]:
    """Write the decoder of one version of a message."""
    source = _DecoderSource(version, version >= cls.FLEXIBLE_FROM)
    source.names.update(_HELPERS)
    message = source.struct(cls)
    source.flush()
    if source.has_records:
        source.lines.insert(0, "    view = memoryview(b)")
    source.lines.insert(0, f"    budget = {ELEMENTS_MAX}")
    source.line("if p > end: raise WireError('the frame ends within a field')")
    source.line(f"return {message}")
    return cast(Decoder[M], source.compile(cls.__name__, "def decode(b, p, end):"))


class _DecoderSource(Source):
    has_records = False

    def flush(self) -> None:
        """Read the run of fixed-size fields gathered so far."""
        if not self.run:
            return
        if [code for code, _ in self.run] == ["B"]:
            self.line(f"{self.run[0][1]} = b[p]; p += 1")
        else:
            unpack, size = self.layout(self.run, "unpack_from")
            targets = "".join(f"{target}, " for _, target in self.run)
            self.line(f"{targets}= {unpack}(b, p); p += {size}")
        self.run.clear()

    def struct(self, cls: type[Struct]) -> str:
        """Read a structure into a new object; returns the object's name. May leave a run open."""
        target = self.fresh("o")
        self.line(f"{target} = new({self.bind(cls, cls.__name__)})")
        plain, tagged = self.plain_fields(cls), self.tagged_fields(cls)
        present = {field.name for field in plain}
        for name, default in cls.DEFAULTS.items():
            if name not in present:
                value = "[]" if default == [] else self.bind(default, "default")
                assert not isinstance(default, Struct), "a plain structure is in every version"
                self.line(f"{target}.{name} = {value}")
        for field in plain:
            self._field(field, f"{target}.{field.name}")
        if self.is_flexible:
            self._tags(target, tagged)
        return target

    def _field(self, field: Field, target: str) -> None:
        is_nullable = field.is_nullable_in(self.version)
        if field.is_array:
            self._array(field.kind, target, is_nullable)
        elif isinstance(field.kind, type) and issubclass(field.kind, Struct):
            tells_null = field.tag is None or field.tells_null
            self._struct_field(field.kind, target, is_nullable and tells_null)
        else:
            self._value(field.kind, target, is_nullable)

    def _struct_field(self, cls: type[Struct], target: str, is_nullable: bool) -> None:
        if not is_nullable:
            self.line(f"{target} = {self.struct(cls)}")
            return
        marker = self.fresh("n")
        self.run.append(("b", marker))
        self.flush()
        # -1 for null, but 0 where the structure is tagged; 1 for presence in both.
        self.line(f"if {marker} < 1: {target} = None")
        self.line("else:")
        self.depth += 1
        self.line(f"{target} = {self.struct(cls)}")
        self.flush()
        self.depth -= 1

    def _value(self, kind: Kind, target: str, is_nullable: bool) -> None:
        """Read anything but an array or a structure."""
        if isinstance(kind, Fixed):
            self.run.append((kind.code, target))
            return
        length = self._length("h" if kind is str else "i")
        if not is_nullable:
            self.line(f"if {length} < 0: raise WireError('null where a value must be')")
        else:
            self.line(f"if {length} < 0: {target} = None")
            self.line("else:")
            self.depth += 1
        stop = self.fresh("q")
        self.line(f"{stop} = p + {length}")
        if kind is str:
            self.line(f"{target} = str(b[p:{stop}], 'utf-8'); p = {stop}")
        elif isinstance(kind, RecordsMark):
            self.has_records = True
            self.line(f"{target} = view[p:{stop}]; p = {stop}")
        else:
            self.line(f"{target} = bytes(b[p:{stop}]); p = {stop}")
        if is_nullable:
            self.depth -= 1

    def _length(self, code: str) -> str:
        """Read a length or count into a name; negative stands for null."""
        length = self.fresh("n")
        self.run.append(("B" if self.is_flexible else code, length))
        self.flush()
        if self.is_flexible:
            self.line(f"if {length} > 127: {length}, p = uvarint_rest(b, p, {length})")
            self.line(f"{length} -= 1")
        return length

    def _array(self, kind: Kind, target: str, is_nullable: bool) -> None:
        count = self._length("i")
        if is_nullable:
            self.line(f"if {count} < 0: {target} = None")
            self.line("else:")
            self.depth += 1
        self.line(f"budget -= {count}")
        limit = f"(end - p) // {self.size_min(kind)}"
        self.line(f"if not 0 <= {count} <= {limit} or budget < 0:")
        self.line(f"    raise WireError(f'an array cannot have {{{count}}} elements')")
        if isinstance(kind, Fixed) and len(kind.code) == 1:
            self.line(f"{target} = list(layout_of('{kind.code}', {count}).unpack_from(b, p))")
            self.line(f"p += {kind.size} * {count}")
        else:
            self._loop(kind, target, count)
        if is_nullable:
            self.depth -= 1

    def _loop(self, kind: Kind, target: str, count: str) -> None:
        items, item = self.fresh("a"), self.fresh("e")
        self.line(f"{target} = {items} = []")
        self.line(f"for _ in range({count}):")
        self.depth += 1
        if isinstance(kind, type) and issubclass(kind, Struct):
            item = self.struct(kind)
        else:
            self._value(kind, item, is_nullable=False)
        self.flush()
        self.line(f"{items}.append({item})")
        self.depth -= 1

    def _tags(self, target: str, tagged: list[Field]) -> None:
        """Read the tag section; all but its count is a slow path that few frames take."""
        count = self.fresh("t")
        self.run.append(("B", count))
        self.flush()
        self.line(f"if {count}:")
        self.depth += 1
        self.line(f"if {count} > 127: {count}, p = uvarint_rest(b, p, {count})")
        if tagged:
            self._tag_loop(target, tagged, count)
        else:
            self.line(f"p = skip_tags(b, p, {count}, end)")
        self.depth -= 1

    def _tag_loop(self, target: str, tagged: list[Field], count: str) -> None:
        number, stop = self.fresh("t"), self.fresh("q")
        self.line(f"for {number}, p, {stop} in tag_section(b, p, {count}, end):")
        self.depth += 1
        for index, field in enumerate(tagged):
            self.line(f"{'elif' if index else 'if'} {number} == {field.tag}:")
            self.depth += 1
            self._field(field, f"{target}.{field.name}")
            self.flush()
            self.depth -= 1
        self.line(f"else: p = {stop}")
        self.line(f"if p != {stop}: raise WireError('a tagged field has another length')")
        self.depth -= 1
