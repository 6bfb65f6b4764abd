"""What mypy sees of this room from outside: every field and function with its plain type."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mesh.wire
from mesh.wire import API_NAMES, Struct, request_class, response_class
from mesh.wire.fields import fields_of

ROOT = Path(__file__).parents[3]


def structs_within(cls: type[Struct]) -> Iterator[type[Struct]]:
    yield cls
    for field in fields_of(cls):
        if isinstance(field.kind, type) and issubclass(field.kind, Struct):
            yield from structs_within(field.kind)


def probes() -> list[str]:
    """Expressions whose types are what leaves the room."""
    declared = {
        struct_class
        for api_key in API_NAMES
        for cls in (request_class(api_key), response_class(api_key))
        for struct_class in structs_within(cls)
    }
    found = [f"mesh.wire.{name}" for name in mesh.wire.__all__]
    for struct_class in sorted(declared, key=lambda cls: (cls.__module__, cls.__name__)):
        where = f"{struct_class.__module__}.{struct_class.__name__}"
        found.append(where)
        found += [f"{where}().{name}" for name in struct_class.FIELDS]
    return found


def revealed(expressions: list[str], directory: Path) -> list[str]:
    """mypy's types of the expressions, one each."""
    modules = [name for name in sys.modules if name.startswith("mesh.wire")]
    lines = [f"import {name}" for name in ("json", *modules)]
    lines += [f"reveal_type({expression})" for expression in expressions]
    (directory / "probe.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
    run = subprocess.run(
        [*command, str(directory / "probe.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error:" not in run.stdout, run.stdout + run.stderr
    return re.findall(r'Revealed type is "(.*)"$', run.stdout, re.MULTILINE)


def test_no_any_leaves_the_room(tmp_path: Path) -> None:
    """mypy gives every field, constructor and function of the door a type without `Any`."""
    expressions = probes()
    types = revealed([*expressions, "json.loads('')"], tmp_path)
    assert len(types) == len(expressions) + 1 > 1_000
    assert types.pop() == "Any", "the control is not detected"
    with_any = [
        f"{expression}: {found}"
        for expression, found in zip(expressions, types, strict=True)
        if re.search(r"\bAny\b", found)
    ]
    assert with_any == []
