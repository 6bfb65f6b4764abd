"""ListPartitionReassignments (key 46): which partitions are being moved to other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.wire.schemas.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Name none: AlterPartitionReassignments starts no move yet.

    Only partitions that move are named, so that, as in Kafka, what is unknown is no error.
    """
    return ListPartitionReassignmentsResponse(error_message=None)


HANDLER = Handler(key=46, versions=(0, 0), request=ListPartitionReassignmentsRequest, handle=handle)
