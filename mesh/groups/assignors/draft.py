"""A member's assignment while it is being changed, in Kafka's order throughout."""

from __future__ import annotations

from mesh.groups.assignors.order import HashOrder, id_hash, number_hash
from mesh.groups.assignors.spec import Assignment
from mesh.model.types import TopicId


class Draft:
    """A copy that may be changed."""

    __slots__ = ("_partitions", "_topics")

    def __init__(self, assignment: Assignment) -> None:
        """With all that was assigned before."""
        self._topics = HashOrder(id_hash, assignment, capacity=len(assignment))
        self._partitions = {
            topic_id: HashOrder.copy_of(number_hash, partitions)
            for topic_id, partitions in assignment.items()
        }

    def drop_topic(self, topic_id: TopicId) -> None:
        """Take away all partitions of a topic."""
        self._topics.discard(topic_id)
        self._partitions.pop(topic_id, None)

    def drop(self, topic_id: TopicId, partition: int) -> None:
        """Take a partition away, if it is there."""
        partitions = self._partitions.get(topic_id)
        if partitions is not None:
            partitions.discard(partition)
            if not partitions:
                self.drop_topic(topic_id)

    def add(self, topic_id: TopicId, partition: int, capacity: int = 16) -> None:
        """Give a partition; `capacity` is that of a set that is made for its topic."""
        partitions = self._partitions.get(topic_id)
        if partitions is None:
            self._topics.compute(topic_id)
            partitions = HashOrder(number_hash, capacity=capacity)
            self._partitions[topic_id] = partitions
        partitions.add(partition)

    def done(self) -> Assignment:
        """Return what it has become."""
        return {topic_id: list(self._partitions[topic_id]) for topic_id in self._topics}


def in_order(assignment: Assignment) -> dict[TopicId, list[int]]:
    """Return an assignment as Kafka walks through it once it was read from its record."""
    return {
        topic_id: list(HashOrder.copy_of(number_hash, assignment[topic_id]))
        for topic_id in HashOrder(id_hash, assignment)
    }
