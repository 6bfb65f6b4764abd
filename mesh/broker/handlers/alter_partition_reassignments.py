"""AlterPartitionReassignments (key 45): move partitions to other nodes, or stop that (KIP-455)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Proposals, refuse
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import Plan, Topic, check_replicas, plan_assign_replicas, shard_of
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
) -> AlterPartitionReassignmentsResponse | AfterCommit:
    """Write down where each partition is wished to be; its leader then sees to it."""
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
    proposals = Proposals(broker, request.now)
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
                plan = _plan(broker, topic.name, wish, body.allow_replication_factor_change)
                if plan is not None:
                    proposals.add(plan)
            except KafkaError as error:
                refuse(result, error)
            proposals.rest(shard_of(topic.name), functools.partial(refuse, result))
    return proposals.answer(response, body.timeout_ms)


def _plan(broker: Broker, name: str, wish: ReassignablePartition, may_resize: bool) -> Plan | None:
    """Plan where a partition is to be from now on; None: it is there, and nobody wished otherwise.

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
    present = broker.owner(topic, index).replicas
    if wish.replicas is None:
        if not is_moving(broker, topic, index):
            raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
        return plan_assign_replicas(topic, index, ())
    wanted = check_replicas(wish.replicas, broker.registry.nodes)
    if len(wanted) != len(topic.assigned.get(index, present)) and not may_resize:
        text = f"The replication factor is changed from {len(present)} to {len(wanted)}"
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, text)
    if wanted == topic.assigned.get(index, present):
        return None
    return plan_assign_replicas(topic, index, wanted)


def is_moving(broker: Broker, topic: Topic, index: int) -> bool:
    """Whether a partition is on its way to where somebody wished it to be."""
    wished = topic.assigned.get(index)
    return wished is not None and set(wished) != set(broker.owner(topic, index).replicas)


HANDLER = Handler(
    key=45, versions=(0, 1), request=AlterPartitionReassignmentsRequest, handle=handle
)
