"""Fetch: read record batches from partitions, waiting for a minimum of bytes.

From 7 on there are fetch sessions (KIP-227), from 11 on racks (KIP-392), from 12 on divergence is
told (KIP-595), 13 names topics by id, 16 names the new leader with an error (KIP-951).
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import (
    EMPTY_RECORDS,
    NO_UUID,
    Int8,
    Int16,
    Int32,
    Int64,
    Records,
    Uuid,
    since,
    tag,
    until,
)


class FetchRequest(Message, api_key=1, versions=(4, 18), flexible_from=12):
    replica_id: Annotated[Int32, until(14)] = -1
    max_wait_ms: Int32 = 0
    min_bytes: Int32 = 0
    max_bytes: Int32 = 2**31 - 1
    isolation_level: Int8 = 0
    session_id: Annotated[Int32, since(7)] = 0
    session_epoch: Annotated[Int32, since(7)] = -1
    topics: list[FetchTopic] = []
    forgotten_topics_data: Annotated[list[ForgottenTopic], since(7)] = []
    rack_id: Annotated[str, since(11)] = ""
    cluster_id: Annotated[str | None, since(12), tag(0)] = None
    replica_state: Annotated[ReplicaState | None, since(15), tag(1)] = None


class ReplicaState(Struct):
    replica_id: Int32 = -1
    replica_epoch: Int64 = -1


class FetchTopic(Struct):
    topic: Annotated[str, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: list[FetchPartition] = []


class FetchPartition(Struct):
    partition: Int32 = 0
    current_leader_epoch: Annotated[Int32, since(9)] = -1
    fetch_offset: Int64 = 0
    last_fetched_epoch: Annotated[Int32, since(12)] = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    partition_max_bytes: Int32 = 0
    replica_directory_id: Annotated[Uuid, since(17), tag(0)] = NO_UUID
    high_watermark: Annotated[Int64, since(18), tag(1)] = 2**63 - 1


class ForgottenTopic(Struct):
    topic: Annotated[str, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: list[Int32] = []


class FetchResponse(Message, api_key=1, versions=(4, 18), flexible_from=12):
    throttle_time_ms: Int32 = 0
    error_code: Annotated[Int16, since(7)] = 0
    session_id: Annotated[Int32, since(7)] = 0
    responses: list[FetchableTopicResponse] = []
    node_endpoints: Annotated[list[NodeEndpoint], since(16), tag(0)] = []


class FetchableTopicResponse(Struct):
    topic: Annotated[str, until(12)] = ""
    topic_id: Annotated[Uuid, since(13)] = NO_UUID
    partitions: list[PartitionData] = []


class PartitionData(Struct):
    partition_index: Int32 = 0
    error_code: Int16 = 0
    high_watermark: Int64 = 0
    last_stable_offset: Int64 = -1
    log_start_offset: Annotated[Int64, since(5)] = -1
    aborted_transactions: list[AbortedTransaction] | None = []
    preferred_read_replica: Annotated[Int32, since(11)] = -1
    records: Records = EMPTY_RECORDS
    diverging_epoch: Annotated[EpochEndOffset | None, since(12), tag(0)] = None
    current_leader: Annotated[LeaderIdAndEpoch | None, since(12), tag(1)] = None
    snapshot_id: Annotated[SnapshotId | None, since(12), tag(2)] = None


class EpochEndOffset(Struct):
    epoch: Int32 = -1
    end_offset: Int64 = -1


class LeaderIdAndEpoch(Struct):
    leader_id: Int32 = -1
    leader_epoch: Int32 = -1


class SnapshotId(Struct):
    end_offset: Int64 = -1
    epoch: Int32 = -1


class AbortedTransaction(Struct):
    producer_id: Int64 = 0
    first_offset: Int64 = 0


class NodeEndpoint(Struct):
    node_id: Int32 = 0
    host: str = ""
    port: Int32 = 0
    rack: str | None = None
