"""Produce: append record batches to partitions, one batch each.

Versions 0 to 2 carried older record formats. From 10 on an error names the new leader (KIP-951);
from 12 on a transaction's partitions are added implicitly (KIP-890); 13 names topics by id.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NO_UUID, Int16, Int32, Int64, Records, Uuid, since, tag, until


class ProduceRequest(Message, api_key=0, versions=(3, 13), flexible_from=9):
    transactional_id: str | None = None
    acks: Int16 = 0
    timeout_ms: Int32 = 0
    topic_data: list[TopicProduceData] = []


class TopicProduceData(Struct):
    name: Annotated[str, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partition_data: list[PartitionProduceData] = []


class PartitionProduceData(Struct):
    index: Int32 = 0
    records: Records = None


class ProduceResponse(Message, api_key=0, versions=(3, 13), flexible_from=9):
    responses: list[TopicProduceResponse] = []
    throttle_time_ms: Int32 = 0
    node_endpoints: Annotated[list[NodeEndpoint], since(10), tag(0)] = []


class TopicProduceResponse(Struct):
    name: Annotated[str, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partition_responses: list[PartitionProduceResponse] = []


class PartitionProduceResponse(Struct):
    index: Int32 = 0
    error_code: Int16 = 0
    base_offset: Int64 = 0
    log_append_time_ms: Int64 = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    record_errors: Annotated[list[BatchIndexAndErrorMessage], since(8)] = []
    error_message: Annotated[str | None, since(8)] = None
    current_leader: Annotated[LeaderIdAndEpoch | None, since(10), tag(0)] = None


class BatchIndexAndErrorMessage(Struct):
    batch_index: Int32 = 0
    batch_index_error_message: str | None = None


class LeaderIdAndEpoch(Struct):
    leader_id: Int32 = -1
    leader_epoch: Int32 = -1


class NodeEndpoint(Struct):
    node_id: Int32 = 0
    host: str = ""
    port: Int32 = 0
    rack: str | None = None
