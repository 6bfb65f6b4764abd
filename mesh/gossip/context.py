"""What the parts of one gossip machine share: who it is, its view, dice, effects under way."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mesh.gossip.effects import Effect
from mesh.gossip.member import EMPTY_MAP, Value
from mesh.gossip.messages import tag_of
from mesh.gossip.settings import Settings
from mesh.gossip.view import View
from mesh.model.types import NodeId

NEVER_MS = 1 << 62
LOSS_SHARE_MIN, LOSS_SHARE_HIGH = 0.04, 0.15
"""Of `Context.loss_share`. Above the first a network loses datagrams: one that does not come says
little, so all is asked again, and news is offered. Above the second it loses many: that some get
lost on the way to one member says nothing about it."""


class Rng(Protocol):
    """Dice: `random.Random` is one."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def getrandbits(self, k: int, /) -> int:
        """Uniform, of k bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Who this node is."""

    cluster_id: bytes
    """16 bytes of a UUID."""
    node_id: NodeId
    start: int
    """Durable, and higher than at any start before."""
    entries: Mapping[str, Value] = field(default_factory=lambda: EMPTY_MAP)
    """What the map begins with; PEER must be in it."""


class Context:
    """Shared by the parts; each call of the machine begins with an empty `out`."""

    __slots__ = (
        "_order",
        "_timers",
        "counters",
        "health",
        "heard_ms",
        "hears_since_ms",
        "loss_share",
        "me",
        "node_id",
        "out",
        "rng",
        "settings",
        "start",
        "tag",
        "view",
    )

    def __init__(self, me: Me, settings: Settings, rng: Rng, view: View, now_ms: int) -> None:
        """Begin with nothing to do."""
        self.me = me
        self.node_id = me.node_id
        self.start = me.start
        self.tag = tag_of(me.cluster_id)
        self.settings = settings
        self.rng = rng
        self.view = view
        self.out: list[Effect] = []
        self.health = 0
        """Lifeguard's local health multiplier: 0 is well."""
        self.heard_ms = now_ms
        """When anything came from anybody."""
        self.hears_since_ms = now_ms
        """Since when something came again and again, with no gap of two probes."""
        self.loss_share = 0.0
        """Of probes that were answered, those which not the first ping got through; smoothed."""
        self.counters: Counter[str] = Counter()
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = 0

    def at(self, at_ms: int, call: Callable[[int], None]) -> None:
        """Have `call` called at a time; it asks itself whether it still matters."""
        self._order += 1
        heapq.heappush(self._timers, (at_ms, self._order, call))

    @property
    def timer_ms(self) -> int:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else NEVER_MS

    @property
    def timer_count(self) -> int:
        """How many are to come."""
        return len(self._timers)

    def run_timers(self, now_ms: int) -> None:
        """Call all that is due; what a call adds for now waits for the next time."""
        due = []
        while self._timers and self._timers[0][0] <= now_ms:
            due.append(heapq.heappop(self._timers)[2])
        for call in due:
            call(now_ms)

    def hear(self, now_ms: int) -> None:
        """Something came from somebody."""
        if now_ms - self.heard_ms > 2 * self.settings.probe_interval_ms:
            self.hears_since_ms = now_ms
        self.heard_ms = now_ms

    def below(self, count: int) -> int:
        """Return a number from 0 up to, not including, count."""
        return int(self.rng.random() * count)

    def measure_loss(self, *, lost: bool) -> None:
        """A probe was answered: by its first ping, or `lost`, only by what was asked after it."""
        self.loss_share += ((1 if lost else 0) - self.loss_share) / 16

    def sick(self, points: int) -> None:
        """Change the local health by points; it stays within its bounds."""
        self.health = min(self.settings.local_health_max, max(0, self.health + points))
