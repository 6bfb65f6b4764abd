"""The node that is fuzzed: a child process, as Linux shows it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mesh.node.control import SOCKET_NAME
from mesh.node.options import Address
from storage.disk import OsDisk
from storage.meta import read_meta
from tools.bench.process import child_environment, node_command, stop
from tools.errors import CommandError, Exit
from tools.node import parse_admin_address, parse_peer_address, parse_ready_line

LOG_LINE_BYTES_MAX = 8_192
"""A line of a node's log is cut far below this; a longer one is a finding."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process holds, and what it has written to its log."""

    rss_bytes: int
    descriptors: int
    log_lines: int


class OwnNode:
    """A node of this command: its process and its log."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        admin: Address,
        peer: Address,
        control: str,
        log: Path,
    ) -> None:
        """Of a process that has said that it is ready, and writes its log to a file."""
        self.process = process
        self.admin = admin
        self.peer = peer
        self.control = control
        """Path of the Unix socket."""
        self._log = log
        self._log_lines = 0
        self._log_at = 0

    @property
    def cluster_id(self) -> bytes:
        """Of its mesh, 16 bytes; raises OSError when its directory is gone."""
        meta = read_meta(OsDisk(), str(Path(self.control).parent))
        if meta is None:
            raise FileNotFoundError("the node has no identity any more")
        return meta.cluster_id.bytes

    def figures(self) -> Figures:
        """Return what the process holds now.

        Raises:
            OSError: it is gone.
        """
        proc = Path(f"/proc/{self.process.pid}")
        found = re.search(r"^VmRSS:\s+(\d+) kB$", (proc / "status").read_text(), re.MULTILINE)
        if found is None:
            raise ProcessLookupError("the process has no memory any more")
        descriptors = len(os.listdir(proc / "fd"))
        return Figures(int(found[1]) * 1024, descriptors, self._log_lines)

    def read_log(self) -> list[str]:
        """Return what of the log should not be there; count its lines on the way."""
        strange: list[str] = []
        with self._log.open("rb") as file:
            file.seek(self._log_at)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # It is being written.
                self._log_at += len(line)
                self._log_lines += 1
                text = line.decode("utf-8", "backslashreplace")
                if "Traceback" in text or len(line) > LOG_LINE_BYTES_MAX:
                    strange.append(text[:300].strip())
        return strange

    def status(self, *, wait_s: float) -> int | None:
        """Return the exit status if the process has ended, or ends within so many seconds."""
        try:
            return self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def last_words(self) -> str:
        """Return the end of the log."""
        lines = self._log.read_text("utf-8", "backslashreplace").splitlines()
        return " | ".join(line.strip()[:200] for line in lines[-2:]) or "it said nothing"


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the frames go to."""

    address: Address
    """Where it serves Kafka's clients."""
    node: OwnNode | None = None
    """None if it is not ours: its process is not looked at."""


@contextlib.contextmanager
def own_node() -> Iterator[Target]:
    """Run a node on a temporary directory for as long as the context is open.

    Raises:
        CommandError: it did not say that it is ready.
    """
    with tempfile.TemporaryDirectory(prefix="mesh-fuzz-", ignore_cleanup_errors=True) as data:
        log = Path(data) / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                node_command(f"{data}/node", Address("127.0.0.1", 0), ()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=child_environment(),
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline().decode()
            address, admin = parse_ready_line(line), parse_admin_address(line)
            peer = parse_peer_address(line)
            if address is None or admin is None or peer is None:
                wrong = f"the node to fuzz did not start: {log.read_text().strip()[-300:]}"
                raise CommandError(wrong, status=Exit.CONNECT)
            yield Target(address, OwnNode(process, admin, peer, f"{data}/node/{SOCKET_NAME}", log))
        finally:
            stop(process)
            process.stdout.close()
