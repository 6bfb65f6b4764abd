"""Weighted rendezvous hashing: for each partition, all nodes in the order in which it wants them.

The chance that a node comes first is its weight's share; of two nodes each partition keeps the
order whatever others come and go. Nothing here depends on the platform's library of mathematics,
whose logarithms differ in the last bit between machines.
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from mesh.model.types import TopicPartition
from mesh.placement.nodes import Layout, Node, far

_UNIT = 2.0**-64


def key_of(partition: TopicPartition) -> bytes:
    """Return what stands for a partition in every hash: 16 bytes."""
    topic = xxh3_64_intdigest(partition.topic.encode())
    return topic.to_bytes(8, "big") + partition.partition.to_bytes(8, "big", signed=True)


def salt_of(node: Node) -> int:
    """Return the seed under which a node hashes partitions."""
    return xxh3_64_intdigest(b"gossamer node %d" % node.node_id)


class Scores:
    """Of the nodes of one layout, by index."""

    def __init__(self, layout: Layout) -> None:
        """Prepare the salts and the weights."""
        self._layout = layout
        self._salts = [salt_of(node) for node in layout.nodes]
        self._weights = [node.weight for node in layout.nodes]
        self._indexes = range(len(layout.nodes))
        self._rates: dict[int, list[float]] = {}

    def order(self, key: bytes, count: int) -> list[int]:
        """Return all nodes, the one that should hold a replica the most first.

        Args:
            key: of the partition.
            count: how many replicas it has, at most as many as there are nodes.
        """
        hashes = [xxh3_64_intdigest(key, salt) for salt in self._salts]
        rates = self._rates.get(count)
        if rates is None:
            rates = [1.0 / rate for rate in self._layout.rates(count)] if count else []
            if rates and max(rates) < min(rates) * (1 + 1e-9):
                rates = []
            self._rates[count] = rates
        if not rates:
            return sorted(self._indexes, key=hashes.__getitem__)
        # `far`, written out: calls would be most of the cost.
        scores = []
        for value, rate in zip(hashes, rates, strict=True):
            v = value * _UNIT
            t = v / (2.0 - v)
            s = t * t
            tail = s * (0.2 + s * (0.14285714285714285 + s * 0.1111111111111111))
            scores.append(2.0 * t * (1.0 + s * (0.3333333333333333 + tail)) * rate)
        return sorted(self._indexes, key=scores.__getitem__)

    def best(self, key: bytes, among: Sequence[int]) -> list[int]:
        """Return some nodes, the one that should lead the most first: by weight alone."""
        return sorted(among, key=lambda index: (self._score(key, index), index))

    def _score(self, key: bytes, index: int) -> float:
        value = xxh3_64_intdigest(key, self._salts[index])
        return far(value * _UNIT) / self._weights[index]
