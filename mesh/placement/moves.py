"""What lies between two maps, and how little could have."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import NamedTuple

from mesh.model.types import NodeId
from mesh.placement.computation import Computation, Placed, Wanted
from mesh.placement.nodes import Node


class Moves(NamedTuple):
    """A number of replicas, and of partitions whose preferred leader is another."""

    replicas: float
    leaders: float


def moved(before: Placed, after: Placed) -> Moves:
    """Count replicas that are new on their node, and leaders that changed, in what both hold."""
    replicas = leaders = 0
    for partition, ids in after.items():
        old = before.get(partition)
        if old is not None:
            replicas += len(set(ids) - set(old))
            leaders += ids[:1] != old[:1]
    return Moves(replicas, leaders)


def ideal(before: Iterable[Node], after: Iterable[Node], wanted: Wanted) -> Moves:
    """Return what must move for each node to get its share: what the shares grow by, summed."""
    old, new = _division(before, wanted), _division(after, wanted)
    return Moves(
        *(
            fsum(max(0.0, now[i] - old.get(node_id, (0.0, 0.0))[i]) for node_id, now in new.items())
            for i in range(2)
        )
    )


def _division(nodes: Iterable[Node], wanted: Wanted) -> dict[NodeId, tuple[float, float]]:
    return Computation(nodes, wanted).shares()
