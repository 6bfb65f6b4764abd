"""What classic consumers put into JoinGroup and SyncGroup: their subscription and assignment.

To the protocol these are bytes; only consumers, and a coordinator that turns a classic group into
one by KIP-848, look into them.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NEVER, Int32, since


class ConsumerProtocolSubscription(Message, versions=(0, 3), flexible_from=NEVER):
    topics: list[str] = []
    user_data: bytes | None = None
    owned_partitions: Annotated[list[ConsumerTopicPartitions], since(1)] = []
    generation_id: Annotated[Int32, since(2)] = -1
    rack_id: Annotated[str | None, since(3)] = None


class ConsumerProtocolAssignment(Message, versions=(0, 3), flexible_from=NEVER):
    assigned_partitions: list[ConsumerTopicPartitions] = []
    user_data: bytes | None = None


class ConsumerTopicPartitions(Struct):
    topic: str = ""
    partitions: list[Int32] = []


class ConsumerProtocolTopics(Message, versions=(0, 0), flexible_from=NEVER):
    """How a subscription of any version begins, for those who need no more of it."""

    topics: list[str] | None = []


class ConsumerProtocolPartitions(Message, versions=(0, 0), flexible_from=NEVER):
    """How an assignment of any version begins."""

    assigned_partitions: list[NamedPartitions] | None = []


class NamedPartitions(Struct):
    topic: str = ""
    partitions: list[Int32] | None = []


VERSION_BYTES = 2
"""All of these begin with their version."""
