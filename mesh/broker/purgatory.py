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


class Waiter(Protocol):
    """An answer that is not ready yet."""

    deadline_ms: int
    """Monotonic instant at which `expired` is called instead."""

    def watched(self) -> Sequence[Partition]:
        """Partitions whose high watermark may make it ready."""

    def poll(self, now: Now) -> Message | None:
        """Return the response once it is ready."""

    def expired(self, now: Now) -> Message:
        """Return the response that Kafka gives at the deadline."""


class AfterCommit:
    """Ready once every `(partition, end offset)` of `waits` is below the high watermark."""

    __slots__ = ("_finish", "_waits", "deadline_ms")

    def __init__(
        self,
        waits: Sequence[tuple[Partition, Offset]],
        deadline_ms: int,
        finish: Callable[[bool, Now], Message],
    ) -> None:
        """`finish(committed, now)` makes the response; it is called exactly once."""
        self._waits = list(waits)
        self._finish = finish
        self.deadline_ms = deadline_ms

    def watched(self) -> Sequence[Partition]:
        """Partitions that still lack the commit."""
        return [partition for partition, _ in self._waits]

    def poll(self, now: Now) -> Message | None:
        """Return the response once all is committed."""
        for partition, end_offset in self._waits:
            if partition.high_watermark < end_offset:
                return self._finish(False, now) if partition.gone else None
        return self._finish(True, now)

    def expired(self, now: Now) -> Message:
        """Return what Kafka says when the time is up; what was appended stays."""
        return self._finish(False, now)


class Deadlines:
    """Deadlines of waiters, soonest first; one that was answered is skipped when it comes up."""

    __slots__ = ("_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[Now], None]]] = []
        self._sequence = itertools.count()

    def add(self, deadline_ms: int, expire: Callable[[Now], None]) -> None:
        """Call `expire(now)` at the deadline; it must be harmless once the answer has left."""
        heapq.heappush(self._heap, (deadline_ms, next(self._sequence), expire))

    def next_ms(self) -> int | None:
        """Monotonic instant of the next one."""
        return self._heap[0][0] if self._heap else None

    def fire(self, now: Now) -> None:
        """Expire all that is due."""
        while self._heap and self._heap[0][0] <= now.monotonic_ms:
            heapq.heappop(self._heap)[2](now)


class Parked:
    """A waiter, and where its response goes; answered once, by a poll or by its deadline."""

    __slots__ = ("_answer", "_waiter")

    def __init__(self, waiter: Waiter, answer: Callable[[Message], None]) -> None:
        """`answer` takes the response."""
        self._waiter: Waiter | None = waiter
        self._answer = answer

    def poll(self, now: Now) -> bool:
        """Answer if it is ready; says whether it is over and can be forgotten."""
        if self._waiter is None:
            return True
        response = self._waiter.poll(now)
        if response is None:
            return False
        self._finish(response)
        return True

    def expire(self, now: Now) -> None:
        """Answer as Kafka does at the deadline, unless it was answered before."""
        if self._waiter is not None:
            self._finish(self._waiter.expired(now))

    def _finish(self, response: Message) -> None:
        self._waiter = None
        self._answer(response)

    def abandon(self) -> None:
        """Forget it: the connection is gone."""
        self._waiter = None

    @property
    def over(self) -> bool:
        """Whether it was answered or abandoned."""
        return self._waiter is None
