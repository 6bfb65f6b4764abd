"""AlterConfigs: replace a whole configuration; superseded by IncrementalAlterConfigs.

Java's admin client dropped it in 4.0 (KAFKA-17610); kafkajs, aiokafka and librdkafka still ask.
"""

from __future__ import annotations

from mesh.wire.message import Message, Struct
from mesh.wire.types import Bool, Int8, Int16, Int32


class AlterConfigsRequest(Message, api_key=33, versions=(0, 2), flexible_from=2):
    resources: list[AlterConfigsResource] = []
    validate_only: Bool = False


class AlterConfigsResource(Struct):
    resource_type: Int8 = 0
    resource_name: str = ""
    configs: list[AlterableConfig] = []


class AlterableConfig(Struct):
    name: str = ""
    value: str | None = ""


class AlterConfigsResponse(Message, api_key=33, versions=(0, 2), flexible_from=2):
    throttle_time_ms: Int32 = 0
    responses: list[AlterConfigsResourceResponse] = []


class AlterConfigsResourceResponse(Struct):
    error_code: Int16 = 0
    error_message: str | None = ""
    resource_type: Int8 = 0
    resource_name: str = ""
