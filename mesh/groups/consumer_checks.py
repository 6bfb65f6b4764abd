"""Which heartbeats are refused, in Kafka's order and with Kafka's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesh.groups.consumer_image import AWAY, JOIN, LEAVE
from mesh.groups.records import is_storable
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import GROUP_RECORD_BYTES_MAX, STORED_TEXT_BYTES_MAX

if TYPE_CHECKING:
    from mesh.groups.consumer_image import Member
    from mesh.wire.schemas.consumer_group_heartbeat import (
        ConsumerGroupHeartbeatRequest,
        TopicPartitions,
    )

NAME_BYTES = 16
"""Allowed for what a topic's name costs besides its characters: 100,000 names held the node up for
seconds."""
OWN_IDS_SINCE = 1
"""From this version on members make their ids themselves (KIP-1082)."""


def check_heartbeat(
    body: ConsumerGroupHeartbeatRequest, version: int, assignors: Sequence[str]
) -> None:
    """Check what can be said without looking at the group.

    Raises:
        KafkaError: INVALID_REQUEST or UNSUPPORTED_ASSIGNOR.
    """
    epoch = body.member_epoch
    if version >= OWN_IDS_SINCE or epoch > JOIN or epoch == LEAVE:
        _not_blank(body.member_id, "MemberId")
    _not_blank(body.group_id, "GroupId")
    _not_blank(body.instance_id, "InstanceId")
    _not_blank(body.rack_id, "RackId")
    if epoch == JOIN:
        if body.rebalance_timeout_ms == -1:
            raise _invalid("RebalanceTimeoutMs must be provided in first request.")
        if body.topic_partitions is None or body.topic_partitions:
            raise _invalid("TopicPartitions must be empty when (re-)joining.")
        if body.subscribed_topic_names is None and body.subscribed_topic_regex is None:
            raise _invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when "
                "(re-)joining."
            )
    elif epoch == AWAY:
        if body.instance_id is None:
            raise _invalid("InstanceId can't be null.")
    elif epoch < AWAY:
        raise _invalid("MemberEpoch is invalid.")
    if body.server_assignor is not None and body.server_assignor not in assignors:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {body.server_assignor} is not supported. "
            f"Supported assignors: {', '.join(assignors)}.",
        )
    # Ours: these texts become keys of records, where they have less room than in a request.
    for text in (body.group_id, body.member_id, body.subscribed_topic_regex):
        if text is not None and not is_storable(text):
            raise _invalid(f"An id is longer than {STORED_TEXT_BYTES_MAX} bytes.")
    names = body.subscribed_topic_names or ()
    if sum(map(len, names)) + NAME_BYTES * len(names) > GROUP_RECORD_BYTES_MAX:
        raise _invalid("SubscribedTopicNames are more than a record can hold.")


def _not_blank(text: str | None, name: str) -> None:
    if text is not None and not text.strip():
        raise _invalid(f"{name} can't be empty.")


def _invalid(text: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, text)


def check_epoch(member: Member, epoch: int, owned: Sequence[TopicPartitions] | None) -> None:
    """Check that a member is not behind its time, or before it.

    One epoch late is fine: the answer that told it the new one may be lost.

    Raises:
        KafkaError: FENCED_MEMBER_EPOCH.
    """
    if epoch in (JOIN, member.member_epoch):
        return
    if epoch > member.member_epoch:
        word = "greater"
    elif epoch == member.previous_epoch and _has_all(member, owned):
        return
    else:
        word = "smaller"
    raise KafkaError(
        ErrorCode.FENCED_MEMBER_EPOCH,
        f"The consumer group member has a {word} member epoch ({epoch}) than the one known by "
        f"the group coordinator ({member.member_epoch}). The member must abandon all its "
        "partitions and rejoin.",
    )


def _has_all(member: Member, owned: Sequence[TopicPartitions] | None) -> bool:
    return owned is not None and all(
        topic.topic_id in member.assigned
        and all(partition in member.assigned[topic.topic_id] for partition in topic.partitions)
        for topic in owned
    )


def check_instance_released(holder: Member, member_id: str, instance_id: str) -> None:
    """Check that whoever holds an instance id has left.

    Raises:
        KafkaError: UNRELEASED_INSTANCE_ID.
    """
    if holder.member_epoch != AWAY:
        raise KafkaError(
            ErrorCode.UNRELEASED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} cannot join the group "
            f"because the instance id is owned by {holder.member_id} member.",
        )


def check_instance_same(holder: Member | None, member_id: str, instance_id: str) -> None:
    """Check that a member holds its instance id still.

    Raises:
        KafkaError: UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
    """
    if holder is None:
        text = f"Instance id {instance_id} is unknown."
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, text)
    if holder.member_id != member_id:
        raise KafkaError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member "
            f"{holder.member_id}.",
        )
