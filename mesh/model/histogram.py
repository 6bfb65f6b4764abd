"""Durations counted in buckets: cheap to note, summed for ever, read over the last minute."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (100, 125, 160, 200, 250, 320, 400, 500, 630, 800)
"""Ten steps to a decade (ISO 3): a quantile is off by less than a quarter, mostly far less."""
BOUNDS_US: tuple[int, ...] = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 63, 80),
    *(step * 10**power for power in range(6) for step in _STEPS),
    100_000_000,
)
"""Upper bounds of the buckets in microseconds, inclusive; longer than 100 s is a bucket more."""

TURN_MS = 10_000
"""How often `turn` is to be called: what is older than the window leaves it in such steps."""
TURNS_MAX = 6


@dataclass(frozen=True, slots=True)
class Latency:
    """What a histogram held at one instant."""

    counts: tuple[int, ...]
    """Observations since the start, one number for each bucket."""
    sum_us: int
    """Of all observations since the start."""
    window_count: int
    """Observations in the last minute; the quantiles are theirs, None if there were none."""
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None

    @property
    def count(self) -> int:
        """Observations since the start."""
        return sum(self.counts)


class Histogram:
    """Counts durations. One observation costs a bisection in C and two additions."""

    __slots__ = ("_marks", "counts", "sum_us")

    def __init__(self) -> None:
        """One without observations."""
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0
        # Counts only rise, so the window is what they rose by since its beginning.
        self._marks = deque([tuple(self.counts)], maxlen=TURNS_MAX)

    def observe(self, us: int) -> None:
        """Count a duration of `us` microseconds; a negative one is taken for none at all."""
        self.counts[bisect_left(BOUNDS_US, us)] += 1
        self.sum_us += us

    def turn(self) -> None:
        """Let the window move on: called once in TURN_MS, whoever reads and whenever."""
        self._marks.append(tuple(self.counts))

    def latency(self) -> Latency:
        """Return a frozen copy with quantiles of the last minute (50 to 60 s)."""
        recent = [now - then for now, then in zip(self.counts, self._marks[0], strict=True)]
        return Latency(
            counts=tuple(self.counts),
            sum_us=self.sum_us,
            window_count=sum(recent),
            p50_ms=quantile_ms(recent, 0.5),
            p99_ms=quantile_ms(recent, 0.99),
            p999_ms=quantile_ms(recent, 0.999),
        )


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """Return the duration in ms that `share` (0 to 1) of the observations do not exceed.

    Within a bucket they are taken to lie evenly; None without observations.
    """
    total = sum(counts)
    if total == 0:
        return None
    wanted = share * total
    for index, count in enumerate(counts):
        if count and wanted <= count:
            low = BOUNDS_US[index - 1] if index else 0
            high = BOUNDS_US[index] if index < len(BOUNDS_US) else low
            return round((low + (high - low) * wanted / count) / 1000, 4)
        wanted -= count
    return BOUNDS_US[-1] / 1000  # Rounding took the last observation past the end.
