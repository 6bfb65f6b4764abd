"""OffsetDelete: forget positions of a group. Never became flexible."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import NEVER, Int16, Int32


class OffsetDeleteRequest(Message, api_key=47, versions=(0, 0), flexible_from=NEVER):
    group_id: str = ""
    topics: list[OffsetDeleteRequestTopic] = []


class OffsetDeleteRequestTopic(Struct):
    name: str = ""
    partitions: list[OffsetDeleteRequestPartition] = []


class OffsetDeleteRequestPartition(Struct):
    partition_index: Int32 = 0


class OffsetDeleteResponse(Message, api_key=47, versions=(0, 0), flexible_from=NEVER):
    error_code: Int16 = 0
    throttle_time_ms: Int32 = 0
    topics: list[OffsetDeleteResponseTopic] = []


class OffsetDeleteResponseTopic(Struct):
    name: str = ""
    partitions: list[OffsetDeleteResponsePartition] = []


class OffsetDeleteResponsePartition(Struct):
    partition_index: Int32 = 0
    error_code: Int16 = 0
