"""A mesh of our own to measure: processes that can be lost, and started again where they were."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mesh.node.options import Address
from tools.bench.generator import BenchError
from tools.bench.process import child_environment, node_command, stop
from tools.node import parse_peer_address, parse_ready_line

NODES = 3
END_S_MAX = 60.0


class MeshNode:
    """A node of ours that can be started again where it was."""

    def __init__(self, data: str, options: Sequence[str], join: Sequence[str]) -> None:
        """Start it.

        Raises:
            BenchError: it is not ready.
        """
        self._data = data
        self._options = [*options, *join]
        self._listen = Address("127.0.0.1", 0)
        self.peer = Address("127.0.0.1", 0)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = node_command(self._data, self._listen, self._options)
        command[command.index("--peer-listen") + 1] = str(self.peer)
        process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=child_environment(),
            text=True,
        )
        assert process.stdout is not None, "it is a pipe"
        line = process.stdout.readline()
        listen, peer = parse_ready_line(line), parse_peer_address(line)
        if listen is None or peer is None:
            raise BenchError("a node to measure did not start; its reason is above")
        self._listen, self.peer = listen, peer
        return process

    @property
    def address(self) -> Address:
        """Where clients connect."""
        return self._listen

    def again(self) -> None:
        """Start it once more, on the same ports and data."""
        self.process.wait(END_S_MAX)
        self.process = self._start()

    def end(self) -> None:
        """End it, also one that stands still."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            stop(self.process)  # type: ignore[arg-type]


@contextlib.contextmanager
def own_mesh(options: Sequence[str]) -> Iterator[list[MeshNode]]:
    """Run three nodes of ours on a temporary directory for as long as the context is open.

    Raises:
        BenchError: one of them is not ready.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True)
        )
        nodes: list[MeshNode] = []
        for number in range(NODES):
            join = ["--join", str(nodes[0].peer)] if nodes else []
            nodes.append(MeshNode(str(Path(directory) / str(number)), options, join))
            stack.callback(nodes[-1].end)
        yield nodes
