"""`mesh bench commits`, `join`, `groups` and `heartbeats`: what groups of consumers cost."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from tools.bench.commits import CommitPlan, commit_points, watch
from tools.bench.flags import (
    DURABILITY,
    JSON,
    TARGETS,
    collect,
    failures,
    node_flags,
    targets_of,
    tell,
)
from tools.bench.generator import Worker
from tools.bench.many_groups import groups_point
from tools.bench.membership import heartbeats_point, join_point
from tools.bench.rounds import Figures

WATCH_EVERY_S = 10.0
WATCH_CONNECTIONS = 4
NO_DELAY = "group.initial.rebalance.delay.ms=0"
MAKERS = 2
"""Connections that make groups."""

_CONFIGS = click.option(
    "-o", "configs", metavar="NAME=VALUE", multiple=True, help="Setting of the node started here."
)


def _workers(stack: ExitStack, count: int) -> list[Worker]:
    workers = [Worker() for _ in range(count)]
    for worker in workers:
        stack.callback(worker.close)
    return workers


@click.command(
    epilog="""\b
Examples:
  mesh bench commits
  mesh bench commits --partitions 1 --connections 4 --in-flight 5 --against 127.0.0.1:9192
  mesh bench commits --rate 10000 --watch-disk --seconds 600
"""
)
@TARGETS
@click.option(
    "--connections", type=click.IntRange(1, 64), multiple=True, default=(1, 4), help="[1 and 4]"
)
@click.option(
    "--in-flight", type=click.IntRange(1, 64), multiple=True, default=(1, 5), help="[1 and 5]"
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 1000),
    multiple=True,
    default=(1, 10),
    help="Offsets in a request. [1 and 10]",
)
@click.option("--seconds", type=click.FloatRange(0.05, 86_400), default=1.0, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--warm-up", type=click.FloatRange(0, 600), default=1.0, show_default=True)
@click.option(
    "--watch-disk",
    is_flag=True,
    help="Commit all the time, for --seconds, and tell the size of the offsets' topic every 10 s.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1),
    default=10_000.0,
    show_default=True,
    help="Commits a second while the disk is watched.",
)
@_CONFIGS
def commits(
    connections: tuple[int, ...],
    in_flight: tuple[int, ...],
    partitions: tuple[int, ...],
    seconds: float,
    rounds: int,
    warm_up: float,
    watch_disk: bool,
    rate: float,
    as_json: bool,
    durability: str,
    **who: Any,
) -> None:
    """Commit offsets as fast as they are kept, each connection for groups of its own."""
    plan = CommitPlan(connections, in_flight, partitions, seconds, rounds, warm_up)
    with targets_of(durability=durability, **who) as targets, ExitStack() as stack:
        if watch_disk:
            every_s = min(seconds, WATCH_EVERY_S)
            workers = _workers(stack, WATCH_CONNECTIONS)
            watch(targets[0], workers, rate, seconds, every_s, _teller(as_json=as_json))
            return
        points = collect(
            commit_points(targets, _workers(stack, max(connections)), plan), plan.count
        )
        settings: dict[str, object] = {
            "durability": durability if who["bootstrap"] is None else None,
            "seconds": seconds,
            "rounds": rounds,
            "warm_up_s": warm_up,
        }
        tell("commits", targets, points, settings, as_json=as_json)


def _teller(*, as_json: bool) -> Any:
    def line(figures: Figures) -> None:
        if as_json:
            click.echo(json.dumps(figures))
            return
        size, share, rss = figures["topic_bytes"], figures["cpu_percent"], figures["rss_mb"]
        assert isinstance(size, int)
        cpu = f"  CPU {share:5.1f} %" if isinstance(share, float) else ""
        memory = f"  RSS {rss:.0f} MB" if isinstance(rss, float) else ""
        click.echo(
            f"{figures['at_s']:7.1f} s  {figures['commits']:>10,} commits  "
            f"{figures['commits_s']:8,.0f}/s  topic {size / 1e6:8.1f} MB{cpu}{memory}"
        )

    return line


@click.command(
    epilog="""\b
Examples:
  mesh bench groups
  mesh bench groups --groups 10000 --json
"""
)
@click.option("--groups", type=click.IntRange(500, 10_000_000), default=100_000, show_default=True)
@DURABILITY
@JSON
@_CONFIGS
def groups(groups: int, durability: str, as_json: bool, configs: tuple[str, ...]) -> None:
    """Make groups with one offset each on a new node; kill it; time how long it loads them."""
    with failures(), ExitStack() as stack:
        workers = _workers(stack, MAKERS)
        point = groups_point(workers, groups, node_flags(durability, configs))
    tell("groups", [], [point], {"durability": durability}, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  mesh bench join
  mesh bench join --protocol consumer --against 127.0.0.1:9192
"""
)
@TARGETS
@click.option("--members", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--partitions", type=click.IntRange(1, 10_000), default=500, show_default=True)
@click.option("--protocol", type=click.Choice(["classic", "consumer"]), default="classic")
@click.option(
    "--heartbeat-ms",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Between two heartbeats of a member that waits for news.",
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@_CONFIGS
def join(
    members: int,
    partitions: int,
    protocol: str,
    heartbeat_ms: int,
    rounds: int,
    as_json: bool,
    configs: tuple[str, ...],
    durability: str,
    **who: Any,
) -> None:
    """Time members from the first request until all hold the assignment of one generation.

    A node started here waits for no further members (group.initial.rebalance.delay.ms=0).
    """
    configs = (NO_DELAY, *configs)
    with targets_of(durability=durability, configs=configs, **who) as targets:
        point = join_point(targets, members, partitions, protocol, heartbeat_ms / 1000, rounds)
    settings: dict[str, object] = {"heartbeat_ms": heartbeat_ms, "rounds": rounds}
    tell("join", targets, [point], settings, as_json=as_json)


@click.command(
    epilog="""\b
Examples:
  mesh bench heartbeats
  mesh bench heartbeats --members 300 --seconds 5 --against 127.0.0.1:9192
"""
)
@TARGETS
@click.option("--members", type=click.IntRange(10, 100_000), default=3000, show_default=True)
@click.option("--interval-ms", type=click.IntRange(100, 60_000), default=3000, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 600), default=10.0, show_default=True)
@_CONFIGS
def heartbeats(
    members: int,
    interval_ms: int,
    seconds: float,
    as_json: bool,
    configs: tuple[str, ...],
    durability: str,
    **who: Any,
) -> None:
    """Measure what members in groups of 10 cost while they heartbeat, and while they are silent."""
    configs = (NO_DELAY, *configs)
    with targets_of(durability=durability, configs=configs, **who) as targets:
        point = heartbeats_point(targets, members, interval_ms / 1000, seconds)
    settings: dict[str, object] = {"interval_ms": interval_ms, "seconds": seconds}
    tell("heartbeats", targets, [point], settings, as_json=as_json)


GROUP_COMMANDS = (commits, groups, join, heartbeats)
