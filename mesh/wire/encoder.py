"""Compiles the function that turns a message into bytes.

The generated code appends pieces to `out`; records end a part and are spliced in as they are.
A field that the version does not have is passed over.
"""

from typing import cast

from mesh.wire.fields import Field, Kind
from mesh.wire.message import Encoder, Message, Struct
from mesh.wire.primitives import SMALL, layout_of, splice, uvarint
from mesh.wire.source import Code, Source
from mesh.wire.types import Fixed, RecordsMark, WireError

_HELPERS = {
    "SMALL": SMALL,
    "uvarint": uvarint,
    "layout_of": layout_of,
    "splice": splice,
    "WireError": WireError,
}


def compile_encoder(cls: type[Message], version: int) -> Encoder:
    """Write the encoder of one version of a message."""
    source = _EncoderSource(version, version >= cls.FLEXIBLE_FROM)
    source.names.update(_HELPERS)
    source.line("write = out.append")
    source.struct(cls, "m")
    source.flush()
    return cast(Encoder, source.compile(cls.__name__, "def encode(m, out, parts):"))


class _EncoderSource(Source):
    write = "write"
    """Name of what takes the next piece; another one while a tagged field is written."""

    def flush(self) -> None:
        """Write the run of fixed-size fields gathered so far."""
        if self.run:
            self.line(f"{self.write}({self._packed(self.run)})")
            self.run.clear()

    def _packed(self, run: list[Code]) -> str:
        if all(expression.isdigit() and code == "B" for code, expression in run):
            return repr(bytes(int(expression) for _, expression in run))
        pack, _ = self.layout(run, "pack")
        return f"{pack}({', '.join(expression for _, expression in run)})"

    def _flush_with_length(self, code: str, length: str) -> None:
        """End the run with a length, which in flexible versions may need more than one byte."""
        if not self.is_flexible:
            self.run.append((code, length))
            self.flush()
            return
        if self.run:
            short = self._packed([*self.run, ("B", length)])
            long = f"{self._packed(self.run)} + uvarint({length})"
        else:
            short, long = f"SMALL[{length}]", f"uvarint({length})"
        self.line(f"{self.write}({short} if {length} < 128 else {long})")
        self.run.clear()

    def struct(self, cls: type[Struct], value: str) -> None:
        """Write a structure that a name stands for. May leave a run open."""
        for field in self.plain_fields(cls):
            self._field(field, f"{value}.{field.name}")
        if not self.is_flexible:
            return
        tagged = self.tagged_fields(cls)
        if tagged:
            self._tags(tagged, value)
        else:
            self.run.append(("B", "0"))

    def _field(self, field: Field, value: str) -> None:
        is_nullable = field.is_nullable_in(self.version)
        if field.is_array:
            self._array(field.kind, value, is_nullable)
        elif isinstance(field.kind, type) and issubclass(field.kind, Struct):
            null = b"\0" if field.tells_null else b"\xff" if field.tag is None else None
            self._struct_field(field.kind, value, null if is_nullable else None)
        else:
            self._value(field.kind, value, is_nullable)

    def _struct_field(self, cls: type[Struct], value: str, null: bytes | None) -> None:
        """Write a structure; null is what stands for None, if that can be."""
        name = self.fresh("o")
        self.line(f"{name} = {value}")
        if null is None:
            self.struct(cls, name)
            return
        self.flush()
        self.line(f"if {name} is None: {self.write}({null!r})")
        self.line("else:")
        self.depth += 1
        self.run.append(("B", "1"))
        self.struct(cls, name)
        self.flush()
        self.depth -= 1

    def _value(self, kind: Kind, value: str, is_nullable: bool) -> None:
        """Write anything but an array or a structure."""
        if isinstance(kind, Fixed):
            if kind.code == "16s":  # struct would pad or cut without a word
                self.line(f"if len({value}) != 16: raise WireError('a UUID has 16 bytes')")
            self.run.append((kind.code, value))
            return
        null = "0" if self.is_flexible else "-1"
        code = "h" if kind is str else "i"
        content, length = self.fresh("s"), self.fresh("n")
        encoded = f"{value}.encode()" if kind is str else value
        written = f"{content} = {encoded}; {length} = len({content}){' + 1' * self.is_flexible}"
        if is_nullable:
            self.line(f"if {value} is None: {content} = b''; {length} = {null}")
            self.line(f"else: {written}")
        else:
            self.line(written)
        self._flush_with_length(code, length)
        if isinstance(kind, RecordsMark):
            assert self.write == "write", "no tagged field holds records"
            self.line(f"if len({content}): splice(out, parts, {content})")
        else:
            self.line(f"if {content}: {self.write}({content})")

    def _array(self, kind: Kind, value: str, is_nullable: bool) -> None:
        items, count = self.fresh("a"), self.fresh("n")
        extra = " + 1" if self.is_flexible else ""
        self.line(f"{items} = {value}")
        if is_nullable:
            null = "0" if self.is_flexible else "-1"
            self.line(f"if {items} is None: {items} = (); {count} = {null}")
            self.line(f"else: {count} = len({items}){extra}")
        else:
            self.line(f"{count} = len({items}){extra}")
        self._flush_with_length("i", count)
        if isinstance(kind, Fixed) and len(kind.code) == 1:
            self.line(f"{self.write}(layout_of('{kind.code}', len({items})).pack(*{items}))")
            return
        item = self.fresh("e")
        self.line(f"for {item} in {items}:")
        self.depth += 1
        if isinstance(kind, type) and issubclass(kind, Struct):
            self.struct(kind, item)
        else:
            self._value(kind, item, is_nullable=False)
        self.flush()
        self.depth -= 1

    def _tags(self, tagged: list[Field], value: str) -> None:
        """Write the tag section: one test when all have their defaults, else the slow path."""
        self.flush()
        tests = [self._differs(field, f"{value}.{field.name}") for field in tagged]
        self.line(f"if {' or '.join(tests)}:")
        self.depth += 1
        pieces = self.fresh("t")
        self.line(f"{pieces} = []")
        for field, test in zip(tagged, tests, strict=True):
            self.line(f"if {test}:")
            self.depth += 1
            self._tag(field, f"{value}.{field.name}", pieces)
            self.depth -= 1
        self.line(f"{self.write}(uvarint(len({pieces}))); {self.write}(b''.join({pieces}))")
        self.depth -= 1
        self.line(f"else: {self.write}(b'\\0')")

    def _tag(self, field: Field, value: str, pieces: str) -> None:
        content, outer = self.fresh("v"), self.write
        self.write = self.fresh("write")
        self.line(f"{content} = []; {self.write} = {content}.append")
        self._field(field, value)
        self.flush()
        self.line(f"{content} = b''.join({content})")
        self.line(f"{pieces}.append(uvarint({field.tag}) + uvarint(len({content})) + {content})")
        self.write = outer

    def _differs(self, field: Field, value: str) -> str:
        """Say in source when a tagged field must be sent."""
        if field.tells_null:
            return "True"
        if field.default == []:
            return f"{value}" if not field.is_nullable_in(self.version) else f"{value} != []"
        if isinstance(field.kind, type) and issubclass(field.kind, Struct):
            nothing = self.bind(field.kind(), "default")
            return f"({value} is not None and {value} != {nothing})"
        if field.default is None:
            return f"{value} is not None"
        return f"{value} != {self.bind(field.default, 'default')}"
