"""The nodes that partitions are placed on, their failure domains, and what each may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, fsum
from typing import NamedTuple

from mesh.model.types import NodeId

SLACK = 0.05
"""How far above its share a node may get, of replicas and of leaders (a trial on paper: with 5 %
a join among 10 nodes moves what is ideal; docs/architecture.md)."""

SURE = 0.98
"""A share that a race is run for at most: a sure one would need to be infinitely fast."""

_ROUNDS = 60
"""Of bisection: enough for every bit of a float's mantissa."""


class Node(NamedTuple):
    """A node as placement sees it."""

    node_id: NodeId
    rack: str = ""
    """Nodes without one are in one rack together."""
    host: str = ""
    """The machine, within its rack; empty: a machine of its own."""
    weight: int = 100
    """Its share against the others'; 0 or less: it is to hold nothing."""


class Item(NamedTuple):
    """One among whom an amount is divided."""

    weight: int
    low: float
    high: float


def usable(nodes: Iterable[Node]) -> list[Node]:
    """Return those that hold something, one per id, ascending.

    Where all have weight 0 there is nobody to drain to: all count alike then.

    Raises:
        ValueError: two different nodes have one id.
    """
    by_id: dict[NodeId, Node] = {}
    for node in nodes:
        if by_id.setdefault(node.node_id, node) != node:
            raise ValueError(f"two nodes have the id {node.node_id}; placement needs one of each")
    found = [by_id[node_id] for node_id in sorted(by_id)]
    weighted = [node for node in found if node.weight > 0]
    return weighted or [node._replace(weight=1) for node in found]


def divide(amount: float, items: Sequence[Item]) -> list[float]:
    """Divide an amount by weight, so that each gets at least its low and at most its high mark.

    Only the basic operations of IEEE 754 and `fsum`, which rounds once, are used: the result is
    the same to the last bit on every machine and Python. (The plain `sum` is not: 3.12 changed it.)

    Args:
        amount: between the sums of the marks; beyond them everybody gets that mark.
        items: their weights are positive.
    """
    if not items:
        return []
    below, above = 0.0, max(item.high / item.weight for item in items)
    for _ in range(_ROUNDS):
        rate = (below + above) / 2
        if fsum(_clamped(rate, item) for item in items) < amount:
            below = rate
        else:
            above = rate
    return [_clamped(above, item) for item in items]


def _clamped(rate: float, item: Item) -> float:
    return min(max(rate * item.weight, item.low), item.high)


def level(sizes: Iterable[int], amount: float) -> int:
    """Return to how many in one place the fullest place must go for an amount to be held."""
    sizes = list(sizes)
    found = 1
    while sum(min(size, found) for size in sizes) < amount - 1e-9 and found < max(sizes):
        found += 1
    return found


def _domains(nodes: Sequence[Node], key: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, name in zip(range(len(nodes)), key, strict=True):
        found.setdefault(name, []).append(index)
    return found


def far(value: float) -> float:
    """Return about -ln(1 - value): exponentially distributed where value is uniform in [0, 1).

    The series of the inverse hyperbolic tangent up to its ninth power: right to a millionth below
    a half, too small by a tenth at 0.98 and by far at 1, where only those are who come last.
    """
    t = value / (2.0 - value)
    s = t * t
    tail = s * (0.2 + s * (0.14285714285714285 + s * 0.1111111111111111))
    return 2.0 * t * (1.0 + s * (0.3333333333333333 + tail))


class Layout:
    """Usable nodes by index, ascending by id, with their domains and levels."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        """Of all nodes; the order in which they come means nothing."""
        self.nodes = usable(nodes)
        racks = [node.rack for node in self.nodes]
        hosts = [
            f"{len(node.rack)}:{node.rack}:{node.host}" if node.host else f"={node.node_id}"
            for node in self.nodes
        ]
        self.in_rack, self.in_host = _domains(self.nodes, racks), _domains(self.nodes, hosts)
        rack_numbers = {name: number for number, name in enumerate(self.in_rack)}
        host_numbers = {name: number for number, name in enumerate(self.in_host)}
        self.rack_of = [rack_numbers[name] for name in racks]
        self.host_of = [host_numbers[name] for name in hosts]
        self.hosts_of_rack = {
            rack: sorted({hosts[index] for index in indexes})
            for rack, indexes in self.in_rack.items()
        }

    def rack_level(self, already: int) -> int:
        """Return how many a rack must hold already for it to get the next replica."""
        return level((len(one) for one in self.in_rack.values()), already + 1) - 1

    def shares(self, count: int) -> list[float]:
        """Return how much of a partition with so many replicas each node should hold on average.

        By weight, as far as the spread over racks, then hosts, allows; nobody more than one.
        """
        result = [0.0] * len(self.nodes)
        racks = list(self.in_rack)
        for rack, amount in zip(
            racks, self._divide(count, [self.in_rack[rack] for rack in racks]), strict=True
        ):
            hosts = [self.in_host[host] for host in self.hosts_of_rack[rack]]
            for indexes, part in zip(hosts, self._divide(amount, hosts), strict=True):
                alone = [[index] for index in indexes]
                for index, share in zip(indexes, self._divide(part, alone), strict=True):
                    result[index] = share
        return result

    def rates(self, count: int) -> list[float]:
        """Return how eagerly each node is to race for a partition with so many replicas.

        Who takes part in a race until `count` are in is not in it by weight: the heavy ones lose
        by being in only once. With a rate of -ln(1 - share) they get about their share, and the
        caps have little to mend. The race is between hosts: between racks a node that joins would
        make all others of its rack faster, and half as much again would move (measured).
        """
        shares = self.shares(count)
        rates = [0.0] * len(shares)
        for indexes in self.in_host.values():
            whole = fsum(shares[index] for index in indexes)
            for index in indexes:
                rates[index] = far(min(whole, SURE)) * shares[index] / whole
        return rates

    def _divide(self, amount: float, domains: Sequence[Sequence[int]]) -> list[float]:
        sizes = [len(one) for one in domains]
        top = level(sizes, amount)
        items = [
            Item(
                sum(self.nodes[index].weight for index in one),
                float(min(len(one), top - 1)),
                float(min(len(one), top)),
            )
            for one in domains
        ]
        return divide(amount, items)

    def division(self, wanted: Mapping[int, int]) -> tuple[list[float], list[float]]:
        """Return how many replicas, and how many leaders, each node should have on average.

        Args:
            wanted: by number of replicas, at most as many as there are nodes, how many partitions.
        """
        parts: list[list[float]] = [[] for _ in self.nodes]
        for count in sorted(wanted):
            for index, share in enumerate(self.shares(count)):
                parts[index].append(share * wanted[count])
        shares = [fsum(part) for part in parts]
        leads = divide(
            float(sum(wanted.values())),
            [Item(node.weight, 0.0, s) for node, s in zip(self.nodes, shares, strict=True)],
        )
        return shares, leads


def cap_of(share: float) -> int:
    """Return how many a node may get that should have so many on average."""
    return max(1, ceil(share * (1 + SLACK) - 1e-6))
