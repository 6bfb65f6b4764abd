"""`mesh bench`: flags in, points out."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click

from mesh.node.options import Address
from tools.bench.compaction import compact
from tools.bench.failover import EVENTS, failover_point
from tools.bench.flags import (
    AGAINST,
    DURABILITY,
    JSON,
    TARGETS,
    collect,
    failures,
    options,
    targets_of,
    tell,
)
from tools.bench.frames import SHAPES, Shape, parse_shape
from tools.bench.generator import Worker
from tools.bench.gossip import gossip
from tools.bench.group_commands import GROUP_COMMANDS
from tools.bench.lifetime import idle_point, start_point
from tools.bench.partitions import partitions_point
from tools.bench.placement import placement
from tools.bench.rounds import ONE_BATCH, Plan, fetch_points, points_count, produce_points
from tools.bench.world import world

FETCH_BYTES = (ONE_BATCH, 1 << 20)


def _shapes(
    _context: click.Context, _option: click.Parameter, texts: Sequence[str]
) -> tuple[Shape, ...]:
    try:
        return tuple(map(parse_shape, texts)) or SHAPES
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_POINTS = options(
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


def _throughput(name: str, plan: Plan, *, as_json: bool, durability: str, **who: Any) -> None:
    with targets_of(durability=durability, **who) as targets, ExitStack() as stack:
        workers = [Worker() for _ in range(max(plan.connections))]
        for worker in workers:
            stack.callback(worker.close)
        fetch = name == "fetch"
        run = fetch_points if fetch else produce_points
        points = collect(run(targets, workers, plan), points_count(plan, fetch=fetch))
        settings: dict[str, object] = {
            "durability": durability if who["bootstrap"] is None else None,
            "seconds": plan.seconds,
            "rounds": plan.rounds,
            "warm_up_s": plan.warm_up_s,
        }
        tell(name, targets, points, settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench produce
  mesh bench produce --shape 10x100 --connections 1 --in-flight 5 --acks 1
  mesh bench produce --durability memory --against 127.0.0.1:9192 --json
"""
)
@TARGETS
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
@TARGETS
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
@AGAINST
@click.option("--against-command", metavar="COMMAND", help="Starts the other on an empty disk.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@DURABILITY
@JSON
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
    with failures():
        point = start_point(address, ["--durability", durability], other, rounds)
    settings: dict[str, object] = {"durability": durability, "rounds": rounds}
    tell("start", [], [point], settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench idle
  mesh bench idle --seconds 60 --against 127.0.0.1:9192
"""
)
@TARGETS
@click.option("--seconds", type=click.FloatRange(0.05, 3600), default=10.0, show_default=True)
def idle(seconds: float, as_json: bool, durability: str, **who: Any) -> None:
    """Measure memory and CPU of a node that nobody talks to."""
    with targets_of(durability=durability, **who) as targets:
        point = idle_point(targets, seconds)
    settings: dict[str, object] = {"durability": durability, "seconds": seconds}
    tell("idle", targets, [point], settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench failover
  mesh bench failover --event kill --count 50

\b
kill is kill -9, stop is SIGTERM (a planned hand-over; the longest gap is told), cut is SIGSTOP: a
leader that nothing comes from any more.
"""
)
@click.option("--event", "kinds", type=click.Choice(EVENTS), multiple=True, help="[all]")
@click.option("--count", type=click.IntRange(1, 1_000), default=10, show_default=True)
@DURABILITY
@JSON
def failover(kinds: tuple[str, ...], count: int, durability: str, as_json: bool) -> None:
    """Time three nodes from the loss of a leader to the first acknowledged record."""
    points = []
    with failures():
        for kind in kinds or EVENTS:
            points.append(failover_point(kind, count, ["--durability", durability]))
    settings: dict[str, object] = {"durability": durability, "nodes": 3}
    tell("failover", [], points, settings, as_json=as_json)


@bench.command(
    epilog="""\b
Examples:
  mesh bench partitions
  mesh bench partitions --count 10000 --seconds 30

\b
Then one of three is killed with -9, and the others are measured once more. CPU % is of one core, of
the node that takes most, and of all on average.
"""
)
@click.option("--count", type=click.IntRange(1, 100_000), default=3_000, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.05, 3600), default=20.0, show_default=True)
@DURABILITY
@JSON
def partitions(count: int, seconds: float, durability: str, as_json: bool) -> None:
    """Measure three nodes with thousands of partitions at rest."""
    with failures():
        points = partitions_point(count, seconds, ["--durability", durability])
    settings: dict[str, object] = {
        "durability": durability,
        "nodes": 3,
        "partitions": count,
        "seconds": seconds,
    }
    tell("partitions", [], points, settings, as_json=as_json)


for _command in (*GROUP_COMMANDS, compact, placement, gossip, world):
    bench.add_command(_command)
