"""What an assignor is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.model.types import TopicId

Assignment: TypeAlias = Mapping[TopicId, Sequence[int]]
"""Partitions of each topic; both in the order that the next computation begins with."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One member, as assignors see it."""

    topic_ids: Sequence[TopicId]
    """That it subscribes to and that are there, in Kafka's order."""
    instance_id: str | None = None
    """Of a static member."""
    target: Assignment = field(default_factory=dict)
    """What it was assigned before; it may hold topics that it no longer subscribes to."""
    names_count: int = 0
    """Topics that it subscribes to, those that are not there included."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One computation. Racks are no part of it: Kafka 4.3's assignors do not look at them."""

    members: Mapping[str, Subscriber]
    """By member id, in Kafka's order."""
    partitions: Mapping[TopicId, int]
    """How many each topic has; all topics that anybody subscribes to."""
    alike: bool
    """Whether all members subscribe to the same topics, as Kafka counts it."""
