"""SaslHandshake: choose a mechanism. Never became flexible.

After version 0 the tokens travel bare, after version 1 in SaslAuthenticate.
"""

from __future__ import annotations

from mesh.wire.message import Message
from mesh.wire.types import NEVER, Int16


class SaslHandshakeRequest(Message, api_key=17, versions=(0, 1), flexible_from=NEVER):
    mechanism: str = ""


class SaslHandshakeResponse(Message, api_key=17, versions=(0, 1), flexible_from=NEVER):
    error_code: Int16 = 0
    mechanisms: list[str] = []
