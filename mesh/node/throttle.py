"""How fast replicas that lag may be fed, so that clients do not feel it. A pure machine.

While they are fed, the p99 of clients' requests in each short window is compared with that of the
last minute in which they were not. It is twice as long: half the rate, and half of that after the
next such window. It is not: twice the rate, up to what is configured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from mesh.model.histogram import BOUNDS_US, quantile_ms

WINDOW_MS = 2_000
"""Of a look at what clients felt: ten times as long as a leader takes to feed on."""
WINDOW_MS_MAX = 10_000
"""A window with few requests goes on, but no longer than this."""
SAMPLES_MIN = 100
"""Requests without which a window says nothing about one in a hundred."""
BASELINE_WINDOWS = 30
"""Windows without catch-up traffic that are remembered: a minute of them."""
HALVINGS_MAX = 4
"""To a sixteenth: catching up must end some day, however slow the clients' requests are."""
BYTES_S_MIN = 1_000
"""A budget that gains less than a byte a millisecond never fills."""


class Throttle:
    """Of one node. Instants are of the monotonic clock."""

    def __init__(self, bytes_per_second: int) -> None:
        """At the full rate, with nothing seen; that rate may be changed at any time."""
        self.bytes_per_second = bytes_per_second
        """What is configured, at least BYTES_S_MIN."""
        self._halvings = 0
        self._baseline: deque[list[int]] = deque(maxlen=BASELINE_WINDOWS)
        self._begun_ms: int | None = None
        self._counts_before: Sequence[int] = [0] * (len(BOUNDS_US) + 1)
        self._sent_before = 0

    @property
    def rate(self) -> int:
        """Bytes a second that replicas which lag may be sent now."""
        return self._after(self._halvings)

    def _after(self, halvings: int) -> int:
        return max(self.bytes_per_second >> halvings, min(self.bytes_per_second, BYTES_S_MIN))

    def look(self, counts: Sequence[int], sent_bytes: int, now_ms: int) -> None:
        """See what clients felt; due every now and then, and harmless more often.

        Args:
            counts: of their requests so far, by latency (the buckets of `mesh.model.histogram`).
                What waited for records to come is not among them.
            sent_bytes: so far, to replicas that lag.
            now_ms: monotonic clock.
        """
        if self._begun_ms is None:
            self._begin(counts, sent_bytes, now_ms)
            return
        took_ms = now_ms - self._begun_ms
        if took_ms < WINDOW_MS:
            return
        window = [now - then for now, then in zip(counts, self._counts_before, strict=True)]
        # Below half of the smallest rate it is somebody who was late for once; that crowds nobody
        # out, and to slow it down is beyond us.
        least = self._after(HALVINGS_MAX) * took_ms // 2_000
        is_flowing = sent_bytes - self._sent_before > least
        if is_flowing and sum(window) < SAMPLES_MIN and took_ms < WINDOW_MS_MAX:
            return
        if is_flowing and self._is_crowded(window):
            self._halvings = min(self._halvings + 1, HALVINGS_MAX)
        else:  # Also where so few ask that nobody can tell: there is hardly anybody to be spared.
            self._halvings = max(self._halvings - 1, 0)
        if not is_flowing:
            self._baseline.append(window)
        self._begin(counts, sent_bytes, now_ms)

    def _begin(self, counts: Sequence[int], sent_bytes: int, now_ms: int) -> None:
        self._counts_before = tuple(counts)
        self._sent_before, self._begun_ms = sent_bytes, now_ms

    def _is_crowded(self, window: Sequence[int]) -> bool:
        """Whether requests took twice as long as they do without catch-up traffic."""
        usual = [sum(counts) for counts in zip(*self._baseline, strict=True)]
        if min(sum(window), sum(usual)) < SAMPLES_MIN:
            return False
        usual_ms, now_ms = quantile_ms(usual, 0.99), quantile_ms(window, 0.99)
        return usual_ms is not None and now_ms is not None and now_ms > 2 * usual_ms
