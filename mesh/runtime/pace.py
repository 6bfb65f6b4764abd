"""Keeps a thread that computes from holding up the others."""

from __future__ import annotations

import math
import time

SLICE_S = 0.002
"""Computed at a time. CPython hands its lock over by itself only every 5 ms, and an event loop that
wakes a thousand times a second would wait for it each time."""

PAUSE_S = 0.000_05
"""Long enough for whoever waits for the lock to get it."""

PAUSE_S_MAX = 0.5
"""At a time, so that whoever wants an end to it waits no longer."""


class Pace:
    """Call it again and again from the thread; it sleeps when it is time to.

    `bytes_per_second` bounds what is counted over all calls together.
    """

    def __init__(self, bytes_per_second: float) -> None:
        """Begin to count now; a rate that is not above 0 is no bound."""
        self._rate = bytes_per_second if bytes_per_second > 0 else math.inf
        self._bytes = 0
        self._begun_s = self._resumed_s = time.monotonic()

    def __call__(self, count: int) -> None:
        """Count bytes; sleep if there were too many, or if others have waited long enough."""
        self._bytes += count
        now_s = time.monotonic()
        ahead_s = self._bytes / self._rate - (now_s - self._begun_s)
        if ahead_s > PAUSE_S or now_s - self._resumed_s > SLICE_S:
            time.sleep(min(max(ahead_s, PAUSE_S), PAUSE_S_MAX))
            self._resumed_s = time.monotonic()
