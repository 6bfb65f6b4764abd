"""AlterUserScramCredentials: set or delete salted passwords (KIP-554)."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int8, Int16, Int32


class AlterUserScramCredentialsRequest(Message, api_key=51, versions=(0, 0), flexible_from=0):
    deletions: list[ScramCredentialDeletion] = []
    upsertions: list[ScramCredentialUpsertion] = []


class ScramCredentialDeletion(Struct):
    name: str = ""
    mechanism: Int8 = 0


class ScramCredentialUpsertion(Struct):
    name: str = ""
    mechanism: Int8 = 0
    iterations: Int32 = 0
    salt: bytes = b""
    salted_password: bytes = b""


class AlterUserScramCredentialsResponse(Message, api_key=51, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    results: list[AlterUserScramCredentialsResult] = []


class AlterUserScramCredentialsResult(Struct):
    user: str = ""
    error_code: Int16 = 0
    error_message: str | None = ""
