"""The coordinator of all groups that hash to one partition of `__consumer_offsets`.

It holds the image that the partition's records make, and gives each request to the machine whose
protocol the group speaks. It is made anew, from the log, whenever this node begins to lead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from mesh.groups.image import Image
from mesh.groups.timers import Timer, Wheel

if TYPE_CHECKING:
    from mesh.groups.turn import Turn

OnTimer: TypeAlias = "Callable[[Turn], None]"
"""What happens when a timer fires: a call with the turn that it begins."""


class Coordinator:
    """Coordinates the groups of one partition, from the records that it was given."""

    def __init__(self, wheel: Wheel[tuple[Coordinator, OnTimer]]) -> None:
        """Without groups: `image.replay` every record of the log, then call `begin`.

        Args:
            wheel: the node's; what fires is a call to be made with a turn of this coordinator.
        """
        self.image = Image()
        self._wheel = wheel

    def set_timer(self, at_ms: int, call: OnTimer) -> Timer[tuple[Coordinator, OnTimer]]:
        """Have a call made with a turn once `at_ms` (monotonic) has come."""
        return self._wheel.set((self, call), at_ms)

    def begin(self, turn: Turn) -> None:
        """All records are replayed: members' time-outs run from now on."""
