"""Our own node as a real process, in the same shape as `tests.interop.jvm`."""

from __future__ import annotations

import contextlib
import json
import os
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
NODE_COUNT = int(os.environ.get("GOSSAMER_NODES", "1"))
"""How many nodes stand where tests ask for one, 1 or 3: `GOSSAMER_NODES=3 pytest …`."""


ASKED_NODE_ID = 1
OTHER_NODE_IDS = (6, 8)
"""Ids of the nodes beside the founder in a mesh that stands in a node's place: ids that no test
takes for those of nobody."""
NODE_IDS = (ASKED_NODE_ID, *OTHER_NODE_IDS)[:NODE_COUNT]


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
    def address(self) -> str:
        """`127.0.0.1:PORT` of its Kafka listener, the same after a restart."""
        return f"127.0.0.1:{self.port}"

    @property
    def bootstrap(self) -> str:
        """What clients are told: its address, or those of all nodes of its mesh."""
        return self.address

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

    @property
    def log_directories(self) -> list[Path]:
        """Its own, or those of all nodes of its mesh."""
        return [self.log_directory]

    def log(self, topic: str, partition: int) -> Path:
        """Return the directory of a partition's log, on one of the nodes that have it."""
        name = f"{topic}-{partition}"
        return next(it / name for it in self.log_directories if (it / name).is_dir())

    def launch(self) -> None:
        """Start its process, and wait for nothing."""
        command = [sys.executable, "-m", "mesh", "node", "--data", str(self.data)]
        command += ["--listen", self.address, "--admin-listen", f"127.0.0.1:{self.admin_port}"]
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

    def stop_all(self) -> None:
        """End it, and whoever is in one mesh with it."""
        self.stop()


class MeshNodes:
    """Some nodes of ours as one mesh, each with its own data and ports, that come and go."""

    def __init__(self, founder: MeshNode, directory: Path, count: int) -> None:
        """Take the founder, and a directory for the data of all others; `start` starts them."""
        self.nodes = [founder]
        join = ["--join", f"127.0.0.1:{founder.peer_port}"]
        for number in range(2, count + 1):
            data, output = directory / f"{number}" / "data", directory / f"{number}.txt"
            self.nodes.append(MeshNode(data, output, [*founder.options, *join]))

    @property
    def bootstrap(self) -> str:
        """Addresses of all, as clients take them."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Start all; return once each calls the mesh healthy. Raises BrokerError."""
        self.nodes[0].launch()
        self.nodes[0].wait_until_ready()
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
                    raise BrokerError(f"{node.address}: {self.reasons(node)}")
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


class MeshFounder(MeshNode):
    """A node in whose place a whole mesh stands: clients are told of all, only it is killed."""

    def __init__(self, directory: Path, count: int, options: Sequence[str] = ()) -> None:
        """Take a directory for the data of all; the first `restart` starts all."""
        super().__init__(directory / "1" / "data", directory / "1.txt", options)
        self.mesh = MeshNodes(self, directory, count)
        for node, node_id in zip(self.mesh.nodes[1:], OTHER_NODE_IDS, strict=True):
            node.options += ["--node-id", str(node_id)]
        self._started = False

    @property
    def bootstrap(self) -> str:
        """Addresses of all nodes."""
        return self.mesh.bootstrap

    @property
    def log_directories(self) -> list[Path]:
        """Those of all nodes."""
        return [node.log_directory for node in self.mesh.nodes]

    def restart(self) -> None:
        """Start all for the first time, then this one alone; return once all is well.

        Raises:
            BrokerError: it did not answer, or not all came to be well.
        """
        if self._started:
            super().restart()
            self.mesh.settle()
            return
        self._started = True
        self.mesh.start()

    def stop_all(self) -> None:
        """End all nodes, with SIGTERM."""
        self.mesh.stop()


@contextlib.contextmanager
def mesh_nodes_processes(count: int, *options: str) -> Iterator[MeshNodes]:
    """Run a mesh on temporary data directories; options are those of `mesh node`."""
    with tempfile.TemporaryDirectory(prefix="mesh-nodes-", ignore_cleanup_errors=True) as temporary:
        directory = Path(temporary)
        founder = MeshNode(directory / "1" / "data", directory / "1.txt", options)
        nodes = MeshNodes(founder, directory, count)
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.stop()


@contextlib.contextmanager
def mesh_node_process(*options: str) -> Iterator[MeshNode]:
    """Run a node on a temporary data directory; options are those of `mesh node`.

    Groups begin, and assign anew, at once, as those of `tests.interop.jvm` do. With GOSSAMER_NODES
    it is the founder of a mesh of so many.
    """
    at_once = ("group.initial.rebalance.delay.ms", "group.consumer.assignment.interval.ms")
    options = (*(part for name in at_once for part in ("-o", f"{name}=0")), *options)
    with tempfile.TemporaryDirectory(prefix="mesh-node-", ignore_cleanup_errors=True) as temporary:
        directory = Path(temporary)
        if NODE_COUNT > 1:
            node: MeshNode = MeshFounder(directory, NODE_COUNT, options)
        else:
            node = MeshNode(directory / "data", directory / "output.txt", options)
        try:
            node.restart()
            yield node
        finally:
            node.stop_all()
