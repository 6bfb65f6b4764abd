"""Requests that wait: a produce for its commit, a fetch for bytes, a command for its record.

A waiter watches partitions. Whoever moves a partition's high watermark polls its waiters; the
purgatory keeps their deadlines. Nothing here reads a clock: `now` is passed in.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from mesh.model.types import Now
from mesh.wire import Message

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from storage.types import Offset


PRUNE_COUNT_MIN = 1_000
"""With fewer deadlines than this it does not matter how many of them are over."""


class Waiter(Protocol):
    """An answer that is not ready yet."""

    deadline_ms: int
    """Monotonic instant at which `expired` is called instead; read anew after that."""

    def watched(self) -> Sequence[Partition]:
        """Partitions whose high watermark may make it ready."""

    def poll(self, now: Now) -> Message | None:
        """Return the response once it is ready."""

    def expired(self, now: Now) -> Message | None:
        """Return the response that Kafka gives at the deadline; None: there is a new deadline."""


class AfterCommit:
    """Ready once every `(partition, end offset)` of `waits` is below the high watermark.

    What this node appended as a leader counts only as long as it leads: whoever leads after it may
    write other records there. With `outlives` it counts, too, if it turns out that the successor
    has inherited it. An end of 0 is there already, whoever leads.
    """

    __slots__ = ("_finish", "_outlives", "_ready", "_waits", "deadline_ms")

    def __init__(
        self,
        waits: Sequence[tuple[Partition, Offset]],
        deadline_ms: int,
        finish: Callable[[bool, Now], Message],
        ready: Callable[[], bool] | None = None,
        *,
        outlives: bool = False,
    ) -> None:
        """`finish(committed, now)` makes the response; it is called exactly once.

        With `ready`, not before that holds as well; it is asked whenever one of the partitions
        made progress.
        """
        self._ready = ready
        self._outlives = outlives
        self._waits = [
            (partition, end, partition.leadership, partition.leader_epoch)
            for partition, end in waits
        ]
        self._finish = finish
        self.deadline_ms = deadline_ms

    def watched(self) -> Sequence[Partition]:
        """Partitions that still lack the commit."""
        return [partition for partition, _, _, _ in self._waits]

    def poll(self, now: Now) -> Message | None:
        """Return the response once it is known of each whether it is committed, or never will."""
        lost = False
        for partition, end_offset, leadership, leader_epoch in self._waits:
            if partition.gone:
                lost = True
                continue
            if end_offset == 0:
                continue
            held = partition.holds_committed(end_offset, leadership)
            if held is False and self._outlives:
                held = partition.outlived(end_offset, leader_epoch)
            if held is None:
                return None
            lost = lost or not held
        if lost:
            return self._finish(False, now)
        if self._ready is not None and not self._ready():
            return None
        return self._finish(True, now)

    def expired(self, now: Now) -> Message:
        """Return what Kafka says when the time is up; what was appended stays."""
        return self._finish(False, now)


class Deadlines:
    """Deadlines of parked waiters, soonest first.

    A producer's deadline is half a minute away and its answer milliseconds: most of what is here
    is over. It goes when it comes to the front, or all at once when it has become the half.
    """

    __slots__ = ("_heap", "_prune_at", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Parked]] = []
        self._sequence = itertools.count()
        self._prune_at = PRUNE_COUNT_MIN

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline_ms: int, parked: Parked) -> None:
        """Let it expire at the deadline, unless it is over by then."""
        heapq.heappush(self._heap, (deadline_ms, next(self._sequence), parked))
        if len(self._heap) >= self._prune_at:
            self._heap = [entry for entry in self._heap if not entry[2].over]
            heapq.heapify(self._heap)
            self._prune_at = max(PRUNE_COUNT_MIN, 2 * len(self._heap))

    def next_ms(self) -> int | None:
        """Monotonic instant of the next one."""
        while self._heap and self._heap[0][2].over:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def fire(self, now: Now) -> None:
        """Expire all that is due."""
        while self._heap and self._heap[0][0] <= now.monotonic_ms:
            parked = heapq.heappop(self._heap)[2]
            if (deadline_ms := parked.expire(now)) is not None:
                self.add(deadline_ms, parked)


class Parked:
    """A waiter, and where its response goes; answered once, by a poll or by its deadline.

    The partitions that it watches hold it until it is over, and no longer.
    """

    __slots__ = ("_answer", "_waiter", "_watched")

    def __init__(self, waiter: Waiter, answer: Callable[[Message], None]) -> None:
        """`answer` takes the response."""
        self._waiter: Waiter | None = waiter
        self._answer: Callable[[Message], None] | None = answer
        self._watched = waiter.watched()
        for partition in self._watched:
            partition.parked[self] = None

    def poll(self, now: Now) -> None:
        """Answer if it is ready."""
        if self._waiter is not None and (response := self._waiter.poll(now)) is not None:
            self._finish(response)

    def expire(self, now: Now) -> int | None:
        """Answer as Kafka does at the deadline, unless it was answered before.

        Returns the new deadline if there is one, which is later than `now`.
        """
        waiter = self._waiter
        if waiter is None:
            return None
        if (response := waiter.expired(now)) is None:
            return max(waiter.deadline_ms, now.monotonic_ms + 1)
        self._finish(response)
        return None

    def _finish(self, response: Message) -> None:
        answer = self._answer
        self.abandon()
        assert answer is not None, "a waiter is answered once"
        answer(response)

    def abandon(self) -> None:
        """Forget it: it was answered, or the connection is gone."""
        for partition in self._watched:
            partition.parked.pop(self, None)
        # A deadline may hold this for long; it must not hold request and response as well.
        self._waiter, self._answer, self._watched = None, None, ()

    @property
    def over(self) -> bool:
        """Whether it was answered or abandoned."""
        return self._waiter is None
