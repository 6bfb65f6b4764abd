"""Heartbeat: a member of a classic group is alive."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32, since


class HeartbeatRequest(Message, api_key=12, versions=(0, 4), flexible_from=4):
    group_id: str = ""
    generation_id: Int32 = 0
    member_id: str = ""
    group_instance_id: Annotated[str | None, since(3)] = None


class HeartbeatResponse(Message, api_key=12, versions=(0, 4), flexible_from=4):
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Int16 = 0
