"""ListConfigResources: what has configuration of its own.

Version 0 is ListClientMetricsResources under its first name and asks for one type only.
"""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import Int8, Int16, Int32, since


class ListConfigResourcesRequest(Message, api_key=74, versions=(0, 1), flexible_from=0):
    resource_types: Annotated[list[Int8], since(1)] = []


class ListConfigResourcesResponse(Message, api_key=74, versions=(0, 1), flexible_from=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16 = 0
    config_resources: list[ConfigResource] = []


class ConfigResource(Struct):
    resource_name: str = ""
    resource_type: Annotated[Int8, since(1)] = 16
