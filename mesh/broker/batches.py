"""What a broker asks of a batch before it appends it, from its header alone.

Records are neither parsed nor decompressed here; topics whose settings need that go through
`mesh.broker.records_check`. Codes and texts are those of Kafka 4.3 (docs/protocol.md G11 to G16).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.model.errors import ErrorCode, KafkaError
from mesh.wire import Parts
from storage.compression import Codec
from storage.records import (
    CODEC_MASK,
    CONTROL,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeader,
    crc_matches,
    read_batch_header,
)

if TYPE_CHECKING:
    from mesh.broker.api import Request
    from mesh.broker.partition import Partition
    from storage.types import Buffer

ADMIN_CLIENT_ID = "__admin_client"
"""Who calls itself so may write to internal topics, as with Kafka: a tool that mends them."""

MAGIC_AT = 16
LENGTH_END = 12
"""Bytes before and including the batch's length field, which counts what follows it."""
SMALLEST_LEGACY = 14
"""No record of any format is shorter (Kafka's RECORD_OVERHEAD_V0)."""


def only_batch(records: Buffer | Parts | None, version: int) -> tuple[memoryview, BatchHeader]:
    """Return the one batch that a Produce request may carry for a partition, and its header.

    Raises:
        KafkaError: none, more than one, of another format, or a codec the version cannot have.
    """
    # Decoded records are a slice of the frame or nothing; Parts exist only to be encoded.
    view = records if isinstance(records, memoryview) else memoryview(b"")
    size = _batch_size(view)
    if size is None:
        raise _invalid(
            f"Produce requests with version {version} must have at least one record batch per "
            "partition"
        )
    if view[MAGIC_AT] != 2:
        raise _invalid(
            f"Produce requests with version {version} are only allowed to contain record batches "
            "with magic version 2"
        )
    if size < HEADER_SIZE:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of {size} bytes has no whole header")
    batch = view[:size]
    header = read_batch_header(batch)
    codec = header.attributes & CODEC_MASK
    if codec > Codec.ZSTD:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"No codec has number {codec}")
    if codec == Codec.ZSTD and version < 7:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
            f"Produce requests with version {version} are not allowed to use ZStandard compression",
        )
    if len(view) > size and _batch_size(view[size:]) is not None:
        raise _invalid(
            f"Produce requests with version {version} are only allowed to contain exactly one "
            "record batch per partition"
        )
    return batch, header  # Bytes after it that are no batch are dropped, as Kafka does.


def _batch_size(view: memoryview) -> int | None:
    """Return the size of the batch that begins here; None if it is not all there.

    Raises:
        KafkaError: what begins here cannot be a batch.
    """
    if len(view) <= MAGIC_AT:
        return None
    size = LENGTH_END + int.from_bytes(view[8:LENGTH_END], "big", signed=True)
    if size < LENGTH_END + SMALLEST_LEGACY:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"Record size {size - LENGTH_END} is less than the minimum record overhead "
            f"({SMALLEST_LEGACY})",
        )
    if view[MAGIC_AT] > 2:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"Invalid magic found in record: {int.from_bytes(view[16:17], 'big', signed=True)}",
        )
    return None if size > len(view) else size


def check(batch: memoryview, header: BatchHeader, partition: Partition, request: Request) -> None:
    """Refuse what must not get into this partition's log.

    Raises:
        KafkaError: with Kafka's code for the first thing that is wrong.
    """
    config, now = partition.config, request.now
    if partition.is_internal and request.client_id != ADMIN_CLIENT_ID:
        text = f"Cannot append to internal topic {partition.topic}"
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, text)
    if header.attributes & TRANSACTIONAL:
        raise KafkaError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "Transactions are not served by this version of Gossamer",
        )
    if header.base_offset != 0:
        raise _invalid(
            f"The baseOffset of the record batch in the append to {partition.name} should be 0, "
            f"but it is {header.base_offset}"
        )
    check_size(len(batch), partition)
    if not crc_matches(batch):
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"Record is corrupt (stored crc = {header.crc}) in topic partition {partition.name}.",
        )
    _check_counts(header)
    if len(batch) > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"Message batch size is {len(batch)} bytes in append to partition {partition.name}, "
            f"which exceeds the maximum configured segment size of {config.segment_bytes}.",
        )
    if not partition.log_append_time:
        after_ms = header.max_timestamp - now.wall_ms
        if after_ms > config.timestamp_after_ms_max:
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP,
                f"Timestamp {header.max_timestamp} of message with offset 0 is out of range. The "
                "timestamp should be within "
                f"[{now.wall_ms - config.timestamp_before_ms_max}, "
                f"{now.wall_ms + config.timestamp_after_ms_max}]",
            )
    elif header.attributes & LOG_APPEND_TIME:
        raise KafkaError(
            ErrorCode.INVALID_TIMESTAMP,
            "Invalid timestamp type in message. Producer should not set timestamp type to "
            "LogAppendTime.",
        )


def check_size(size: int, partition: Partition) -> None:
    """Refuse a batch of so many bytes if the topic takes none that large.

    Raises:
        KafkaError: MESSAGE_TOO_LARGE.
    """
    if size > partition.config.batch_bytes_max:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The record batch size in the append to {partition.name} is {size} bytes which "
            f"exceeds the maximum configured value of {partition.config.batch_bytes_max}.",
        )


def _check_counts(header: BatchHeader) -> None:
    last_offset, count = header.last_offset_delta, header.record_count
    if last_offset + 1 <= 0:
        raise _invalid(f"Batch has an invalid offset range: [0, {last_offset}]")
    if count <= 0:
        raise _invalid(f"Invalid reported count for record batch: {count}")
    if last_offset + 1 != count:
        raise _invalid(
            f"Inconsistent batch offset range [0, {last_offset}] and count of records {count}"
        )
    if header.attributes & CONTROL:
        raise _invalid("Clients are not allowed to write control records")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise _invalid(
            f"Invalid sequence number {header.base_sequence} in record batch with producerId "
            f"{header.producer_id}"
        )


def _invalid(text: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, text)
