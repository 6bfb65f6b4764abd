"""All members that a node knows, the ring of the live ones, and the hash of it all.

What many nodes know alike they may share: a view that began with `known` writes only beside it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from math import gcd

from mesh.gossip.member import Member, State
from mesh.gossip.messages import hash_of
from mesh.model.types import NodeId

_NOBODY: Mapping[NodeId, Member] = {}
_GOLDEN = 0x9E37_79B1
"""2^32 divided by the golden ratio: ids that follow one another lie far apart, none twice."""


class Known:
    """A view that many nodes begin with; computed once, never changed."""

    __slots__ = ("members", "ring", "view_hash")

    def __init__(self, members: Mapping[NodeId, Member]) -> None:
        """Of members by id."""
        self.members = members
        self.ring = sorted((m.node_id for m in members.values() if m.live), key=ring_key)
        self.view_hash = 0
        for member in members.values():
            self.view_hash ^= hash_of(member)


def ring_key(node_id: NodeId) -> int:
    """Return where on the ring a node stands, 32 bits."""
    return node_id * _GOLDEN & 0xFFFF_FFFF


class View:
    """Members by id; `ring` holds the ids of the live ones in the order of their keys."""

    __slots__ = ("_own", "_shared", "_shares_ring", "ring", "silent", "view_hash")

    def __init__(self, known: Known | None = None) -> None:
        """Begin empty, or with what is shared."""
        self._shared = _NOBODY if known is None else known.members
        self._own: dict[NodeId, Member] = {}
        self._shares_ring = known is not None
        self.ring: list[NodeId] = [] if known is None else known.ring
        self.view_hash = 0 if known is None else known.view_hash
        self.silent: dict[NodeId, None] = {}
        """Dead members and those who left, the oldest news first."""
        if known is not None:
            self.silent = {m.node_id: None for m in known.members.values() if not m.live}

    def get(self, node_id: NodeId) -> Member | None:
        """Return what is known of one."""
        return self._own.get(node_id) or self._shared.get(node_id)

    def __len__(self) -> int:
        if not self._shared:
            return len(self._own)
        return len(self._shared) + sum(one not in self._shared for one in self._own)

    def __iter__(self) -> Iterator[Member]:
        """All members, in no particular but always the same order."""
        own = self._own
        for node_id, member in self._shared.items():
            yield own.get(node_id, member)
        for node_id, member in own.items():
            if node_id not in self._shared:
                yield member

    def put(self, member: Member) -> Member | None:
        """Let it take the place of what was known; return that."""
        node_id = member.node_id
        before = self.get(node_id)
        self._own[node_id] = member
        self.view_hash ^= hash_of(member)
        was_live = False
        if before is not None:
            self.view_hash ^= hash_of(before)
            was_live = before.live
        if was_live != member.live:
            self._move(node_id, live=member.live)
        elif before is None:
            self.silent[node_id] = None
        return before

    def forget(self, node_id: NodeId) -> None:
        """Forget one who left; what is shared stays, as one who left."""
        member = self._own.get(node_id)
        if member is not None and member.state is State.LEFT and node_id not in self._shared:
            del self._own[node_id]
            self.silent.pop(node_id, None)

    def _move(self, node_id: NodeId, *, live: bool) -> None:
        if self._shares_ring:
            self.ring, self._shares_ring = self.ring.copy(), False
        if live:
            insort(self.ring, node_id, key=ring_key)
            self.silent.pop(node_id, None)
        else:
            del self.ring[self.place(node_id)]
            self.silent[node_id] = None

    def place(self, node_id: NodeId) -> int:
        """Return the index in the ring at which an id stands, or would stand."""
        return bisect_left(self.ring, ring_key(node_id), key=ring_key)

    def observers(self, node_id: NodeId, count: int) -> list[NodeId]:
        """Return whose regular probes go to a node: those before it on the ring, nearest first."""
        ring, place = self.ring, self.place(node_id)
        count = min(count, len(ring))
        found = [ring[place - step] for step in range(1, count + 1)]
        return [one for one in found if one != node_id]


def spread_targets(ring: Sequence[NodeId], place: int, turn: int, count: int) -> list[NodeId]:
    """Return to whom one node passes news on, so that all together miss nobody.

    Each node at position q sends to the positions m q + j for j < count, with m coprime to the
    number of nodes: then exactly `count` others send to each (a generalized de Bruijn graph, Imase
    and Itoh 1981), and news reaches all in about log(n) / log(count) steps.

    Args:
        ring: all live nodes.
        place: where the sender stands in it.
        turn: the same for the same news at every node, so that not always the same ones are last.
        count: how many; fewer are returned if there are not so many others.
    """
    n = len(ring)
    if n - 1 <= count:
        return [ring[(place + step) % n] for step in range(1, n)]
    factor = count + 2
    while gcd(factor, n) != 1:
        factor += 1
    origin = factor * (place + turn) - turn
    found: dict[NodeId, None] = {}
    step = 0
    while len(found) < count:
        target = (origin + step) % n
        if target != place:
            found[ring[target]] = None
        step += 1
    return list(found)
