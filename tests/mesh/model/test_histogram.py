"""Durations in buckets: quantiles near the truth, over the last minute."""

from __future__ import annotations

import random

import pytest

from mesh.model.histogram import BOUNDS_US, TURNS_MAX, Histogram, quantile_ms


def test_bounds_rise() -> None:
    """Each bucket ends above the one before it."""
    assert list(BOUNDS_US) == sorted(set(BOUNDS_US))


@pytest.mark.parametrize("seed", range(50))
def test_quantiles_are_near_those_of_a_sorted_list(seed: int) -> None:
    """Over five decades a quantile is within a bucket's width of what sorting says."""
    rng, histogram = random.Random(seed), Histogram()
    durations = sorted(int(10 ** rng.uniform(0, 6.5)) for _ in range(1_000))
    for us in durations:
        histogram.observe(us)
    found = histogram.latency()
    for share, told in ((0.5, found.p50_ms), (0.99, found.p99_ms), (0.999, found.p999_ms)):
        exact_us = durations[min(int(share * 1_000), 999)]
        assert told is not None
        assert 0.7 * exact_us - 1 <= told * 1_000 <= 1.35 * exact_us + 1
    assert (found.count, found.sum_us) == (1_000, sum(durations))


def test_without_observations_there_is_no_quantile() -> None:
    """Nothing observed is told as nothing, not as zero."""
    found = Histogram().latency()
    assert (found.window_count, found.p50_ms, found.p99_ms, found.p999_ms) == (0, None, None, None)


def test_what_is_old_leaves_the_window_but_not_the_count() -> None:
    """After a minute of turns an observation is only in the counts since the start."""
    histogram = Histogram()
    histogram.observe(1_000)
    for _ in range(TURNS_MAX - 1):
        histogram.turn()
        assert histogram.latency().window_count == 1
    histogram.turn()
    histogram.observe(20)
    found = histogram.latency()
    assert (found.window_count, found.count) == (1, 2)
    assert found.p999_ms == pytest.approx(0.02, rel=0.3)


def test_durations_beyond_every_bound_are_counted() -> None:
    """A clock that steps back and a disk that hangs for minutes break nothing."""
    histogram = Histogram()
    histogram.observe(-5)
    histogram.observe(10**12)
    assert sum(histogram.counts) == 2
    assert quantile_ms(histogram.counts, 1.0) == BOUNDS_US[-1] / 1000
