"""What the records of one group by KIP-848 say: its members, what each is to have and what it has.

A group comes with the first record about it, and goes with the tombstone of its epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mesh.groups.assignors import timeline_order
from mesh.model.types import TopicId
from mesh.wire.stored.groups import (
    ClassicMemberMetadata,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    CurrentTopicPartitions,
)

if TYPE_CHECKING:
    from mesh.groups.assignors import Assignment
    from mesh.wire import Message

Epochs: TypeAlias = Mapping[TopicId, Mapping[int, int]]
"""Partitions of each topic, and the group's epoch at which each was assigned to its member."""

JOIN = 0
"""Member epoch of whoever joins."""
LEAVE = -1
"""Member epoch of whoever leaves for good."""
AWAY = -2
"""Member epoch of a static member that left for a moment: what it has is kept for it."""

FIRST_EPOCH = 1
"""Of a group, and of its assignment, before any record names one; as in Kafka 4.3."""


class MemberState(IntEnum):
    """How far a member is on its way to what it is to have; the numbers are stored."""

    STABLE = 0
    UNREVOKED = 1
    """It has to give partitions up first."""
    UNRELEASED = 2
    """It waits for partitions that others have to give up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a group; changed by putting another one into its place."""

    member_id: str
    member_epoch: int = 0
    previous_epoch: int = -1
    state: int = MemberState.STABLE
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_ms: int = -1
    """How long it may take to give partitions up."""
    client_id: str = ""
    client_host: str = ""
    names: frozenset[str] = frozenset()
    """Topics that it subscribes to by their names."""
    regex: str | None = ""
    """Topics that it subscribes to by a pattern; None or empty for none."""
    assignor: str | None = None
    """That it votes for."""
    assigned: Epochs = field(default_factory=dict)
    """What it has, or is told to take."""
    revoking: Epochs = field(default_factory=dict)
    """What it is told to give up, and may still read."""
    classic: ClassicMemberMetadata | None = None
    """Of a member that speaks the classic protocol."""

    def is_reconciled_to(self, assignment_epoch: int) -> bool:
        """Whether it has what it is to have by this epoch."""
        return self.state == MemberState.STABLE and self.member_epoch == assignment_epoch

    def moved_to(
        self, epoch: int, state: MemberState, assigned: Epochs, revoking: Epochs
    ) -> Member:
        """Return it with another epoch, which may be the same, and other partitions."""
        return replace(
            self,
            member_epoch=epoch,
            previous_epoch=self.member_epoch,
            state=state,
            assigned=assigned,
            revoking=revoking,
        )


class Resolved(NamedTuple):
    """The topics whose names match a pattern."""

    topics: tuple[str, ...]
    """Sorted."""
    version: int
    """Of the mesh's topics, as the node that looked counted them."""
    at_ms: int
    """When it was looked up, by the wall clock."""


class ConsumerGroup:
    """One group as its records have it."""

    __slots__ = (
        "_alike",
        "assigned_at_ms",
        "assignment_epoch",
        "group_epoch",
        "members",
        "members_max",
        "metadata_hash",
        "name_counts",
        "owner_epochs",
        "regex_counts",
        "resolved",
        "resolved_counts",
        "statics",
        "targets",
    )

    def __init__(self) -> None:
        """Without members."""
        self.group_epoch = FIRST_EPOCH
        self.metadata_hash = 0
        self.assignment_epoch = FIRST_EPOCH
        self.assigned_at_ms = 0
        """When targets were computed last, by the wall clock; 0: never."""
        self.members: dict[str, Member] = {}
        """In the order in which they came."""
        self.members_max = 0
        """The most there have ever been: a fact of Kafka's hash table, see order.py."""
        self.statics: dict[str, str] = {}
        """Member ids by instance ids."""
        self.targets: dict[str, Assignment] = {}
        """What each member is to have, in the order of its record."""
        self.resolved: dict[str, Resolved] = {}
        """By pattern."""
        self.name_counts: dict[str, int] = {}
        """How many members subscribe to a topic by its name."""
        self.regex_counts: dict[str, int] = {}
        """How many members have a pattern."""
        self.resolved_counts: dict[str, int] = {}
        """How many patterns match a topic's name."""
        self.owner_epochs: dict[TopicId, dict[int, int]] = {}
        """Partitions that some member has or gives up, with the epoch of that member."""

        self._alike: bool | None = True

    # Questions

    @property
    def alike(self) -> bool:
        """Whether all members subscribed to the same topics when a member last changed.

        Kafka does not look again when only the topics that match a pattern change.
        """
        if self._alike is None:
            self._alike = are_alike(
                self.name_counts, self.resolved_counts, self.regex_counts, len(self.members)
            )
        return self._alike

    def static_member(self, instance_id: str | None) -> Member | None:
        """Return the member that holds an instance id now."""
        member_id = None if instance_id is None else self.statics.get(instance_id)
        return None if member_id is None else self.members.get(member_id)

    def owner_epoch(self, topic_id: TopicId, partition: int) -> int:
        """Return the epoch of the member that holds a partition; -1 if nobody does."""
        return self.owner_epochs.get(topic_id, {}).get(partition, -1)

    def subscribes_to(self, topic: str) -> bool:
        """Whether any member reads a topic."""
        return topic in self.name_counts or topic in self.resolved_counts

    @property
    def classic_count(self) -> int:
        """Members that speak the classic protocol."""
        return sum(member.classic is not None for member in self.members.values())

    @property
    def state(self) -> str:
        """As administrators are told."""
        if not self.members:
            return "Empty"
        if self.group_epoch > self.assignment_epoch:
            return "Assigning"
        epoch = self.assignment_epoch
        if all(member.is_reconciled_to(epoch) for member in self.members.values()):
            return "Stable"
        return "Reconciling"

    def in_order(self) -> list[str]:
        """Return the ids of the members in Kafka's order."""
        return timeline_order(list(self.members), self.members_max)

    # Records

    def put_member(self, member: Member) -> None:
        """Put a member, or another one with its id into its place."""
        self._take(self.members.get(member.member_id))
        self.members[member.member_id] = member
        self.members_max = max(self.members_max, len(self.members))
        if member.instance_id is not None:
            self.statics[member.instance_id] = member.member_id
        count(self.name_counts, member.names, 1)
        if member.regex:
            count(self.regex_counts, [member.regex], 1)
        for topic_id, partition in _partitions(member):
            epochs = self.owner_epochs.setdefault(topic_id, {})
            epochs[partition] = max(epochs.get(partition, AWAY), member.member_epoch)
        self._alike = None

    def drop_member(self, member_id: str) -> None:
        """Take a member out, if it is there."""
        self._take(self.members.pop(member_id, None))
        self._alike = None

    def _take(self, member: Member | None) -> None:
        if member is None:
            return
        instance_id = member.instance_id
        if instance_id is not None and self.statics.get(instance_id) == member.member_id:
            del self.statics[instance_id]
        count(self.name_counts, member.names, -1)
        if member.regex:
            count(self.regex_counts, [member.regex], -1)
        for topic_id, partition in _partitions(member):
            # Compaction may have left another member's record, which is newer, before this one.
            epochs = self.owner_epochs.get(topic_id, {})
            if epochs.get(partition) == member.member_epoch:
                del epochs[partition]
                if not epochs:
                    del self.owner_epochs[topic_id]

    def put_resolved(self, regex: str, resolved: Resolved | None) -> None:
        """Note which topics match a pattern; None forgets it."""
        self._alike = self.alike  # As it was.
        before = self.resolved.pop(regex, None)
        if before is not None:
            count(self.resolved_counts, before.topics, -1)
        if resolved is not None:
            self.resolved[regex] = resolved
            count(self.resolved_counts, resolved.topics, 1)

    def plain(self) -> dict[str, object]:
        """Return all of it as plain values, for comparison."""
        members = {
            name: tuple(getattr(member, name) for name in Member.__slots__)
            for name, member in sorted(self.members.items())
        }
        return {
            "epochs": (self.group_epoch, self.assignment_epoch, self.assigned_at_ms),
            "metadata_hash": self.metadata_hash,
            "members": members,
            "statics": self.statics,
            "targets": self.targets,
            "resolved": self.resolved,
            "counts": (self.name_counts, self.regex_counts, self.resolved_counts),
            "owners": self.owner_epochs,
        }


def are_alike(
    names: Mapping[str, int],
    resolved: Mapping[str, int],
    regexes: Mapping[str, int],
    members_count: int,
) -> bool:
    """Return whether all members subscribe to the same topics; as Kafka counts it.

    Args:
        names: members by the names of topics.
        resolved: patterns by the names of topics that match.
        regexes: members by patterns.
        members_count: all of them.
    """
    topics = {**names, **resolved}
    if not regexes:
        return all(names.get(topic) == members_count for topic in topics)
    if next(iter(regexes.values())) != members_count:
        return False
    return all(resolved.get(topic) == 1 and topic not in names for topic in topics)


def count(counts: dict[str, int], keys: Iterable[str], difference: int) -> None:
    """Count keys once more, or with -1 once less; what is at 0 is not kept."""
    for key in keys:
        found = counts.get(key, 0) + difference
        if found > 0:
            counts[key] = found
        else:
            counts.pop(key, None)


def _partitions(member: Member) -> Iterable[tuple[TopicId, int]]:
    for epochs in (member.assigned, member.revoking):
        for topic_id, partitions in epochs.items():
            for partition in partitions:
                yield topic_id, partition


def replay(
    group: ConsumerGroup | None, key: Message, value: Message | None
) -> ConsumerGroup | None:
    """Apply one record to its group.

    Args:
        group: None if there is none yet.
        key: of kind 3, 5, 6, 7, 8 or 16.
        value: None takes away what the key stands for.

    Returns: the group; None if it is gone now.
    """
    if value is None:
        return None if group is None else _take_away(group, key)
    group = ConsumerGroup() if group is None else group
    match value:
        case ConsumerGroupMetadataValue():
            group.group_epoch, group.metadata_hash = value.epoch, value.metadata_hash
        case ConsumerGroupMemberMetadataValue():
            assert isinstance(key, ConsumerGroupMemberMetadataKey)
            group.put_member(_described(_member(group, key.member_id), value))
        case ConsumerGroupTargetAssignmentMetadataValue():
            group.assignment_epoch = value.assignment_epoch
            group.assigned_at_ms = value.assignment_timestamp
        case ConsumerGroupTargetAssignmentMemberValue():
            assert isinstance(key, ConsumerGroupTargetAssignmentMemberKey)
            group.targets[key.member_id] = {
                topic.topic_id: tuple(topic.partitions) for topic in value.topic_partitions
            }
        case ConsumerGroupCurrentMemberAssignmentValue():
            assert isinstance(key, ConsumerGroupCurrentMemberAssignmentKey)
            epoch = value.member_epoch
            group.put_member(
                replace(
                    _member(group, key.member_id),
                    member_epoch=epoch,
                    previous_epoch=value.previous_member_epoch,
                    state=value.state,
                    assigned=_epochs(value.assigned_partitions, epoch),
                    revoking=_epochs(value.partitions_pending_revocation, epoch),
                )
            )
        case ConsumerGroupRegularExpressionValue():
            assert isinstance(key, ConsumerGroupRegularExpressionKey)
            resolved = Resolved(tuple(value.topics), value.version, value.timestamp)
            group.put_resolved(key.regular_expression, resolved)
        case _:
            raise AssertionError(f"{type(value).__name__} is no record of such a group")
    return group


def _take_away(group: ConsumerGroup, key: Message) -> ConsumerGroup | None:
    match key:
        case ConsumerGroupMetadataKey():
            return None
        case ConsumerGroupMemberMetadataKey():
            group.drop_member(key.member_id)
        case ConsumerGroupTargetAssignmentMetadataKey():
            group.assignment_epoch, group.assigned_at_ms = -1, 0
        case ConsumerGroupTargetAssignmentMemberKey():
            group.targets.pop(key.member_id, None)
        case ConsumerGroupCurrentMemberAssignmentKey():
            member = group.members.get(key.member_id)
            if member is not None:
                nothing: Epochs = {}
                group.put_member(
                    replace(
                        member,
                        member_epoch=-1,
                        previous_epoch=-1,
                        assigned=nothing,
                        revoking=nothing,
                    )
                )
        case ConsumerGroupRegularExpressionKey():
            group.put_resolved(key.regular_expression, None)
        case _:
            raise AssertionError(f"{type(key).__name__} is no key of such a group")
    return group


def _member(group: ConsumerGroup, member_id: str) -> Member:
    member = group.members.get(member_id)
    return Member(member_id=member_id) if member is None else member


def _described(member: Member, value: ConsumerGroupMemberMetadataValue) -> Member:
    return replace(
        member,
        instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        names=frozenset(value.subscribed_topic_names),
        regex=value.subscribed_topic_regex,
        rebalance_ms=value.rebalance_timeout_ms,
        assignor=value.server_assignor,
        classic=value.classic_member_metadata,
    )


def _epochs(topics: Iterable[CurrentTopicPartitions], member_epoch: int) -> Epochs:
    """Read partitions; records of Kafka before 4.3 do not say since when they are assigned."""
    result = {}
    for topic in topics:
        epochs = topic.assignment_epochs
        if epochs is None or len(epochs) != len(topic.partitions):
            epochs = [max(member_epoch, 0)] * len(topic.partitions)
        result[topic.topic_id] = dict(zip(topic.partitions, epochs, strict=True))
    return result
