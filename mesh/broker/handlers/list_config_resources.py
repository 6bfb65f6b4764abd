"""ListConfigResources (key 74): what has configurations that can be described.

Version 0 was ListClientMetricsResources and asks for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.resources import ResourceType
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: ListConfigResourcesRequest
) -> ListConfigResourcesResponse:
    """List the resources of the types that are asked for; none given stands for all."""
    wanted = set(body.resource_types) or set(ResourceType)
    if request.api_version == 0:
        wanted = {ResourceType.CLIENT_METRICS}
    if not wanted <= set(ResourceType):
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    return ListConfigResourcesResponse(
        config_resources=[
            ConfigResource(resource_name=name, resource_type=kind)
            for kind in ResourceType
            if kind in wanted
            for name in _names(broker, kind)
        ]
    )


def _names(broker: Broker, kind: ResourceType) -> Iterable[str]:
    match kind:
        case ResourceType.TOPIC:
            return broker.registry.topics
        case ResourceType.BROKER:
            return map(str, broker.registry.nodes)
        case ResourceType.BROKER_LOGGER if broker.loggers is not None:
            return map(str, broker.registry.nodes)
        case _:
            return ()  # What DescribeConfigs refuses is not listed.


HANDLER = Handler(key=74, versions=(0, 1), request=ListConfigResourcesRequest, handle=handle)
