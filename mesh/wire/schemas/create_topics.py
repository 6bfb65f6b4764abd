"""CreateTopics: by numbers of partitions and replicas, or with every replica assigned."""

from __future__ import annotations

from typing import Annotated

from mesh.wire.message import Message, Struct
from mesh.wire.types import NO_UUID, Bool, Int8, Int16, Int32, Uuid, since, tag


class CreateTopicsRequest(Message, api_key=19, versions=(2, 7), flexible_from=5):
    topics: list[CreatableTopic] = []
    timeout_ms: Int32 = 60000
    validate_only: Bool = False


class CreatableTopic(Struct):
    name: str = ""
    num_partitions: Int32 = 0
    replication_factor: Int16 = 0
    assignments: list[CreatableReplicaAssignment] = []
    configs: list[CreatableTopicConfig] = []


class CreatableReplicaAssignment(Struct):
    partition_index: Int32 = 0
    broker_ids: list[Int32] = []


class CreatableTopicConfig(Struct):
    name: str = ""
    value: str | None = ""


class CreateTopicsResponse(Message, api_key=19, versions=(2, 7), flexible_from=5):
    throttle_time_ms: Int32 = 0
    topics: list[CreatableTopicResult] = []


class CreatableTopicResult(Struct):
    name: str = ""
    topic_id: Annotated[Uuid, since(7)] = NO_UUID
    error_code: Int16 = 0
    error_message: str | None = ""
    num_partitions: Annotated[Int32, since(5)] = -1
    replication_factor: Annotated[Int16, since(5)] = -1
    configs: Annotated[list[CreatableTopicConfigs] | None, since(5)] = []
    topic_config_error_code: Annotated[Int16, since(5), tag(0)] = 0


class CreatableTopicConfigs(Struct):
    name: str = ""
    value: str | None = ""
    read_only: Bool = False
    config_source: Int8 = -1
    is_sensitive: Bool = False
