"""What ConsumerGroupDescribe says of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mesh.groups.assignors import HashOrder, text_hash
from mesh.groups.targets import preferred_assignor
from mesh.wire.schemas.consumer_group_describe import (
    Assignment,
    DescribedGroup,
    TopicPartitions,
)
from mesh.wire.schemas.consumer_group_describe import Member as DescribedMember

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mesh.groups.consumer_image import ConsumerGroup, Member
    from mesh.groups.turn import Topics, Turn
    from mesh.model.types import TopicId

CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1


def describe(group_id: str, group: ConsumerGroup, turn: Turn) -> DescribedGroup:
    """Return a group with its members."""
    return DescribedGroup(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=preferred_assignor(group) or turn.config.consumer_assignors[0],
        members=[
            _member(group, group.members[member_id], turn.topics) for member_id in group.in_order()
        ],
    )


def _member(group: ConsumerGroup, member: Member, topics: Topics) -> DescribedMember:
    has: dict[TopicId, list[int]] = {}
    for epochs in (member.assigned, member.revoking):
        for topic_id, partitions in epochs.items():
            has.setdefault(topic_id, []).extend(partitions)
    return DescribedMember(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.member_epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(HashOrder.copy_of(text_hash, sorted(member.names))),
        subscribed_topic_regex=member.regex,
        assignment=_assignment(has, topics),
        target_assignment=_assignment(group.targets.get(member.member_id, {}), topics),
        member_type=CONSUMER_MEMBER if member.classic is None else CLASSIC_MEMBER,
    )


def _assignment(has: Mapping[TopicId, Iterable[int]], topics: Topics) -> Assignment:
    return Assignment(
        topic_partitions=[
            TopicPartitions(topic_id=topic_id, topic_name=topic.name, partitions=sorted(partitions))
            for topic_id, partitions in has.items()
            if (topic := topics.with_id(topic_id)) is not None
        ]
    )
