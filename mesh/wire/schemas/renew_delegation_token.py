"""RenewDelegationToken: a token expires later, within its maximum life."""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32, Int64


class RenewDelegationTokenRequest(Message, api_key=39, versions=(1, 2), flexible_from=2):
    hmac: bytes = b""
    renew_period_ms: Int64 = 0


class RenewDelegationTokenResponse(Message, api_key=39, versions=(1, 2), flexible_from=2):
    error_code: Int16 = 0
    expiry_timestamp_ms: Int64 = 0
    throttle_time_ms: Int32 = 0
