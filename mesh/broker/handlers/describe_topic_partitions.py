"""DescribeTopicPartitions (key 75): topics by name, a page of partitions at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.metadata import TOPIC_OPERATIONS
from mesh.broker.owners import NOBODY
from mesh.model.errors import ErrorCode
from mesh.model.names import INTERNAL_TOPICS, topic_name_fault
from mesh.registry import Topic
from mesh.wire.schemas.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    """Describe from the cursor on, until the page is full."""
    wanted = {each.name for each in body.topics}
    start, first_index = "", 0
    if body.cursor is not None:
        start, first_index = body.cursor.topic_name, body.cursor.partition_index
        if first_index < 0 or (wanted and start not in wanted):
            return _invalid(body)
    response = DescribeTopicPartitionsResponse()
    # A page holds at least one partition, whatever the client asks, so that it makes progress.
    left = max(min(body.response_partition_limit, broker.config.described_partitions_max), 1)
    for name in sorted(name for name in wanted or broker.registry.topics if name >= start):
        topic = broker.registry.topics.get(name)
        if topic is None:
            response.topics.append(_unknown(name))
            continue
        first = first_index if name == start else 0
        if left == 0:
            response.next_cursor = Cursor(topic_name=name, partition_index=first)
            break
        end = min(topic.partition_count, first + left)
        response.topics.append(_describe(broker, topic, first, end))
        left -= max(end - first, 0)
        if end < topic.partition_count:
            response.next_cursor = Cursor(topic_name=name, partition_index=end)
            break
    return response


def _invalid(body: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse:
    """Refuse a cursor that points nowhere; the error has its place in every topic only."""
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(
                error_code=ErrorCode.INVALID_REQUEST, name=each.name
            )
            for each in body.topics
        ]
    )


def _unknown(name: str) -> DescribeTopicPartitionsResponseTopic:
    fault = topic_name_fault(name)
    return DescribeTopicPartitionsResponseTopic(
        error_code=ErrorCode.INVALID_TOPIC_EXCEPTION
        if fault is not None
        else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        name=name,
        is_internal=name in INTERNAL_TOPICS,
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _describe(
    broker: Broker, topic: Topic, first: int, end: int
) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[_partition(broker, topic, index) for index in range(first, end)],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _partition(
    broker: Broker, topic: Topic, index: int
) -> DescribeTopicPartitionsResponsePartition:
    owner = broker.owner(topic, index)
    answer = DescribeTopicPartitionsResponsePartition(
        partition_index=index,
        replica_nodes=list(owner.replicas),
        offline_replicas=[one for one in owner.replicas if one not in broker.members],
        eligible_leader_replicas=[],
        last_known_elr=[],
    )
    answer.leader_id = owner.node_id
    if owner.node_id == NOBODY:
        answer.error_code = ErrorCode.LEADER_NOT_AVAILABLE
    else:
        answer.leader_epoch, answer.isr_nodes = owner.leader_epoch, list(owner.in_sync)
    return answer


HANDLER = Handler(key=75, versions=(0, 0), request=DescribeTopicPartitionsRequest, handle=handle)
