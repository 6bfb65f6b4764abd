"""Who reads what: pure functions from members and topics to an assignment, as in Kafka 4.3."""

from collections.abc import Callable
from typing import Final

from mesh.groups.assignors.order import HashOrder, text_hash, timeline_order
from mesh.groups.assignors.range import assign_range
from mesh.groups.assignors.spec import Assignment, Spec, Subscriber
from mesh.groups.assignors.uniform import assign_uniform

ASSIGNORS: Final[dict[str, Callable[[Spec], dict[str, Assignment]]]] = {
    "uniform": assign_uniform,
    "range": assign_range,
}
"""By the names that members ask for."""

__all__ = [
    "ASSIGNORS",
    "Assignment",
    "HashOrder",
    "Spec",
    "Subscriber",
    "text_hash",
    "timeline_order",
]
