"""DescribeConfigs (key 32): what is in force for topics, this node and its loggers (G40)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.loggers import check_described
from mesh.broker.resources import ResourceType, check_node_name, not_configurable
from mesh.model.config import Described, describe_broker, describe_cluster, describe_topic
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import check_topic_name
from mesh.wire.schemas.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


LOGGER_SOURCE = 6
"""Where the level of a logger comes from, in Kafka's numbers; nothing else has this source."""


def handle(
    broker: Broker, request: Request, body: DescribeConfigsRequest
) -> DescribeConfigsResponse:
    """Answer every resource by itself; what is asked twice in the very same way, once.

    Kafka answers it twice; ten bytes of a request would then cost an answer of kilobytes.
    """
    response = DescribeConfigsResponse()
    asked: set[tuple[int, str, tuple[str, ...]]] = set()
    for resource in body.resources:
        keys = tuple(resource.configuration_keys or ())
        question = (resource.resource_type, resource.resource_name, keys)
        if question in asked:
            continue
        asked.add(question)
        result = DescribeConfigsResult(
            resource_type=resource.resource_type, resource_name=resource.resource_name
        )
        response.results.append(result)
        try:
            result.configs = _describe(broker, resource, body)
        except KafkaError as error:
            # Kafka writes an empty text where others write none.
            result.error_code, result.error_message = error.code, error.message or ""
    return response


def _describe(
    broker: Broker, resource: DescribeConfigsResource, body: DescribeConfigsRequest
) -> list[DescribeConfigsResourceResult]:
    names = set(resource.configuration_keys) if resource.configuration_keys else None
    if resource.resource_type == ResourceType.BROKER_LOGGER and broker.loggers is not None:
        check_described(resource.resource_name, broker.node_id)
        levels = broker.loggers.levels()
        return [
            # Kafka gives no type, and an empty documentation where others have none.
            DescribeConfigsResourceResult(name=name, value=level, config_source=LOGGER_SOURCE)
            for name, level in levels.items()
            if names is None or name in names
        ]
    return [_tell(each, body) for each in _look_up(broker, resource, names)]


def _look_up(
    broker: Broker, resource: DescribeConfigsResource, names: set[str] | None
) -> list[Described]:
    name, config = resource.resource_name, broker.config
    match resource.resource_type:
        case ResourceType.TOPIC:
            check_topic_name(name)
            topic = broker.registry.topics.get(name)
            if topic is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            return describe_topic(config, topic.configs, names)
        case ResourceType.BROKER:
            if not name:
                return describe_cluster(config, names)
            own = broker.node_id
            unexpected = f"broker id, expected {own} or empty string, but"
            check_node_name(name, own, called="Broker id", unexpected=unexpected)
            return describe_broker(config, names)
        case _:
            raise not_configurable(resource.resource_type)


def _tell(each: Described, body: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    synonyms = []
    if body.include_synonyms:
        synonyms = [
            DescribeConfigsSynonym(name=origin.name, value=origin.value, source=origin.source)
            for origin in each.origins
        ]
    return DescribeConfigsResourceResult(
        name=each.setting.name,
        value=each.value,
        read_only=each.read_only,
        config_source=each.source,
        is_sensitive=each.setting.sensitive,
        synonyms=synonyms,
        config_type=each.setting.kind,
        documentation=each.setting.documentation if body.include_documentation else None,
    )


HANDLER = Handler(key=32, versions=(1, 4), request=DescribeConfigsRequest, handle=handle)
