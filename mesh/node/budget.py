"""Memory for requests in flight: a frame reserves its length before its body is read.

Frames of up to 1 MiB and larger ones wait in two lanes with half of the capacity each, so that a
few large announcements cannot keep ordinary producers out. Whoever holds a reservation and does
not deliver loses it once others wait. A pure machine: the driver wakes the tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SMALL_FRAME_BYTES_MAX = 1 << 20
"""A request of Kafka's clients with default settings (max.request.size) fits into it."""
STALL_GRACE_MS = 1_000
STALL_BYTES_PER_MS_MIN = 64
"""64 KB/s on average since the reservation, or it is lost as soon as somebody waits."""


class Reservation:
    """Memory promised to one frame; hold it until the frame was handled, then release it."""

    __slots__ = ("evict", "granted", "length", "received", "since_ms")

    def __init__(self, length: int, granted: Callable[[], None], evict: Callable[[], None]) -> None:
        """Args: bytes wanted; called once it is granted; called if the holder must go."""
        self.length = length
        self.granted = granted
        self.evict = evict
        self.received = 0
        """Bytes of the frame that have arrived; its holder keeps this true."""
        self.since_ms = -1
        """Monotonic instant of the grant; -1 while it waits."""


class Budget:
    """At most `capacity` bytes of frames at a time, handed out in order within each lane."""

    def __init__(self, capacity: int) -> None:
        """Capacity in bytes; a frame that is longer can never be read."""
        self.capacity = capacity
        self.used = 0
        self._large_used = 0
        self._holders: dict[Reservation, None] = {}
        self._small_waiting: deque[Reservation] = deque()
        self._large_waiting: deque[Reservation] = deque()

    @property
    def tight(self) -> bool:
        """Whether nothing more may be taken from the kernel without a reservation."""
        return bool(self.used > self.capacity // 2 or self._small_waiting or self._large_waiting)

    @property
    def waiting_count(self) -> int:
        """Frames that wait for memory."""
        return len(self._small_waiting) + len(self._large_waiting)

    def request(self, reservation: Reservation, now_ms: int) -> None:
        """Queue it; `granted` is called now or later.

        Raises:
            ValueError: longer than the whole capacity.
        """
        if reservation.length > self.capacity:
            raise ValueError(f"{reservation.length} bytes exceed the budget of {self.capacity}")
        self._lane(reservation).append(reservation)
        self._admit(now_ms)

    def take(self, reservation: Reservation, now_ms: int) -> None:
        """Grant it at once: it counts what is in memory already."""
        self._hold(reservation, now_ms)

    def release(self, reservation: Reservation, now_ms: int) -> None:
        """Give it back, or stop waiting for it; harmless when repeated."""
        if reservation in self._holders:
            del self._holders[reservation]
            self.used -= reservation.length
            if reservation.length > SMALL_FRAME_BYTES_MAX:
                self._large_used -= reservation.length
        elif reservation in (lane := self._lane(reservation)):
            lane.remove(reservation)
        self._admit(now_ms)

    def evict_stalled(self, now_ms: int) -> None:
        """If somebody waits, tell every holder that delivers too slowly to go."""
        if not self.waiting_count:
            return
        for holder in list(self._holders):
            age_ms = now_ms - holder.since_ms
            if age_ms >= STALL_GRACE_MS and holder.received < age_ms * STALL_BYTES_PER_MS_MIN:
                holder.evict()

    def _lane(self, reservation: Reservation) -> deque[Reservation]:
        large = reservation.length > SMALL_FRAME_BYTES_MAX
        return self._large_waiting if large else self._small_waiting

    def _fits(self, length: int) -> bool:
        if self.used + length > self.capacity:
            return False
        half = self.capacity // 2
        if length <= SMALL_FRAME_BYTES_MAX:
            return self.used - self._large_used + length <= max(half, length)
        # One that exceeds its lane goes through alone, when the small ones leave it room.
        return self._large_used + length <= half or self._large_used == 0

    def _admit(self, now_ms: int) -> None:
        for lane in (self._small_waiting, self._large_waiting):
            while lane and self._fits(lane[0].length):
                self._hold(lane.popleft(), now_ms)

    def _hold(self, reservation: Reservation, now_ms: int) -> None:
        self._holders[reservation] = None
        self.used += reservation.length
        if reservation.length > SMALL_FRAME_BYTES_MAX:
            self._large_used += reservation.length
        reservation.since_ms = now_ms
        reservation.granted()
