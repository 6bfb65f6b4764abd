"""Time-outs of members: at most one of each kind, moved by a number whenever that is enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from mesh.groups.coordinator import Coordinator, OnTimer
    from mesh.groups.timers import Timer
    from mesh.groups.turn import Turn

Kind: TypeAlias = Literal["session", "rebalance", "join", "sync"]
"""A member must be heard of; must give up partitions; and, if it speaks the classic protocol, must
join again, and ask for its assignment."""
Key: TypeAlias = tuple[str, str, Kind]


class Timers:
    """Of all members of all groups by KIP-848 of one coordinator."""

    def __init__(self, coordinator: Coordinator, fence: Callable[[str, str, Turn], None]) -> None:
        """Without any.

        Args:
            coordinator: has the wheel.
            fence: takes a member out of its group.
        """
        self._coordinator = coordinator
        self._fence = fence
        self._timers: dict[Key, Timer[tuple[Coordinator, OnTimer]]] = {}

    def set(
        self,
        group_id: str,
        member_id: str,
        kind: Kind,
        after_ms: int,
        turn: Turn,
        call: OnTimer | None = None,
    ) -> None:
        """Have a member fenced, or `call` made, after some time; instead of before."""
        key = group_id, member_id, kind
        at_ms = turn.now.monotonic_ms + after_ms
        known = self._timers.get(key)
        if known is not None and known.at_ms is not None:
            if call is None and at_ms >= known.at_ms:
                known.at_ms = at_ms
                return
            known.cancel()

        def fire(turn: Turn) -> None:
            # Another call of the same look may have cancelled, replaced or moved it.
            if self._timers.get(key) is not timer or timer.at_ms is None:
                return
            del self._timers[key]
            if timer.at_ms > turn.now.monotonic_ms:
                self.set(*key, timer.at_ms - turn.now.monotonic_ms, turn, call)
            elif call is None:
                self._fence(group_id, member_id, turn)
            else:
                call(turn)

        timer = self._timers[key] = self._coordinator.set_timer(at_ms, fire)

    def set_if_absent(
        self, group_id: str, member_id: str, kind: Kind, after_ms: int, turn: Turn
    ) -> None:
        """Have a member fenced after some time, unless that is so already."""
        if (group_id, member_id, kind) not in self._timers:
            self.set(group_id, member_id, kind, after_ms, turn)

    def cancel(self, group_id: str, member_id: str, kind: Kind) -> None:
        """Nothing of this kind is to happen any more."""
        timer = self._timers.pop((group_id, member_id, kind), None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self, group_id: str, member_id: str) -> None:
        """The member is gone."""
        for kind in KINDS:
            self.cancel(group_id, member_id, kind)


KINDS: tuple[Kind, ...] = ("session", "rebalance", "join", "sync")
