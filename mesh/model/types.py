"""Identities and instants that all rooms share."""

from typing import NamedTuple, TypeAlias

NodeId: TypeAlias = int
"""int32, unique in a cluster, never given twice; the founder is 1."""

TopicId: TypeAlias = bytes
"""16 raw bytes of a UUID; all zero means none. Bytes, not uuid.UUID: it is a dictionary key."""

NO_TOPIC_ID: TopicId = bytes(16)


class Now(NamedTuple):
    """The two clocks, read once per event by the driver and passed in; never mixed."""

    monotonic_ms: int
    """For deadlines; means nothing between two processes."""
    wall_ms: int
    """For timestamps; may step backwards."""


class ReplicaId(NamedTuple):
    """A node with one data directory: a node whose disk was wiped is another replica."""

    node_id: NodeId
    directory_id: str
    """UUID as text; empty where none is known, which is nobody's."""


class TopicPartition(NamedTuple):
    """A partition by name, as Kafka's clients say it."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"
