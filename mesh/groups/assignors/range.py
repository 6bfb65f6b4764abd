"""The range assignor: every topic is cut into as many stretches as it has subscribers.

Members with the same place in the order get the same stretch of every topic of equal length, so
that topics can be joined partition by partition. Nothing sticks.
"""

from __future__ import annotations

from mesh.groups.assignors.order import HashOrder, id_hash, text_order
from mesh.groups.assignors.spec import Assignment, Spec
from mesh.model.types import TopicId


def assign_range(spec: Spec) -> dict[str, Assignment]:
    """Assign every partition of every topic to one of the topic's subscribers."""
    subscribers: dict[TopicId, int] = {}
    for member in spec.members.values():
        for topic_id in member.topic_ids:
            subscribers[topic_id] = subscribers.get(topic_id, 0) + 1
    begun: dict[TopicId, int] = {}
    """How many subscribers of a topic have got their stretch."""
    assignments: dict[str, Assignment] = {}
    for member_id in _in_order(spec):
        member = spec.members[member_id]
        count = len(member.topic_ids) if spec.alike else member.names_count
        stretches = {}
        topic_ids = HashOrder(id_hash, capacity=int(count / 0.75 + 1))
        for topic_id in member.topic_ids:
            place = begun.get(topic_id, 0)
            begun[topic_id] = place + 1
            share, extra = divmod(spec.partitions[topic_id], subscribers[topic_id])
            start = place * share + min(place, extra)
            stretch = range(start, start + share + (place < extra))
            if stretch:
                topic_ids.add(topic_id)
                stretches[topic_id] = list(stretch)
        assignments[member_id] = {topic_id: stretches[topic_id] for topic_id in topic_ids}
    return assignments


def _in_order(spec: Spec) -> list[str]:
    """Static members first, by their instance ids; the others by their member ids."""

    def key(member_id: str) -> tuple[bool, bytes]:
        instance_id = spec.members[member_id].instance_id
        return instance_id is None, text_order(member_id if instance_id is None else instance_id)

    return sorted(spec.members, key=key)
