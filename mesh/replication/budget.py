"""How fast replicas that lag far behind are fed, so that they do not crowd out who is in time."""

from __future__ import annotations

BURST_MS = 200
"""At most so much of a budget is saved up: what a leader sends again within."""


class Budget:
    """Bytes that may be sent; one for all groups of a node. Instants are of the monotonic clock."""

    def __init__(self, bytes_per_second: int) -> None:
        """Full at first."""
        self.bytes_per_second = bytes_per_second
        self.sent_bytes = 0
        """Since the start."""
        self._left = self.burst
        self._at_ms: int | None = None

    @property
    def burst(self) -> int:
        """Bytes that are saved up at most, and sent at once."""
        return self.bytes_per_second * BURST_MS // 1000

    @property
    def has_any(self) -> bool:
        """Whether something may be sent: one piece, which may overdraw it."""
        return self._left > 0

    def refill(self, now_ms: int) -> None:
        """Time has passed."""
        if self._at_ms is not None and now_ms > self._at_ms:
            gained = self.bytes_per_second * (now_ms - self._at_ms) // 1000
            self._left = min(self._left + gained, self.burst)
        self._at_ms = now_ms

    def take(self, size: int) -> None:
        """So many bytes are sent."""
        self._left -= size
        self.sent_bytes += size
