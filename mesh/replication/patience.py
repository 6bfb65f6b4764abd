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
    RESEND_DOUBLINGS_MAX,
    RESEND_MS,
    SILENCE_MS,
    SILENCE_SPREAD_MS,
)
from mesh.replication.state import Replica
from storage.types import LeaderEpoch


class Rng(Protocol):
    """Seeded dice."""

    def randrange(self, stop: int, /) -> int:
        """Return a number from 0 to below `stop`."""


NEVER_MS = -(1 << 60)
"""An instant before all others."""


class Hearing(Protocol):
    """When each node was last heard of over its link: one for all groups of a node."""

    def heard_at_ms(self, node_id: int, /) -> int:
        """Return the instant at which something last came over an open link; NEVER_MS if never."""


class Deaf:
    """Hears nobody: a node without links."""

    def heard_at_ms(self, node_id: int, /) -> int:
        """Return that there was nothing."""
        del node_id
        return NEVER_MS


@dataclass(slots=True, kw_only=True)
class Patience:
    """What was heard when, and how long to wait. Instants are of the monotonic clock."""

    rng: Rng
    hearing: Hearing = field(default_factory=Deaf)
    named: tuple[Replica, LeaderEpoch] | None = None
    """Who names itself over its link as leader with our epoch or a larger one, and in which."""
    heard_at_ms: int | None = None
    """When a leader with our epoch or a larger one was last heard of."""
    campaign_at_ms: int = 0
    failures: int = 0
    """Rounds without a winner since a leader was last heard of."""
    answered_at_ms: dict[Replica, int] = field(default_factory=dict)
    """As leader: when each replica, or its node, last said something."""
    replied_at_ms: dict[Replica, int] = field(default_factory=dict)
    """As leader: when each replica itself did."""
    resend_at_ms: int = 0
    resends_in_vain: int = 0
    hand_over_until_ms: int | None = None

    def hear_leader(self, now_ms: int, place: int) -> None:
        """Wait anew: there is a leader."""
        self.heard_at_ms, self.failures = now_ms, 0
        self.wait(now_ms, place)

    def wait(self, now_ms: int, place: int) -> None:
        """Wait as long as without failures, and longer with each of them."""
        spread = self.rng.randrange(SILENCE_SPREAD_MS)
        doublings = min(max(0, self.failures - 1), 10)
        wait_ms = min((SILENCE_MS + spread) << doublings, BACKOFF_MS_MAX + spread)
        self.campaign_at_ms = now_ms + wait_ms + place * PLACE_MS

    def fail(self, now_ms: int, place: int) -> None:
        """A round begins; should it fail, the next one waits longer."""
        self.failures += 1
        self.wait(now_ms, place)

    def hope(self, now_ms: int, place: int) -> None:
        """Wait no longer than at first: rounds may have failed for what is over."""
        campaign_at_ms, self.failures = self.campaign_at_ms, 0
        self.wait(now_ms, place)
        self.campaign_at_ms = min(self.campaign_at_ms, campaign_at_ms)

    def link_closed(self, now_ms: int, place: int) -> None:
        """Wait only a moment: the leader's process is gone."""
        self.heard_at_ms = self.named = None
        soon_ms = now_ms + LINK_CLOSED_MS + place * PLACE_MS
        # While a leader was named by its link nobody kept this instant up to date.
        is_due = self.campaign_at_ms <= now_ms
        self.campaign_at_ms = soon_ms if is_due else min(self.campaign_at_ms, soon_ms)

    def shields_leader(self, now_ms: int) -> bool:
        """Say whether a leader was heard of too recently to help in replacing it."""
        heard_at_ms = NEVER_MS if self.heard_at_ms is None else self.heard_at_ms
        if self.named is not None:
            heard_at_ms = max(heard_at_ms, self.hearing.heard_at_ms(self.named[0].node_id))
        return now_ms - heard_at_ms < SILENCE_MS

    def lead(self, now_ms: int, others: Iterable[Replica]) -> None:
        """Begin to watch who answers."""
        self.answered_at_ms = dict.fromkeys(others, now_ms)
        self.replied_at_ms = {}
        self.hand_over_until_ms = None
        self.resend_later(now_ms, in_vain=False)

    def reached(self, now_ms: int, replicas: Iterable[Replica]) -> None:
        """Note who is there."""
        self.answered_at_ms |= dict.fromkeys(replicas, now_ms)

    def replied(self, now_ms: int, replica: Replica) -> None:
        """A replica has answered."""
        self.answered_at_ms[replica] = self.replied_at_ms[replica] = now_ms

    def resend_soon(self, now_ms: int) -> None:
        """There is more to send than was allowed just now."""
        self.resend_at_ms = min(self.resend_at_ms, now_ms + RESEND_MS)

    def answering(self, now_ms: int) -> set[Replica]:
        """Return who has answered lately."""
        heard_at_ms = self.hearing.heard_at_ms
        return {
            replica
            for replica, at_ms in self.answered_at_ms.items()
            if now_ms - max(at_ms, heard_at_ms(replica.node_id)) < SILENCE_MS
        }

    def resend_later(self, now_ms: int, *, in_vain: bool) -> None:
        """A leader repeats itself now: wait longer if it did so in vain before.

        Links lose nothing, so who has not answered mostly has not come to it yet.
        """
        self.resends_in_vain = min(self.resends_in_vain + 1, RESEND_DOUBLINGS_MAX) if in_vain else 0
        self.resend_at_ms = now_ms + (RESEND_MS << self.resends_in_vain)

    def has_answered(self, replica: Replica, now_ms: int) -> bool:
        """Whether a replica said something between the last time it was sent all, and now."""
        return 0 < now_ms - self.replied_at_ms.get(replica, NEVER_MS) < RESEND_MS

    def begin_hand_over(self, now_ms: int) -> None:
        """Give the successor its time."""
        self.hand_over_until_ms = now_ms + HAND_OVER_MS
        self.resend_later(now_ms, in_vain=False)
