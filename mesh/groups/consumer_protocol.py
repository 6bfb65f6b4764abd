"""Subscriptions and assignments of classic consumers, as a coordinator reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mesh.wire import Message, WireError, decode, encode_stored
from mesh.wire.schemas.consumer_group_heartbeat import TopicPartitions
from mesh.wire.stored.consumer_protocol import (
    VERSION_BYTES,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ConsumerTopicPartitions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mesh.groups.turn import Topics
    from mesh.model.types import TopicId

M = TypeVar("M", bound=Message)


def version_untrusted(data: bytes) -> int:
    """Return the newest version that both sides know.

    Raises:
        WireError: there is none.
    """
    version = int.from_bytes(data[:VERSION_BYTES], "big", signed=True)
    if len(data) < VERSION_BYTES or version < 0:
        raise WireError("this is no consumer's metadata")
    return min(version, ConsumerProtocolSubscription.VERSIONS[1])


def subscription_untrusted(data: bytes) -> ConsumerProtocolSubscription:
    """Read what a consumer says of itself; what newer versions add is not looked at.

    Raises:
        WireError: these bytes are no such thing.
    """
    return decode(ConsumerProtocolSubscription, data, VERSION_BYTES, version_untrusted(data))


def assignment_untrusted(data: bytes) -> ConsumerProtocolAssignment:
    """Read what a leader assigned to a consumer; no bytes stand for nothing.

    Raises:
        WireError: these bytes are no such thing.
    """
    if not data:
        return ConsumerProtocolAssignment()
    return decode(ConsumerProtocolAssignment, data, VERSION_BYTES, version_untrusted(data))


def assignment_bytes(
    assigned: Mapping[TopicId, Iterable[int]], topics: Topics, metadata: bytes
) -> bytes:
    """Return an assignment in the version of a member's metadata; topics that are gone go.

    Raises:
        WireError: the metadata has no version.
    """
    partitions = [
        ConsumerTopicPartitions(topic=topic.name, partitions=sorted(each))
        for topic_id, each in assigned.items()
        if (topic := topics.with_id(topic_id)) is not None
    ]
    message = ConsumerProtocolAssignment(assigned_partitions=partitions)
    return encode_stored(message, version_untrusted(metadata))


def by_id(partitions: Iterable[ConsumerTopicPartitions], topics: Topics) -> list[TopicPartitions]:
    """Return partitions by the ids of their topics; topics that are gone go."""
    return [
        TopicPartitions(topic_id=topic.topic_id, partitions=each.partitions)
        for each in partitions
        if (topic := topics.named(each.topic)) is not None
    ]
