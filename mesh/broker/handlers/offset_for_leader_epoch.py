"""OffsetForLeaderEpoch (key 23): where an epoch ends, so that a reader sees truncation (G35)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.fetch import check_leader_epoch
from mesh.model.errors import KafkaError
from mesh.wire.schemas.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: OffsetForLeaderEpochRequest
) -> OffsetForLeaderEpochResponse:
    """Answer every partition by itself."""
    response = OffsetForLeaderEpochResponse()
    for topic in body.topics:
        results = [_look_up(broker, topic.topic, wanted) for wanted in topic.partitions]
        response.topics.append(OffsetForLeaderTopicResult(topic=topic.topic, partitions=results))
    return response


def _look_up(broker: Broker, topic: str, wanted: OffsetForLeaderPartition) -> EpochEndOffset:
    result = EpochEndOffset(partition=wanted.partition)
    partition = broker.partition(topic, wanted.partition)
    try:
        if partition is None:
            raise KafkaError(broker.why_absent(topic, wanted.partition))
        check_leader_epoch(partition, wanted.current_leader_epoch)
    except KafkaError as error:
        result.error_code = error.code
        return result
    found = partition.end_of_epoch(wanted.leader_epoch)
    result.leader_epoch, result.end_offset = found
    return result


HANDLER = Handler(key=23, versions=(2, 4), request=OffsetForLeaderEpochRequest, handle=handle)
