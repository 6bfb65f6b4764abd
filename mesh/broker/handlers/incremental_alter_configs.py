"""IncrementalAlterConfigs (key 44): set, delete, append, subtract, for topics and for nodes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.broker.resources import ResourceType, check_node_name, not_configurable
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.registry import Plan, plan_alter_broker_config, plan_alter_topic_config
from mesh.wire.schemas.incremental_alter_configs import (
    AlterConfigsResource,
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import Offset

COMMIT_MS_MAX = 30_000
"""The request has no time-out of its own; this is the default of Kafka's clients."""


def handle(
    broker: Broker, request: Request, body: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse | AfterCommit:
    """Propose what is valid; with validate_only, only say whether it is."""
    response = IncrementalAlterConfigsResponse()
    waits: list[tuple[Partition, Offset]] = []
    pending: list[tuple[AlterConfigsResourceResponse, tuple[Partition, Offset]]] = []
    times = Counter((each.resource_type, each.resource_name) for each in body.resources)
    for resource in body.resources:
        result = AlterConfigsResourceResponse(
            resource_type=resource.resource_type,
            resource_name=resource.resource_name,
            error_message=None,
        )
        response.responses.append(result)
        try:
            if times[resource.resource_type, resource.resource_name] > 1:
                text = "Each resource must appear at most once."
                raise KafkaError(ErrorCode.INVALID_REQUEST, text)
            plan = _plan(broker, resource)
            proposed = plan.records and not body.validate_only
            wait = broker.propose(plan, request.now) if proposed else None
        except KafkaError as error:
            result.error_code, result.error_message = error.code, error.message
            continue
        if wait is not None:
            waits.append(wait)
            pending.append((result, wait))
    if not waits:
        return response

    def finish(committed: bool, now: Now) -> IncrementalAlterConfigsResponse:
        for result, (shard, end_offset) in pending:
            if not committed and shard.high_watermark < end_offset:
                result.error_code = ErrorCode.REQUEST_TIMED_OUT
                result.error_message = "The request timed out."
        return response

    return AfterCommit(waits, request.now.monotonic_ms + COMMIT_MS_MAX, finish)


def _plan(broker: Broker, resource: AlterConfigsResource) -> Plan:
    name = resource.resource_name
    operations = [(each.name, each.config_operation, each.value) for each in resource.configs]
    match resource.resource_type:
        case ResourceType.TOPIC:
            return plan_alter_topic_config(broker.registry, name, operations, broker.config)
        case ResourceType.BROKER:
            if name:
                own = broker.node_id
                check_node_name(name, own, called="Node id", expected=str(own))
            return plan_alter_broker_config(broker.registry, name, operations, broker.config)
        case _:
            raise not_configurable(resource.resource_type)


HANDLER = Handler(key=44, versions=(0, 1), request=IncrementalAlterConfigsRequest, handle=handle)
