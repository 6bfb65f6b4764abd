"""How one that was found dead comes back, without doing so again and again.

Who was away whole (a pause, a split, a crash of the network) comes back at once, the first time.
Who was talking while it could not be reached, or could not hear, has bad links: it must see good
ones for some time first, twice as long each time again (route flap damping is as old as BGP's).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mesh.gossip.context import Context
from mesh.gossip.detector import Detector

DEATHS_MAX = 8
PLAIN_WINDOW_MS = 300_000
PLAIN_WAIT_MS = 1_000
PLAIN_DOUBLINGS_MAX = 5
IMPAIRED_WINDOW_MS = 600_000
IMPAIRED_DOUBLINGS_MAX = 4
DEAF_WINDOW_MS = 60_000
MISSES_SHARE_MAX = 0.6
"""Of direct probes that fail, smoothed; a network that loses a quarter each way has 0.44."""
TOLD_TICKS = 10
"""For so long after a refutation each answer to a probe carries it."""


class Comeback:
    """Decides when one machine says that it is alive after all."""

    def __init__(
        self, context: Context, detector: Detector, *, come_back: Callable[[int], None]
    ) -> None:
        """`come_back` is called with the time when it may."""
        self._context = context
        self._detector = detector
        self._come_back = come_back
        self._deaths: deque[tuple[int, bool]] = deque(maxlen=DEATHS_MAX)
        self._dead = False
        self._impaired = False
        self._good_ms = 0
        """Since when links are good, or since when it is dead."""
        self._wait_ms = 0
        self._told_left = 0

    @property
    def tells(self) -> bool:
        """Whether answers to probes carry this node's own state."""
        return self._told_left > 0

    def refuted(self) -> None:
        """A suspicion was refuted."""
        self._told_left = TOLD_TICKS

    def flaps(self, now_ms: int) -> bool:
        """Whether it was found dead not long ago."""
        return bool(self._deaths) and now_ms - self._deaths[-1][0] < PLAIN_WINDOW_MS

    def was_dead(self, now_ms: int) -> None:
        """Others had found this node dead before they heard its refutation."""
        self._deaths.append((now_ms, False))

    def found_dead(self, now_ms: int, *, impaired: bool) -> None:
        """Others have found this node dead."""
        alone = not self._context.view.ring
        deaf = now_ms - self._detector.deaf_ms < DEAF_WINDOW_MS
        self._dead = True
        self._impaired = (impaired or deaf) and not alone
        window_ms = IMPAIRED_WINDOW_MS if self._impaired else PLAIN_WINDOW_MS
        before = sum(
            was is self._impaired and now_ms - at_ms < window_ms for at_ms, was in self._deaths
        )
        self._deaths.append((now_ms, self._impaired))
        if self._impaired:
            doublings = min(before, IMPAIRED_DOUBLINGS_MAX)
            self._wait_ms = self._context.settings.rejoin_impaired_ms << doublings
        else:
            doublings = min(before - 1, PLAIN_DOUBLINGS_MAX)
            self._wait_ms = PLAIN_WAIT_MS << doublings if before and not alone else 0
        self._good_ms = now_ms
        self._look(now_ms)

    def tick(self, now_ms: int) -> None:
        """Once in a probe interval."""
        if self._told_left:
            self._told_left -= 1
        if self._dead:
            if self._impaired and self._links_are_bad(now_ms):
                self._good_ms = now_ms
            self._look(now_ms)
        self._detector.is_on_trial = self._dead and self._impaired

    def _links_are_bad(self, now_ms: int) -> bool:
        detector = self._detector
        heard_all_along = detector.deaf_ms < self._good_ms
        return (
            not heard_all_along
            or detector.misses_share > MISSES_SHARE_MAX
            or (now_ms - self._context.heard_ms > 2 * self._context.settings.probe_interval_ms)
        )

    def _look(self, now_ms: int) -> None:
        alone = not self._context.view.ring
        if alone or now_ms - self._good_ms >= self._wait_ms:
            self._dead = self._detector.is_on_trial = False
            self._told_left = TOLD_TICKS
            self._come_back(now_ms)
