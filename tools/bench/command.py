"""`mesh bench`: flags in, points out."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import click

from mesh.node.options import Address, parse_address
from mesh.wire import WireError
from tools.bench.frames import SHAPES, Shape, parse_shape
from tools.bench.generator import BenchError, Worker
from tools.bench.lifetime import idle_point, start_point
from tools.bench.process import Target, listening_pid, own_node
from tools.bench.report import document, table
from tools.bench.rounds import ONE_BATCH, Figures, Plan, fetch_points, points_count, produce_points
from tools.errors import CommandError, Exit

F = TypeVar("F", bound=Callable[..., Any])

FETCH_BYTES = (ONE_BATCH, 1 << 20)


def _address(_context: click.Context, _option: click.Parameter, text: str | None) -> Address | None:
    try:
        return parse_address(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _shapes(
    _context: click.Context, _option: click.Parameter, texts: Sequence[str]
) -> tuple[Shape, ...]:
    try:
        return tuple(map(parse_shape, texts)) or SHAPES
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
_DURABILITY = click.option(
    "--durability",
    type=click.Choice(["disk", "memory"]),
    default="disk",
    show_default=True,
    help="Of the node that is started for this; memory is how Kafka does it by default.",
)
_AGAINST = click.option(
    "--against", metavar="HOST:PORT", callback=_address, help="Another broker, in turns."
)
_TARGETS = _options(
    click.option(
        "--bootstrap",
        metavar="HOST:PORT",
        callback=_address,
        help="The broker to measure. [a new node on a temporary directory]",
    ),
    click.option("--pid", type=int, help="Its process. [whoever listens there]"),
    _AGAINST,
    click.option("--against-pid", type=int, help="The other's process. [whoever listens there]"),
    _DURABILITY,
    _JSON,
)
_POINTS = _options(
    click.option(
        "--shape",
        "shapes",
        metavar="RECORDSxBYTES",
        multiple=True,
        callback=_shapes,
        help="Batches to send; repeat for more. [1x100 10x100 160x100 1000x100 1000x1000]",
    ),
    click.option(
        "--connections", type=click.IntRange(1, 64), multiple=True, default=(1, 4), help="[1 and 4]"
    ),
    click.option(
        "--in-flight", type=click.IntRange(1, 64), multiple=True, default=(1, 5), help="[1 and 5]"
    ),
    click.option("--seconds", type=click.FloatRange(0.05, 600), default=1.0, show_default=True),
    click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True),
    click.option(
        "--warm-up",
        type=click.FloatRange(0, 600),
        default=1.0,
        show_default=True,
        help="Seconds at each point that are not counted.",
    ),
)


@click.group()
def bench() -> None:
    """Measure one broker, or two in alternating rounds.

    Ratios say how many times better the first is: more requests a second, or a shorter start.
    """


@contextmanager
def _targets(
    bootstrap: Address | None,
    pid: int | None,
    against: Address | None,
    against_pid: int | None,
    durability: str,
) -> Iterator[list[Target]]:
    """Say who is measured; starts a node if nobody was named. Turns failures into our errors."""
    with ExitStack() as stack:
        if bootstrap:
            ours = Target("mesh", bootstrap, pid or listening_pid(bootstrap.port))
        else:
            ours = stack.enter_context(own_node(["--durability", durability]))
        targets = [ours]
        if against:
            other_pid = against_pid or listening_pid(against.port)
            targets.append(Target("against", against, other_pid))
        with _failures():
            yield targets


@contextmanager
def _failures() -> Iterator[None]:
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


def _collect(points: Iterator[Figures], count: int) -> list[Figures]:
    """Run all points; a person at a terminal sees how far it is."""
    collected = []
    for number in range(count):
        if sys.stderr.isatty():
            click.echo(f"\rpoint {number + 1} of {count} ", nl=False, err=True)
        collected.append(next(points))
    if sys.stderr.isatty():
        click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
    return collected


def _tell(
    name: str,
    targets: Sequence[Target],
    points: Sequence[Figures],
    settings: dict[str, object],
    *,
    as_json: bool,
) -> None:
    click.echo(document(name, targets, points, settings) if as_json else table(name, points))
    busy = [p for p in points if isinstance(s := p.get("load_cpu_share"), float) and s > 0.9]
    if busy and not as_json:
        click.echo(
            f"note: at {len(busy)} points our own load took most of a core, the broker may be "
            f"faster than it looks (load_cpu_share in --json)",
            err=True,
        )


def _throughput(name: str, plan: Plan, *, as_json: bool, durability: str, **who: Any) -> None:
    with _targets(durability=durability, **who) as targets, ExitStack() as stack:
        workers = [Worker() for _ in range(max(plan.connections))]
        for worker in workers:
            stack.callback(worker.close)
        fetch = name == "fetch"
        run = fetch_points if fetch else produce_points
        points = _collect(run(targets, workers, plan), points_count(plan, fetch=fetch))
        settings: dict[str, object] = {
            "durability": durability if who["bootstrap"] is None else None,
            "seconds": plan.seconds,
            "rounds": plan.rounds,
            "warm_up_s": plan.warm_up_s,
        }
        _tell(name, targets, points, settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench produce
  mesh bench produce --shape 10x100 --connections 1 --in-flight 5 --acks 1
  mesh bench produce --durability memory --against 127.0.0.1:9192 --json
"""
)
@_TARGETS
@_POINTS
@click.option(
    "--acks", type=click.Choice(["1", "all"]), multiple=True, default=("1", "all"), help="[both]"
)
def produce(
    shapes: tuple[Shape, ...],
    connections: tuple[int, ...],
    in_flight: tuple[int, ...],
    acks: tuple[str, ...],
    seconds: float,
    rounds: int,
    warm_up: float,
    **rest: Any,
) -> None:
    """Send ready-made batches as fast as they are acknowledged."""
    codes = tuple(-1 if a == "all" else int(a) for a in acks)
    plan = Plan(shapes, connections, in_flight, codes, FETCH_BYTES, seconds, rounds, warm_up)
    _throughput("produce", plan, **rest)


@bench.command(
    epilog="""\b
Examples:
  mesh bench fetch
  mesh bench fetch --shape 1000x1000 --fetch-bytes 1048576
  mesh bench fetch --durability memory --against 127.0.0.1:9192 --json
"""
)
@_TARGETS
@_POINTS
@click.option(
    "--fetch-bytes",
    type=click.IntRange(1, 4 << 20),
    multiple=True,
    default=FETCH_BYTES,
    help="Bytes a request asks for; 1 means one batch. [1 and 1048576]",
)
def fetch(
    shapes: tuple[Shape, ...],
    connections: tuple[int, ...],
    in_flight: tuple[int, ...],
    fetch_bytes: tuple[int, ...],
    seconds: float,
    rounds: int,
    warm_up: float,
    **rest: Any,
) -> None:
    """Read logs of equal batches from the page cache, round and round."""
    plan = Plan(shapes, connections, in_flight, (-1,), fetch_bytes, seconds, rounds, warm_up)
    _throughput("fetch", plan, **rest)


@bench.command(
    epilog="""\b
Examples:
  mesh bench start
  mesh bench start --against 127.0.0.1:9192 --against-command './format-and-start-other.sh'
"""
)
@_AGAINST
@click.option("--against-command", metavar="COMMAND", help="Starts the other on an empty disk.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@_DURABILITY
@_JSON
def start(
    against: Address | None,
    against_command: str | None,
    rounds: int,
    durability: str,
    as_json: bool,
) -> None:
    """Time a node from exec to its first acknowledged record, on an empty directory."""
    if (against is None) != (against_command is None):
        raise click.UsageError("--against and --against-command go together for a start")
    other = (against, against_command) if against and against_command else None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address(*probe.getsockname())
    with _failures():
        point = start_point(address, ["--durability", durability], other, rounds)
    settings: dict[str, object] = {"durability": durability, "rounds": rounds}
    _tell("start", [], [point], settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench idle
  mesh bench idle --seconds 60 --against 127.0.0.1:9192
"""
)
@_TARGETS
@click.option("--seconds", type=click.FloatRange(0.05, 3600), default=10.0, show_default=True)
def idle(seconds: float, as_json: bool, durability: str, **who: Any) -> None:
    """Measure memory and CPU of a node that nobody talks to."""
    with _targets(durability=durability, **who) as targets:
        point = idle_point(targets, seconds)
    settings: dict[str, object] = {"durability": durability, "seconds": seconds}
    _tell("idle", targets, [point], settings, as_json=as_json)
