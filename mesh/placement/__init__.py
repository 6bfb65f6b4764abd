"""Which nodes should hold each partition: a pure function, the same on every node."""

from mesh.placement.computation import Computation, Placed, Wanted, place, replicas
from mesh.placement.moves import Moves, ideal, moved
from mesh.placement.nodes import Node
from mesh.placement.steering import (
    NodesSeen,
    PartitionsChanged,
    PlaceTopic,
    Recompute,
    Steering,
    TopicCreating,
    Woken,
)

__all__ = [
    "Computation",
    "Moves",
    "Node",
    "NodesSeen",
    "PartitionsChanged",
    "PlaceTopic",
    "Placed",
    "Recompute",
    "Steering",
    "TopicCreating",
    "Wanted",
    "Woken",
    "ideal",
    "moved",
    "place",
    "replicas",
]
