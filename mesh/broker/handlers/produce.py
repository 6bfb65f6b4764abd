"""Produce (key 0): the hot path. See docs/architecture.md, "the life of a produce request".

The records of a partition are one slice of the received frame: its header is checked, its CRC
compared, 12 bytes of it are patched in place, and the log appends the slice. Nothing here looks
at a record or makes an object for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Answer, CloseConnectionError, Handler, Request
from mesh.broker.batches import check, only_batch
from mesh.broker.doubts import Doubts
from mesh.broker.handed_over import once_handed_over
from mesh.broker.purgatory import AfterCommit
from mesh.broker.records_check import InvalidRecordsError, prepare
from mesh.broker.redirects import name_leaders
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.wire.schemas.produce import (
    BatchIndexAndErrorMessage,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from storage.disk import DiskError
from storage.errors import InvalidProducerEpoch, OutOfOrderSequence
from storage.records import LOG_APPEND_TIME, read_batch_header, stamp_create_time

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import Offset


def handle(broker: Broker, request: Request, body: ProduceRequest) -> Answer:
    """Append every partition's batch, and answer when `acks` says so."""
    waits: list[tuple[Partition, Offset]] = []
    pending: list[tuple[PartitionProduceResponse, Partition, Offset, int]] = []
    response, failed, doubts = ProduceResponse(), False, Doubts(broker.groups)
    for topic in body.topic_data:
        name = topic.name if request.api_version < 13 else broker.topic_name(topic.topic_id)
        answer = TopicProduceResponse(name=topic.name, topic_id=topic.topic_id)
        response.responses.append(answer)
        for data in topic.partition_data:
            result = PartitionProduceResponse(index=data.index, base_offset=-1)
            answer.partition_responses.append(result)
            try:
                partition = _writable(broker, name, data.index, body)
                end_offset = _append(broker, partition, data, result, request)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, error.message
                if isinstance(error, InvalidRecordsError):
                    result.record_errors = [
                        BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=text)
                        for index, text in error.records
                    ]
                failed = True
                doubts.add(result, broker.partitions.get((name or "", data.index)))
                continue
            if body.acks == -1:
                broker.groups.commit(partition, request.now.monotonic_ms)
                if partition.high_watermark < end_offset or not partition.is_held(end_offset):
                    waits.append((partition, end_offset))
                    pending.append((result, partition, end_offset, partition.leadership))
    if failed:
        name_leaders(broker, request, response)
    if body.acks == 0:
        if failed:  # The only way to tell the client that its metadata may be old (G9).
            raise CloseConnectionError("a produce request with acks=0 failed")
        return None
    if not doubts and not waits:
        return once_handed_over(broker, request, body, response) if failed else response

    def finish(committed: bool, now: Now) -> ProduceResponse:
        for result, partition, end_offset, leadership in pending:
            if (error := partition.why_not_held(end_offset, leadership)) is not None:
                result.error_code, result.base_offset = error, -1
        doubts.settle()
        if doubts or not committed:
            name_leaders(broker, request, response)
        return response

    def ready() -> bool:
        return doubts.are_over and all(one.is_held(end) or one.lacks_replicas for one, end in waits)

    deadline_ms = request.now.monotonic_ms + max(body.timeout_ms, 0)
    return AfterCommit([*waits, *doubts.waits], deadline_ms, finish, ready)


def _writable(broker: Broker, name: str | None, index: int, body: ProduceRequest) -> Partition:
    """Return the partition, or raise why it takes nothing from this request."""
    if body.transactional_id is not None:
        raise KafkaError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "Transactions are not served by this version of Gossamer",
        )
    if name is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
    partition = broker.partitions.get((name, index))
    if partition is None:
        raise KafkaError(broker.why_absent(name, index))
    if not partition.takes_writes:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if body.acks not in (-1, 0, 1):
        raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
    if body.acks == -1 and (lack := partition.lacks_replicas):
        raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS, lack)
    return partition


def _append(
    broker: Broker,
    partition: Partition,
    data: PartitionProduceData,
    result: PartitionProduceResponse,
    request: Request,
) -> Offset:
    """Append one partition's batch and return the end offset that makes it committed."""
    batch, header = only_batch(data.records, request.api_version)
    check(batch, header, partition, request)
    if header.attributes & LOG_APPEND_TIME and not partition.log_append_time:
        stamp_create_time(batch)  # The one bit that Kafka mends instead of refusing (G13).
        header = read_batch_header(batch)
    if partition.needs_records:
        batch, header = prepare(batch, header, partition, request.now)
    log = partition.log
    try:
        # A duplicate is answered like its original, once that is committed (G17).
        original = log.producers.check(header) if header.producer_id >= 0 else None
        if original is None:
            base_offset = broker.append(partition, batch, header, request.now)
            append_time_ms = header.max_timestamp
        else:
            base_offset, append_time_ms = original.base_offset, original.timestamp_ms
    except OutOfOrderSequence as error:
        raise KafkaError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, str(error)) from None
    except InvalidProducerEpoch as error:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH, str(error)) from None
    except DiskError as error:
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
    result.base_offset = base_offset
    result.log_start_offset = log.log_start_offset
    if partition.log_append_time:
        result.log_append_time_ms = append_time_ms
    return base_offset + header.last_offset_delta + 1


HANDLER = Handler(
    key=0,
    versions=(3, 13),
    request=ProduceRequest,
    handle=handle,
    # librdkafka before 2.11.1 compresses nothing unless version 0 is in range (KAFKA-18659).
    advertised_min=0,
)
