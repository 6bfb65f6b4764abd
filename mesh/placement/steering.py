"""When to compute anew: once the view is still, but at once where somebody waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from mesh.placement.nodes import Node

STILL_MS = 2_000
"""How long nothing must have changed: a restart or a wave of joins is then one recomputation."""
UNSTILL_MS_MAX = 20_000
"""After the first change it is done at the latest: one node that comes and goes for ever must not
keep the dead from being replaced."""


@dataclass(frozen=True, slots=True)
class NodesSeen:
    """Event: these are the live members, as placement sees them; told at every change."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PartitionsChanged:
    """Event: topics came or went, or want another number of replicas."""

    replicas_max: int
    """The most that any partition wants."""


@dataclass(frozen=True, slots=True)
class TopicCreating:
    """Event: a topic is being created, and whoever asked for it waits."""

    topic: str


@dataclass(frozen=True, slots=True)
class Woken:
    """Event: the time that `wake_at_ms` named has come."""


@dataclass(frozen=True, slots=True)
class Recompute:
    """Effect: begin the map anew, from these nodes; one under way is thrown away."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class PlaceTopic:
    """Effect: place this topic now, on these nodes, after all that is placed already."""

    topic: str
    nodes: tuple[Node, ...]


Event: TypeAlias = "NodesSeen | PartitionsChanged | TopicCreating | Woken"
Effect: TypeAlias = "Recompute | PlaceTopic"


class Steering:
    """Of one node. Holds the nodes as last seen and two instants; nothing grows."""

    def __init__(self) -> None:
        """Begin with no nodes and no partitions."""
        self._nodes: tuple[Node, ...] = ()
        self._replicas_max = 0
        self._first_ms: int | None = None
        self._last_ms = 0

    @property
    def wake_at_ms(self) -> int | None:
        """When `Woken` is due; None while there is nothing to do."""
        if self._first_ms is None:
            return None
        return min(self._last_ms + STILL_MS, self._first_ms + UNSTILL_MS_MAX)

    def on(self, event: Event, now_ms: int) -> list[Effect]:
        """Take an event; monotonic milliseconds."""
        match event:
            case NodesSeen(nodes):
                return self._seen(_sorted(nodes), now_ms)
            case PartitionsChanged(replicas_max):
                grew = replicas_max > self._replicas_max
                self._replicas_max = replicas_max
                self._changed(now_ms)
                if grew and self._holding(self._nodes) < replicas_max:
                    return self._recompute()
            case TopicCreating(topic):
                # Taking its place in the whole map waits like any other change.
                self._changed(now_ms)
                return [PlaceTopic(topic, self._nodes)]
            case Woken():
                if (due := self.wake_at_ms) is not None and now_ms >= due:
                    return self._recompute()
        return []

    def _seen(self, nodes: tuple[Node, ...], now_ms: int) -> list[Effect]:
        if nodes == self._nodes:
            return []
        before, self._nodes = self._holding(self._nodes), nodes
        self._changed(now_ms)
        # A young mesh that grows: replicas are missing that this node could hold. One that
        # shrinks waits: who left may be back in a moment.
        if before < min(self._replicas_max, self._holding(nodes)):
            return self._recompute()
        return []

    def _changed(self, now_ms: int) -> None:
        if self._first_ms is None:
            self._first_ms = now_ms
        self._last_ms = now_ms

    def _recompute(self) -> list[Effect]:
        self._first_ms = None
        return [Recompute(self._nodes)]

    @staticmethod
    def _holding(nodes: Iterable[Node]) -> int:
        return sum(node.weight > 0 for node in nodes)


def _sorted(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(sorted(nodes))
