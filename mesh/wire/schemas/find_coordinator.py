"""FindCoordinator: who coordinates a group or a transactional id; several from version 4 on."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int8, Int16, Int32, since, until


class FindCoordinatorRequest(Message, api_key=10, versions=(0, 6), flexible_from=3):
    key: Annotated[str, until(3)] = ""
    key_type: Annotated[Int8, since(1)] = 0
    coordinator_keys: Annotated[list[str], since(4)] = []


class FindCoordinatorResponse(Message, api_key=10, versions=(0, 6), flexible_from=3):
    throttle_time_ms: Annotated[Int32, since(1)] = 0
    error_code: Annotated[Int16, until(3)] = 0
    error_message: Annotated[str | None, since(1), until(3)] = ""
    node_id: Annotated[Int32, until(3)] = 0
    host: Annotated[str, until(3)] = ""
    port: Annotated[Int32, until(3)] = 0
    coordinators: Annotated[list[Coordinator], since(4)] = []


class Coordinator(Struct):
    key: str = ""
    node_id: Int32 = 0
    host: str = ""
    port: Int32 = 0
    error_code: Int16 = 0
    error_message: str | None = ""
