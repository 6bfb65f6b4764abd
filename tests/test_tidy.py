"""The shape of the house: who may import whom, what a machine may touch, how long things get."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES_MAX, FUNCTION_LINES_MAX, COLUMNS_MAX = 700, 70, 100


@dataclass(frozen=True)
class Room:
    """What a folder may import: rooms and modules of ours, libraries, all of the stdlib."""

    ours: frozenset[str]
    libraries: frozenset[str] = frozenset()
    machine: bool = False
    """Whether it is pure: no clock, socket, file, thread or dice."""


def room(ours: str, libraries: str = "", *, machine: bool = False) -> Room:
    return Room(frozenset(ours.split()), frozenset(libraries.split()), machine)


ROOMS = {
    "storage": room("storage", "xxhash crc32c lz4 zstandard cramjam"),
    "mesh/model": room("mesh.model mesh.version storage.types", "cbor2", machine=True),
    "mesh/runtime": room(
        "mesh.runtime mesh.model storage.disk storage.types", "trio cryptography cbor2"
    ),
    "mesh/wire": room("mesh.wire mesh.model storage.records storage.types", machine=True),
    "mesh/registry": room("mesh.registry mesh.model storage.types", "cbor2 xxhash", machine=True),
    "mesh/gossip": room("mesh.gossip mesh.model", "cbor2 xxhash", machine=True),
    "mesh/placement": room("mesh.placement mesh.model", "xxhash", machine=True),
    "mesh/groups": room("mesh.groups mesh.wire mesh.model storage.types", "re2", machine=True),
    "mesh/links": room("mesh.links mesh.model", "cbor2 xxhash", machine=True),
    "mesh/replication": room("mesh.replication mesh.model storage.types", machine=True),
    "mesh/client": room(
        "mesh.client mesh.model mesh.wire mesh.version "
        "storage.records storage.compression storage.errors storage.types",
        "trio",
    ),
    "mesh/broker": room(
        "mesh.broker mesh.registry mesh.replication mesh.links mesh.groups mesh.wire mesh.model "
        "storage",
        "cbor2",
        machine=True,
    ),
    "mesh/metrics": room("mesh.metrics mesh.model", "prometheus_client"),
    "mesh/node": room("mesh storage", "h11 trio"),
    "tools": room("tools simulations mesh storage", "click rich trio cbor2"),
    "simulations": room("simulations mesh storage", "cbor2 trio xxhash matplotlib"),
}
"""The layout of the house, as in docs/architecture.md. A room that is not here may not exist."""

IMPURE = {
    "trio": "effects; the driver in mesh/node touches the world",
    "time": "the Now that is passed in",
    "random": "the Rng that is passed in",
    "secrets": "the Rng that is passed in",
    "socket": "effects; mesh/runtime holds the sockets",
    "threading": "effects; the driver picks the thread",
    "subprocess": "nothing; a machine starts no processes",
    "asyncio": "nothing; the driver is trio",
    "os": "the Disk port that is passed in",
}
"""What no machine imports, and what it uses instead."""

MARKS = ["".join(halves) for halves in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK"))]
"""In two halves, so that this file does not find itself."""
ENTRY_POINTS = {"mesh/__main__.py"}


@dataclass(frozen=True)
class Source:
    """One parsed file of ours."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def sources(*tops: str) -> list[Source]:
    paths = sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))
    return [Source(path, text := path.read_text(), ast.parse(text)) for path in paths]


OURS = sources("mesh", "storage", "tools", "simulations")
ALL = OURS + sources("tests", "examples")


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, and each name that may itself be a module."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{source.name}:{node.lineno}: write the whole module name"
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def room_of(source: Source) -> Room | None:
    folders = [folder for folder in ROOMS if source.name.startswith(f"{folder}/")]
    return ROOMS[max(folders, key=len)] if folders else None


def is_inside(module: str, allowed: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def test_every_room_imports_only_what_it_may() -> None:
    """No arrow goes against the table of rooms."""
    wrong = []
    for source in OURS:
        if source.name in ENTRY_POINTS or source.name in ("mesh/__init__.py", "mesh/version.py"):
            continue
        found = room_of(source)
        assert found is not None, f"{source.name} is in no room of the table"
        for line, module in imports(source):
            top = module.split(".")[0]
            if top in ("mesh", "storage", "tools", "simulations", "tests"):
                # `from a.b import c` yields a.b and a.b.c; either may be what is allowed.
                fine = is_inside(module, found.ours) or any(
                    name.startswith(f"{module}.") for name in found.ours
                )
            else:
                fine = top in sys.stdlib_module_names or top in found.libraries
            if not fine:
                wrong.append(f"{source.name}:{line}: may not import {module}")
    assert wrong == []


def test_machines_touch_nothing_of_the_world() -> None:
    """A machine room has no await, clock, dice, file, socket or thread."""
    wrong = []
    for source in OURS:
        found = room_of(source)
        # The client's machine is one file in a room that also holds its driver.
        pure = (found is not None and found.machine) or source.name == "mesh/client/machine.py"
        if not pure:
            continue
        for line, module in imports(source):
            if (top := module.split(".")[0]) in IMPURE:
                wrong.append(f"{source.name}:{line}: {top}; instead: {IMPURE[top]}")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor):
                wrong.append(f"{source.name}:{node.lineno}: async; instead: return an effect")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
                wrong.append(f"{source.name}:{node.lineno}: open; instead: the Disk port")
    assert wrong == []


def test_every_file_is_used() -> None:
    """No module lies about that nobody imports."""
    used = {module for source in ALL for _, module in imports(source)}
    named = "\n".join(source.text for source in OURS)
    unused = [
        source.name
        for source in OURS
        if source.module not in used
        and source.name not in ENTRY_POINTS
        and not source.name.endswith("__init__.py")
        # Loaded by their API's name; tests/mesh/wire holds them against the catalogue.
        and not source.module.startswith("mesh.wire.schemas.")
        # Commands are imported by name when they are called.
        and f'"{source.module}' not in named
    ]
    assert unused == []


@pytest.mark.parametrize("source", ALL, ids=lambda source: source.name)
def test_nothing_grows_too_long(source: Source) -> None:
    """Lines, functions and modules stay within what can be read."""
    wrong = []
    lines = source.text.split("\n")
    if len(lines) > LINES_MAX:
        wrong.append(f"{source.name} has {len(lines)} lines; split it by role")
    wrong += [
        f"{source.name}:{number}: {len(line)} columns"
        for number, line in enumerate(lines, 1)
        if len(line) > COLUMNS_MAX
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                wrong.append(f"{source.name}:{node.lineno}: {node.name} has {length} lines")
    assert wrong == []


def test_no_marks_are_left_over() -> None:
    """What is unfinished is said in an issue, not in the code."""
    mark = re.compile("\\b(" + "|".join(MARKS) + ")\\b")
    found = [
        f"{source.name}:{number}: {line.strip()}"
        for source in ALL
        for number, line in enumerate(source.text.split("\n"), 1)
        if mark.search(line)
    ]
    assert found == []


def test_every_test_states_its_truth() -> None:
    """Each test has a docstring that says what it guards."""
    silent = [
        f"{source.name}:{node.lineno}: {node.name}"
        for source in ALL
        if source.name.startswith("tests/")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_hot_path_is_short() -> None:
    """Produce is one handler file of at most 160 lines that makes nothing per record."""
    text = (ROOT / "mesh/broker/handlers/produce.py").read_text()
    assert len(text.splitlines()) <= 160
    assert "read_records" not in text


def test_every_room_has_its_readme() -> None:
    """Each room says what it owns, may import, keeps true, taught us and decided."""
    headings = ("Owns", "May import", "Invariants", "Not obvious", "Decided, and why")
    for folder in ROOMS:
        text = (ROOT / folder / "README.md").read_text()
        missing = [heading for heading in headings if f"## {heading}" not in text]
        assert missing == [], f"{folder}/README.md lacks {missing}"


def test_every_mark_of_a_protocol_fact_is_explained() -> None:
    """Where the code says G13, docs/protocol.md says what that is."""
    mark = re.compile(r"\b[GRS][0-9]{1,2}\b")
    explained = set(mark.findall((ROOT / "docs/protocol.md").read_text()))
    used = {found for source in OURS for found in mark.findall(source.text)}
    assert used - explained == set()
