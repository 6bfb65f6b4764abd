"""How the literature counts: false positives, detection times, percentiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import ceil
from typing import NamedTuple


class Death(NamedTuple):
    """One node came to hold another dead."""

    at_ms: float
    observer: int
    subject: int


def false_positives(deaths: Iterable[Death], ill: Collection[int]) -> tuple[int, int]:
    """Return how often somebody healthy was held dead: by anybody, and by somebody healthy.

    Each event at each observer counts (Lifeguard: FP and FP-). `ill` are those made slow; that
    they are held dead is no false positive.
    """
    false = [death for death in deaths if death.subject not in ill]
    return len(false), sum(death.observer not in ill for death in false)


def detection_ms(
    deaths: Iterable[Death], ill: Collection[int], healthy_count: int, since_ms: float
) -> tuple[list[float], list[float]]:
    """Return, of those ill who were found, the time to the first healthy observer and to all."""
    first: dict[int, float] = {}
    seen: dict[int, dict[int, float]] = {}
    for death in deaths:
        if death.subject in ill and death.observer not in ill and death.at_ms >= since_ms:
            first.setdefault(death.subject, death.at_ms)
            seen.setdefault(death.subject, {}).setdefault(death.observer, death.at_ms)
    full = [max(at.values()) - since_ms for at in seen.values() if len(at) == healthy_count]
    return [at - since_ms for at in first.values()], full


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the nearest rank; nan of nothing."""
    if not samples:
        return float("nan")
    ranked = sorted(samples)
    return ranked[max(0, ceil(len(ranked) * percent / 100) - 1)]
