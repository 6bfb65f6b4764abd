"""What each member of a group is to have: the assignor's answer, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.groups import consumer_records as records
from mesh.groups.assignors import ASSIGNORS, HashOrder, Spec, Subscriber, text_hash, timeline_order
from mesh.groups.subscriptions import names_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mesh.groups.assignors import Assignment
    from mesh.groups.consumer_image import ConsumerGroup, Member
    from mesh.groups.turn import Topics
    from mesh.model.types import TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class Computation:
    """A group as it is to be assigned: one member may be other than its record says."""

    group_id: str
    group: ConsumerGroup
    group_epoch: int
    before: Member
    """As the member was."""
    member: Member
    """The one whose heartbeat it is."""
    asked: list[str] | None
    """The names that it has just sent."""
    alike: bool
    """Whether all subscribe to the same topics."""
    default_assignor: str

    def records(self, topics: Topics, now_ms: int) -> tuple[list[records.Item], Assignment]:
        """Return the records of all targets that change, and the member's own target."""
        spec = self._spec(topics)
        assigned = ASSIGNORS[self.assignor](spec)
        items: list[records.Item] = []
        for member_id in spec.members:
            target = assigned.get(member_id, {})
            before = self.group.targets.get(member_id)
            if before is None or not are_same(before, target):
                items.append(records.target(self.group_id, member_id, target))
        items.append(records.target_epoch(self.group_id, self.group_epoch, now_ms))
        return items, assigned.get(self.member.member_id, {})

    @property
    def assignor(self) -> str:
        """The assignor for which most members vote."""
        votes = _votes(self.group)
        order = HashOrder(text_hash, votes, int(len(votes) / 0.75 + 1) if votes else 16)
        for member, difference in ((self.before, -1), (self.member, 1)):
            if member.assignor is not None:
                name = member.assignor
                _vote(votes, name, difference)
                if name in votes:
                    order.compute(name)
                else:
                    order.discard(name)
        return max(order, key=lambda name: votes[name], default=self.default_assignor)

    def _spec(self, topics: Topics) -> Spec:
        group, member = self.group, self.member
        order = HashOrder(text_hash, group.in_order())
        order.add(member.member_id)
        target_of = member.member_id
        if member.instance_id is not None:
            holder = group.statics.get(member.instance_id, member.member_id)
            if holder != member.member_id:
                order.discard(holder)
                target_of = holder
        known: dict[object, tuple[list[TopicId], int]] = {}
        """Members with one subscription share what comes of it."""
        partitions: dict[TopicId, int] = {}
        subscribers = {}
        for member_id in order:
            mine = member_id == member.member_id
            each = member if mine else group.members[member_id]
            asked = self.asked if mine else None
            what = (each.names, each.regex, None if asked is None else tuple(asked))
            if what not in known:
                known[what] = self._topic_ids(each, asked, topics, partitions)
            topic_ids, names_count = known[what]
            target = group.targets.get(target_of if mine else member_id, {})
            subscribers[member_id] = Subscriber(topic_ids, each.instance_id, target, names_count)
        return Spec(subscribers, partitions, self.alike)

    def _topic_ids(
        self,
        member: Member,
        asked: list[str] | None,
        topics: Topics,
        partitions: dict[TopicId, int],
    ) -> tuple[list[TopicId], int]:
        names = names_in_order(member, self.group.resolved, asked)
        topic_ids = []
        for name in names:
            topic = topics.named(name)
            if topic is not None:
                topic_ids.append(topic.topic_id)
                partitions[topic.topic_id] = topic.partition_count
        return topic_ids, len(names)


def are_same(one: Mapping[TopicId, Sequence[int]], other: Mapping[TopicId, Sequence[int]]) -> bool:
    """Whether two assignments hold the same partitions, in whatever order."""
    return one.keys() == other.keys() and all(
        set(partitions) == set(other[topic_id]) for topic_id, partitions in one.items()
    )


def preferred_assignor(group: ConsumerGroup) -> str | None:
    """Return the assignor for which most members vote; None if none does."""
    votes = _votes(group)
    return max(votes, key=lambda name: votes[name], default=None)


def _votes(group: ConsumerGroup) -> dict[str, int]:
    """Count the votes, in the order of Kafka's table: among equals the first one wins."""
    votes: dict[str, int] = {}
    for member in group.members.values():
        if member.assignor is not None:
            _vote(votes, member.assignor, 1)
    return {name: votes[name] for name in timeline_order(list(votes), len(votes))}


def _vote(votes: dict[str, int], name: str, difference: int) -> None:
    votes[name] = votes.get(name, 0) + difference
    if votes[name] == 0:
        del votes[name]
