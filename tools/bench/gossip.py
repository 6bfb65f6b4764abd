"""`mesh bench gossip`: what a mesh at rest says, and how fast it is simulated.

All in this process, on one core: the node's own membership machine as many virtual nodes that
agree, on a network that loses nothing, for some virtual seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from mesh.runtime.trio_runtime import TrioRuntime
from simulations.gossip_mesh import GossipMesh
from simulations.net import Network
from simulations.world import World
from tools.bench.flags import JSON, collect, failures, tell
from tools.bench.rounds import Figures

SECOND = 1_000_000
WARM_UP_S = 5
"""Virtual seconds before anything is counted: all begin at once."""
KEY = bytes(32)


def gossip_point(nodes: int, seconds: int, *, sealed: bool) -> Figures:
    """Simulate a mesh at rest, and return what it said and how long that took."""
    world = World(1)
    mesh = GossipMesh(world, Network(world), key=KEY if sealed else None)
    mesh.add_agreed(nodes)
    world.run_until(WARM_UP_S * SECOND)
    messages, size = mesh.datagrams_sent, mesh.bytes_sent
    began = time.perf_counter()
    world.run_until((WARM_UP_S + seconds) * SECOND)
    took_s = time.perf_counter() - began
    node_seconds = nodes * seconds
    return {
        "nodes": nodes,
        "key": "sealed" if sealed else "none",
        "node_seconds_s": node_seconds / took_s,
        "messages_node_s": (mesh.datagrams_sent - messages) / node_seconds,
        "bytes_node_s": (mesh.bytes_sent - size) / node_seconds,
        "rss_mb": TrioRuntime().usage().resident_bytes / 1e6,
    }


@click.command(
    epilog="""\b
Examples:
  mesh bench gossip
  mesh bench gossip --nodes 10000 --seconds 10
"""
)
@click.option(
    "--nodes",
    type=click.IntRange(2, 20_000),
    multiple=True,
    default=(100, 1000),
    help="Repeat for more. [100 and 1000]",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3600),
    default=30,
    show_default=True,
    help="Of virtual time, after the first five.",
)
@JSON
def gossip(nodes: tuple[int, ...], seconds: int, as_json: bool) -> None:
    """Measure what a mesh at rest says, plain and sealed, and how fast it is simulated."""
    plans = [(count, sealed) for count in nodes for sealed in (False, True)]

    def points() -> Iterator[Figures]:
        for count, sealed in plans:
            yield gossip_point(count, seconds, sealed=sealed)

    with failures():
        found = collect(points(), len(plans))
    tell("gossip", [], found, {"seconds": seconds}, as_json=as_json)
