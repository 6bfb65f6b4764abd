"""When to act without being asked: the only place of this room that looks at time or dice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from mesh.replication.limits import (
    BACKOFF_MS_MAX,
    HAND_OVER_MS,
    LINK_CLOSED_MS,
    PLACE_MS,
    RESEND_MS,
    SILENCE_MS,
    SILENCE_SPREAD_MS,
)
from mesh.replication.state import Replica


class Rng(Protocol):
    """Seeded dice."""

    def randrange(self, stop: int, /) -> int:
        """Return a number from 0 to below `stop`."""


@dataclass(slots=True, kw_only=True)
class Patience:
    """What was heard when, and how long to wait. Instants are of the monotonic clock."""

    rng: Rng
    heard_at_ms: int | None = None
    """When a leader with our epoch or a larger one was last heard of."""
    campaign_at_ms: int = 0
    failures: int = 0
    """Rounds without a winner since a leader was last heard of."""
    answered_at_ms: dict[Replica, int] = field(default_factory=dict)
    """As leader: when each replica last said something."""
    resend_at_ms: int = 0
    hand_over_until_ms: int | None = None

    def hear_leader(self, now_ms: int, place: int) -> None:
        """Wait anew: there is a leader."""
        self.heard_at_ms, self.failures = now_ms, 0
        self.wait(now_ms, place)

    def wait(self, now_ms: int, place: int) -> None:
        """Wait as long as without failures, and longer with each of them."""
        spread = self.rng.randrange(SILENCE_SPREAD_MS)
        wait_ms = min((SILENCE_MS + spread) << min(self.failures, 10), BACKOFF_MS_MAX + spread)
        self.campaign_at_ms = now_ms + wait_ms + place * PLACE_MS

    def fail(self, now_ms: int, place: int) -> None:
        """A round begins; should it fail, the next one waits longer."""
        self.failures += 1
        self.wait(now_ms, place)

    def link_closed(self, now_ms: int, place: int) -> None:
        """Wait only a moment: the leader's process is gone."""
        self.heard_at_ms = None
        soon_ms = now_ms + LINK_CLOSED_MS + place * PLACE_MS
        self.campaign_at_ms = min(self.campaign_at_ms, soon_ms)

    def shields_leader(self, now_ms: int) -> bool:
        """Say whether a leader was heard of too recently to help in replacing it."""
        return self.heard_at_ms is not None and now_ms - self.heard_at_ms < SILENCE_MS

    def lead(self, now_ms: int, others: Iterable[Replica]) -> None:
        """Begin to watch who answers."""
        self.answered_at_ms = dict.fromkeys(others, now_ms)
        self.resend_at_ms, self.hand_over_until_ms = now_ms + RESEND_MS, None

    def reached(self, now_ms: int, replicas: Iterable[Replica]) -> None:
        """Note who is there."""
        self.answered_at_ms |= dict.fromkeys(replicas, now_ms)

    def answering(self, now_ms: int) -> set[Replica]:
        """Return who has answered lately."""
        return {r for r, at_ms in self.answered_at_ms.items() if now_ms - at_ms < SILENCE_MS}

    def begin_hand_over(self, now_ms: int) -> None:
        """Give the successor its time."""
        self.hand_over_until_ms = now_ms + HAND_OVER_MS
