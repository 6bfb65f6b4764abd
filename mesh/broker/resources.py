"""What configurations can belong to, as DescribeConfigs and IncrementalAlterConfigs say it."""

from __future__ import annotations

from enum import IntEnum

from mesh.model.errors import ErrorCode, KafkaError


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
