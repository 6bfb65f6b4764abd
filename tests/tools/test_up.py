"""`mesh up`: processes that start together, are one mesh, and end together."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.tools.members import ended
from tools.errors import Exit
from tools.up import STRIDE

ROOT = Path(__file__).parents[2]
WAIT_S = 60


def command(data: Path, port: int, *options: str) -> list[str]:
    plain = [sys.executable, "-m", "mesh", "up", "--data", str(data)]
    return [*plain, "--listen", f"127.0.0.1:{port}", *options]


@contextmanager
def running(data: Path, port: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(data, port, *options),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def free_base(nodes: int) -> int:
    """Return a port from which on the ports of so many nodes are free; no client gets these."""
    first = random.Random(time.monotonic_ns()).randrange(11_000, 30_000)
    for base in range(first, 31_000, STRIDE):
        with ExitStack() as bound:
            try:
                for port in range(base, base + STRIDE * nodes):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        probe = bound.enter_context(socket.socket(type=kind))
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return base
    raise AssertionError("no stretch of ports is free")


def states(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=WAIT_S) as answer:
        return [node["state"] for node in json.load(answer)["nodes"]]


def nodes_on(data: Path) -> list[int]:
    """Return the processes that run nodes in a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"node" in words and any(word.startswith(bytes(data)) for word in words):
                found.append(int(entry.name))
    return found


def test_three_nodes_run_and_end_together(tmp_path: Path) -> None:
    """They agree, survive one of them, and all end with SIGTERM; the directory goes on."""
    data, port = tmp_path / "mesh", free_base(3)
    for again in (False, True):
        with running(data, port, "--nodes", "3") as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("3 nodes run and agree after"), (line, process.communicate())
            assert f"clients at 127.0.0.1:{port}" in line
            assert states(port + 2) == ["alive"] * 3
            assert len(nodes_on(data)) == 3
            assert "node 3 is ready" in (data / "node-3.log").read_text()
            if again:
                (victim,) = nodes_on(data / "node-3")
                os.kill(victim, signal.SIGKILL)
                assert "node 3 has ended with status -9" in process.stdout.readline()
        assert process.returncode == Exit.OK
        assert nodes_on(data) == []


def test_no_node_outlives_its_mesh(tmp_path: Path) -> None:
    """Even where `mesh up` itself is killed with -9, its nodes end."""
    data = tmp_path / "mesh"
    with running(data, free_base(2), "--nodes", "2") as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert len(nodes_on(data)) == 2
        process.kill()
        process.wait()
        deadline = time.monotonic() + WAIT_S
        while nodes_on(data):
            assert time.monotonic() < deadline, "nodes are left"


def failed(data: Path, port: int, *options: str) -> tuple[int, str]:
    told = ended(command(data, port, *options), wait_s=WAIT_S)
    return told.returncode, told.stderr


def test_a_node_that_cannot_start_ends_all(tmp_path: Path) -> None:
    """A port that is taken: the node is named with what it said, and no other is left."""
    base = free_base(2)
    with socket.create_server(("127.0.0.1", base + STRIDE + 1)):
        status, errors = failed(tmp_path / "mesh", base, "--nodes", "2")
    assert status == Exit.LISTEN
    assert "node 2 did not start" in errors
    assert "already listens" in errors
    assert nodes_on(tmp_path / "mesh") == []


def test_what_cannot_be_a_mesh_is_refused(tmp_path: Path) -> None:
    """Ports that do not suffice, and the directory of one node: words, and nothing is touched."""
    status, errors = failed(tmp_path / "a", 65_530, "--nodes", "2")
    assert status == Exit.USAGE
    assert "need the ports up to 65542" in errors
    assert not (tmp_path / "a").exists()
    (tmp_path / "meta.toml").write_text("")
    status, errors = failed(tmp_path, 20_000)
    assert status == Exit.DATA
    assert "holds the data of one node" in errors
