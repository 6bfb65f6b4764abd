"""Records about a group by KIP-848, from what is decided about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from mesh.wire.stored.groups import (
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
    TargetTopicPartitions,
)

if TYPE_CHECKING:
    from mesh.groups.assignors import Assignment
    from mesh.groups.consumer_image import ConsumerGroup, Epochs, Member, Resolved
    from mesh.wire import Message

Item: TypeAlias = "tuple[Message, Message | None]"
"""A key and its value; None takes away what the key stands for."""


def epoch(group_id: str, group_epoch: int, metadata_hash: int) -> Item:
    """Return the record of a group's epoch."""
    value = ConsumerGroupMetadataValue(epoch=group_epoch, metadata_hash=metadata_hash)
    return ConsumerGroupMetadataKey(group_id=group_id), value


def described(group_id: str, member: Member) -> Item:
    """Return the record of who a member is and what it subscribes to."""
    value = ConsumerGroupMemberMetadataValue(
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=sorted(member.names),
        subscribed_topic_regex=member.regex,
        rebalance_timeout_ms=member.rebalance_ms,
        server_assignor=member.assignor,
        classic_member_metadata=member.classic,
    )
    return _member_key(group_id, member.member_id), value


def target(group_id: str, member_id: str, assignment: Assignment) -> Item:
    """Return the record of what a member is to have."""
    topics = [
        TargetTopicPartitions(topic_id=topic_id, partitions=list(partitions))
        for topic_id, partitions in assignment.items()
    ]
    value = ConsumerGroupTargetAssignmentMemberValue(topic_partitions=topics)
    return _target_key(group_id, member_id), value


def target_epoch(group_id: str, assignment_epoch: int, at_ms: int) -> Item:
    """Return the record of which epoch all targets are for, and when they were computed."""
    value = ConsumerGroupTargetAssignmentMetadataValue(
        assignment_epoch=assignment_epoch, assignment_timestamp=at_ms
    )
    return ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), value


def current(group_id: str, member: Member) -> Item:
    """Return the record of what a member has."""
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=member.member_epoch,
        previous_member_epoch=member.previous_epoch,
        state=member.state,
        assigned_partitions=_current(member.assigned),
        partitions_pending_revocation=_current(member.revoking),
    )
    return _current_key(group_id, member.member_id), value


def _current(epochs: Epochs) -> list[CurrentTopicPartitions]:
    return [
        CurrentTopicPartitions(
            topic_id=topic_id,
            partitions=list(partitions),
            assignment_epochs=list(partitions.values()),
        )
        for topic_id, partitions in epochs.items()
    ]


def regex(group_id: str, pattern: str, resolved: Resolved | None) -> Item:
    """Return the record of which topics match a pattern."""
    key = ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=pattern)
    if resolved is None:
        return key, None
    value = ConsumerGroupRegularExpressionValue(
        topics=list(resolved.topics), version=resolved.version, timestamp=resolved.at_ms
    )
    return key, value


def member_gone(group_id: str, member_id: str) -> list[Item]:
    """Return the records that take a member away."""
    return [
        (_current_key(group_id, member_id), None),
        (_target_key(group_id, member_id), None),
        (_member_key(group_id, member_id), None),
    ]


def group_gone(group_id: str, group: ConsumerGroup) -> list[Item]:
    """Return the records that take a group away, with all its members."""
    return [
        *((_current_key(group_id, member_id), None) for member_id in group.members),
        *((_target_key(group_id, member_id), None) for member_id in group.members),
        (ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), None),
        *((_member_key(group_id, member_id), None) for member_id in group.members),
        *(regex(group_id, pattern, None) for pattern in group.resolved),
        (ConsumerGroupMetadataKey(group_id=group_id), None),
    ]


def _member_key(group_id: str, member_id: str) -> ConsumerGroupMemberMetadataKey:
    return ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id)


def _target_key(group_id: str, member_id: str) -> ConsumerGroupTargetAssignmentMemberKey:
    return ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)


def _current_key(group_id: str, member_id: str) -> ConsumerGroupCurrentMemberAssignmentKey:
    return ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id)
