"""DescribeProducers: which producers write to partitions, and since when (KIP-664)."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int16, Int32, Int64


class DescribeProducersRequest(Message, api_key=61, versions=(0, 0), flexible_from=0):
    topics: list[TopicRequest] = []


class TopicRequest(Struct):
    name: str = ""
    partition_indexes: list[Int32] = []


class DescribeProducersResponse(Message, api_key=61, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    topics: list[TopicResponse] = []


class TopicResponse(Struct):
    name: str = ""
    partitions: list[PartitionResponse] = []


class PartitionResponse(Struct):
    partition_index: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = None
    active_producers: list[ProducerState] = []


class ProducerState(Struct):
    producer_id: Int64 = 0
    producer_epoch: Int32 = 0
    last_sequence: Int32 = -1
    last_timestamp: Int64 = -1
    coordinator_epoch: Int32 = 0
    current_txn_start_offset: Int64 = -1
