"""One suspicion: who confirms it, and how long its subject has to refute it."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from mesh.gossip.messages import ACCUSERS_MAX
from mesh.gossip.settings import Settings
from mesh.model.types import NodeId


def suspicion_ms(settings: Settings, weight: float, needed: int) -> int:
    """Return how long a suspicion lasts (Lifeguard, section IV-B, with weights for observers).

    max - (max - min) * log(weight) / log(needed), from max at a weight of 1 to min at `needed`.

    Args:
        settings: has min and max.
        weight: of all accusers together; a healthy one counts 1.
        needed: accusers that make it certain; at least 1, and then nobody else can be asked.
    """
    least = settings.suspicion_ms_min
    most = least * settings.suspicion_factor_max
    if needed <= 1:
        return 2 * least
    share = min(1.0, max(0.0, log(max(weight, 1.0)) / log(needed)))
    return int(most - (most - least) * share)


class Suspicion:
    """That a member may be dead. `accusers` are nodes that failed to reach it, each by itself."""

    __slots__ = (
        "accusers",
        "asked_ms",
        "begun_ms",
        "due_ms",
        "incarnation",
        "questioned_ms",
        "start",
        "talked",
    )

    def __init__(self, start: int, incarnation: int, now_ms: int) -> None:
        """Begin without an accuser."""
        self.start = start
        self.incarnation = incarnation
        self.begun_ms = now_ms
        self.accusers: dict[NodeId, int] = {}
        """With the percent that the word of each weighs: 100 / (its local health + 1)."""
        self.due_ms = 0
        self.talked = False
        """Whether its subject sent us anything since."""
        self.asked_ms: int | None = None
        """When this node probed it because of this."""
        self.questioned_ms = 0
        """When this node last asked it before its end."""

    def add(self, accusers: Mapping[NodeId, int]) -> bool:
        """Take accusers in; whether any of them is new."""
        new = False
        for who, percent in accusers.items():
            if who not in self.accusers and len(self.accusers) < ACCUSERS_MAX:
                self.accusers[who] = percent
                new = True
        return new

    def set_due(self, settings: Settings, others: int, now_ms: int) -> None:
        """Compute when it ends; not before now.

        Args:
            settings: the parameters.
            others: live members besides its subject, whoever has this suspicion included.
            now_ms: the time.
        """
        needed = min(settings.confirmations, max(1, others))
        weight = sum(self.accusers.values()) / 100
        self.due_ms = max(now_ms, self.begun_ms + suspicion_ms(settings, weight, needed))
