"""Processes as Linux shows them in /proc, and a node of our own as a child."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mesh.node.options import Address
from tools.errors import CommandError, Exit
from tools.node import parse_ready_line

STOP_S = 20.0
_LISTENING = "0A"
"""State column of /proc/net/tcp: TCP_LISTEN."""


def cpu_s(pid: int) -> float | None:
    """Return user and system seconds of a process so far, all threads; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # Fields 14 and 15 of proc(5), counted after the name; the kernel counts in steps of 10 ms.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float | None:
    """Return the resident memory of a process in millions of bytes; None if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None


def listening_pid(port: int) -> int | None:
    """Return the process on this machine that listens on a TCP port; None if we see none."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                local_port = int(columns[1].rpartition(":")[2], 16)
                if columns[3] == _LISTENING and local_port == port:
                    inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        # Other people's processes, and those that end while we look, are not ours to read.
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in inodes:
                        return int(process.name)
    return None


@dataclass(slots=True)
class Target:
    """A broker to measure."""

    name: str
    """`mesh` for the one that is measured, `against` for the other."""
    address: Address
    pid: int | None
    """None if it does not run on this machine: CPU and memory stay unknown."""
    others: tuple[int, ...] = ()
    """Processes of the other nodes of its cluster, which do a part of the work."""
    leaders: dict[int, Address] = field(default_factory=dict)
    """Who leads each partition of the topic that is measured."""

    @property
    def cpu_s(self) -> float | None:
        """Return CPU seconds of all its processes so far; None if they are not known."""
        spent = [cpu_s(pid) for pid in (self.pid, *self.others) if pid is not None]
        known = [seconds for seconds in spent if seconds is not None]
        return sum(known) if known else None

    @property
    def rss_mb(self) -> float | None:
        """Return the resident memory of the largest of its processes; None if unknown."""
        sizes = [rss_mb(pid) for pid in (self.pid, *self.others) if pid is not None]
        return max((size for size in sizes if size is not None), default=None)


def node_command(data: str, listen: Address, options: Sequence[str]) -> list[str]:
    """Return the command line of a node of ours under this interpreter."""
    command = [sys.executable, "-m", "mesh", "node", "--data", data, "--listen", str(listen)]
    # Whoever measures picks the client port; the one for admins may be any that is free.
    command += ["--admin-listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]
    return [*command, "--log-level", "warning", *options]


def child_environment() -> dict[str, str]:
    """Return our environment without `MESH_…` variables, and with the place of our code."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MESH_")}
    ours = str(Path(__file__).parents[2])
    inherited = environment.get("PYTHONPATH")
    return environment | {"PYTHONPATH": f"{ours}{os.pathsep}{inherited}" if inherited else ours}


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a child in good order, or at all."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running_node(
    data: str, options: Sequence[str]
) -> "Iterator[tuple[subprocess.Popen[bytes], Address | None]]":
    """Run a node of ours on a directory; give its address once it is ready, None if it ended."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
        node_command(data, Address("127.0.0.1", 0), options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdout is not None
    try:
        yield process, parse_ready_line(process.stdout.readline().decode())
    finally:
        stop(process)
        process.stdout.close()


@contextlib.contextmanager
def own_node(options: Sequence[str] = ()) -> Iterator[Target]:
    """Run a node of ours on a temporary directory for as long as the context is open.

    Raises:
        CommandError: it did not say that it is ready.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as data,
        running_node(data, options) as (process, address),
    ):
        if address is None:
            status = process.wait(STOP_S)
            wrong = f"the node to measure ended with status {status}; its reason is above"
            raise CommandError(wrong, status=Exit.CONNECT)
        yield Target("mesh", address, process.pid)
