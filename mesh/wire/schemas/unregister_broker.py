"""UnregisterBroker: a broker that is gone will not come back (KIP-631)."""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int32


class UnregisterBrokerRequest(Message, api_key=64, versions=(0, 0), flexible_from=0):
    broker_id: Int32 = 0


class UnregisterBrokerResponse(Message, api_key=64, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
