"""Nodes of a mesh as real processes, and the commands that people give them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tools.node import parse_admin_address, parse_peer_address

ROOT = Path(__file__).parents[2]
WAIT_S = 40


class Member:
    """One node of a mesh, as a process that comes and goes."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        any_port = "127.0.0.1:0"
        ports = ["--listen", any_port, "--peer-listen", any_port, "--admin-listen", any_port]
        command = [sys.executable, "-m", "mesh", "node", "--data", str(data), *ports, *options]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.peer, self.admin = parse_peer_address(self.line), parse_admin_address(self.line)
        if self.peer is None:
            raise AssertionError(self.process.communicate(timeout=WAIT_S)[1])

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.admin}/status", timeout=WAIT_S) as answer:
            document = json.load(answer)
        assert isinstance(document, dict)
        return document

    def states(self) -> dict[int, str]:
        return {node["node_id"]: node["state"] for node in self.status()["nodes"]}

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while not condition(document := self.status()):
            assert time.monotonic() < deadline, document["nodes"]
        return document

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


def states_are(**wanted: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a status document tells exactly these members: `n1="alive"`."""
    states = {int(name[1:]): state for name, state in wanted.items()}
    return lambda document: (
        {node["node_id"]: node["state"] for node in document["nodes"]} == states
        and document["agree"]
    )


def ended(command: Sequence[str], *, wait_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that is."""
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=wait_s,
        check=False,
    )


def mesh(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `mesh` with these words to its end."""
    return ended([sys.executable, "-m", "mesh", *words], wait_s=WAIT_S)


def failed_node(data: Path, *options: str) -> tuple[int, str]:
    """Return the status and the errors of a node that does not run."""
    any_port = "127.0.0.1:0"
    ports = ("--listen", any_port, "--peer-listen", any_port, "--admin-listen", any_port)
    told = mesh("node", "--data", str(data), *ports, *options)
    return told.returncode, told.stderr
