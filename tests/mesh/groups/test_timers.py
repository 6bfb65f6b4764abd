"""The wheel: nothing fires early, time-outs on ticks, and what somebody waits for at once."""

from __future__ import annotations

import random

import pytest

from mesh.groups import Wheel
from mesh.groups.timers import LOOK_MS_MAX, TICK_MS


def test_a_time_out_waits_for_the_tick() -> None:
    """Many time-outs share a look, which comes up to a tick late."""
    wheel: Wheel[str] = Wheel()
    wheel.set("a", 101)
    wheel.set("b", 140)
    assert wheel.next_ms == 150
    assert wheel.due(149) == []
    assert wheel.due(150) == ["a", "b"]
    assert wheel.next_ms is None


def test_an_exact_timer_waits_for_nothing() -> None:
    """A delay of 0 ms is over in the same millisecond."""
    wheel: Wheel[str] = Wheel()
    wheel.set("member", 1_001)
    wheel.set("delay", 1_001, exact=True)
    assert wheel.next_ms == 1_001
    assert wheel.due(1_001) == ["delay"]
    assert wheel.due(1_050) == ["member"]


def test_cancelled_timer_is_gone_within_a_minute() -> None:
    """However far ahead it was: clients may ask for weeks, and cancel."""
    wheel: Wheel[str] = Wheel()
    wheel.due(5_000)
    for _ in range(100):
        wheel.set("rebalance", 2**31).cancel()
    assert wheel.due(5_000 + LOOK_MS_MAX + TICK_MS) == []
    assert wheel.next_ms is None


def test_far_timer_fires_after_all_looks() -> None:
    """A look that finds a timer too early puts it back, also long after the last look."""
    wheel: Wheel[str] = Wheel()
    wheel.due(5_000_000)
    wheel.set("session", 5_200_000)
    looks = 0
    while (next_ms := wheel.next_ms) is not None and next_ms < 5_200_000:
        assert wheel.due(next_ms) == []
        looks += 1
    assert looks == 200_000 // LOOK_MS_MAX
    assert wheel.due(5_200_000) == ["session"]


@pytest.mark.parametrize("seed", range(50))
def test_timers_fire_once_in_time_and_never_early(seed: int) -> None:
    """Moved, cancelled or left alone: each fires within a tick of its instant, or not at all."""
    rng, wheel, now_ms = random.Random(seed), Wheel[int](), 1_000
    timers = {}
    for number in range(40):
        exact = rng.random() < 0.3
        timers[number] = wheel.set(number, now_ms + rng.randrange(500), exact=exact)
    for number in rng.sample(range(40), 10):
        timers[number].cancel()
    for number in rng.sample(range(40), 10):
        at_ms = timers[number].at_ms
        timers[number].at_ms = None if at_ms is None else at_ms + rng.randrange(300)
    wanted = {number: timer.at_ms for number, timer in timers.items() if timer.at_ms is not None}
    for _ in range(2_000):
        if wheel.next_ms is None:
            break
        now_ms = wheel.next_ms
        for number in wheel.due(now_ms):
            assert wanted[number] <= now_ms < wanted.pop(number) + TICK_MS
    assert not wanted
