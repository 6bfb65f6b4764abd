"""A topic as the registry holds it, and where its partitions were put."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh.model.types import NodeId, ReplicaId, TopicId


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the partitions that one record makes begin their lives.

    A group makes its first state from this, and only at a replica that is named here with its
    directory; what the group's own quorum changes afterwards is not written back.
    """

    replicas: tuple[tuple[NodeId, ...], ...]
    """Nodes that hold each partition; the first is the one that should lead."""
    voter_count: int
    """So many of each partition's replicas vote, from the first on; the rest learn."""
    directories: Mapping[NodeId, str]
    """Directory id of every node that is named. Empty in a record of format 1."""

    def voters(self, index: int) -> tuple[ReplicaId, ...]:
        """Return who makes the group of the partition at `index` of these, and votes in it."""
        voting = self.replicas[index][: self.voter_count]
        return tuple(ReplicaId(node, self.directories[node]) for node in voting)


def voter_count_of(replica_count: int) -> int:
    """Return how many of so many replicas vote: the largest odd number.

    An even number of voters survives no more failures than the odd one below it.
    """
    return replica_count - (replica_count + 1) % 2


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; a change makes a new object, so readers can keep one across changes."""

    name: str
    topic_id: TopicId
    replicas: tuple[tuple[NodeId, ...], ...]
    """Nodes that were given each partition; the first is the one that should lead."""
    placements: tuple[Placement, ...]
    """Of the partitions in their order: those it began with, then those of each addition."""
    replicas_wanted: int
    """Replicas that each partition should have once there are enough nodes."""
    configs: Mapping[str, str] = field(default_factory=dict)
    """Values of its own, by Kafka's names, as canonical text; never changed in place."""
    assigned: Mapping[int, tuple[NodeId, ...]] = field(default_factory=dict)
    """Where somebody wants partitions to be, by index, whatever placement desires."""

    def voters(self, index: int) -> tuple[ReplicaId, ...]:
        """Return the replicas that make the group of this partition, its first voters.

        Raises:
            IndexError: there is no such partition.
        """
        for placement in self.placements:
            if index < len(placement.replicas):
                return placement.voters(index)
            index -= len(placement.replicas)
        raise IndexError(index)

    @property
    def partition_count(self) -> int:
        """From 1."""
        return len(self.replicas)

    @property
    def replication_factor(self) -> int:
        """Replicas of its first partition, as it was made."""
        return len(self.replicas[0])
