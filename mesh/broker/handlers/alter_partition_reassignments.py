"""AlterPartitionReassignments (key 45): move partitions to other nodes, or stop that (KIP-455)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import check_replicas
from mesh.wire.schemas.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    """Check every wish by itself; where a partition is as wished there is nothing to move."""
    response = AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=body.allow_replication_factor_change
    )
    if not body.topics:
        return response  # Kafka's only answer here whose text is empty and not null.
    response.error_message = None
    # As in Kafka, a time that is up before anything is looked at fails all of it.
    late = ErrorCode.REQUEST_TIMED_OUT if body.timeout_ms <= 0 else None
    if late is not None:
        response.error_code = late
    for topic in body.topics:
        answers = ReassignableTopicResponse(name=topic.name)
        response.responses.append(answers)
        for wish in topic.partitions:
            result = ReassignablePartitionResponse(
                partition_index=wish.partition_index, error_message=None
            )
            answers.partitions.append(result)
            try:
                if late is not None:
                    raise KafkaError(late)
                _reassign(broker, topic.name, wish, body.allow_replication_factor_change)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, error.message
    return response


def _reassign(broker: Broker, name: str, wish: ReassignablePartition, may_resize: bool) -> None:
    """Let a partition live where it is wished; so far that must be where it lives.

    Raises:
        KafkaError: as AlterPartitionReassignments answers for this one partition.
    """
    topic = broker.registry.topics.get(name)
    if topic is None:
        text = f"Unable to find a topic named {name}."
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    index = wish.partition_index
    if not 0 <= index < topic.partition_count:
        text = f"Unable to find partition {name}:{index}."
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    if wish.replicas is None:  # Stop moving; nothing moves (ListPartitionReassignments).
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    wanted = check_replicas(wish.replicas, broker.registry.nodes)
    present = topic.replicas[index]
    if len(wanted) != len(present) and not may_resize:
        text = f"The replication factor is changed from {len(present)} to {len(wanted)}"
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, text)
    if wanted != present:
        text = "This release of Gossamer cannot move a partition to other nodes."
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, text)


HANDLER = Handler(
    key=45, versions=(0, 1), request=AlterPartitionReassignmentsRequest, handle=handle
)
