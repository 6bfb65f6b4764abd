"""What one request of a member makes of its group by KIP-848; written when all is decided."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mesh.groups import consumer_records as records
from mesh.groups.consumer_image import JOIN, Member
from mesh.groups.reconciliation import Step
from mesh.groups.subscriptions import Counts, names_in_order
from mesh.groups.targets import Computation
from mesh.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from mesh.groups import assignors
    from mesh.groups.consumer_image import ConsumerGroup
    from mesh.groups.turn import Turn
    from mesh.wire.schemas.consumer_group_heartbeat import TopicPartitions


class Change:
    """What one member's request makes of its group; nothing is written before it is whole."""

    def __init__(
        self,
        group_id: str,
        group: ConsumerGroup,
        before: Member,
        after: Member,
        turn: Turn,
        asked: list[str] | None,
    ) -> None:
        """Begin.

        Args:
            group_id: of the group.
            group: as it was before.
            before: the member as it was; without anything if it is new.
            after: the member as it is now, but for its partitions.
            turn: that it happens in.
            asked: topics in the order in which the member has just named them.
        """
        self.group_id = group_id
        self.group = group
        self.before = before
        self.after = after
        self.turn = turn
        self._asked = asked
        self.items: list[records.Item] = []
        self.group_epoch = group.group_epoch
        self._alike: bool | None = None
        self.looked = False
        """Whether the metadata hash was computed."""
        self.to_resolve: list[str] | None = None
        """Patterns that are to be looked up."""
        self._target_epoch = group.assignment_epoch
        self._target: assignors.Assignment = {}
        self.has_stepped = False
        """Whether the member's epoch, state or partitions changed."""

    def describe(self) -> bool:
        """Write who the member is, if that changed; return whether its topics' names did."""
        if self.after != self.before:
            self.items.append(records.described(self.group_id, self.after))
        return self.after.names != self.before.names

    def bump_if_needed(self, *, bump: bool) -> None:
        """Compute the metadata hash, and raise the group's epoch if it is another or `bump`."""
        group = self.group
        counts = Counts.of(group)
        counts.replace(group, self.before, self.after)
        members_count = len(group.members)
        if (
            self.after.member_id not in group.members
            and self.after.instance_id not in group.statics
        ):
            members_count += 1
        self._alike = counts.are_alike(members_count)
        metadata_hash = counts.hash(self.turn.topics)
        self.looked = True
        if bump or metadata_hash != group.metadata_hash:
            self.group_epoch += 1
            self.items.append(records.epoch(self.group_id, self.group_epoch, metadata_hash))

    def assign(self) -> None:
        """Compute targets, if the group's epoch is newer than they are and it is time to."""
        group, turn = self.group, self.turn
        now_ms = turn.now.wall_ms
        interval_ms = turn.config.consumer_assignment_ms
        is_new = group.assignment_epoch < self.group_epoch
        if not is_new or (
            group.assigned_at_ms and interval_ms and now_ms < group.assigned_at_ms + interval_ms
        ):
            self.keep_target()
            return
        alike = self._alike
        if alike is None:
            alike = group.alike
        computation = Computation(
            group_id=self.group_id,
            group=group,
            group_epoch=self.group_epoch,
            before=self.before,
            member=self.after,
            asked=self._asked,
            alike=alike,
            default_assignor=turn.config.consumer_assignors[0],
        )
        items, self._target = computation.records(turn.topics, now_ms)
        self.items += items
        self._target_epoch = self.group_epoch

    def keep_target(self) -> None:
        """Go by the target that there is."""
        group, member_id = self.group, self.after.member_id
        if self.after.instance_id is not None:
            member_id = group.statics.get(self.after.instance_id, "")
        self._target = group.targets.get(member_id, {})

    def reconcile(self, owned: list[TopicPartitions] | None, *, changed: bool) -> Member:
        """Let the member go a step towards its target; return it."""
        if changed or not self.after.is_reconciled_to(self._target_epoch):
            names = names_in_order(self.after, self.group.resolved)
            topics = map(self.turn.topics.named, names)
            step = Step(
                group=self.group,
                target_epoch=self._target_epoch,
                target=self._target,
                topic_ids={topic.topic_id for topic in topics if topic is not None},
                subscribes=bool(names),
                subscription_changed=changed,
                owned=owned,
            )
            after = step.of(self.after)
            if after != self.after:
                self.has_stepped = True
                self.items.append(records.current(self.group_id, after))
                self.after = after
        return self.after


def take_place(
    group_id: str, group: ConsumerGroup, holder: Member, member_id: str
) -> tuple[Member, list[records.Item]]:
    """Put a member into the place of the one that holds its instance id."""
    member = replace(holder, member_id=member_id, member_epoch=JOIN, previous_epoch=JOIN)
    items = records.member_gone(group_id, holder.member_id)
    items.append(records.described(group_id, member))
    target = group.targets.get(holder.member_id, {})
    items.append(records.target(group_id, member_id, target))
    items.append(records.current(group_id, member))
    return member, items


def unknown_member(group_id: str, member_id: str) -> KafkaError:
    """Return what whoever is no member is told."""
    text = f"Member {member_id} is not a member of group {group_id}."
    return KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, text)
