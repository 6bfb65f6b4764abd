"""What stands in `examples/` runs as it stands there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.interop import jvm, toolchain
from tests.interop.node import MeshNode

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


def test_python(mesh_node: MeshNode) -> None:
    """confluent-kafka produces three records and reads them."""
    program = EXAMPLES / "python" / "produce_and_read.py"
    assert _run([sys.executable, str(program), mesh_node.bootstrap]) == GREETINGS


def test_python_with_our_own_client(mesh_node: MeshNode) -> None:
    """mesh.client produces three records and reads them."""
    program = EXAMPLES / "python" / "own_client.py"
    assert _run([sys.executable, str(program), mesh_node.bootstrap]) == GREETINGS


def test_java(mesh_node: MeshNode) -> None:
    """Kafka's own client produces three records and reads them."""
    if (reason := toolchain.java_missing()) is not None:
        pytest.skip(reason)
    program = EXAMPLES / "java" / "ProduceAndRead.java"
    assert _run(jvm.java(str(program), mesh_node.bootstrap)) == GREETINGS


def test_go(mesh_node: MeshNode) -> None:
    """franz-go produces three records and reads them."""
    if (reason := toolchain.go_missing()) is not None:
        pytest.skip(reason)
    assert _run([str(toolchain.go_build(EXAMPLES / "go")), mesh_node.bootstrap]) == GREETINGS


def test_javascript(mesh_node: MeshNode) -> None:
    """Kafkajs produces three records in a row."""
    if (reason := toolchain.javascript_missing()) is not None:
        pytest.skip(reason)
    directory = toolchain.npm_install(EXAMPLES / "javascript")
    printed = _run(["node", "produce.js", mesh_node.bootstrap], directory)
    assert printed.startswith("3 records in examples-javascript-0 from offset ")
