"""DeleteRecords (key 21): a partition's log begins later; answered once that is durable (G41)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.replication.events import Trim
from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import Offset

TO_HIGH_WATERMARK = -1
NO_OFFSET = -1


def handle(
    broker: Broker, request: Request, body: DeleteRecordsRequest
) -> DeleteRecordsResponse | AfterCommit:
    """Ask each partition's group for the new start, and wait until a quorum has it durably."""
    response = DeleteRecordsResponse()
    pending: list[tuple[DeleteRecordsPartitionResult, Partition, Offset]] = []
    for topic in body.topics:
        results = [
            _begin(broker, topic.name, each, request.now, pending) for each in topic.partitions
        ]
        response.topics.append(DeleteRecordsTopicResult(name=topic.name, partitions=results))
    if not pending:
        return response

    def done() -> bool:
        return all(
            partition.gone or partition.log.log_start_offset >= offset
            for _, partition, offset in pending
        )

    def finish(committed: bool, now: Now) -> DeleteRecordsResponse:
        for result, partition, offset in pending:
            if partition.gone:
                result.error_code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif partition.log.log_start_offset >= offset:
                result.low_watermark = partition.log.log_start_offset
            else:
                result.error_code = ErrorCode.REQUEST_TIMED_OUT
        return response

    waits = [(partition, 0) for _, partition, _ in pending]
    return AfterCommit(waits, request.now.monotonic_ms + max(body.timeout_ms, 0), finish, done)


def _begin(
    broker: Broker,
    topic: str,
    wanted: DeleteRecordsPartition,
    now: Now,
    pending: list[tuple[DeleteRecordsPartitionResult, Partition, Offset]],
) -> DeleteRecordsPartitionResult:
    """Begin one partition's deletion; the result has its answer or stands in `pending`."""
    result = DeleteRecordsPartitionResult(
        partition_index=wanted.partition_index, low_watermark=NO_OFFSET
    )
    partition = broker.partition(topic, wanted.partition_index)
    try:
        if partition is None:
            raise KafkaError(broker.why_absent(topic, wanted.partition_index))
        if not partition.takes_writes:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if "delete" not in partition.config.cleanup_policy:
            raise KafkaError(ErrorCode.POLICY_VIOLATION)
        offset = wanted.offset
        if offset == TO_HIGH_WATERMARK:
            offset = partition.high_watermark
        if not 0 <= offset <= partition.high_watermark:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    except KafkaError as error:
        result.error_code = error.code
        return result
    if offset <= partition.log.log_start_offset:
        result.low_watermark = partition.log.log_start_offset
    else:
        broker.groups.feed(partition, Trim(offset), now.monotonic_ms)
        pending.append((result, partition, offset))
    return result


HANDLER = Handler(key=21, versions=(0, 2), request=DeleteRecordsRequest, handle=handle)
