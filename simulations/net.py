"""The virtual network: datagrams that may be lost, repeated and overtaken; streams that may not.

Every message is bytes. Nodes are numbers; a cut is from some to others, one way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp
from typing import TypeAlias

from simulations.world import World

RTO_US = 200_000
"""Until a lost segment of a stream is sent again, doubling: Linux's least."""
RETRANSMITS_MAX = 6
Nodes: TypeAlias = frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How messages fare from one node to another. Probabilities are from 0 to 1."""

    delay_us: tuple[int, int] = (200, 1_000)
    """Uniform between the two."""
    tail_us: int = 0
    """Scale of a long tail that is added: its median, of a lognormal with sigma 1."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Share of datagrams that are held back up to `reorder_us` more."""
    reorder_us: int = 20_000
    reset: float = 0.0
    """Share of calls on streams that break off in the middle."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing passes from these to those."""

    sources: Nodes
    targets: Nodes


class Network:
    """Carries messages between the nodes of one world."""

    def __init__(self, world: World, link: Link | None = None) -> None:
        """With one kind of link everywhere, until told otherwise."""
        self._world = world
        self._rng = world.rng("net")
        self._random = self._rng.random
        self.link = link or Link()
        self.links: dict[tuple[int, int], Link] = {}
        """Of pairs (source, target) that differ."""
        self.into: dict[int, Link] = {}
        """Of all that goes to a node, unless the pair differs."""
        self.out_of: dict[int, Link] = {}
        """Of all that comes from a node, unless one of the two differs."""
        self.cuts: list[Cut] = []
        self.sent = 0
        self.lost = 0

    # Faults

    def split(self, one: Iterable[int], other: Iterable[int]) -> list[Cut]:
        """Cut two sets of nodes off from each other; who is in neither reaches both."""
        a, b = frozenset(one), frozenset(other)
        return [self.cut(a, b), self.cut(b, a)]

    def cut(self, sources: Iterable[int], targets: Iterable[int]) -> Cut:
        """Let nothing pass from some to others."""
        cut = Cut(frozenset(sources), frozenset(targets))
        self.cuts.append(cut)
        return cut

    def heal(self, *cuts: Cut) -> None:
        """End these cuts, or all."""
        self.cuts = [cut for cut in self.cuts if cuts and cut not in cuts]

    def is_cut(self, source: int, target: int) -> bool:
        """Whether nothing passes from one node to another."""
        return any(source in cut.sources and target in cut.targets for cut in self.cuts)

    def link_of(self, source: int, target: int) -> Link:
        """Return how messages fare between two nodes."""
        found = self.links.get((source, target)) if self.links else None
        if found is None and self.into:
            found = self.into.get(target)
        if found is None and self.out_of:
            found = self.out_of.get(source)
        return found or self.link

    # Datagrams

    def delays(self, source: int, target: int) -> tuple[int, ...]:
        """Return after how many microseconds a datagram arrives: never, once or twice."""
        self.sent += 1
        random = self._random
        plain = self.link
        if self.links or self.into or self.out_of:
            plain = self.link_of(source, target)
        if self.cuts and self.is_cut(source, target):
            self.lost += 1
            return ()
        if plain.loss and random() < plain.loss:
            self.lost += 1
            return ()
        low, high = plain.delay_us
        delay = low + int(random() * (high - low))
        if plain.tail_us or plain.reorder or plain.duplicate:
            return self._odd_delays(plain, delay)
        return (delay,)

    def _odd_delays(self, link: Link, delay: int) -> tuple[int, ...]:
        delay += self._tail(link)
        if link.reorder and self._random() < link.reorder:
            delay += int(self._random() * link.reorder_us)
        if link.duplicate and self._random() < link.duplicate:
            return (delay, delay + int(self._random() * link.reorder_us))
        return (delay,)

    def _tail(self, link: Link) -> int:
        return int(link.tail_us * exp(self._rng.gauss(0.0, 1.0))) if link.tail_us else 0

    # Streams

    def _segment_us(self, source: int, target: int) -> int | None:
        """Return how long a segment takes until it has arrived, sent again as often as need be."""
        link = self.link_of(source, target)
        low, high = link.delay_us
        took = low + int(self._random() * (high - low)) + self._tail(link)
        for again in range(RETRANSMITS_MAX):
            if self._random() >= link.loss:
                return took
            took += RTO_US << again
        return None

    def call_us(self, source: int, target: int) -> tuple[int, int] | None:
        """Return how long a request takes to arrive on a new stream, and its answer to return.

        None: the stream breaks off, or never comes to be.
        """
        if self.cuts and (self.is_cut(source, target) or self.is_cut(target, source)):
            return None
        there = [self._segment_us(source, target) for _ in range(2)]
        back = [self._segment_us(target, source) for _ in range(2)]
        if self._random() < self.link_of(source, target).reset:
            return None
        request, answer = 0, 0
        for took in (there[0], back[0], there[1]):
            if took is None:
                return None
            request += took
        if back[1] is None:
            return None
        answer += back[1]
        return request, answer
