"""A topic as the registry holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh.model.types import NodeId, TopicId


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; a change makes a new object, so readers can keep one across changes."""

    name: str
    topic_id: TopicId
    replicas: tuple[tuple[NodeId, ...], ...]
    """Nodes that hold each partition; the first is the one that should lead."""
    configs: Mapping[str, str] = field(default_factory=dict)
    """Values of its own, by Kafka's names, as canonical text; never changed in place."""

    @property
    def partition_count(self) -> int:
        """From 1."""
        return len(self.replicas)

    @property
    def replication_factor(self) -> int:
        """Replicas of each partition, as it was made."""
        return len(self.replicas[0])
