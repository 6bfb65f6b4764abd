"""AddRaftVoter: a controller joins the quorum (KIP-853)."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NO_UUID, Bool, Int16, Int32, UInt16, Uuid, since


class AddRaftVoterRequest(Message, api_key=80, versions=(0, 1), flexible_from=0):
    cluster_id: str | None = ""
    timeout_ms: Int32 = 0
    voter_id: Int32 = 0
    voter_directory_id: Uuid = NO_UUID
    listeners: list[Listener] = []
    ack_when_committed: Annotated[Bool, since(1)] = True


class Listener(Struct):
    name: str = ""
    host: str = ""
    port: UInt16 = 0


class AddRaftVoterResponse(Message, api_key=80, versions=(0, 1), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
