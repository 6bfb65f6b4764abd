"""WriteTxnMarkers: a coordinator ends transactions in partitions that others lead."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int8, Int16, Int32, Int64, since


class WriteTxnMarkersRequest(Message, api_key=27, versions=(1, 2), flexible_from=1):
    markers: list[WritableTxnMarker] = []


class WritableTxnMarker(Struct):
    producer_id: Int64 = 0
    producer_epoch: Int16 = 0
    transaction_result: Bool = False
    topics: list[WritableTxnMarkerTopic] = []
    coordinator_epoch: Int32 = 0
    transaction_version: Annotated[Int8, since(2)] = 0


class WritableTxnMarkerTopic(Struct):
    name: str = ""
    partition_indexes: list[Int32] = []


class WriteTxnMarkersResponse(Message, api_key=27, versions=(1, 2), flexible_from=1):
    markers: list[WritableTxnMarkerResult] = []


class WritableTxnMarkerResult(Struct):
    producer_id: Int64 = 0
    topics: list[WritableTxnMarkerTopicResult] = []


class WritableTxnMarkerTopicResult(Struct):
    name: str = ""
    partitions: list[WritableTxnMarkerPartitionResult] = []


class WritableTxnMarkerPartitionResult(Struct):
    partition_index: Int32 = 0
    error_code: Int16 = 0
