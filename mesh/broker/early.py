"""Messages for groups that this node does not know yet: the registry's record is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mesh.links import Word
    from mesh.replication import Replica
    from storage.promises import GroupId

KEPT_MS = 2_000
KEPT_MAX = 10_000
"""Messages that are kept so long, and so many; what is lost is said again."""


class Early:
    """Keeps them for a moment."""

    def __init__(self) -> None:
        """There are none."""
        self._kept: dict[GroupId, list[tuple[int, Replica, Word]]] = {}
        self._count = 0
        self._swept_ms = -KEPT_MS

    def keep(self, sender: Replica, word: Word, now_ms: int) -> None:
        """Keep a message, unless it holds records: its leader has those."""
        if word.blobs:
            return
        if self._count >= KEPT_MAX and now_ms - self._swept_ms >= KEPT_MS // 2:
            self._swept_ms = now_ms  # It takes milliseconds: not for each of a flood of messages.
            self._kept = {
                group: kept
                for group, waiting in self._kept.items()
                if (kept := [one for one in waiting if now_ms - one[0] < KEPT_MS])
            }
            self._count = sum(map(len, self._kept.values()))
        if self._count < KEPT_MAX:
            self._kept.setdefault(word.group, []).append((now_ms, sender, word))
            self._count += 1

    def take(self, group: GroupId, now_ms: int) -> list[tuple[Replica, Word]]:
        """Return what came for a group a moment ago, in its order."""
        waiting = self._kept.pop(group, [])
        self._count -= len(waiting)
        return [(sender, word) for at_ms, sender, word in waiting if now_ms - at_ms < KEPT_MS]
