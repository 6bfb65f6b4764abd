"""The slow path of Produce: settings that ask for more of a batch than its header.

It runs only for topics that are compacted, stamp the append time, limit how old a record may be,
or have a codec of their own (docs/protocol.md G13 to G15); 0.2 to 0.3 microseconds a record where
records must be looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.batches import check_size
from mesh.broker.partition import NO_LIMIT
from mesh.model.errors import ErrorCode, KafkaError
from storage.compression import Codec
from storage.errors import CorruptBatch
from storage.records import (
    BYTES_LOOKED_AT_MAX,
    RECORDS_LOOKED_AT_MAX,
    BatchHeader,
    read_batch_header,
    read_records,
    recompress,
    stamp_log_append_time,
)

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.model.types import Now


class InvalidRecordsError(KafkaError):
    """Some records of a batch are refused, and so the whole batch."""

    def __init__(self, code: ErrorCode, message: str, records: list[tuple[int, str]]) -> None:
        """`records`: index within the batch, and what is wrong with each."""
        super().__init__(code, message)
        self.records = records


def prepare(
    batch: memoryview, header: BatchHeader, partition: Partition, now: Now
) -> tuple[memoryview, BatchHeader]:
    """Check a batch record by record where that is asked for; give it codec and append time.

    Raises:
        InvalidRecordsError: with the records that are refused.
        KafkaError: the records cannot be read.
    """
    oldest_ms = now.wall_ms - partition.config.timestamp_before_ms_max
    limited = partition.config.timestamp_before_ms_max < NO_LIMIT and not partition.log_append_time
    keyed = "compact" in partition.config.cleanup_policy
    if keyed or limited:
        _check_each(batch, partition, oldest_ms if limited else None, keyed=keyed)
    if partition.config.compression_type != "producer":
        batch = _in_codec(batch, header, partition)
        header = read_batch_header(batch)
    if partition.log_append_time:
        stamp_log_append_time(batch, now.wall_ms)
        header = read_batch_header(batch)
    return batch, header


def _in_codec(batch: memoryview, header: BatchHeader, partition: Partition) -> memoryview:
    """Return the batch in the codec that its topic asks for; one that has it already, as it is."""
    config = partition.config
    codec, level = {
        "uncompressed": (Codec.NONE, None),
        "gzip": (Codec.GZIP, config.compression_gzip_level),
        "snappy": (Codec.SNAPPY, None),
        "lz4": (Codec.LZ4, config.compression_lz4_level),
        "zstd": (Codec.ZSTD, config.compression_zstd_level),
    }[config.compression_type]
    if header.codec == codec:
        return batch
    try:
        found = recompress(batch, codec, level)
    except CorruptBatch as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(error)) from None
    if found is None:
        return batch  # Too much for the one thread; as sent, every consumer can read it, too.
    check_size(len(found), partition)
    return memoryview(found)


def _check_each(
    batch: memoryview, partition: Partition, oldest_ms: int | None, *, keyed: bool
) -> None:
    keyless: list[tuple[int, str]] = []
    if (count := read_batch_header(batch).record_count) > RECORDS_LOOKED_AT_MAX:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{partition.name} has settings for which records are looked at one by one; {count} "
            f"in a batch are too many for that, the bound is {RECORDS_LOOKED_AT_MAX}",
        )
    try:
        records = read_records(batch, unpacked_bytes_max=BYTES_LOOKED_AT_MAX)
        for index, record in enumerate(records):
            if keyed and record.key is None:
                text = (
                    "Compacted topic cannot accept message without key in topic partition "
                    f"{partition.name}."
                )
                keyless.append((index, text))
            if oldest_ms is not None and record.timestamp_ms < oldest_ms:
                text = (
                    f"Timestamp {record.timestamp_ms} of message with offset {index} is out of "
                    f"range. The timestamp should be at least {oldest_ms}"
                )
                raise InvalidRecordsError(ErrorCode.INVALID_TIMESTAMP, text, [(index, text)])
    except CorruptBatch as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(error)) from None
    if keyless:
        raise InvalidRecordsError(
            ErrorCode.INVALID_RECORD, "One or more records have been rejected", keyless
        )
