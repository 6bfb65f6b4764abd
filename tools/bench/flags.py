"""Flags that the bench's commands share, and what surrounds every measurement."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import click

from mesh.node.options import Address, parse_address
from mesh.wire import WireError
from tools.bench.generator import BenchError
from tools.bench.process import Target, listening_pid, own_node
from tools.bench.report import document, table
from tools.bench.rounds import Figures
from tools.errors import CommandError, Exit

F = TypeVar("F", bound=Callable[..., Any])


def an_address(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Address | None:
    """Read HOST:PORT, for click."""
    try:
        return parse_address(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def options(*given: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds several options, in their order."""

    def add(command: F) -> F:
        for option in reversed(given):
            command = option(command)
        return command

    return add


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
DURABILITY = click.option(
    "--durability",
    type=click.Choice(["disk", "memory"]),
    default="disk",
    show_default=True,
    help="Of the node that is started for this; memory is how Kafka does it by default.",
)
AGAINST = click.option(
    "--against", metavar="HOST:PORT", callback=an_address, help="Another broker, in turns."
)
TARGETS = options(
    click.option(
        "--bootstrap",
        metavar="HOST:PORT",
        callback=an_address,
        help="The broker to measure. [a new node on a temporary directory]",
    ),
    click.option("--pid", type=int, help="Its process. [whoever listens there]"),
    AGAINST,
    click.option("--against-pid", type=int, help="The other's process. [whoever listens there]"),
    DURABILITY,
    JSON,
)


def node_flags(durability: str, configs: Sequence[str]) -> list[str]:
    """Return what a node of our own is started with."""
    return ["--durability", durability, *(f for config in configs for f in ("-o", config))]


@contextmanager
def targets_of(
    bootstrap: Address | None,
    pid: int | None,
    against: Address | None,
    against_pid: int | None,
    durability: str,
    configs: Sequence[str] = (),
) -> Iterator[list[Target]]:
    """Say who is measured; starts a node if nobody was named. Turns failures into our errors.

    Args:
        bootstrap: the broker to measure, or None for a node of our own.
        pid: its process.
        against: the other broker.
        against_pid: its process.
        durability: of a node of our own.
        configs: further settings of that one, each `name=value`.
    """
    with ExitStack() as stack:
        if bootstrap:
            ours = Target("mesh", bootstrap, pid or listening_pid(bootstrap.port))
        else:
            ours = stack.enter_context(own_node(node_flags(durability, configs)))
        targets = [ours]
        if against:
            other_pid = against_pid or listening_pid(against.port)
            targets.append(Target("against", against, other_pid))
        with failures():
            yield targets


@contextmanager
def failures() -> Iterator[None]:
    """Turn what goes wrong in a measurement into an error with a text and a status."""
    try:
        yield
    except BenchError as error:
        raise CommandError(str(error), status=Exit.REFUSED) from error
    except WireError as error:
        wrong = f"a broker's answer cannot be read: {error}"
        raise CommandError(wrong, status=Exit.REFUSED) from error
    except OSError as error:
        raise CommandError(
            f"a broker cannot be reached: {error.strerror or error}",
            status=Exit.CONNECT,
            do="see that one listens at --bootstrap and --against",
        ) from error


def tell(
    name: str,
    targets: Sequence[Target],
    points: Sequence[Figures],
    settings: dict[str, object],
    *,
    as_json: bool,
) -> None:
    """Print what was measured, and whether we measured ourselves."""
    click.echo(document(name, targets, points, settings) if as_json else table(name, points))
    busy = [p for p in points if isinstance(s := p.get("load_cpu_share"), float) and s > 0.9]
    if busy and not as_json:
        click.echo(
            f"note: at {len(busy)} points our own load took most of a core, the broker may be "
            f"faster than it looks (load_cpu_share in --json)",
            err=True,
        )


def collect(points: Iterator[Figures], count: int) -> list[Figures]:
    """Run all points; a person at a terminal sees how far it is."""
    collected = []
    for number in range(count):
        if sys.stderr.isatty():
            click.echo(f"\rpoint {number + 1} of {count} ", nl=False, err=True)
        collected.append(next(points))
    if sys.stderr.isatty():
        click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
    return collected
