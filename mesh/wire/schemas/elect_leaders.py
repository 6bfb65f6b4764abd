"""ElectLeaders: make preferred or any replicas leaders. Null means every partition."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int8, Int16, Int32, since


class ElectLeadersRequest(Message, api_key=43, versions=(0, 2), flexible_from=2):
    election_type: Annotated[Int8, since(1)] = 0
    topic_partitions: list[TopicPartitions] | None = []
    timeout_ms: Int32 = 60000


class TopicPartitions(Struct):
    topic: str = ""
    partitions: list[Int32] = []


class ElectLeadersResponse(Message, api_key=43, versions=(0, 2), flexible_from=2):
    throttle_time_ms: Int32 = 0
    error_code: Annotated[Int16, since(1)] = 0
    replica_election_results: list[ReplicaElectionResult] = []


class ReplicaElectionResult(Struct):
    topic: str = ""
    partition_result: list[PartitionResult] = []


class PartitionResult(Struct):
    partition_id: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
