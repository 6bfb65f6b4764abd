"""SaslAuthenticate: one step of the exchange that SaslHandshake began."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message
from mesh.wire.types import Int16, Int64, since


class SaslAuthenticateRequest(Message, api_key=36, versions=(0, 2), flexible_from=2):
    auth_bytes: bytes = b""


class SaslAuthenticateResponse(Message, api_key=36, versions=(0, 2), flexible_from=2):
    error_code: Int16 = 0
    error_message: str | None = ""
    auth_bytes: bytes = b""
    session_lifetime_ms: Annotated[Int64, since(1)] = 0
