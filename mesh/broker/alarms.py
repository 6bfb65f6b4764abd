"""When partitions are to be looked at: one instant for each, the next one found at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.broker.partition import Partition


class Alarms:
    """Instants of the monotonic clock; what is set anew, or forgotten, is dropped when it comes."""

    def __init__(self) -> None:
        """None is set."""
        self._heap: list[tuple[int, int, Partition]] = []
        self._at_ms: dict[Partition, int] = {}
        self._sequence = itertools.count()

    def __contains__(self, partition: Partition) -> bool:
        """Whether one is set for a partition."""
        return partition in self._at_ms

    def set(self, partition: Partition, at_ms: int) -> None:
        """Look at a partition then, unless it is earlier anyway."""
        known = self._at_ms.get(partition)
        if known is None or at_ms < known:
            self._at_ms[partition] = at_ms
            heapq.heappush(self._heap, (at_ms, next(self._sequence), partition))

    def forget(self, partition: Partition) -> None:
        """There is no such partition any more."""
        self._at_ms.pop(partition, None)

    @property
    def next_ms(self) -> int | None:
        """The first instant; None if none is set."""
        heap = self._heap
        while heap and heap[0][0] != self._at_ms.get(heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_ms: int) -> Iterator[Partition]:
        """Take out, in order, whose instant has come; those that are set meanwhile among them."""
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, _, partition = heapq.heappop(self._heap)
            if at_ms == self._at_ms.get(partition):
                del self._at_ms[partition]
                yield partition
