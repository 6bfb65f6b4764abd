"""DescribeGroups: state and members of classic groups."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int16, Int32, since


class DescribeGroupsRequest(Message, api_key=15, versions=(0, 6), flexible_from=5):
    groups: list[str] = []
    include_authorized_operations: Annotated[Bool, since(3)] = False


class DescribeGroupsResponse(Message, api_key=15, versions=(0, 6), flexible_from=5):
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    groups: list[DescribedGroup] = []


class DescribedGroup(Struct):
    error_code: Int16 = 0
    error_message: Annotated[str | None, since(6)] = None
    group_id: str = ""
    group_state: str = ""
    protocol_type: str = ""
    protocol_data: str = ""
    members: list[DescribedGroupMember] = []
    authorized_operations: Annotated[Int32, since(3)] = -(2**31)


class DescribedGroupMember(Struct):
    member_id: str = ""
    group_instance_id: Annotated[str | None, since(4)] = None
    client_id: str = ""
    client_host: str = ""
    member_metadata: bytes = b""
    member_assignment: bytes = b""
