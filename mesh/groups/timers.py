"""One wheel for all time-outs of all groups on a node, because there may be 100,000 members.

A member's heartbeat only writes a number: `timer.at_ms` is moved later, and the wheel finds that
out when the old instant has come. So a timer costs the wheel one look per time-out, not one per
heartbeat.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")

TICK_MS = 50
"""Timers fire up to so much late, and never early; unless they were set to be exact."""

LOOK_MS_MAX = 60_000
"""The wheel looks at a timer at least so often, so that one that was cancelled is gone by then:
clients may ask for time-outs of weeks, and cancel them as fast as they can."""


class Timer(Generic[T]):
    """An instant at which something is to happen, as long as nobody moves or cancels it."""

    __slots__ = ("at_ms", "what")

    def __init__(self, what: T, at_ms: int) -> None:
        """Use `Wheel.set`."""
        self.what = what
        self.at_ms: int | None = at_ms
        """Monotonic; may be moved later at any time. None: cancelled. To move it to an earlier
        instant, cancel it and set another."""

    def cancel(self) -> None:
        """It will not fire."""
        self.at_ms = None


class Wheel(Generic[T]):
    """Timers by the instant at which they are looked at."""

    __slots__ = ("_instants", "_seen_ms", "_slots")

    def __init__(self) -> None:
        """Without timers."""
        self._slots: dict[int, list[Timer[T]]] = {}
        self._instants: list[int] = []
        self._seen_ms = 0
        """When it was last looked at; if that is long ago, the next look comes at once."""

    def set(self, what: T, at_ms: int, *, exact: bool = False) -> Timer[T]:
        """Have `due` give `what` once `at_ms` (monotonic) has come.

        Args:
            what: to be given.
            at_ms: when.
            exact: not up to a tick later, though the node then wakes for this one alone. For what
                somebody waits for; time-outs, of which there are many, take the ticks.
        """
        timer = Timer(what, at_ms)
        self._put(timer, at_ms if exact else _tick(at_ms))
        return timer

    def _put(self, timer: Timer[T], look_ms: int) -> None:
        look_ms = min(look_ms, _tick(self._seen_ms + LOOK_MS_MAX))
        slot = self._slots.get(look_ms)
        if slot is None:
            self._slots[look_ms] = [timer]
            heapq.heappush(self._instants, look_ms)
        else:
            slot.append(timer)

    @property
    def next_ms(self) -> int | None:
        """Monotonic instant at which to call `due`; None without timers."""
        return self._instants[0] if self._instants else None

    def due(self, now_ms: int) -> list[T]:
        """Return what is due, in the order in which it was to fire; it is off the wheel then."""
        fired: list[Timer[T]] = []
        self._seen_ms = now_ms
        while self._instants and self._instants[0] <= now_ms:
            for timer in self._slots.pop(heapq.heappop(self._instants)):
                if timer.at_ms is None:
                    continue
                if timer.at_ms > now_ms:
                    self._put(timer, _tick(timer.at_ms))
                else:
                    fired.append(timer)
        fired.sort(key=lambda timer: timer.at_ms or 0)
        return [timer.what for timer in fired]


def _tick(at_ms: int) -> int:
    return -(-at_ms // TICK_MS) * TICK_MS
