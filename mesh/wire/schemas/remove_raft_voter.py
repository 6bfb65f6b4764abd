"""RemoveRaftVoter: a controller leaves the quorum (KIP-853)."""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import NO_UUID, Int16, Int32, Uuid


class RemoveRaftVoterRequest(Message, api_key=81, versions=(0, 0), flexible_from=0):
    cluster_id: str | None = ""
    voter_id: Int32 = 0
    voter_directory_id: Uuid = NO_UUID


class RemoveRaftVoterResponse(Message, api_key=81, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
