"""What configurations can belong to, as DescribeConfigs and IncrementalAlterConfigs say it."""

from __future__ import annotations

from enum import IntEnum

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId


class ResourceType(IntEnum):
    """Kafka's numbers."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


def not_configurable(number: int) -> KafkaError:
    """Return the error for a resource that has no configurations here."""
    if number not in ResourceType.__members__.values():
        return KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {number}")
    text = f"{ResourceType(number).name} resources have no configurations on this node."
    return KafkaError(ErrorCode.INVALID_REQUEST, text)


def check_node_name(name: str, own: NodeId, *, called: str, expected: str) -> None:
    """Refuse a BROKER resource that is not this node; `called` and `expected` are Kafka's words.

    Raises:
        KafkaError: INVALID_REQUEST, in the words of the API that asks.
    """
    digits = name[1:] if name[0] in "+-" else name
    if not (digits.isascii() and digits.isdecimal()):
        text = f"{called} must be an integer, but it is: {name}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    if name != str(own):
        text = f"Unexpected broker id, expected {expected}, but received {name}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
