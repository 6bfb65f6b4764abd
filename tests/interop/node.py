"""Our own node as a real process, in the same shape as `tests.interop.jvm`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.interop.process import end, free_port, wait_until_ready

START_WAIT_S = 20
STOP_WAIT_S = 20


class MeshNode:
    """A node of ours on one data directory, whose process comes and goes."""

    def __init__(self, data: Path, output: Path, options: Sequence[str] = ()) -> None:
        """Take a data directory and a file for what it prints; `restart` starts it."""
        self.data = data
        self.output = output
        self.options = list(options)
        self.port = free_port()
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

    def restart(self) -> None:
        """Start it, or end it in good order and start it again; return once it answers.

        Raises:
            BrokerError: it did not answer within START_WAIT_S.
        """
        self.stop()
        command = [sys.executable, "-m", "mesh", "node", "--data", str(self.data)]
        command += ["--listen", self.bootstrap, "--admin-listen", "127.0.0.1:0"]
        command += ["--peer-listen", "127.0.0.1:0", *self.options]
        with self.output.open("ab") as sink:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
            )
        wait_until_ready(self.process, self.port, self.output, START_WAIT_S)

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
