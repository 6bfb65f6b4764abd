"""`mesh stop`: ask a node of this machine to drain, sync and leave, and wait until it has."""

from __future__ import annotations

import json
import socket
import time

import click

from mesh.node.control import FORMAT, LINE_BYTES_MAX, SOCKET_NAME
from mesh.runtime.local import reachable
from storage.disk import DiskError, Locked, OsDisk
from tools.errors import CommandError, Exit
from tools.view import printable

ANSWER_S_MAX = 10.0
POLL_S = 0.05


data_option = click.option(
    "--data",
    metavar="DIR",
    default="./mesh-data",
    envvar="MESH_DATA",
    show_default=True,
    help="Data directory of the node.",
)
timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=86_400),
    default=60.0,
    show_default=True,
    help="How long to wait until it has left.",
)


@click.command(
    epilog="""\b
Examples:
  mesh stop
  mesh stop --data ./n1 --timeout 120

\b
It speaks to the node over control.sock in its data directory, so only the user that runs the node
may; SIGTERM does the same.
"""
)
@data_option
@timeout_option
def stop(*, data: str, timeout: float) -> None:
    """Stop a node of this machine in good order, and wait for its end."""
    command(data, "stop")
    wait_for_end(data, timeout, "still drains", "it takes nothing new, and will leave by itself")
    click.echo(f"the node on {data} has stopped")


def wait_for_end(data: str, timeout: float, still: str, kept: str) -> None:
    """Wait until no node holds a data directory.

    Raises:
        CommandError: one does after `timeout` seconds; in the words that are given.
    """
    deadline = time.monotonic() + timeout
    while not _is_free(data):
        if time.monotonic() >= deadline:
            raise CommandError(
                f"the node on {data} {still} after {timeout:g} s",
                status=Exit.UNHEALTHY,
                kept=kept,
                do="run it again with a larger --timeout, or see the node's log",
            )
        time.sleep(POLL_S)


def command(data: str, name: str, **fields: object) -> dict[str, object]:
    """Have the node of a data directory carry out a command, and return its answer.

    Raises:
        CommandError: no node listens there, it refused, or it did not answer in time.
    """
    path = f"{data}/{SOCKET_NAME}"
    request = json.dumps({"format": FORMAT, "command": name, **fields}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as sock, reachable(path) as short:
            sock.settimeout(ANSWER_S_MAX)
            sock.connect(short)
            sock.sendall(request)
            line = sock.makefile("rb").readline(LINE_BYTES_MAX)
    except PermissionError as error:
        raise CommandError(
            f"the socket {path} belongs to another user",
            status=Exit.REFUSED,
            kept="nothing was changed",
            do="run it as the user that runs the node",
        ) from error
    except OSError as error:
        raise CommandError(
            f"no node listens on {path}: {error.strerror or error}",
            status=Exit.CONNECT,
            kept="nothing was changed",
            do="name the data directory of a running node with --data DIR",
        ) from error
    return _checked(path, line)


def _checked(path: str, line: bytes) -> dict[str, object]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CommandError(f"what listens on {path} gave no answer", status=Exit.REFUSED)
    if answer.get("ok") is not True:
        told = printable(str(answer.get("error")))
        raise CommandError(f"the node refused: {told}", status=Exit.REFUSED)
    return answer


def _is_free(data: str) -> bool:
    """Whether no node holds the data directory any more."""
    try:
        OsDisk().lock(f"{data}/.lock").release()
    except Locked:
        return False
    except DiskError:
        return True  # Somebody took the directory away, so nobody runs on it.
    return True
