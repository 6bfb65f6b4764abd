"""DeleteGroups: forget empty groups and their positions."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int16, Int32


class DeleteGroupsRequest(Message, api_key=42, versions=(0, 2), flexible_from=2):
    groups_names: list[str] = []


class DeleteGroupsResponse(Message, api_key=42, versions=(0, 2), flexible_from=2):
    throttle_time_ms: Int32 = 0
    results: list[DeletableGroupResult] = []


class DeletableGroupResult(Struct):
    group_id: str = ""
    error_code: Int16 = 0
