"""AlterClientQuotas: set or remove limits of users, client ids and addresses (KIP-546)."""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Float64, Int16, Int32


class AlterClientQuotasRequest(Message, api_key=49, versions=(0, 1), flexible_from=1):
    entries: list[RequestEntryData] = []
    validate_only: Bool = False


class RequestEntryData(Struct):
    entity: list[EntityData] = []
    ops: list[OpData] = []


class EntityData(Struct):
    entity_type: str = ""
    entity_name: str | None = ""


class OpData(Struct):
    key: str = ""
    value: Float64 = 0.0
    remove: Bool = False


class AlterClientQuotasResponse(Message, api_key=49, versions=(0, 1), flexible_from=1):
    throttle_time_ms: Int32 = 0
    entries: list[ResponseEntryData] = []


class ResponseEntryData(Struct):
    error_code: Int16 = 0
    error_message: str | None = ""
    entity: list[EntityData] = []
