"""DeleteTopics: by name; by name or id from version 6 on."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NO_UUID, Int16, Int32, Uuid, nullable_since, since, until


class DeleteTopicsRequest(Message, api_key=20, versions=(1, 6), flexible_from=4):
    topic_names: Annotated[list[str], until(5)] = []
    topics: Annotated[list[DeleteTopicState], since(6)] = []
    timeout_ms: Int32 = 0


class DeleteTopicState(Struct):
    name: str | None = None
    topic_id: Uuid = NO_UUID


class DeleteTopicsResponse(Message, api_key=20, versions=(1, 6), flexible_from=4):
    throttle_time_ms: Int32 = 0
    responses: list[DeletableTopicResult] = []


class DeletableTopicResult(Struct):
    name: Annotated[str | None, nullable_since(6)] = ""
    topic_id: Annotated[Uuid, since(6)] = NO_UUID
    error_code: Int16 = 0
    error_message: Annotated[str | None, since(5)] = None
