"""What stands in `examples/` runs as it stands there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from mesh.client import connect
from tests.interop import jvm, toolchain
from tests.interop.node import MeshNode
from tools.group.lag import measure, take_look

EXAMPLES = toolchain.ROOT / "examples"
GREETINGS = "greeting = one\ngreeting = two\ngreeting = three\n"
RUN_WAIT_S = 60


def _run(command: Sequence[str], directory: Path = EXAMPLES) -> str:
    """Return what the command prints; it must end well."""
    result = subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_WAIT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def _lag(at: str, group: str) -> int | None:
    """How many records a group has left to read."""

    async def ask() -> int | None:
        async with connect(at) as client:
            return measure(None, await take_look(client, group), {}).lag

    return trio.run(ask)


def _run_twice(command: Sequence[str], at: str, group: str, directory: Path = EXAMPLES) -> None:
    """Each run reads its own three records, because the one before committed where it was."""
    for _ in range(2):
        assert _run([*command, at], directory) == GREETINGS
        assert _lag(at, group) == 0


@pytest.fixture
def at(mesh_node: MeshNode) -> str:
    """Where the examples run."""
    return mesh_node.bootstrap


def test_python(at: str) -> None:
    """confluent-kafka produces three records and reads them in a group, each run its own."""
    program = EXAMPLES / "python" / "produce_and_read.py"
    _run_twice([sys.executable, str(program)], at, "examples-python")


def test_python_with_our_own_client(at: str) -> None:
    """mesh.client produces three records and reads them in a group, each run its own."""
    program = EXAMPLES / "python" / "own_client.py"
    _run_twice([sys.executable, str(program)], at, "examples-own")


def test_java(at: str) -> None:
    """Kafka's own client produces three records and reads them in a group, each run its own."""
    if (reason := toolchain.java_missing()) is not None:
        pytest.skip(reason)
    program = EXAMPLES / "java" / "ProduceAndRead.java"
    _run_twice(jvm.java(str(program)), at, "examples-java")


def test_go(at: str) -> None:
    """franz-go produces three records and reads them in a group, each run its own."""
    if (reason := toolchain.go_missing()) is not None:
        pytest.skip(reason)
    program = str(toolchain.go_build(EXAMPLES / "go"))
    _run_twice([program], at, "examples-go")


def test_javascript(at: str) -> None:
    """Kafkajs produces three records and reads them in a group, each run its own."""
    if (reason := toolchain.javascript_missing()) is not None:
        pytest.skip(reason)
    directory = toolchain.npm_install(EXAMPLES / "javascript")
    _run_twice(["node", "produce_and_read.js"], at, "examples-javascript", directory)
