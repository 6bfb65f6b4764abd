"""Metadata: the brokers, and who leads which partition.

Version 0 cannot say "no topics": its empty list means all of them. From 10 on topics have ids.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NO_UUID, Bool, Int16, Int32, Uuid, nullable_since, since, until


class MetadataRequest(Message, api_key=3, versions=(0, 13), flexible_from=9):
    topics: Annotated[list[MetadataRequestTopic] | None, nullable_since(1)] = []
    allow_auto_topic_creation: Annotated[Bool, since(4)] = True
    include_cluster_authorized_operations: Annotated[Bool, since(8), until(10)] = False
    include_topic_authorized_operations: Annotated[Bool, since(8)] = False


class MetadataRequestTopic(Struct):
    topic_id: Annotated[Uuid, since(10)] = NO_UUID
    name: Annotated[str | None, nullable_since(10)] = ""


class MetadataResponse(Message, api_key=3, versions=(0, 13), flexible_from=9):
    throttle_time_ms: Annotated[Int32, since(3)] = 0
    brokers: list[MetadataResponseBroker] = []
    cluster_id: Annotated[str | None, since(2)] = None
    controller_id: Annotated[Int32, since(1)] = -1
    topics: list[MetadataResponseTopic] = []
    cluster_authorized_operations: Annotated[Int32, since(8), until(10)] = -(2**31)
    error_code: Annotated[Int16, since(13)] = 0


class MetadataResponseBroker(Struct):
    node_id: Int32 = 0
    host: str = ""
    port: Int32 = 0
    rack: Annotated[str | None, since(1)] = None


class MetadataResponseTopic(Struct):
    error_code: Int16 = 0
    name: Annotated[str | None, nullable_since(12)] = ""
    topic_id: Annotated[Uuid, since(10)] = NO_UUID
    is_internal: Annotated[Bool, since(1)] = False
    partitions: list[MetadataResponsePartition] = []
    topic_authorized_operations: Annotated[Int32, since(8)] = -(2**31)


class MetadataResponsePartition(Struct):
    error_code: Int16 = 0
    partition_index: Int32 = 0
    leader_id: Int32 = 0
    leader_epoch: Annotated[Int32, since(7)] = -1
    replica_nodes: list[Int32] = []
    isr_nodes: list[Int32] = []
    offline_replicas: Annotated[list[Int32], since(5)] = []
