"""Metadata that waits for an election: who asks for leaders has mostly just lost one.

A client asks another node in the millisecond in which its leader dies. Told of the dead one, or of
nobody, librdkafka asks again after a second, and others after their back-off; the election is over
after some 80 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mesh.model.types import Now
from mesh.registry import shard_of
from mesh.wire.schemas.metadata import MetadataResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition

LOOK_MS = 5
"""In which a node hears of a death that its client has heard of already."""
HELD_MS_MAX = 300
"""For an election; a client asks again by itself."""
RECENT_MS = 1_000
"""Nobody waits for partitions that have had no leader for longer."""


class AwaitedLeaders:
    """An answer about topics that are led elsewhere, or by nobody; a waiter."""

    __slots__ = ("_broker", "_finish", "_leaderless", "_names", "_until_ms", "deadline_ms")

    def __init__(
        self,
        broker: Broker,
        names: Sequence[str],
        now: Now,
        finish: Callable[[Now], MetadataResponse],
    ) -> None:
        """`finish` makes the answer, from what is known then."""
        self._broker, self._names, self._finish = broker, names, finish
        self._leaderless: list[tuple[str, int]] | None = None
        """What had no leader when it was looked at, but for what was found to have one since."""
        self.deadline_ms = now.monotonic_ms + LOOK_MS
        self._until_ms = now.monotonic_ms + HELD_MS_MAX

    def watched(self) -> Sequence[Partition]:
        """The shards of the topics: they are polled when a leader is named, too."""
        shards = self._broker.shards
        return [shards[home] for home in dict.fromkeys(map(shard_of, self._names))]

    def poll(self, now: Now) -> MetadataResponse | None:
        """Return the answer once every partition has a leader."""
        left = self._leaderless
        if left is None:
            return None
        while left and self._is_served(*left[-1]):  # One look at most at each, but for the last.
            left.pop()
        return None if left else self._finish(now)

    def expired(self, now: Now) -> MetadataResponse | None:
        """Return the answer, unless an election is under way: then None, for a while."""
        is_recent = now.monotonic_ms - self._broker.groups.owners.unled_at_ms <= RECENT_MS
        if self._leaderless is None and is_recent:
            topics = self._broker.registry.topics
            self._leaderless = [
                (name, index)
                for name in self._names
                if name in topics
                for index in range(topics[name].partition_count)
                if not self._is_served(name, index)
            ]
            if self._leaderless:
                self.deadline_ms = self._until_ms
                return None
        return self._finish(now)

    def _is_served(self, name: str, index: int) -> bool:
        topic = self._broker.registry.topics.get(name)
        if topic is None or index >= topic.partition_count:
            return True
        return self._broker.is_served(topic, index)


def may_have_lost_a_leader(broker: Broker, names: Sequence[str]) -> bool:
    """Whether any of these topics has a partition that this node does not lead."""
    for name in names:
        topic = broker.registry.topics.get(name)
        for index in range(0 if topic is None else topic.partition_count):
            partition = broker.partitions.get((name, index))
            if (name, index) not in broker.damaged and (partition is None or not partition.leads):
                return True
    return False
