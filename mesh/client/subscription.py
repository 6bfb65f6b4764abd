"""What members of classic consumer groups tell each other, and no broker reads: bytes. Pure.

Kafka's consumer protocol. Older readers ignore what newer writers put behind, so only the part
that every version has is read here.
"""

from __future__ import annotations

from typing import TypeVar

from mesh.model.types import TopicPartition
from mesh.wire import Message, WireError, decode
from mesh.wire.stored.consumer_protocol import (
    VERSION_BYTES,
    ConsumerProtocolPartitions,
    ConsumerProtocolTopics,
)

M = TypeVar("M", bound=Message)


class BadMemberBytesError(ValueError):
    """The bytes are not of the consumer protocol, or are cut off."""


def assignment_untrusted(data: bytes) -> tuple[TopicPartition, ...]:
    """Return the partitions that a leader gave a member, sorted; none for no bytes.

    Raises:
        BadMemberBytesError: these bytes are something else.
    """
    found = _read(ConsumerProtocolPartitions, data).assigned_partitions or ()
    return tuple(
        sorted(
            TopicPartition(each.topic, index) for each in found for index in each.partitions or ()
        )
    )


def subscription_untrusted(data: bytes) -> tuple[str, ...]:
    """Return the topics that a member asks for, sorted; none for no bytes.

    Raises:
        BadMemberBytesError: these bytes are something else.
    """
    return tuple(sorted(_read(ConsumerProtocolTopics, data).topics or ()))


def _read(kind: type[M], data: bytes) -> M:
    if not data:
        return kind()
    if len(data) < VERSION_BYTES:
        raise BadMemberBytesError("cut off")
    try:
        return decode(kind, data, VERSION_BYTES, 0)
    except WireError as error:
        raise BadMemberBytesError(str(error)) from error
