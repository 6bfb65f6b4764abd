"""ListPartitionReassignments (key 46): which partitions are being moved to other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.alter_partition_reassignments import is_moving
from mesh.wire.schemas.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.registry import Topic


def handle(
    broker: Broker, request: Request, body: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """Name the partitions that are on their way; as in Kafka, what is unknown is no error."""
    del request
    response = ListPartitionReassignmentsResponse(error_message=None)
    asked = {topic.name: topic.partition_indexes for topic in body.topics or ()}
    for topic in broker.registry.topics.values():
        if body.topics is not None and topic.name not in asked:
            continue
        found = [
            _moving(broker, topic, index)
            for index in asked.get(topic.name, range(topic.partition_count))
            if 0 <= index < topic.partition_count and is_moving(broker, topic, index)
        ]
        if found:
            response.topics.append(OngoingTopicReassignment(name=topic.name, partitions=found))
    return response


def _moving(broker: Broker, topic: Topic, index: int) -> OngoingPartitionReassignment:
    wished, present = topic.assigned[index], broker.owner(topic, index).replicas
    return OngoingPartitionReassignment(
        partition_index=index,
        replicas=list(dict.fromkeys((*wished, *present))),
        adding_replicas=[node_id for node_id in wished if node_id not in present],
        removing_replicas=[node_id for node_id in present if node_id not in wished],
    )


HANDLER = Handler(key=46, versions=(0, 0), request=ListPartitionReassignmentsRequest, handle=handle)
