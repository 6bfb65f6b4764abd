"""DescribeUserScramCredentials: mechanisms and iterations, never secrets (KIP-554)."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int8, Int16, Int32


class DescribeUserScramCredentialsRequest(Message, api_key=50, versions=(0, 0), flexible_from=0):
    users: list[UserName] | None = []


class UserName(Struct):
    name: str = ""


class DescribeUserScramCredentialsResponse(Message, api_key=50, versions=(0, 0), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
    results: list[DescribeUserScramCredentialsResult] = []


class DescribeUserScramCredentialsResult(Struct):
    user: str = ""
    error_code: Int16 = 0
    error_message: str | None = ""
    credential_infos: list[CredentialInfo] = []


class CredentialInfo(Struct):
    mechanism: Int8 = 0
    iterations: Int32 = 0
