"""`mesh up`: a real mesh of N processes on this machine, with its live status; all end together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from mesh.node.options import ADMIN_PORT_AFTER, PEER_PORT_AFTER, PORT_MAX, Address, parse_address
from tools.admin import UnreachableError, fetch_view
from tools.errors import CommandError, Exit
from tools.node import parse_admin_address
from tools.top import watch
from tools.view import View

NODES_MAX = 200
STRIDE = 10
"""From one node's ports to the next one's: each takes three."""
START_S_MAX = 60.0
END_S_MAX = 30.0
POLL_S = 0.02
LOG_LINES = 5
"""Of a node that did not start, told with the error."""
DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
HINT = "q or Ctrl-C ends the mesh"


class Child:
    """One node of the mesh, as a process of ours."""

    def __init__(
        self, number: int, data: Path, listen: Address, join: Address | None, options: list[str]
    ) -> None:
        """Start it; what it says goes to a file in its directory's parent."""
        self.number = number
        self.log = data / f"node-{number}.log"
        self.listen = listen
        self.admin: Address | None = None
        command = [sys.executable, "-m", "mesh", "node", "--data", str(data / f"node-{number}")]
        command += ["--listen", str(listen), *options]
        command += [] if join is None else ["--join", str(join)]
        if join is not None and not (data / f"node-{number}" / "meta.toml").exists():
            command += ["--node-id", str(number)]
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(  # noqa: S603 - our own words
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us alone, who end them in good order; and none outlives us.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def is_ready(self) -> bool:
        """Whether it said that it runs.

        Raises:
            CommandError: it ended instead.
        """
        lines = self.log.read_text(errors="replace").splitlines()
        for line in lines:
            self.admin = self.admin or parse_admin_address(line)
        if self.admin is not None:
            return True
        if self.process.poll() is None:
            return False
        told = "\n".join(f"    {line}" for line in lines[-LOG_LINES:])
        raise CommandError(
            f"node {self.number} did not start (status {self.process.returncode}):\n{told}",
            status=Exit.LISTEN if self.process.returncode == Exit.LISTEN else Exit.UNHEALTHY,
            kept="all others were ended; what they hold is kept",
            do=f"see {self.log}",
        )


@click.command(
    epilog="""\b
Examples:
  mesh up                       three nodes on ./mesh-data-up, clients at 127.0.0.1:9092
  mesh up --nodes 20 --listen 127.0.0.1:19092

\b
Node K listens 10 K - 10 ports after --listen; its peer and admin ports follow. Ctrl-C, q or SIGTERM
end all of them; the same directory goes on with the same mesh.
"""
)
@click.option(
    "--nodes", metavar="N", type=click.IntRange(1, NODES_MAX), default=3, show_default=True
)
@click.option(
    "--data", metavar="DIR", default="./mesh-data-up", show_default=True, help="All nodes' data."
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:9092",
    show_default=True,
    help="Of the first node.",
)
@click.option(
    "--cluster-key-file", metavar="FILE", envvar="MESH_CLUSTER_KEY_FILE", help="As of `mesh node`."
)
@click.option("-o", "assignments", metavar="NAME=VALUE", multiple=True, help="A broker config.")
def up(
    *,
    nodes: int,
    data: str,
    listen: str,
    cluster_key_file: str | None,
    assignments: tuple[str, ...],
) -> int:
    """Run a mesh of N processes on this machine until Ctrl-C."""
    first = _first_address(listen, nodes)
    directory = Path(data)
    _check_directory(directory)
    options = [part for assignment in assignments for part in ("-o", assignment)]
    if cluster_key_file:
        options += ["--cluster-key-file", cluster_key_file]
    begun = time.monotonic()
    children: list[Child] = []
    with _ending_all(children), _signals():
        _start(children, nodes, directory, first, options)
        view = _agreed(children)
        took = time.monotonic() - begun
        click.echo(
            f"{nodes} node{'s' * (nodes != 1)} run and agree after {took:.1f} s: clients at "
            f"{children[0].listen}, admin at {children[0].admin}, data and logs in {directory}"
        )
        if sys.stdout.isatty():
            addresses = [child.admin for child in children if child.admin is not None]
            watch(addresses, view, HINT)
        else:
            sys.stdout.flush()
            _wait(children)
    return Exit.OK


def _first_address(listen: str, nodes: int) -> Address:
    try:
        first = parse_address(listen)
    except ValueError as error:
        raise CommandError(f"--listen: {error}", status=Exit.USAGE) from error
    last = first.port + STRIDE * (nodes - 1) + max(PEER_PORT_AFTER, ADMIN_PORT_AFTER)
    if not first.port or last > PORT_MAX:
        raise CommandError(
            f"--listen {first}: {nodes} nodes need the ports up to {last}",
            status=Exit.USAGE,
            do=f"give a port from 1 to {PORT_MAX - (last - first.port)}",
        )
    return first


def _check_directory(directory: Path) -> None:
    if (directory / "meta.toml").exists():
        raise CommandError(
            f"{directory} holds the data of one node, not of a mesh of them",
            status=Exit.DATA,
            kept="nothing was touched",
            do="give another directory with --data DIR, or run that node with `mesh node`",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wrong = f"the directory {directory} cannot be made: {error.strerror}"
        raise CommandError(wrong, status=Exit.DISK) from error


def _start(
    children: list[Child], nodes: int, directory: Path, first: Address, options: list[str]
) -> None:
    """Start the founder, then all others at once; return once all run."""
    peer = Address(first.host, first.port + PEER_PORT_AFTER)
    for number in range(1, nodes + 1):
        listen = Address(first.host, first.port + STRIDE * (number - 1))
        join = None if number == 1 else peer
        children.append(Child(number, directory, listen, join, options))
        if number == 1:
            _await(children)
    _await(children)


def _await(children: list[Child]) -> None:
    deadline = time.monotonic() + START_S_MAX
    waiting = list(children)
    while waiting := [child for child in waiting if not child.is_ready()]:
        if time.monotonic() > deadline:
            raise CommandError(
                f"node {waiting[0].number} is not ready after {START_S_MAX:g} s",
                status=Exit.UNHEALTHY,
                kept="all nodes were ended; what they hold is kept",
                do=f"see {waiting[0].log}",
            )
        time.sleep(POLL_S)


def _agreed(children: list[Child]) -> View:
    """Return what the first node sees once it sees all others, and all see the same."""
    addresses = [child.admin for child in children if child.admin is not None]
    deadline = time.monotonic() + START_S_MAX
    while True:
        view = fetch_view(addresses[0])
        alive = sum(node.state == "alive" for node in view.nodes)
        if alive >= len(children) and all(
            fetch_view(address).view_hash == view.view_hash for address in addresses[1:]
        ):
            return view
        if time.monotonic() > deadline:
            raise CommandError(
                f"after {START_S_MAX:g} s node 1 sees {alive} of {len(children)} nodes",
                status=Exit.UNHEALTHY,
                kept="all nodes were ended; what they hold is kept",
                do=f"see the logs beside {children[0].log}",
            )
        time.sleep(POLL_S)


def _wait(children: list[Child]) -> None:
    """Tell of each node that ends, until all have or we are told to end them."""
    running = list(children)
    with contextlib.suppress(KeyboardInterrupt):
        while running:
            for child in list(running):
                if child.process.poll() is not None:
                    running.remove(child)
                    status = child.process.returncode
                    click.echo(f"node {child.number} has ended with status {status}")
                    sys.stdout.flush()
            time.sleep(10 * POLL_S)


@contextlib.contextmanager
def _ending_all(children: list[Child]) -> Iterator[None]:
    """Whatever happens, end every node that was started, by its own id."""
    try:
        yield
    except KeyboardInterrupt:
        pass
    except UnreachableError as error:
        raise CommandError(error.wrong, status=Exit.UNHEALTHY) from error
    finally:
        # In this order: whoever serves clients drains last.
        for child in reversed(children):
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
        deadline = time.monotonic() + END_S_MAX
        for child in children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends the mesh as Ctrl-C does."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _die_with_parent() -> None:
    """Have the kernel send SIGTERM when whoever started this process is gone, even by `kill -9`."""
    parent = os.getppid()
    _LIBC.prctl(DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:  # It was gone before.
        os._exit(1)


_LIBC = ctypes.CDLL(None, use_errno=True)
