"""The budget for requests in flight: bounded, fair between lanes, and not to be held hostage."""

import random

import pytest

from mesh.node.budget import SMALL_FRAME_BYTES_MAX, Budget, Reservation

MIB = 1 << 20


class Holder:
    """A task that wants memory, and what it was told."""

    def __init__(self, budget: Budget, length: int, now_ms: int = 0) -> None:
        self._granted = False
        self.evicted = False
        self.reservation = Reservation(length, granted=self._grant, evict=self._evict)
        self._budget = budget
        budget.request(self.reservation, now_ms)

    def _grant(self) -> None:
        self._granted = True

    def granted(self) -> bool:
        return self._granted

    def _evict(self) -> None:
        self.evicted = True

    def release(self, now_ms: int = 0) -> None:
        self._budget.release(self.reservation, now_ms)


def test_large_announcements_do_not_keep_small_frames_out() -> None:
    """While large frames hold or want all that they may have, an ordinary request goes on."""
    budget = Budget(64 * MIB)
    large = [Holder(budget, 30 * MIB) for _ in range(1_000)]
    small = [Holder(budget, MIB // 4) for _ in range(100)]
    assert [holder.granted() for holder in large] == [True] + [False] * 999
    assert all(holder.granted() for holder in small)


def test_a_frame_longer_than_everything_is_refused_at_once() -> None:
    """What could never be admitted does not wait for ever."""
    with pytest.raises(ValueError, match="exceed the budget"):
        Holder(Budget(MIB), MIB + 1)


def test_a_frame_of_the_whole_capacity_goes_through_alone() -> None:
    """A frame larger than its lane is admitted once nothing else holds memory."""
    budget = Budget(8 * MIB)
    small, whole = Holder(budget, MIB), Holder(budget, 8 * MIB)
    assert not whole.granted()
    small.release()
    assert whole.granted()
    late = Holder(budget, 1)
    assert not late.granted()
    whole.release()
    assert late.granted()


def test_frames_of_one_lane_are_admitted_in_order() -> None:
    """A frame that would fit does not overtake one of its lane that came before."""
    budget = Budget(64 * MIB)
    first, second, third = (Holder(budget, n * MIB) for n in (20, 20, 2))
    assert (first.granted(), second.granted(), third.granted()) == (True, False, False)
    first.release()
    assert (second.granted(), third.granted()) == (True, True)


def test_a_holder_that_does_not_deliver_goes_once_others_wait() -> None:
    """Below 64 KB a second after the grace of 1 s a reservation is lost, but only to others."""
    budget = Budget(64 * MIB)
    slow, quick = Holder(budget, 16 * MIB), Holder(budget, 16 * MIB)
    quick.reservation.received = 10 * MIB
    budget.evict_stalled(10_000)
    assert not slow.evicted  # Nobody waits.
    Holder(budget, 16 * MIB, now_ms=10_000)
    budget.evict_stalled(10_000)
    assert (slow.evicted, quick.evicted) == (True, False)


def test_nothing_leaves_the_kernel_unreserved_when_memory_is_tight() -> None:
    """The budget says tight above half of its capacity and whenever a frame waits."""
    budget = Budget(64 * MIB)
    first = Holder(budget, 20 * MIB)
    told = [budget.tight]
    waiting = Holder(budget, 20 * MIB)
    told.append(budget.tight)
    waiting.release()
    told.append(budget.tight)
    first.release()
    assert told == [False, True, False]
    assert budget.used == 0


@pytest.mark.parametrize("seed", range(50))
def test_memory_is_bounded_and_everybody_is_served_in_the_end(seed: int) -> None:
    """Whatever comes and goes: never more than the capacity, and no frame waits for ever."""
    rng = random.Random(seed)
    budget = Budget(16 * MIB)
    everybody: list[Holder] = []
    for _ in range(300):
        held = [holder for holder in everybody if holder.granted()]
        if held and rng.random() < 0.5:
            holder = rng.choice(held)
            holder.release()
            holder.release()  # Twice is harmless.
            everybody.remove(holder)
        else:
            large = rng.random() < 0.3
            bounds = (SMALL_FRAME_BYTES_MAX + 1, 16 * MIB) if large else (0, SMALL_FRAME_BYTES_MAX)
            everybody.append(Holder(budget, rng.randint(*bounds)))
        in_use = sum(holder.reservation.length for holder in everybody if holder.granted())
        assert budget.used == in_use <= budget.capacity
    while everybody:
        held = [holder for holder in everybody if holder.granted()]
        assert held, "somebody waits, though nobody holds anything"
        held[0].release()
        everybody.remove(held[0])
    assert (budget.used, budget.waiting_count) == (0, 0)
