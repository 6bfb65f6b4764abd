"""What a node says of itself: its map, its refutations, its leave. Nobody else writes these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from mesh.gossip.comeback import Comeback
from mesh.gossip.context import Context
from mesh.gossip.detector import EVERYBODY_MAX, OBSERVERS, Detector
from mesh.gossip.member import PEER, Member, State, Value
from mesh.gossip.messages import (
    COUNT_MAX,
    Record,
    encode_change,
    encode_full,
    encode_record,
    is_value,
    rank_of,
)
from mesh.gossip.settings import ENTRIES_MAX
from mesh.gossip.spreader import Spreader

SECOND_THOUGHT_MS = 50
"""One that was found dead lately waits so long before it refutes a suspicion: behind it may come
the news that it is too late, and then it is to come back less and less soon."""


class Owner:
    """The owner's side of one machine's own record."""

    def __init__(
        self,
        context: Context,
        spreader: Spreader,
        detector: Detector,
        *,
        put: Callable[[Member, int], None],
        change: Callable[[Member, int], None],
        clash: Callable[[str, str], None],
    ) -> None:
        """Around the parts that are shared.

        Args:
            context: what is shared.
            spreader: tells the news.
            detector: knows how good the links are.
            put: believes a member.
            change: believes a member, and tells all.
            clash: says that another process, at an address, is this node; and why.
        """
        self._context = context
        self._spreader = spreader
        self._detector = detector
        self._put = put
        self._change = change
        self._clash = clash
        self._comeback = Comeback(context, detector, come_back=self._come_back)
        self._mourned = -1
        """Incarnation that was found dead, as far as this node heard."""
        self.leaves = False

    @property
    def member(self) -> Member:
        """This node as it is believed to be."""
        mine = self._context.view.get(self._context.node_id)
        assert mine is not None, "a node knows itself"
        return mine

    @property
    def tells(self) -> bool:
        """Whether answers to probes carry this node's own state."""
        return self._comeback.tells

    def tick(self, now_ms: int) -> None:
        """Once in a probe interval."""
        self._comeback.tick(now_ms)

    def write(self, entries: Mapping[str, Value | None], now_ms: int) -> None:
        """Change entries of the map; None removes one.

        Raises:
            ValueError: it is no value of a map, or too many.
        """
        mine = self.member
        old = mine.entries
        changed = {name: value for name, value in entries.items() if old.get(name) != value}
        if not changed:
            return
        merged = {**old, **changed}
        kept = {name: value for name, value in merged.items() if value is not None}
        check_entries(kept)
        after = mine._replace(version=mine.version + 1, entries=MappingProxyType(kept))
        self._put(after, now_ms)
        self._spreader.tell(mine.node_id, encode_change(after, mine.version, changed))

    def leave(self, now_ms: int) -> None:
        """Tell all that this node has left."""
        self.leaves = True
        self._change(self.member._replace(state=State.LEFT, impaired=False), now_ms)

    def hear(self, record: Record, source: str, now_ms: int) -> None:
        """Somebody tells something of this node."""
        context = self._context
        if record.start > context.start:
            entries = record.entries
            address = source if entries is None else str(entries.get(PEER, source))
            self._clash(address, "it started later under the same node id")
            return
        if record.start < context.start or self.leaves:
            return
        if self.member.version < record.version < COUNT_MAX:
            self._outbid(record.version, now_ms)
        if record.state is State.ALIVE:
            return
        if record.state is State.SUSPECT:
            self._hear_of_suspicion(record, now_ms)
        elif (record.incarnation, rank_of(record)) > (
            self.member.incarnation,
            rank_of(self.member),
        ):
            self._mourned = record.incarnation
            mine = self.member._replace(
                incarnation=record.incarnation, state=State.DEAD, impaired=record.impaired
            )
            self._put(mine, now_ms)
            self._comeback.found_dead(now_ms, impaired=record.impaired)
        elif self._mourned < record.incarnation < self.member.incarnation:
            self._mourned = record.incarnation
            self._comeback.was_dead(now_ms)
        if source and self.member.state is State.ALIVE:
            # Whoever doubts us gets no news of us in any other way.
            self._spreader.send_to(source, [encode_record(self.member)])

    def _outbid(self, version: int, now_ms: int) -> None:
        """Somebody holds a map that this node never wrote: it would hide all that it writes."""
        self._context.counters["maps_outbid"] += 1
        after = self.member._replace(version=version + 1)
        self._put(after, now_ms)
        self._spreader.tell(after.node_id, encode_full(after))

    def _hear_of_suspicion(self, record: Record, now_ms: int) -> None:
        mine = self.member
        if record.incarnation < mine.incarnation or mine.state is not State.ALIVE:
            return
        if self._comeback.flaps(now_ms):
            call = partial(self._refute, record)
            self._context.at(now_ms + SECOND_THOUGHT_MS, call)
        else:
            self._refute(record, now_ms)

    def _refute(self, record: Record, now_ms: int) -> None:
        """Raise the incarnation, and have those know who doubt, or may come to."""
        mine, context = self.member, self._context
        if record.incarnation < mine.incarnation or mine.state is not State.ALIVE:
            return
        context.sick(1)
        context.counters["refutations"] += 1
        self._comeback.refuted()
        after = mine._replace(incarnation=record.incarnation + 1)
        view = context.view
        if len(view.ring) <= EVERYBODY_MAX:
            self._change(after, now_ms)
            return
        self._put(after, now_ms)
        told = encode_record(after)
        for one in dict.fromkeys((*view.observers(mine.node_id, OBSERVERS), *record.accusers)):
            other = view.get(one)
            if other is not None and one != mine.node_id:
                self._spreader.send_to(other.address, [told])

    def _come_back(self, now_ms: int) -> None:
        """Say that this node, which was found dead, is alive."""
        mine = self.member
        self._context.counters["returns"] += 1
        after = mine._replace(incarnation=mine.incarnation + 1, state=State.ALIVE, impaired=False)
        self._change(after, now_ms)


def check_entries(entries: Mapping[str, Value]) -> None:
    """Hold what is to be a map against the bounds.

    Raises:
        ValueError: it is no map of a member; the text says why.
    """
    if len(entries) > ENTRIES_MAX:
        raise ValueError(f"a member's map has at most {ENTRIES_MAX} entries")
    for name, value in entries.items():
        if not is_value(value):
            raise ValueError(f"{name} of a member's map may not be {value!r}")
