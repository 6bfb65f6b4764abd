"""Names, versions, nulls and defaults against the message definitions that kafka-python carries.

kio, whose bytes we match, renames some fields and leaves out some defaults; this is the second
opinion on those, for the APIs that kafka-python has.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, cast

from mesh.wire import API_NAMES, EMPTY_RECORDS, NO_UUID, Struct, request_class, response_class
from mesh.wire.fields import Field, fields_of
from mesh.wire.types import NEVER

Definition: TypeAlias = "dict[str, str | int | bool | list[Definition]]"
Versions: TypeAlias = "tuple[int, int] | None"

OUR_DEFAULTS = {("PartitionData", "records"): EMPTY_RECORDS}
"""Null breaks librdkafka (KAFKA-18646)."""


@dataclass
class Comparison:
    """One message's definition beside its declaration."""

    common: dict[str, list[Definition]]
    last: int
    differences: list[str] = field(default_factory=list)
    field_count: int = 0

    def compare(self, ours: type[Struct], theirs: list[Definition], versions: Versions) -> None:
        """Compare the fields of one structure, and of those within it."""
        assert versions is not None
        declared = {f.name: f for f in fields_of(ours)}
        for definition in theirs:
            within = overlap(self._range(definition, "versions"), versions)
            if within is None:
                continue
            name = snake_case(str(definition["name"]))
            self.field_count += 1
            if name not in declared:
                self.differences.append(f"{ours.__name__} has no {name}")
                continue
            self._field(ours, declared[name], definition, within)

    def _field(
        self, cls: type[Struct], ours: Field, theirs: Definition, versions: tuple[int, int]
    ) -> None:
        where = f"{cls.__name__}.{ours.name}"
        if overlap((ours.since, ours.until), versions) != versions:
            self.differences.append(f"{where} is not in all of {versions}")
        tag = theirs.get("tag")
        if ours.tag != tag:
            self.differences.append(f"{where} has tag {ours.tag}, not {tag}")
        nested = str(theirs["type"]).removeprefix("[]")
        if nested[0].isupper():
            assert isinstance(ours.kind, type)
            assert issubclass(ours.kind, Struct)
            inner = cast(list[Definition], theirs.get("fields")) or self.common[nested]
            self.compare(ours.kind, inner, versions)
        is_tagged_struct = nested[0].isupper() and tag is not None and not ours.is_array
        if not is_tagged_struct:  # ours are None when left out, whatever may be null
            self._nulls_and_default(cls, ours, theirs, versions, where)

    def _nulls_and_default(
        self,
        cls: type[Struct],
        ours: Field,
        theirs: Definition,
        versions: tuple[int, int],
        where: str,
    ) -> None:
        their_nulls = overlap(self._range(theirs, "nullableVersions"), versions)
        our_nulls = overlap((ours.nullable_since, NEVER), versions)
        if our_nulls != their_nulls and theirs["type"] != "records":
            self.differences.append(f"{where} may be null in {our_nulls}, not {their_nulls}")
        default = OUR_DEFAULTS.get((cls.__name__, ours.name), default_of(theirs))
        if ours.default != default:
            self.differences.append(f"{where} is {ours.default!r} by default, not {default!r}")

    def _range(self, definition: Definition, key: str) -> Versions:
        """Read `3`, `3-5`, `3+` or `none`."""
        text = str(definition.get(key, "none"))
        if text == "none":
            return None
        first, _, last = text.removesuffix("+").partition("-")
        return int(first), int(last or (self.last if text.endswith("+") else first))


def overlap(one: Versions, other: tuple[int, int]) -> Versions:
    if one is None:
        return None
    first, last = max(one[0], other[0]), min(one[1], other[1])
    return (first, last) if first <= last else None


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def default_of(definition: Definition) -> object:
    """The stated default, or the one that Kafka's generator takes where none is stated."""
    kind, stated = str(definition["type"]), definition.get("default")
    if stated == "null" or (stated is None and kind == "records"):
        return None
    if stated is None:
        implied = {"string": "", "bool": False, "bytes": b"", "uuid": NO_UUID}
        return [] if kind.startswith("[]") else implied.get(kind, 0)
    if kind == "bool":
        return str(stated).lower() == "true"
    return stated if kind == "string" else int(str(stated), 0)


def definitions() -> Iterator[tuple[type[Struct], tuple[int, int], Definition]]:
    """Every message that both have: our class, our versions, their definition."""
    package = find_spec("kafka")  # found, not imported: that warns, and takes its time
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0], "protocol", "schemas", "resources")
    for api_key in API_NAMES:
        for cls in (request_class(api_key), response_class(api_key)):
            found = folder / f"{cls.__name__}.json"
            if found.is_file():
                text = re.sub(r"^\s*//.*$", "", found.read_text(), flags=re.MULTILINE)
                yield cls, cls.VERSIONS, json.loads(text)


def test_names_versions_nulls_and_defaults_are_kafkas() -> None:
    """What we call a field, where it is and what it is by default stands in Kafka's definitions."""
    differences: list[str] = []
    field_count = 0
    for cls, versions, definition in definitions():
        common = cast(list[Definition], definition.get("commonStructs", []))
        fields = {str(c["name"]): cast(list[Definition], c["fields"]) for c in common}
        comparison = Comparison(common=fields, last=versions[1])
        comparison.compare(cls, cast(list[Definition], definition["fields"]), versions)
        differences += comparison.differences
        field_count += comparison.field_count
    assert differences == []
    assert field_count > 800
