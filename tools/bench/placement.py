"""`mesh bench placement`: how evenly partitions are placed, what moves, and how long it takes.

All in this process, on one core, with nodes that are made up: in racks of like size, two on each
host. A change's movement is told as a multiple of what must move for each to have its share.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import fmean

import click

from mesh.model.types import TopicPartition
from mesh.placement import Computation, Node, Placed, Wanted, ideal, moved, place
from tools.bench.flags import JSON, collect, failures, tell
from tools.bench.rounds import Figures

REPLICAS = 3
SLICE = 200
"""Partitions in one step, as a node would do it between other work."""
TRIES = 3
"""Different nodes that leave, join or change, of which the mean is told."""
TOPIC_PARTITIONS = 100

Change = Callable[[list[Node], int], list[Node]]


def _nodes(count: int, racks: int, *, weighted: bool) -> list[Node]:
    return [
        Node(
            number + 1,
            f"rack-{number % racks}" if racks else "",
            f"host-{number // (2 * max(racks, 1))}",
            (50, 100, 150, 200)[number // max(racks, 1) % 4] if weighted else 100,
        )
        for number in range(count)
    ]


def _wanted(partitions: int) -> dict[TopicPartition, int]:
    return {
        TopicPartition(f"topic-{n // TOPIC_PARTITIONS}", n % TOPIC_PARTITIONS): REPLICAS
        for n in range(partitions)
    }


def _join(nodes: list[Node], one: int) -> list[Node]:
    # What joins is like another: its rack, its weight, on a host of its own.
    return [*nodes, nodes[one]._replace(node_id=10_000 + one, host="new")]


def _leave(nodes: list[Node], one: int) -> list[Node]:
    return nodes[:one] + nodes[one + 1 :]


def _double(nodes: list[Node], one: int) -> list[Node]:
    heavier = nodes[one]._replace(weight=2 * nodes[one].weight)
    return [heavier if node.node_id == heavier.node_id else node for node in nodes]


def _lose_rack(nodes: list[Node], one: int) -> list[Node]:
    return [node for node in nodes if node.rack != nodes[one].rack]


CHANGES: dict[str, Change] = {
    "join": _join,
    "leave": _leave,
    "weight": _double,
    "rack_loss": _lose_rack,
}


def placement_point(nodes_count: int, partitions: int, racks: int, *, weighted: bool) -> Figures:
    """Place, change the nodes in each way, place again, and return the figures."""
    nodes, wanted = _nodes(nodes_count, racks, weighted=weighted), _wanted(partitions)
    began = time.perf_counter()
    computation = Computation(nodes, wanted)
    longest = time.perf_counter() - began
    while not computation.done:
        step_began = time.perf_counter()
        computation.step(SLICE)
        longest = max(longest, time.perf_counter() - step_began)
    placed_began = time.perf_counter()
    placed = computation.placed()
    ended = time.perf_counter()
    figures: Figures = {
        "nodes": nodes_count,
        "partitions": partitions,
        "racks": max(racks, 1),
        "weights": "50 to 200" if weighted else "alike",
        "place_ms": 1e3 * (ended - began),
        "slice_ms_max": 1e3 * max(longest, ended - placed_began),
        **_loads(nodes, wanted, placed),
        "exchanged": computation.exchanged_count,
        "above_cap": computation.exceeded_count,
    }
    for name, change in CHANGES.items():
        figures |= _movement(name, change, nodes, wanted, placed)
    more = {TopicPartition("new", number): REPLICAS for number in range(max(1, partitions // 100))}
    figures["topic_moved_percent"] = (
        100 * moved(placed, place(nodes, {**wanted, **more})).replicas / partitions / REPLICAS
    )
    return figures


def _loads(nodes: list[Node], wanted: Wanted, placed: Placed) -> Figures:
    """Return the fullest node's load as a multiple of its share, of replicas and of leaders."""
    shares = Computation(nodes, wanted).shares()
    replicas = Counter(node_id for ids in placed.values() for node_id in ids)
    leaders = Counter(ids[0] for ids in placed.values())
    return {
        "replicas_max_to_share": max(replicas[n] / share for n, (share, _) in shares.items()),
        "leaders_max_to_share": max(leaders[n] / lead for n, (_, lead) in shares.items()),
    }


def _movement(
    name: str, change: Change, nodes: list[Node], wanted: Wanted, placed: Placed
) -> Figures:
    ratios, leader_ratios = [], []
    for number in range(TRIES):
        changed = change(nodes, number * 7 % len(nodes))
        if not changed:
            return {}
        least = ideal(nodes, changed, wanted)
        found = moved(placed, place(changed, wanted))
        if least.replicas >= 1:
            ratios.append(found.replicas / least.replicas)
        if least.leaders >= 1:
            leader_ratios.append(found.leaders / least.leaders)
    result: Figures = {}
    if ratios:
        result[f"{name}_to_ideal"] = fmean(ratios)
    if leader_ratios:
        result[f"{name}_leaders_to_ideal"] = fmean(leader_ratios)
    return result


@click.command(
    epilog="""\b
Examples:
  mesh bench placement
  mesh bench placement --nodes 100 --partitions 10000 --racks 5 --weighted
"""
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 10_000),
    multiple=True,
    default=(3, 10, 50, 200),
    help="Repeat for more. [3, 10, 50 and 200]",
)
@click.option("--partitions", type=click.IntRange(1, 1_000_000), default=3000, show_default=True)
@click.option(
    "--racks",
    type=click.IntRange(0, 1000),
    multiple=True,
    default=(0, 5),
    help="0 means that nodes say none; repeat for more. [0 and 5]",
)
@click.option("--weighted", is_flag=True, help="Nodes of weight 50, 100, 150 and 200 in turn.")
@JSON
def placement(
    nodes: tuple[int, ...],
    partitions: int,
    racks: tuple[int, ...],
    weighted: bool,
    as_json: bool,
) -> None:
    """Measure how evenly partitions are placed, and what moves when nodes come and go."""
    plans = [(count, rack_count) for count in nodes for rack_count in racks if rack_count <= count]

    def points() -> Iterator[Figures]:
        for count, rack_count in plans:
            yield placement_point(count, partitions, rack_count, weighted=weighted)

    with failures():
        found = collect(points(), len(plans))
    settings: dict[str, object] = {"replicas": REPLICAS, "slice": SLICE}
    tell("placement", [], found, settings, as_json=as_json)
