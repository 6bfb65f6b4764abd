"""What the records of one partition of `__consumer_offsets` say: groups and their offsets.

State changes here and nowhere else, in `replay` (`replay_offset` is its part for the commonest
kind). So whoever replays the same records holds the same image: a coordinator that begins, one
that goes on, and a test that compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mesh.groups import consumer_image
from mesh.model.types import NO_TOPIC_ID
from mesh.wire.stored.groups import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey,
    GroupMetadataKey,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
)

if TYPE_CHECKING:
    from mesh.model.types import TopicId
    from mesh.wire import Message
    from storage.types import LeaderEpoch, Offset, TimestampMs


class CommittedOffset(NamedTuple):
    """How far a group has come in a partition."""

    offset: Offset
    """The next one to be read."""
    leader_epoch: LeaderEpoch
    """Of the record before it; -1 if the client did not say."""
    metadata: str
    commit_ms: TimestampMs
    expire_ms: TimestampMs
    """As clients before Kafka 2.1 could ask; -1: by the node's settings."""
    topic_id: TopicId
    """Zero in records of Kafka before 4.1."""


def committed_by(value: OffsetCommitValue | None) -> CommittedOffset | None:
    """Return what a record's value says; None for a tombstone."""
    if value is None:
        return None
    return CommittedOffset(
        value.offset,
        value.leader_epoch,
        value.metadata,
        value.commit_timestamp,
        value.expire_timestamp,
        value.topic_id,
    )


class Group:
    """One group as its records have it."""

    __slots__ = ("classic", "consumer", "group_id", "offsets")

    def __init__(self, group_id: str) -> None:
        """Without members and offsets."""
        self.group_id = group_id
        self.offsets: dict[tuple[str, int], CommittedOffset] = {}
        """By topic and partition."""
        self.classic: GroupMetadataValue | None = None
        """The last generation of a group of the classic protocol; None for one that only has
        offsets, and for one by KIP-848."""
        self.consumer: consumer_image.ConsumerGroup | None = None
        """A group by KIP-848."""

    @property
    def is_nothing(self) -> bool:
        """Whether no record speaks of it any more."""
        return not self.offsets and self.classic is None and self.consumer is None


class Image:
    """All groups of one partition of `__consumer_offsets`."""

    def __init__(self) -> None:
        """After no record."""
        self.groups: dict[str, Group] = {}

    def replay(self, key: Message, value: Message | None) -> None:
        """Apply one record; a value of None takes away what the key stands for."""
        match key:
            case OffsetCommitKey():
                assert value is None or isinstance(value, OffsetCommitValue)
                self.replay_offset(key.group, (key.topic, key.partition), committed_by(value))
            case GroupMetadataKey():
                assert value is None or isinstance(value, GroupMetadataValue)
                group = self._group(key.group)
                group.classic = value
                self._forget_if_nothing(group)
            case (
                ConsumerGroupMetadataKey()
                | ConsumerGroupMemberMetadataKey()
                | ConsumerGroupTargetAssignmentMetadataKey()
                | ConsumerGroupTargetAssignmentMemberKey()
                | ConsumerGroupCurrentMemberAssignmentKey()
                | ConsumerGroupRegularExpressionKey()
            ):
                group = self._group(key.group_id)
                group.consumer = consumer_image.replay(group.consumer, key, value)
                self._forget_if_nothing(group)
            case _:
                pass

    def replay_offset(
        self, group_id: str, where: tuple[str, int], committed: CommittedOffset | None
    ) -> None:
        """Apply one record about an offset; nearly all are. None takes it away.

        Args:
            group_id: whose.
            where: topic and partition.
            committed: what the record's value says.
        """
        group = self.groups.get(group_id)
        if committed is not None:
            if group is None:
                group = self.groups[group_id] = Group(group_id)
            group.offsets[where] = committed
        elif group is not None:
            group.offsets.pop(where, None)
            self._forget_if_nothing(group)

    def _group(self, group_id: str) -> Group:
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = Group(group_id)
        return group

    def _forget_if_nothing(self, group: Group) -> None:
        if group.is_nothing:
            self.groups.pop(group.group_id, None)

    def state(self) -> dict[str, object]:
        """Return all of it as plain values, for comparison: equal states have equal values."""
        return {
            group_id: {
                "offsets": dict(sorted(group.offsets.items())),
                "classic": group.classic,
                "consumer": None if group.consumer is None else group.consumer.plain(),
            }
            for group_id, group in sorted(self.groups.items())
        }


NO_OFFSET = CommittedOffset(-1, -1, "", -1, -1, NO_TOPIC_ID)
"""What OffsetFetch says of a partition that was never committed."""
