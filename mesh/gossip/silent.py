"""The dead and those who left: tried again, given up after days, forgotten."""

from __future__ import annotations

from collections.abc import Callable

from mesh.gossip.context import Context
from mesh.gossip.detector import Detector
from mesh.gossip.member import Member, State
from mesh.model.types import NodeId


class Silent:
    """What becomes of members that are not live, in the view of one machine."""

    def __init__(
        self, context: Context, detector: Detector, *, change: Callable[[Member, int], None]
    ) -> None:
        """Around the parts that are shared; `change` believes a member and tells all."""
        self._context = context
        self._detector = detector
        self._change = change
        self._dead: dict[NodeId, int] = {}
        """Since when each dead member is dead, who died first before the others."""
        self._left: dict[NodeId, int] = {}
        """When each member that left is forgotten, who left first before the others."""

    def heed(self, before: Member | None, after: Member, now_ms: int) -> None:
        """Something else is believed of a member."""
        node_id = after.node_id
        if after.state is not State.LEFT:
            self._left.pop(node_id, None)
        elif not _same_life(before, after):
            self._left.pop(node_id, None)
            self._left[node_id] = now_ms + self._context.settings.tombstone_ms
        if after.state is State.DEAD:
            self._dead.setdefault(node_id, now_ms)
        else:
            self._dead.pop(node_id, None)

    def tick(self, now_ms: int) -> None:
        """Try a dead one again, now and then; forget who left, give up who died, long ago."""
        context = self._context
        view, settings = context.view, context.settings
        while self._left and now_ms >= self._left[first := next(iter(self._left))]:
            del self._left[first]
            view.forget(first)
        self._give_up(now_ms)
        silent = view.silent
        if not silent:
            return
        rate = len(silent) * settings.probe_interval_ms / settings.reconnect_interval_ms
        if context.rng.random() * max(1, len(view.ring)) < rate:
            node_id = list(silent)[context.below(len(silent))]
            member = view.get(node_id)
            if member is not None and member.state is State.DEAD and node_id != context.node_id:
                self._detector.ping(member, 0)

    def _give_up(self, now_ms: int) -> None:
        """Have who has been dead for days count as left, or the view would grow for ever.

        One member decides it for all, the first on the ring: each in its own time, views would
        differ. Should it be alive after all, it says so, as after any death.
        """
        ring = self._context.view.ring
        if not self._dead or not ring or ring[0] != self._context.node_id:
            return
        node_id, since_ms = next(iter(self._dead.items()))
        member = self._context.view.get(node_id)
        if now_ms - since_ms >= self._context.settings.forget_dead_ms and member is not None:
            self._context.counters["dead_given_up"] += 1
            self._change(member._replace(state=State.LEFT, impaired=False), now_ms)


def _same_life(one: Member | None, left: Member) -> bool:
    """Whether this is the member that left, or only its map is another."""
    return one is not None and one[:4] == left[:4]
