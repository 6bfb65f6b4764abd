"""How fast replicas that lag are fed: slower while clients feel it, and as configured otherwise."""

from __future__ import annotations

import random

import pytest

from mesh.model.histogram import Histogram
from mesh.node.throttle import (
    BASELINE_WINDOWS,
    BYTES_S_MIN,
    HALVINGS_MAX,
    SAMPLES_MIN,
    WINDOW_MS,
    WINDOW_MS_MAX,
    Throttle,
)
from tests.mesh.node.peer import Peer, a_fetch, a_produce

RATE = 1 << 20
PRODUCE, FETCH = 0, 1


class Story:
    """A throttle, and what it is shown."""

    def __init__(self, rate: int = RATE) -> None:
        self.throttle = Throttle(rate)
        self.felt = Histogram()
        self.sent_bytes = self.now_ms = 0
        self.look()

    def look(self) -> int:
        self.throttle.look(self.felt.counts, self.sent_bytes, self.now_ms)
        return self.throttle.rate

    def window(
        self,
        latency_us: int = 1_000,
        *,
        count: int = SAMPLES_MIN,
        sent_bytes: int | None = None,
        took_ms: int = WINDOW_MS,
    ) -> int:
        """Let a window pass in which clients ask, and (by default) all is sent that may be."""
        for _ in range(count):
            self.felt.observe(latency_us)
        may_be = self.throttle.rate * took_ms // 1000
        self.sent_bytes += may_be if sent_bytes is None else sent_bytes
        self.now_ms += took_ms
        return self.look()

    def quiet(self, latency_us: int = 1_000, *, count: int = SAMPLES_MIN) -> int:
        """Let a window pass without catch-up traffic."""
        return self.window(latency_us, count=count, sent_bytes=0)


@pytest.mark.parametrize(
    ("usual_us", "then_us", "halvings"),
    [
        (1_000, 1_000, 0),
        (1_000, 1_900, 0),
        (1_000, 2_600, 1),
        (1_000, 90_000, 1),
        (20_000, 30_000, 0),
        (20_000, 1_000, 0),
    ],
)
def test_a_p99_more_than_double_the_usual_halves_the_rate(
    usual_us: int, then_us: int, halvings: int
) -> None:
    """By one window of catch-up traffic against the quiet one before it."""
    story = Story()
    assert story.quiet(usual_us) == RATE
    assert story.window(then_us) == RATE >> halvings


def test_the_rate_is_halved_with_each_window_down_to_a_sixteenth_and_doubled_back() -> None:
    """Clients that feel no more of it, or traffic that ended, bring it back step by step."""
    story = Story()
    story.quiet()
    down = [story.window(10_000) for _ in range(6)]
    assert down == [RATE >> n for n in (1, 2, 3, 4, 4, 4)]
    assert [story.window(1_000) for _ in range(2)] == [RATE >> 3, RATE >> 2]
    assert [story.quiet(10_000) for _ in range(3)] == [RATE >> 1, RATE, RATE]


def test_few_requests_halve_nothing() -> None:
    """Neither too few in the window, however long it becomes, nor too few to know the usual."""
    story = Story()
    story.quiet()
    for _ in range(WINDOW_MS_MAX // WINDOW_MS):
        assert story.window(10_000, count=SAMPLES_MIN // 10) == RATE
    unknown = Story()
    unknown.quiet(count=SAMPLES_MIN - 1)
    assert unknown.window(10_000) == RATE


def test_a_window_with_few_requests_goes_on_until_there_are_enough() -> None:
    """So the clients of a node with little to do are spared, too; a little later."""
    story = Story()
    story.quiet()
    assert story.window(10_000, count=SAMPLES_MIN // 2) == RATE
    assert story.window(10_000, count=SAMPLES_MIN // 2) == RATE // 2


def test_without_clients_the_rate_comes_back() -> None:
    """After the longest window: nobody is there any more to be spared."""
    story = Story()
    story.quiet()
    assert story.window(10_000) == RATE // 2
    rates = [story.window(count=0) for _ in range(WINDOW_MS_MAX // WINDOW_MS)]
    assert rates == [RATE // 2] * (len(rates) - 1) + [RATE]


def test_what_is_usual_is_of_the_last_minute_without_catch_up_traffic() -> None:
    """Older windows are forgotten, those with catch-up traffic never count."""
    story = Story()
    story.quiet(50_000)
    for _ in range(BASELINE_WINDOWS):
        story.quiet(1_000)
    assert story.window(50_000) == RATE // 2
    for _ in range(2 * BASELINE_WINDOWS):
        story.window(50_000)
    assert story.window(50_000) == RATE >> HALVINGS_MAX


def test_a_replica_that_was_late_for_once_is_no_catch_up_traffic() -> None:
    """What is less than any rate would allow is not blamed for slow clients, but part of usual."""
    story = Story()
    story.quiet()
    little = (RATE >> HALVINGS_MAX) * WINDOW_MS // 2_000
    assert story.window(10_000, sent_bytes=little) == RATE
    assert story.window(10_000) == RATE


def test_at_the_smallest_rate_traffic_is_still_seen_as_such() -> None:
    """Else a window at a sixteenth would look like one without it."""
    story = Story()
    story.quiet()
    rates = [story.window(10_000) for _ in range(20)]
    assert rates[HALVINGS_MAX:] == [RATE >> HALVINGS_MAX] * (20 - HALVINGS_MAX)


def test_a_look_within_a_window_decides_nothing() -> None:
    """However often it is looked."""
    story = Story()
    story.quiet()
    for _ in range(20):
        assert story.window(10_000, took_ms=WINDOW_MS // 21) == RATE


@pytest.mark.parametrize("seed", range(300))
def test_the_rate_stays_in_its_bounds_and_comes_back(seed: int) -> None:
    """Whatever is seen and configured when: never above, never below the floor; full in the end."""
    rng = random.Random(seed)
    story = Story(rng.choice((1_024, 20_000, RATE)))
    throttle = story.throttle
    for _ in range(60):
        if rng.random() < 0.1:
            throttle.bytes_per_second = rng.randrange(1_024, 1 << 30)
        before, full = throttle.rate, throttle.bytes_per_second
        after = story.window(
            rng.choice((100, 1_000, 5_000, 100_000)),
            count=rng.choice((0, 10, SAMPLES_MIN, 3 * SAMPLES_MIN)),
            sent_bytes=rng.choice((None, 0, rng.randrange(1 << 20))),
            took_ms=rng.choice((10, WINDOW_MS, WINDOW_MS_MAX, 100_000)),
        )
        assert max(full >> HALVINGS_MAX, min(full, BYTES_S_MIN)) <= after <= full
        assert before // 2 <= after <= 2 * before + 1
    for _ in range(HALVINGS_MAX):
        story.quiet()
    assert throttle.rate == throttle.bytes_per_second


def test_what_waited_for_records_tells_nothing_of_the_load() -> None:
    """Produces count, and fetches answered at once; not long polls, nor what stood behind one."""
    peer = Peer()
    peer.create("t")
    peer.node.meter.left.clear()
    producer, reader = peer.connect(), peer.connect()
    peer.send(producer, a_produce("t", b"one"), version=12)
    peer.sync()
    peer.send(reader, a_fetch("t"), version=12)
    peer.send(reader, a_fetch("t", offset=1), version=12)
    peer.send(reader, a_fetch("t"), version=12)
    peer.send(producer, a_produce("t", b"two"), version=12)
    peer.sync()
    told = [(api_key, is_felt) for api_key, _, is_felt in peer.node.meter.left]
    produces = [is_felt for api_key, is_felt in told if api_key == PRODUCE]
    fetches = [is_felt for api_key, is_felt in told if api_key == FETCH]
    assert (produces, fetches) == ([True, True], [True, False, False])
    peer.node.meter.settle(7_000_000)
    assert sum(peer.node.meter.felt.counts) == 3
