"""ListGroups: names and states of the groups that this broker coordinates."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int16, Int32, since


class ListGroupsRequest(Message, api_key=16, versions=(0, 5), flexible_from=3):
    states_filter: Annotated[list[str], since(4)] = []
    types_filter: Annotated[list[str], since(5)] = []


class ListGroupsResponse(Message, api_key=16, versions=(0, 5), flexible_from=3):
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0
    groups: list[ListedGroup] = []


class ListedGroup(Struct):
    group_id: str = ""
    protocol_type: str = ""
    group_state: Annotated[str, since(4)] = ""
    group_type: Annotated[str, since(5)] = ""
