"""CreatePartitions: give topics more partitions."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int16, Int32


class CreatePartitionsRequest(Message, api_key=37, versions=(0, 3), flexible_from=2):
    topics: list[CreatePartitionsTopic] = []
    timeout_ms: Int32 = 0
    validate_only: Bool = False


class CreatePartitionsTopic(Struct):
    name: str = ""
    count: Int32 = 0
    assignments: list[CreatePartitionsAssignment] | None = []


class CreatePartitionsAssignment(Struct):
    broker_ids: list[Int32] = []


class CreatePartitionsResponse(Message, api_key=37, versions=(0, 3), flexible_from=2):
    throttle_time_ms: Int32 = 0
    results: list[CreatePartitionsTopicResult] = []


class CreatePartitionsTopicResult(Struct):
    name: str = ""
    error_code: Int16 = 0
    error_message: str | None = None
