"""Our own node as a real process, in the same shape as `tests.interop.jvm`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.interop.process import BrokerError, end, free_port, wait_until_ready

START_WAIT_S = 20
STOP_WAIT_S = 20
HEALTH_WAIT_S = 60
HEALTH_PAUSE_S = 0.1


class MeshNode:
    """A node of ours on one data directory, whose process comes and goes."""

    def __init__(self, data: Path, output: Path, options: Sequence[str] = ()) -> None:
        """Take a data directory and a file for what it prints; `restart` starts it."""
        self.data = data
        self.output = output
        self.options = list(options)
        self.port = free_port()
        self.peer_port = free_port()
        self.admin_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:PORT` of its Kafka listener, the same after a restart."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id. Raises ValueError if it does not run."""
        if self.process is None:
            raise ValueError("the node does not run")
        return self.process.pid

    @property
    def log_directory(self) -> Path:
        """The directory whose `<topic>-<partition>` directories hold the logs."""
        found = next(self.data.rglob("meta.toml"), None)
        return found.parent if found is not None else self.data

    def launch(self) -> None:
        """Start its process, and wait for nothing."""
        command = [sys.executable, "-m", "mesh", "node", "--data", str(self.data)]
        command += ["--listen", self.bootstrap, "--admin-listen", f"127.0.0.1:{self.admin_port}"]
        command += ["--peer-listen", f"127.0.0.1:{self.peer_port}", *self.options]
        with self.output.open("ab") as sink:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )

    def wait_until_ready(self) -> None:
        """Return once it answers. Raises BrokerError if it does not within START_WAIT_S."""
        assert self.process is not None
        wait_until_ready(self.process, self.port, self.output, START_WAIT_S)

    def restart(self) -> None:
        """Start it, or end it in good order and start it again; return once it answers.

        Raises:
            BrokerError: it did not answer within START_WAIT_S.
        """
        self.stop()
        self.launch()
        self.wait_until_ready()

    def status(self) -> dict[str, Any]:
        """Return its `/status` document. Raises OSError while it is away."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/status") as answer:
            document = json.load(answer)
        assert isinstance(document, dict)
        return document

    def kill(self) -> None:
        """End it as `kill -9` does: it gets no chance to do anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int | None:
        """End it with SIGTERM; return its exit status, or None if it did not run."""
        process, self.process = self.process, None
        return end(process, STOP_WAIT_S) if process is not None else None


class MeshNodes:
    """Some nodes of ours as one mesh, each with its own data and ports, that come and go."""

    def __init__(self, directory: Path, count: int, options: Sequence[str] = ()) -> None:
        """Take a directory for their data; `start` starts them. The first is the founder."""
        self.nodes = [
            MeshNode(directory / f"{number}" / "data", directory / f"{number}.txt", options)
            for number in range(1, count + 1)
        ]
        for node in self.nodes[1:]:
            node.options += ["--join", f"127.0.0.1:{self.nodes[0].peer_port}"]

    @property
    def bootstrap(self) -> str:
        """Addresses of all, as clients take them."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start all; return once each calls the mesh healthy. Raises BrokerError."""
        self.nodes[0].restart()
        for node in self.nodes[1:]:
            node.launch()
        for node in self.nodes[1:]:
            node.wait_until_ready()
        self.settle()

    def settle(self) -> None:
        """Return once every node sees all of them, and nothing amiss.

        Raises:
            BrokerError: that did not come about within HEALTH_WAIT_S.
        """
        deadline = time.monotonic() + HEALTH_WAIT_S
        for node in self.nodes:
            while not self.sees_all_well(node):
                if time.monotonic() > deadline:
                    raise BrokerError(f"{node.bootstrap}: {self.reasons(node)}")
                assert node.process is not None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise BrokerError(f"a node ended with {node.process.wait(HEALTH_PAUSE_S)}")

    def is_well(self) -> bool:
        """Whether every node sees all of them, and nothing amiss."""
        return all(map(self.sees_all_well, self.nodes))

    def sees_all_well(self, node: MeshNode) -> bool:
        """Whether one node does."""
        try:
            document = node.status()
        except OSError:
            return False
        return bool(document["healthy"]) and len(document["nodes"]) == len(self.nodes)

    def reasons(self, node: MeshNode) -> list[str]:
        """Return what a node finds amiss; it is no error if that is nothing, or it is away."""
        try:
            return [str(reason) for reason in node.status()["reasons"]]
        except OSError as error:
            return [str(error)]

    def stop(self) -> None:
        """End all, with SIGTERM."""
        for node in self.nodes:
            node.stop()


@contextlib.contextmanager
def mesh_nodes_processes(count: int, *options: str) -> Iterator[MeshNodes]:
    """Run a mesh on temporary data directories; options are those of `mesh node`."""
    with tempfile.TemporaryDirectory(prefix="mesh-nodes-", ignore_cleanup_errors=True) as temporary:
        nodes = MeshNodes(Path(temporary), count, options)
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.stop()


@contextlib.contextmanager
def mesh_node_process(*options: str) -> Iterator[MeshNode]:
    """Run a node on a temporary data directory; options are those of `mesh node`.

    Groups begin, and assign anew, at once, as those of `tests.interop.jvm` do.
    """
    at_once = ("group.initial.rebalance.delay.ms", "group.consumer.assignment.interval.ms")
    options = (*(part for name in at_once for part in ("-o", f"{name}=0")), *options)
    with tempfile.TemporaryDirectory(prefix="mesh-node-", ignore_cleanup_errors=True) as temporary:
        node = MeshNode(Path(temporary) / "data", Path(temporary) / "output.txt", options)
        try:
            node.restart()
            yield node
        finally:
            node.stop()
