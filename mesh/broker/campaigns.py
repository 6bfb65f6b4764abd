"""Groups that campaign: few at a time, the rest in their turn.

With a node thousands of groups lose their leaders. Were all to ask for votes at once, the answers
would come so late that others ask, too, and all of them in vain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.broker.partition import Partition

CAMPAIGNS_MAX = 100
"""Begun at a time."""
CAMPAIGN_MS = 1_000
"""Whoever has not won by then holds up nobody any more."""


class Campaigns:
    """Of one node. Instants are of the monotonic clock."""

    def __init__(self) -> None:
        """Nobody campaigns."""
        self._begun: dict[Partition, int] = {}
        """When each began; the first began first."""
        self._waiting: dict[Partition, None] = {}

    def begun(self, partition: Partition, now_ms: int) -> None:
        """A group has begun to campaign, perhaps once more."""
        self._begun.pop(partition, None)
        self._begun[partition] = now_ms

    def ended(self, partition: Partition) -> None:
        """A group does not campaign any more."""
        self._begun.pop(partition, None)

    def forget(self, partition: Partition) -> None:
        """There is no such group any more."""
        self._begun.pop(partition, None)
        self._waiting.pop(partition, None)

    def may_begin(self, partition: Partition, now_ms: int) -> bool:
        """Whether a group may campaign now; if not, it has its turn when fewer do."""
        if self._has_room(now_ms):
            return True
        self._waiting[partition] = None
        return False

    def next(self, now_ms: int) -> Partition | None:
        """Return a group that waited for its turn, if that has come."""
        if not self._waiting or not self._has_room(now_ms):
            return None
        partition = next(iter(self._waiting))
        del self._waiting[partition]
        return partition

    @property
    def wake_at_ms(self) -> int | None:
        """When somebody's turn comes at the latest; None while nobody waits."""
        return self._over_ms if self._waiting else None

    @property
    def _over_ms(self) -> int:
        return next(iter(self._begun.values()), 0) + CAMPAIGN_MS

    def _has_room(self, now_ms: int) -> bool:
        while self._begun and self._over_ms <= now_ms:
            del self._begun[next(iter(self._begun))]
        return len(self._begun) < CAMPAIGNS_MAX
