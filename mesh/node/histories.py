"""What happened to each member lately, as one node saw it: what `mesh why` tells. A pure machine.

Only what bears on whether somebody is there: states, who accuses whom, refutations, addresses.
"""

from __future__ import annotations

from collections.abc import Mapping

from mesh.gossip import Changed, Doubted, Member, State
from mesh.gossip.member import DRAINING, UNREACHED
from mesh.model.statistics import MemberEvent
from mesh.model.types import NodeId

EVENTS_MAX = 32
"""Of each member: ten suspicions with their accusers and refutations."""
MEMBERS_MAX = 2_000
"""Whose events are kept; of more, those to whom nothing happened for longest are forgotten."""
TOLD_MAX = 16
"""Ids in one sentence."""


class Histories:
    """The newest events of each member, in words."""

    def __init__(self, own_id: NodeId) -> None:
        """Of the members that node `own_id` knows, itself included."""
        self._own_id = own_id
        self._events: dict[NodeId, tuple[MemberEvent, ...]] = {}
        """Whoever something happened to last is last."""

    @property
    def events(self) -> Mapping[NodeId, tuple[MemberEvent, ...]]:
        """The events of each member, the oldest first; a copy."""
        return dict(self._events)

    def changed(self, change: Changed, now_ms: int) -> None:
        """Something else is believed of a member."""
        before, after, told_by = change
        node_id = after.node_id
        by = f", told by {told_by}" if told_by else ""
        if before is None:
            if node_id != self._own_id:
                self._add(node_id, now_ms, "joined", f"heard of first, at {after.address}{by}")
            if after.state is not State.ALIVE:
                self._add(node_id, now_ms, after.state.name.lower(), f"was so already{by}")
            return
        if after.start != before.start:
            text = f"started anew (start {after.start}) at {after.address}{by}"
            self._add(node_id, now_ms, "back", text)
        elif after.address != before.address:
            self._add(node_id, now_ms, "moved", f"from {before.address} to {after.address}")
        if after.state is not before.state:
            self._state(before, after, now_ms, by)
        elif after.incarnation > before.incarnation and after.state is State.ALIVE:
            text = f"refuted that others suspect it (incarnation {after.incarnation}){by}"
            self._add(node_id, now_ms, "refuted", text)
        if after.entries is not before.entries and after.start == before.start:
            self._map(before, after, now_ms)

    def doubted(self, doubt: Doubted, now_ms: int) -> None:
        """More accuse one than before; one event tells all accusers of a suspicion."""
        words = []
        for accuser, percent in list(doubt.accusers.items())[:TOLD_MAX]:
            who = "this node" if accuser == self._own_id else f"node {accuser}"
            words.append(who if percent >= 100 else f"{who} (which is not well: {percent} %)")
        text = f"did not answer {_listed(words)}"
        events = self._events.get(doubt.node_id, ())
        if events and events[-1].kind == "accused":
            self._events[doubt.node_id] = events[:-1]
        self._add(doubt.node_id, now_ms, "accused", text)

    def expelled(self, node_id: NodeId, now_ms: int) -> None:
        """An operator has a dead member count as left, by a command to this node."""
        self._add(node_id, now_ms, "expelled", "an operator said here that it will not come back")

    def _state(self, before: Member, after: Member, now_ms: int, by: str) -> None:
        node_id = after.node_id
        match after.state:
            case State.SUSPECT:
                self._add(node_id, now_ms, "suspect", f"is suspected to be dead{by}")
            case State.DEAD:
                how = f"found dead{by}" if by else f"found dead: {self._why_dead(node_id, now_ms)}"
                still = "; it still talked: bad links" if after.impaired else ""
                self._add(node_id, now_ms, "dead", how + still)
            case State.LEFT:
                self._add(node_id, now_ms, "left", _words_of_leave(before, by))
            case State.ALIVE if before.state is not State.SUSPECT:
                if after.start == before.start:
                    text = f"says that it is alive (incarnation {after.incarnation}){by}"
                    self._add(node_id, now_ms, "back", text)
            case _ if after.incarnation > before.incarnation or after.start > before.start:
                text = f"refuted it (incarnation {after.incarnation}){by}"
                self._add(node_id, now_ms, "refuted", text)
            case _:
                self._add(node_id, now_ms, "cleared", "nobody else agreed, so it counts as alive")

    def _why_dead(self, node_id: NodeId, now_ms: int) -> str:
        if node_id == self._own_id:
            return "others say so of this node"
        for event in reversed(self._events.get(node_id, ())):
            if event.kind == "suspect":
                return f"it did not refute it within {(now_ms - event.at_ms) / 1000:.1f} s"
        return "told on a stream, when views were compared"

    def _map(self, before: Member, after: Member, now_ms: int) -> None:
        drains = bool(after.entries.get(DRAINING))
        if drains and not before.entries.get(DRAINING):
            text = "said that it stops, and means to come back"
            self._add(after.node_id, now_ms, "draining", text)
        unreached = after.entries.get(UNREACHED)
        if unreached != before.entries.get(UNREACHED):
            text = "said that it reaches all others again"
            if isinstance(unreached, list) and unreached:
                ids = [str(one) for one in unreached[:TOLD_MAX]]
                more = len(unreached) - len(ids)
                told = [*ids, f"{more} more"] if more else ids
                text = f"said that it does not reach {_listed(told)} itself"
            self._add(after.node_id, now_ms, "reach", text)

    def _add(self, node_id: NodeId, now_ms: int, kind: str, text: str) -> None:
        events = self._events.pop(node_id, ())
        while len(self._events) >= MEMBERS_MAX:
            del self._events[next(iter(self._events))]
        self._events[node_id] = (*events, MemberEvent(now_ms, kind, text))[-EVENTS_MAX:]


def _words_of_leave(before: Member, by: str) -> str:
    if before.state is not State.DEAD:
        return f"said that it leaves for good{by}"
    return f"it was dead, and counts as left: by an operator, or after days{by}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
