"""One step of a member from what it has to what it is to have.

A member first gives up what is no longer its own, and says so in a heartbeat; only then does it
move to the new epoch, with those of its new partitions that nobody holds any more. So at no time
do two members hold one partition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mesh.groups.consumer_image import Epochs, Member, MemberState
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicId

if TYPE_CHECKING:
    from mesh.groups.assignors import Assignment
    from mesh.groups.consumer_image import ConsumerGroup
    from mesh.wire.schemas.consumer_group_heartbeat import TopicPartitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step depends on, besides the member."""

    group: ConsumerGroup
    """Says who holds which partition."""
    target_epoch: int
    target: Assignment
    topic_ids: Collection[TopicId]
    """Topics that the member subscribes to; whatever else it has is taken away."""
    subscribes: bool
    """Whether it subscribes to anything, there or not."""
    subscription_changed: bool
    owned: Sequence[TopicPartitions] | None
    """What it says it has; None if it does not say."""

    def of(self, member: Member) -> Member:
        """Return the member after this step; the same one if it cannot go on.

        Raises:
            KafkaError: FENCED_MEMBER_EPOCH, its state is one that we do not know.
        """
        match member.state:
            case MemberState.STABLE:
                if member.member_epoch != self.target_epoch:
                    return self._next(member, member.member_epoch)
                return self._unsubscribed(member) if self.subscription_changed else member
            case MemberState.UNREVOKED:
                if not self._owns(member.revoking):
                    return self._next(member, member.member_epoch)
                return self._unsubscribed(member) if self.subscription_changed else member
            case MemberState.UNRELEASED:
                return self._next(member, member.member_epoch)
        if self.owned is None or self.owned:
            raise KafkaError(
                ErrorCode.FENCED_MEMBER_EPOCH,
                "The consumer group member is in a unknown state. "
                "The member must abandon all its partitions and rejoin.",
            )
        return self._next(member, self.target_epoch)

    def _owns(self, epochs: Epochs) -> bool:
        """Whether the member may still read any of these."""
        if self.owned is None:
            return True
        return any(
            partition in epochs.get(topic.topic_id, ())
            for topic in self.owned
            for partition in topic.partitions
        )

    def _unsubscribed(self, member: Member) -> Member:
        """Take away topics that it no longer subscribes to, before there is a new target."""
        kept: Epochs
        revoking: dict[TopicId, Mapping[int, int]]
        if not self.subscribes and not member.revoking:
            # It changes even if there was nothing to take, as in Kafka: its previous epoch does.
            kept, revoking = {}, dict(member.assigned)
        else:
            revoking = dict(member.revoking)
            kept = {}
            for topic_id, partitions in member.assigned.items():
                if topic_id in self.topic_ids:
                    kept[topic_id] = partitions
                else:
                    revoking[topic_id] = {**revoking.get(topic_id, {}), **partitions}
            if len(kept) == len(member.assigned):
                return member
        if revoking and self._owns(revoking):
            return member.moved_to(member.member_epoch, MemberState.UNREVOKED, kept, revoking)
        return replace(member, previous_epoch=member.member_epoch, assigned=kept)

    def _next(self, member: Member, member_epoch: int) -> Member:
        kept: dict[TopicId, dict[int, int]] = {}
        revoking: dict[TopicId, dict[int, int]] = {}
        coming: dict[TopicId, list[int]] = {}
        waits = False
        for topic_id in {**self.target, **member.assigned}:
            subscribed = topic_id in self.topic_ids
            target = set(self.target.get(topic_id, ())) if subscribed else set()
            has = member.assigned.get(topic_id, {})
            both = {partition: at for partition, at in has.items() if partition in target}
            gone = {partition: at for partition, at in has.items() if partition not in target}
            missing = sorted(target.difference(both))
            own = member.revoking.get(topic_id, ())
            free = [p for p in missing if self.group.owner_epoch(topic_id, p) == -1 or p in own]
            waits = waits or len(free) < len(missing)
            if both:
                kept[topic_id] = both
            if gone:
                revoking[topic_id] = gone
            if free:
                coming[topic_id] = free
        if revoking and self._owns(revoking):
            return member.moved_to(member_epoch, MemberState.UNREVOKED, kept, revoking)
        for topic_id, partitions in coming.items():
            epochs = kept.setdefault(topic_id, {})
            epochs.update(dict.fromkeys(partitions, self.target_epoch))
        state = MemberState.UNRELEASED if waits else MemberState.STABLE
        return member.moved_to(self.target_epoch, state, kept, {})
