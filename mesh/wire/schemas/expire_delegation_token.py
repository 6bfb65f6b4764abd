"""ExpireDelegationToken: a token expires earlier, or at once."""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32, Int64


class ExpireDelegationTokenRequest(Message, api_key=40, versions=(1, 2), flexible_from=2):
    hmac: bytes = b""
    expiry_time_period_ms: Int64 = 0


class ExpireDelegationTokenResponse(Message, api_key=40, versions=(1, 2), flexible_from=2):
    error_code: Int16 = 0
    expiry_timestamp_ms: Int64 = 0
    throttle_time_ms: Int32 = 0
