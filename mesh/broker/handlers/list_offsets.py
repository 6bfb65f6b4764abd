"""ListOffsets (key 2): where a partition begins and ends, and what was written when (G38)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.fetch import check_leader_epoch, reads_committed
from mesh.model.errors import ErrorCode, KafkaError
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from storage.disk import DiskError
from storage.errors import LogError

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition

LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3
EARLIEST_LOCAL, LATEST_TIERED, EARLIEST_PENDING_UPLOAD = -4, -5, -6
VERSION_OF = {
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
"""First version in which a client may ask for a special timestamp."""


def handle(broker: Broker, request: Request, body: ListOffsetsRequest) -> ListOffsetsResponse:
    """Answer every partition by itself."""
    seen: set[tuple[str, int]] = set()
    twice: set[tuple[str, int]] = set()
    for topic in body.topics:
        for wanted in topic.partitions:
            where = (topic.name, wanted.partition_index)
            (twice if where in seen else seen).add(where)
    response = ListOffsetsResponse()
    for topic in body.topics:
        answer = ListOffsetsTopicResponse(name=topic.name)
        response.topics.append(answer)
        for wanted in topic.partitions:
            result = ListOffsetsPartitionResponse(partition_index=wanted.partition_index)
            answer.partitions.append(result)
            try:
                if (topic.name, wanted.partition_index) in twice:
                    raise KafkaError(ErrorCode.INVALID_REQUEST)
                partition = broker.partition(topic.name, wanted.partition_index)
                if partition is None:
                    raise KafkaError(broker.why_absent(topic.name, wanted.partition_index))
                _look_up(partition, request, body, wanted, result)
            except KafkaError as error:
                result.error_code = error.code
            except (LogError, DiskError):
                result.error_code = ErrorCode.KAFKA_STORAGE_ERROR
    return response


def _look_up(
    partition: Partition,
    request: Request,
    body: ListOffsetsRequest,
    wanted: ListOffsetsPartition,
    result: ListOffsetsPartitionResponse,
) -> None:
    timestamp, log = wanted.timestamp, partition.log
    if request.api_version < VERSION_OF.get(timestamp, 1) or timestamp < EARLIEST_PENDING_UPLOAD:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
    check_leader_epoch(partition, wanted.current_leader_epoch)
    committed_only = reads_committed(body.isolation_level)
    end = partition.last_stable_offset if committed_only else partition.high_watermark
    if timestamp not in (-2, -4) and partition.high_watermark < partition.epoch_start:
        # What was inherited may be committed, and is not known to be (KIP-207).
        raise KafkaError(
            ErrorCode.OFFSET_NOT_AVAILABLE
            if request.api_version >= 5
            else ErrorCode.LEADER_NOT_AVAILABLE
        )
    match timestamp:
        case -1:  # LATEST
            result.offset, result.leader_epoch = end, partition.leader_epoch
        case -2 | -4:  # EARLIEST; without tiers EARLIEST_LOCAL is the same
            result.offset = log.log_start_offset
            epoch = log.leader_epochs.epoch_of(log.log_start_offset)
            # An empty log has no epoch of its own yet; it begins with ours.
            result.leader_epoch = epoch if epoch >= 0 else partition.leader_epoch
        case -5 | -6:  # nothing is tiered, nothing waits to be uploaded
            return
        case _:
            found = (
                log.max_timestamp()
                if timestamp == MAX_TIMESTAMP
                else log.offset_for_time(timestamp, end)
            )
            if found is not None and found[0] < end:
                result.offset, result.timestamp = found
                result.leader_epoch = log.leader_epochs.epoch_of(found[0])


HANDLER = Handler(key=2, versions=(1, 11), request=ListOffsetsRequest, handle=handle)
