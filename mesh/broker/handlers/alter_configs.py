"""AlterConfigs (key 33): replace all that a topic or a node has of its own.

IncrementalAlterConfigs superseded it; kafkajs, aiokafka and older librdkafka know only this one.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Change, carry_out
from mesh.broker.purgatory import AfterCommit
from mesh.broker.resources import (
    ALTER_MS_MAX,
    ResourceType,
    check_altered_node,
    check_once,
    home_of,
    not_configurable,
    unknown_type,
)
from mesh.model.types import NodeId
from mesh.registry import Plan, plan_replace_broker_config, plan_replace_topic_config
from mesh.wire.schemas.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: AlterConfigsRequest
) -> AlterConfigsResponse | AfterCommit:
    """Propose what is valid; with validate_only, only say whether it is."""
    response = AlterConfigsResponse()
    times = Counter((each.resource_type, each.resource_name) for each in body.resources)
    changes: list[Change] = []
    asked = broker.node_id if request.asked is None else request.asked
    for resource in body.resources:
        result = AlterConfigsResourceResponse(
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
            error_message=None,
        )
        response.responses.append(result)
        shard_index = home_of(resource.resource_type, resource.resource_name)
        plan = functools.partial(_plan, broker, asked, resource, times)
        changes.append((result, shard_index, plan))
    return carry_out(
        broker,
        request,
        response,
        changes,
        validate_only=body.validate_only,
        wait_ms_max=ALTER_MS_MAX,
    )


def _plan(
    broker: Broker, asked: NodeId, resource: AlterConfigsResource, times: Counter[tuple[int, str]]
) -> Plan:
    name = resource.resource_name
    check_once(resource.resource_type, name, times)
    configs = [(each.name, each.value) for each in resource.configs]
    match resource.resource_type:
        case ResourceType.TOPIC:
            return plan_replace_topic_config(broker.registry, name, configs, broker.config)
        case ResourceType.BROKER:
            if name:
                check_altered_node(name, asked)
            return plan_replace_broker_config(broker.registry, name, configs, broker.config)
        case ResourceType.BROKER_LOGGER:
            raise unknown_type(resource.resource_type)  # Never part of this API, as in Kafka.
        case _:
            raise not_configurable(resource.resource_type)


HANDLER = Handler(key=33, versions=(0, 2), request=AlterConfigsRequest, handle=handle)
