"""What configurations can belong to, as DescribeConfigs and both AlterConfigs say it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId
from mesh.registry import MESH_SHARD, shard_of

ALTER_MS_MAX = 30_000
"""A change's commit is waited for so long. The requests have no time-out of their own; this is
the default of Kafka's clients."""


class ResourceType(IntEnum):
    """Kafka's numbers."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


_NOT_HERE = {
    ResourceType.BROKER_LOGGER: "The loggers of this node are not its own.",
    ResourceType.CLIENT_METRICS: "This node takes no metrics of clients (KIP-714).",
    ResourceType.GROUP: "The node's (group.*) are for all groups.",
}


def unknown_type(number: int) -> KafkaError:
    """Return the error for a type of resource that the API does not know."""
    return KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {number}")


def not_configurable(number: int) -> KafkaError:
    """Return the error for a resource that has no configurations here."""
    if number not in ResourceType.__members__.values():
        return unknown_type(number)
    kind = ResourceType(number)
    text = f"{kind.name} resources have no configurations here. {_NOT_HERE[kind]}"
    return KafkaError(ErrorCode.INVALID_REQUEST, text)


def check_once(number: int, name: str, times: Mapping[tuple[int, str], int]) -> None:
    """Refuse a resource that a request names more than once, in each of its places.

    Raises:
        KafkaError: INVALID_REQUEST.
    """
    if times[number, name] > 1:
        text = "Each resource must appear at most once."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)


def check_node_name(name: str, own: NodeId, *, called: str, unexpected: str) -> None:
    """Refuse a resource that is not this node's; `called` and `unexpected` are Kafka's words.

    Raises:
        KafkaError: INVALID_REQUEST, in the words of the API that asks.
    """
    digits = name[1:] if name[:1] in ("+", "-") else name
    if not (digits.isascii() and digits.isdecimal()):
        text = f"{called} must be an integer, but it is: {name}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    if name != str(own):
        text = f"Unexpected {unexpected} received {name}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)


def check_altered_node(name: str, own: NodeId) -> None:
    """Refuse to change a BROKER resource that is not this node.

    Raises:
        KafkaError: INVALID_REQUEST, in the words of both AlterConfigs.
    """
    check_node_name(name, own, called="Node id", unexpected=f"broker id, expected {own}, but")


def home_of(kind: int, name: str) -> int:
    """Return the shard of the registry that holds a resource's records."""
    return shard_of(name) if kind == ResourceType.TOPIC else MESH_SHARD
