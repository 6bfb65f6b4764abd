"""Record batches, right and wrong, built from Kafka's format and not from our own code.

The harness shares nothing with `storage.records`, so that both cannot be wrong in the same way.
Every field of the header can be set to a lie; the CRC is made right afterwards unless it is the
lie.
"""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cramjam
import crc32c
import lz4.frame
import zstandard

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32

T0 = int(time.time() * 1000) - 3_600_000
"""Timestamp of first records, wall ms: an hour ago, where no retention and no limit touches it."""

HEADER = struct.Struct("!qiibIhiqqqhii")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a batch; deltas count from the batch's first."""

    value: bytes | None = b"value"
    key: bytes | None = None
    headers: tuple[tuple[bytes, bytes | None], ...] = ()
    timestamp_delta: int | None = None
    """None: its place in the batch."""
    offset_delta: int | None = None
    """None: its place in the batch."""


def _snappy(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw))


def _lz4(raw: bytes) -> bytes:
    return bytes(lz4.frame.compress(raw, block_linked=False))


def _zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    GZIP: lambda raw: gzip.compress(raw, mtime=0),
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}


def varint(value: int) -> bytes:
    """Return Kafka's zigzag variable-length form of a signed number."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _blob(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record_bytes(record: Record, place: int) -> bytes:
    """Return one record in its v2 form, with its length in front."""
    timestamp = place if record.timestamp_delta is None else record.timestamp_delta
    offset = place if record.offset_delta is None else record.offset_delta
    body = b"\0" + varint(timestamp) + varint(offset) + _blob(record.key) + _blob(record.value)
    body += varint(len(record.headers))
    for name, value in record.headers:
        body += _blob(name) + _blob(value)
    return varint(len(body)) + body


def batch(
    *values: bytes | Record | None,
    codec: int = 0,
    attributes: int = 0,
    base_offset: int = 0,
    length: int | None = None,
    leader_epoch: int = -1,
    magic: int = 2,
    crc: int | None = None,
    last_offset_delta: int | None = None,
    base_timestamp: int = T0,
    max_timestamp: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    count: int | None = None,
    payload: bytes | None = None,
) -> bytes:
    """Return one batch of these records; whatever is given stands in it as given, true or not."""
    records = [value if isinstance(value, Record) else Record(value) for value in values]
    raw = b"".join(record_bytes(record, place) for place, record in enumerate(records))
    if payload is None:
        payload = COMPRESS[codec](raw)
    deltas = [
        place if record.timestamp_delta is None else record.timestamp_delta
        for place, record in enumerate(records)
    ]
    tail = struct.pack(
        "!hiqqqhii",
        codec | attributes,
        len(records) - 1 if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        base_timestamp + max(deltas, default=0) if max_timestamp is None else max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        len(records) if count is None else count,
    )
    tail += payload
    head = struct.pack(
        "!qiibI",
        base_offset,
        len(tail) + 9 if length is None else length,
        leader_epoch,
        magic,
        crc32c.crc32c(tail) if crc is None else crc,
    )
    return head + tail


def describe(records: bytes) -> list[dict[str, object]]:
    """Return what stands in fetched records, batch by batch, for a comparison field by field.

    A last batch that was cut off by the answer's size limit is named as such.
    """
    found: list[dict[str, object]] = []
    position = 0
    while position < len(records):
        if len(records) - position < HEADER.size:
            found.append({"cut_off": True})
            break
        fields = HEADER.unpack_from(records, position)
        end = position + 12 + fields[1]
        if end > len(records):
            found.append({"cut_off": True})
            break
        found.append(_describe_batch(records[position:end], fields))
        position = end
    return found


def _describe_batch(whole: bytes, fields: Sequence[int]) -> dict[str, object]:
    base_offset, length, leader_epoch, magic, crc, attributes, last_delta = fields[:7]
    return {
        "base_offset": base_offset,
        "length": length,
        "leader_epoch": leader_epoch,
        "magic": magic,
        "crc_right": crc == crc32c.crc32c(whole[21:]),
        "attributes": attributes,
        "last_offset_delta": last_delta,
        "base_timestamp": fields[7],
        "max_timestamp": fields[8],
        # An id that the producer chose, so no id of a broker's.
        "by_producer": tuple(fields[9:12]),
        "count": fields[12],
        "payload": whole[HEADER.size :].hex()
        if len(whole) < 200
        else hash_of(whole[HEADER.size :]),
    }


def hash_of(data: bytes) -> str:
    """Return a short name of these bytes."""
    return f"{len(data)} bytes, CRC-32C {crc32c.crc32c(data):08x}"
