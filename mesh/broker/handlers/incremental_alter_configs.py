"""IncrementalAlterConfigs (key 44): set, delete, append, subtract, for topics, nodes, loggers."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Change, carry_out
from mesh.broker.loggers import alter_loggers, check_altered
from mesh.broker.purgatory import AfterCommit
from mesh.broker.resources import (
    ALTER_MS_MAX,
    ResourceType,
    check_altered_node,
    check_once,
    home_of,
    not_configurable,
)
from mesh.model.types import NodeId
from mesh.registry import Plan, plan_alter_broker_config, plan_alter_topic_config
from mesh.wire.schemas.incremental_alter_configs import (
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse | AfterCommit:
    """Propose what is valid; with validate_only, only say whether it is."""
    response = IncrementalAlterConfigsResponse()
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
        plan = functools.partial(_plan, broker, asked, body, resource, times)
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
    broker: Broker,
    asked: NodeId,
    body: IncrementalAlterConfigsRequest,
    resource: AlterConfigsResource,
    times: Counter[tuple[int, str]],
) -> Plan | None:
    name = resource.resource_name
    check_once(resource.resource_type, name, times)
    operations = [(each.name, each.config_operation, each.value) for each in resource.configs]
    match resource.resource_type:
        case ResourceType.TOPIC:
            return plan_alter_topic_config(broker.registry, name, operations, broker.config)
        case ResourceType.BROKER:
            if name:
                check_altered_node(name, asked)
            return plan_alter_broker_config(broker.registry, name, operations, broker.config)
        case ResourceType.BROKER_LOGGER if broker.loggers is not None:
            check_altered(name, broker.node_id)
            alter_loggers(broker.loggers, operations, validate_only=body.validate_only)
            return None
        case _:
            raise not_configurable(resource.resource_type)


HANDLER = Handler(key=44, versions=(0, 1), request=IncrementalAlterConfigsRequest, handle=handle)
