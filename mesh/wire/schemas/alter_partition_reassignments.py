"""AlterPartitionReassignments: move partitions to other brokers, or stop moving them.

Flexible since version 0. Null replicas stop a move.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int16, Int32, since


class AlterPartitionReassignmentsRequest(Message, api_key=45, versions=(0, 1), flexible_from=0):
    timeout_ms: Int32 = 60000
    allow_replication_factor_change: Annotated[Bool, since(1)] = True
    topics: list[ReassignableTopic] = []


class ReassignableTopic(Struct):
    name: str = ""
    partitions: list[ReassignablePartition] = []


class ReassignablePartition(Struct):
    partition_index: Int32 = 0
    replicas: list[Int32] | None = None


class AlterPartitionReassignmentsResponse(Message, api_key=45, versions=(0, 1), flexible_from=0):
    throttle_time_ms: Int32 = 0
    allow_replication_factor_change: Annotated[Bool, since(1)] = True
    error_code: Int16 = 0
    error_message: str | None = ""
    responses: list[ReassignableTopicResponse] = []


class ReassignableTopicResponse(Struct):
    name: str = ""
    partitions: list[ReassignablePartitionResponse] = []


class ReassignablePartitionResponse(Struct):
    partition_index: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
