"""Record batches, version 2: parse the header, check, stamp, read and build (KIP-98).

The broker's hot path uses only `read_batch_header`, `crc_matches` and `stamp`; nothing there
looks at a record. The layout is docs/protocol.md G12:

    base_offset i64@0 · length i32@8 (of what follows) · leader_epoch i32@12 · magic i8@16 ·
    crc u32@17 (CRC-32C of byte 21 to the end) · attributes i16@21 · last_offset_delta i32@23 ·
    base_timestamp i64@27 · max_timestamp i64@35 · producer_id i64@43 · producer_epoch i16@51 ·
    base_sequence i32@53 · record_count i32@57 · records@61
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from storage.compression import compress, decompress
from storage.errors import BatchTooLarge, CorruptBatch
from storage.types import Buffer, LeaderEpoch, Offset, TimestampMs

HEADER_SIZE = 61
LENGTH_PREFIX_SIZE = 12
"""base_offset and length: what `batch_length` does not count."""

MAGIC = 2
CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

RECORD_SIZE_MIN = 7
"""Bytes of a record with null key, null value and no headers, its length byte included."""

UNPACKED_BYTES_MAX = 256 << 20
"""What `read_records` unpacks a batch to, at most; Kafka's clients have no bound here."""

RECORDS_LOOKED_AT_MAX = 100_000
BYTES_LOOKED_AT_MAX = 64 << 20
"""What a broker looks at of one batch, at most: some 0.3 s of its only thread."""

RECOMPRESSED_BYTES_MAX = 8 << 20
"""Unpacked bytes of a batch that is compressed anew, at most: some 0.3 s with gzip or zstd at
their default levels; Kafka's clients send batches of 16 KiB to 1 MiB."""

_HEADER = Struct(">qiibIhiqqqhii")
_OFFSET = Struct(">q")
_INT32 = Struct(">i")
_CRC = Struct(">I")
_ATTRIBUTES = Struct(">h")
_LENGTH = Struct(">i")


class BatchHeader(NamedTuple):
    """The 61 bytes before the records, field by field."""

    base_offset: Offset
    batch_length: int
    """Bytes after this field: the whole batch is 12 longer, see `batch_size`."""
    leader_epoch: LeaderEpoch
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: TimestampMs
    max_timestamp: TimestampMs
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def batch_size(self) -> int:
        """Bytes of the whole batch."""
        return self.batch_length + LENGTH_PREFIX_SIZE

    @property
    def last_offset(self) -> Offset:
        """Offset of the last record (inclusive)."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> int:
        """One of storage.compression.Codec, or a number that is none of them."""
        return self.attributes & CODEC_MASK


@dataclass(slots=True)
class Record:
    """One record. `headers` in order, keys may repeat.

    A header key that is not UTF-8 is kept with surrogate escapes, so that nothing is lost.
    """

    offset: Offset
    timestamp_ms: TimestampMs
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def read_batch_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """Return the header at `position`, unchecked but for its presence.

    Raises CorruptBatch if fewer than 61 bytes are there.
    """
    if len(buffer) - position < HEADER_SIZE:
        raise CorruptBatch("a batch header ends too early")
    return BatchHeader._make(_HEADER.unpack_from(buffer, position))


def crc_matches(batch: Buffer) -> bool:
    """Whether `batch`, a whole one and nothing more, is what was checksummed.

    Raises CorruptBatch if it is shorter than a header.
    """
    if len(batch) < HEADER_SIZE:
        raise CorruptBatch("a batch header ends too early")
    expected: int = _CRC.unpack_from(batch, 17)[0]
    return crc32c(memoryview(batch)[21:]) == expected


def crc_of(pieces: Iterable[Buffer]) -> int:
    """Return the CRC-32C of what comes in pieces: of a batch, from byte 21 to its end."""
    crc = 0
    for piece in pieces:
        crc = crc32c(piece, crc)
    return crc


def stamp(batch: bytearray | memoryview, base_offset: Offset, leader_epoch: LeaderEpoch) -> None:
    """Write offset and epoch in place; the checksum does not cover them."""
    _OFFSET.pack_into(batch, 0, base_offset)
    _INT32.pack_into(batch, 12, leader_epoch)


def stamp_log_append_time(batch: bytearray | memoryview, wall_ms: TimestampMs) -> None:
    """Make the broker's time the time of all records, in place, with a new checksum."""
    attributes: int = _ATTRIBUTES.unpack_from(batch, 21)[0]
    _set_time(batch, attributes | LOG_APPEND_TIME, wall_ms)


def stamp_create_time(batch: bytearray | memoryview) -> None:
    """Clear the log-append-time bit that a client must not set, in place (docs/protocol.md G13)."""
    header = read_batch_header(batch)
    if header.attributes & LOG_APPEND_TIME:
        _set_time(batch, header.attributes & ~LOG_APPEND_TIME, header.max_timestamp)


def _set_time(batch: bytearray | memoryview, attributes: int, max_timestamp: TimestampMs) -> None:
    _ATTRIBUTES.pack_into(batch, 21, attributes)
    _OFFSET.pack_into(batch, 35, max_timestamp)
    _CRC.pack_into(batch, 17, crc32c(memoryview(batch)[21:]))


def recompress(batch: Buffer, codec: int, level: int | None = None) -> bytearray | None:
    """Return a whole batch with its records under another codec and a new checksum.

    The records themselves are not looked at. None: they unpack to more than
    RECOMPRESSED_BYTES_MAX, which would hold up everybody else.

    Raises CorruptBatch if they cannot be unpacked.
    """
    header = read_batch_header(batch)
    packed = memoryview(batch)[HEADER_SIZE:]
    try:
        plain = decompress(header.codec, packed, bytes_max=RECOMPRESSED_BYTES_MAX)
    except BatchTooLarge:
        return None
    found = bytearray(memoryview(batch)[:HEADER_SIZE]) + compress(codec, plain, level)
    _LENGTH.pack_into(found, 8, len(found) - LENGTH_PREFIX_SIZE)
    _ATTRIBUTES.pack_into(found, 21, (header.attributes & ~CODEC_MASK) | codec)
    _CRC.pack_into(found, 17, crc32c(memoryview(found)[21:]))
    return found


def batches(buffer: Buffer) -> Iterator[memoryview]:
    """Yield the whole batches at the start of `buffer`; a cut one at the end is left out.

    Raises CorruptBatch where a length is impossible.
    """
    view = memoryview(buffer)
    position = 0
    while position + LENGTH_PREFIX_SIZE <= len(view):
        length: int = _LENGTH.unpack_from(view, position + 8)[0]
        if length < HEADER_SIZE - LENGTH_PREFIX_SIZE:
            raise CorruptBatch(f"a batch claims a length of {length} bytes")
        end = position + LENGTH_PREFIX_SIZE + length
        if end > len(view):
            return
        yield view[position:end]
        position = end


def read_records(
    batch: Buffer, *, unpacked_bytes_max: int = UNPACKED_BYTES_MAX
) -> Iterator[Record]:
    """Yield the records of one whole batch, unpacked.

    The checksum is the caller's to check. Control records are yielded like any other.

    Raises:
        CorruptBatch: the records are not what the header says, or not records.
        BatchTooLarge: they would unpack to more than `unpacked_bytes_max` bytes.
    """
    header = read_batch_header(batch)
    if header.magic != MAGIC:
        raise CorruptBatch(f"magic {header.magic} is not 2")
    if header.batch_size != len(batch):
        raise CorruptBatch(f"{len(batch)} bytes are not the {header.batch_size} announced")
    packed = memoryview(batch)[HEADER_SIZE:]
    data = bytes(decompress(header.codec, packed, bytes_max=unpacked_bytes_max))
    if not 0 <= header.record_count * RECORD_SIZE_MIN <= len(data):
        raise CorruptBatch(f"{header.record_count} records cannot be in {len(data)} bytes")
    position = 0
    try:
        for _ in range(header.record_count):
            record, position = _read_record(data, position, header)
            yield record
    except IndexError as error:
        raise CorruptBatch("a record ends too early") from error
    if position != len(data):
        raise CorruptBatch(f"{len(data) - position} bytes follow the last record")


def _read_record(data: bytes, position: int, header: BatchHeader) -> tuple[Record, int]:
    length, position = read_varint(data, position)
    end = position + length
    if length < 0 or end > len(data):
        raise CorruptBatch(f"a record claims a length of {length} bytes")
    # One byte of attributes: unused so far.
    timestamp_delta, position = read_varint(data, position + 1)
    offset_delta, position = read_varint(data, position)
    key, position = _read_bytes(data, position)
    value, position = _read_bytes(data, position)
    if not data[position]:  # No headers, as in nearly all.
        header_count, position = 0, position + 1
    else:
        header_count, position = read_varint(data, position)
    if not 0 <= header_count * 2 <= end - position:  # A header takes two bytes at least.
        raise CorruptBatch(f"a record claims {header_count} headers")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(header_count):
        name, position = _read_bytes(data, position)
        if name is None:
            raise CorruptBatch("a record header has no key")
        content, position = _read_bytes(data, position)
        headers.append((name.decode("utf-8", "surrogateescape"), content))
    if position != end:
        raise CorruptBatch(f"a record of {length} bytes holds {length + position - end}")
    if header.attributes & LOG_APPEND_TIME:
        timestamp_ms = header.max_timestamp
    else:
        timestamp_ms = header.base_timestamp + timestamp_delta
    return Record(header.base_offset + offset_delta, timestamp_ms, key, value, headers), position


def _read_bytes(data: bytes, position: int) -> tuple[bytes | None, int]:
    length, position = read_varint(data, position)
    if length < 0:
        return None, position
    end = position + length
    if end > len(data):
        raise CorruptBatch(f"a field claims a length of {length} bytes")
    return data[position:end], end


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a zigzag varint of at most 64 bits, and where it ends."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    number = byte & 0x7F
    for shift in range(7, 70, 7):
        position += 1
        byte = data[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position + 1
    raise CorruptBatch("a varint has more than ten bytes")


def write_varint(number: int) -> bytes:
    """Return a zigzag varint of a number of at most 64 bits."""
    number = (number << 1) ^ (number >> 63)
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_VARINTS = tuple(map(write_varint, range(2_048)))
"""Of lengths and deltas as most records have them."""
_NO_BYTES = b"\x01"
"""The length -1: null."""


def _field(data: bytes | None) -> bytes:
    if data is None:
        return _NO_BYTES
    size = len(data)
    return (_VARINTS[size] if size < len(_VARINTS) else write_varint(size)) + data


def _encode(record: Record, timestamp_delta: int, offset_delta: int) -> bytes:
    known = len(_VARINTS)
    before = _VARINTS[timestamp_delta] if 0 <= timestamp_delta < known else None
    delta = _VARINTS[offset_delta] if offset_delta < known else write_varint(offset_delta)
    parts = [
        b"\x00",
        write_varint(timestamp_delta) if before is None else before,
        delta,
        _field(record.key),
        _field(record.value),
        write_varint(len(record.headers)) if record.headers else b"\x00",
    ]
    for name, content in record.headers:
        parts.append(_field(name.encode("utf-8", "surrogateescape")))
        parts.append(_field(content))
    body = b"".join(parts)
    size = len(body)
    return (_VARINTS[size] if size < known else write_varint(size)) + body


def build_batch(
    records: Sequence[Record],
    *,
    codec: int = 0,
    base_offset: Offset = 0,
    leader_epoch: LeaderEpoch = -1,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    transactional: bool = False,
    control: bool = False,
) -> bytearray:
    """Return one whole batch of at least one record, checksum included.

    The records take consecutive offsets from `base_offset`; their own `offset` is not looked at.
    """
    assert records, "a batch holds at least one record"
    base_timestamp = records[0].timestamp_ms
    body = b"".join(
        [
            _encode(record, record.timestamp_ms - base_timestamp, delta)
            for delta, record in enumerate(records)
        ]
    )
    if codec:
        body = compress(codec, body)
    attributes = codec | TRANSACTIONAL * transactional | CONTROL * control
    batch = bytearray(HEADER_SIZE + len(body))
    batch[HEADER_SIZE:] = body
    _HEADER.pack_into(
        batch,
        0,
        base_offset,
        len(batch) - LENGTH_PREFIX_SIZE,
        leader_epoch,
        MAGIC,
        0,
        attributes,
        len(records) - 1,
        base_timestamp,
        max([record.timestamp_ms for record in records]),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    _CRC.pack_into(batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


def build_batch_of_pairs(
    pairs: Sequence[tuple[bytes | None, bytes | None]], timestamp_ms: TimestampMs
) -> bytearray:
    """Return what `build_batch` makes of keys and values of one instant, in two thirds of the time.

    Args:
        pairs: at least one.
        timestamp_ms: of all of them.
    """
    assert pairs, "a batch holds at least one record"
    known, parts = len(_VARINTS), []
    for delta, (key, value) in enumerate(pairs):
        body = b"".join(
            (
                b"\0\0",  # no attributes, no milliseconds after the first
                _VARINTS[delta] if delta < known else write_varint(delta),
                _field(key),
                _field(value),
                b"\0",
            )
        )
        size = len(body)
        parts.append(_VARINTS[size] if size < known else write_varint(size))
        parts.append(body)
    records, count = b"".join(parts), len(pairs)
    size = HEADER_SIZE - LENGTH_PREFIX_SIZE + len(records)
    plain = (0, size, -1, MAGIC, 0, 0, count - 1, timestamp_ms, timestamp_ms, -1, -1, -1, count)
    batch = bytearray(_HEADER.pack(*plain))
    batch += records
    _CRC.pack_into(batch, 17, crc32c(memoryview(batch)[21:]))
    return batch
