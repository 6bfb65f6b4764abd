"""DescribeCluster (key 60): the cluster's id and its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.metadata import CLUSTER_OPERATIONS
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

BROKERS, CONTROLLERS = 1, 2
"""Types of endpoints that a client may ask for."""


def handle(
    broker: Broker, request: Request, body: DescribeClusterRequest
) -> DescribeClusterResponse:
    """Name the nodes that serve clients; there are no controllers to ask for."""
    if body.endpoint_type == CONTROLLERS:
        return DescribeClusterResponse(
            error_code=ErrorCode.MISMATCHED_ENDPOINT_TYPE,
            error_message="The request was sent to an endpoint of type BROKER, but we wanted an "
            "endpoint of type CONTROLLER",
        )
    if body.endpoint_type != BROKERS:
        return DescribeClusterResponse(
            error_code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            error_message=f"Unsupported endpoint type {body.endpoint_type}",
        )
    response = DescribeClusterResponse(
        cluster_id=broker.cluster_id,
        controller_id=broker.node_id,
        brokers=[
            DescribeClusterBroker(broker_id=node_id, host=at.host, port=at.port, rack=at.rack)
            for node_id, at in sorted(broker.members.items())
        ],
    )
    if body.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return response


HANDLER = Handler(key=60, versions=(0, 2), request=DescribeClusterRequest, handle=handle)
