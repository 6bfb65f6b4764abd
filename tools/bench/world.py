"""`mesh bench world`: how fast whole nodes are simulated, under a load that is stated.

All in this process, on one core: the nodes' own core, Kafka's frames, simulated disks and links,
and after every event all that `mesh simulate brokers` holds them to.
"""

from __future__ import annotations

import time

import click

from simulations.broker_swarm import PARTITIONS, TOPIC, a_mesh_at_rest
from simulations.workload import Producer, Reader
from tools.bench.flags import JSON, failures, tell
from tools.bench.rounds import Figures

WARM_UP_MS = 1_000
LATENCY_MS = 4
"""What a request takes here, roughly: it is waited for before the next one."""


def world_point(nodes: int, seconds: int, rate: int) -> Figures:
    """Simulate so many nodes for so long.

    Args:
        nodes: whole ones; three of them hold each partition.
        seconds: of virtual time.
        rate: produce requests, and fetches, a virtual second.
    """
    cluster = a_mesh_at_rest(1, nodes)
    pause_ms = max(1, PARTITIONS * 1_000 // rate - LATENCY_MS)
    producers = [
        Producer(cluster, TOPIC, index, 1_000 + index, pause_ms_max=2 * pause_ms)
        for index in range(PARTITIONS)
    ]
    readers = [Reader(cluster, TOPIC, index, again_ms=pause_ms) for index in range(PARTITIONS)]
    cluster.run_ms(WARM_UP_MS)
    events, produced = cluster.world.events, sum(one.requests for one in producers)
    fetched = sum(one.requests for one in readers)
    began_s = time.process_time()
    cluster.run_ms(seconds * 1_000)
    took_s = time.process_time() - began_s
    return {
        "nodes": nodes,
        "times_real": seconds / took_s,
        "produce_s": (sum(one.requests for one in producers) - produced) / seconds,
        "fetch_s": (sum(one.requests for one in readers) - fetched) / seconds,
        "events_s": (cluster.world.events - events) / seconds,
        "us_per_event": took_s * 1e6 / (cluster.world.events - events),
    }


@click.command(
    epilog="""\b
Examples:
  mesh bench world
  mesh bench world --nodes 3 --rate 200 --seconds 60
"""
)
@click.option("--nodes", type=click.IntRange(3, 9), default=5, show_default=True)
@click.option(
    "--rate",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="Produce requests, and fetches, a virtual second; about.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=20,
    show_default=True,
    help="Of virtual time.",
)
@JSON
def world(nodes: int, rate: int, seconds: int, as_json: bool) -> None:
    """Measure how fast whole nodes are simulated under load."""
    with failures():
        point = world_point(nodes, seconds, rate)
    tell("world", [], [point], {"seconds": seconds, "rate": rate}, as_json=as_json)
