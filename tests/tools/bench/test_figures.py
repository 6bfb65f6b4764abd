"""Figures: percentiles within their promise, ratios of what was paired."""

import math
import random

import pytest

from tools.bench.figures import GROWTH, Histogram, Round, ratios, summary


def a_round(requests: int = 10, **changes: object) -> Round:
    plain: dict[str, object] = {
        "requests": requests,
        "batch_bytes": 1_000_000,
        "seconds": 2.0,
        "broker_cpu_s": 1.0,
        "rss_mb": 50.0,
        "latencies": Histogram(),
    }
    return Round(**(plain | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(30))
def test_percentiles_are_within_their_bucket(seed: int) -> None:
    """A percentile is at least the true one, and larger by no more than one bucket."""
    rng = random.Random(seed)
    durations = [int(rng.lognormvariate(12, 2)) + 1 for _ in range(rng.randrange(1, 2_000))]
    whole = Histogram()
    for part in (durations[::2], durations[1::2]):
        one = Histogram()
        one.add_all(part)
        whole.merge(one)
    durations.sort()
    for percent in (50, 99, 99.9, 100):
        true_ms = durations[math.ceil(len(durations) * percent / 100) - 1] / 1e6
        told_ms = whole.percentile_ms(percent)
        assert true_ms * (1 - 1e-9) <= told_ms <= true_ms * GROWTH * (1 + 1e-9)


def test_no_durations_have_no_percentile() -> None:
    """An empty round does not fail."""
    assert Histogram().percentile_ms(99) == 0.0


def test_rounds_weigh_by_what_they_did() -> None:
    """Rates and costs are of all rounds together, not means of means."""
    told = summary([a_round(10, seconds=1.0), a_round(50, seconds=2.0, rss_mb=60.0)])
    assert told["req_s"] == 20.0
    assert told["mb_s"] == pytest.approx(2 / 3)
    assert told["cpu_us_per_req"] == pytest.approx(2e6 / 60)
    assert told["cpu_s_per_gb"] == pytest.approx(1000)
    assert told["rss_mb"] == 60.0


def test_an_unknown_process_has_no_cost() -> None:
    """A broker on another machine has rates, but neither CPU nor memory."""
    told = summary([a_round(), a_round(broker_cpu_s=None, rss_mb=None)])
    assert told["cpu_us_per_req"] is None
    assert told["cpu_s_per_gb"] is None
    assert told["rss_mb"] == 50.0
    assert told["req_s"] == 5.0


def test_ratios_have_the_extremes_of_pairs() -> None:
    """The ratio is of the sums; its bounds are of rounds that ran beside one another."""
    assert ratios([10, 30], [10, 10]) == {"ratio": 2.0, "ratio_min": 1.0, "ratio_max": 3.0}
    assert ratios([1.0], [0.0]) == {}
