"""Writes what compaction keeps into a new segment, without a hole and with every offset kept.

A batch that survives, whole or in part, keeps its first and its last offset, as in Kafka. Kafka
leaves holes where whole batches vanish. Here the batch before stretches over them if it may, or an
empty batch stands there, so that the batches of a log still follow one another.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from crc32c import crc32c

from storage.compression import compress
from storage.disk import File
from storage.errors import DamagedLog
from storage.keymap import Kept
from storage.records import (
    CODEC_MASK,
    CONTROL,
    DELETE_HORIZON,
    HEADER_SIZE,
    LENGTH_PREFIX_SIZE,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    BatchHeader,
    read_batch_header,
    read_varint,
    write_varint,
)
from storage.segment import Segment
from storage.types import Buffer, LeaderEpoch, Offset, TimestampMs

READ_BYTES = 1 << 20
"""Read at once; a larger batch is read whole."""

WRITE_BYTES = 1 << 20
"""Gathered before it is written."""

DELTA_MAX = (1 << 31) - 1
"""An offset of a batch is an int32, counted from its first."""

_HEADER = Struct(">qiibIhiqqqhii")
_DELTA = Struct(">i")
_CRC = Struct(">I")


def batches_in(file: File, size: int, path: str) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Yield the batches of a closed segment's file, unchecked but for their lengths.

    What is yielded stays valid. Raises DamagedLog where there is no whole batch.
    """
    chunk = b""
    chunk_at = position = 0
    while position < size:
        at = position - chunk_at
        if at + HEADER_SIZE > len(chunk):
            chunk, chunk_at, at = file.read(position, READ_BYTES), position, 0
        if len(chunk) < at + HEADER_SIZE:
            raise DamagedLog(path, -1, position, "a batch is cut")
        header = read_batch_header(chunk, at)
        batch_size = header.batch_size
        if header.magic != MAGIC or batch_size < HEADER_SIZE or position + batch_size > size:
            raise DamagedLog(path, header.base_offset, position, "there is no whole batch")
        if at + batch_size > len(chunk):
            chunk, chunk_at, at = file.read(position, max(batch_size, READ_BYTES)), position, 0
        yield header, memoryview(chunk)[at : at + batch_size]
        position += batch_size


def rebuild(
    header: BatchHeader, data: bytes, kept: Kept, horizon_ms: TimestampMs | None
) -> tuple[BatchHeader, bytearray]:
    """Return a batch of the kept records, with the offsets and the producer of the old one.

    Args:
        header: of the old batch.
        data: its records, unpacked.
        kept: which of them stay; at least one.
        horizon_ms: from when on its tombstones may go (KIP-534), None if that stays as it is.
            The time takes the place of the base timestamp, from which the records' times count.
    """
    attributes, base_timestamp = header.attributes, header.base_timestamp
    shift = 0
    if horizon_ms is not None:
        attributes |= DELETE_HORIZON
        base_timestamp, shift = horizon_ms, header.base_timestamp - horizon_ms
    newest_delta, pieces = _shifted(data, kept, shift) if shift else _copied(data, kept)
    if attributes & LOG_APPEND_TIME:
        max_timestamp = header.max_timestamp
    else:
        max_timestamp = header.base_timestamp + newest_delta
    body = compress(attributes & CODEC_MASK, b"".join(pieces))
    found = header._replace(
        batch_length=HEADER_SIZE - LENGTH_PREFIX_SIZE + len(body),
        attributes=attributes,
        base_timestamp=base_timestamp,
        max_timestamp=max_timestamp,
        record_count=len(kept.starts),
    )
    return found, _encode(found, body)


def _copied(data: bytes, kept: Kept) -> tuple[int, list[bytes]]:
    """Return the largest timestamp delta of the kept records, and their bytes in few pieces."""
    pieces: list[bytes] = []
    ends = kept.ends
    newest = -(1 << 63)
    begin = stop = kept.starts[0]
    for number, start in enumerate(kept.starts):
        if start != stop:
            pieces.append(data[begin:stop])
            begin = start
        stop = ends[number]
        at = start + (2 if data[start] < 0x80 else 3 if data[start + 1] < 0x80 else 0)
        if at > start and (delta := data[at]) < 0x80:
            delta = (delta >> 1) ^ -(delta & 1)
        else:
            delta = read_varint(data, read_varint(data, start)[1] + 1)[0]
        if delta > newest:
            newest = delta
    pieces.append(data[begin:stop])
    return newest, pieces


def _shifted(data: bytes, kept: Kept, shift: int) -> tuple[int, list[bytes]]:
    """Return the largest timestamp delta, and the records with `shift` added to each."""
    pieces: list[bytes] = []
    newest = -(1 << 63)
    for start, end in zip(kept.starts, kept.ends, strict=True):
        _, at = read_varint(data, start)
        delta, rest = read_varint(data, at + 1)
        newest = max(newest, delta)
        body = data[at : at + 1] + write_varint(delta + shift) + data[rest:end]
        pieces.append(write_varint(len(body)) + body)
    return newest, pieces


def _encode(header: BatchHeader, body: bytes = b"") -> bytearray:
    batch = bytearray(HEADER_SIZE)
    batch += body
    _HEADER.pack_into(batch, 0, *header)
    _CRC.pack_into(batch, 17, crc32c(memoryview(batch)[21:]))
    return batch


class _Pending(NamedTuple):
    """A batch that is not written yet, because it may still stretch over what vanishes next."""

    header: BatchHeader
    batch: Buffer
    last_offset: Offset
    stretches: bool


def empty(
    base_offset: Offset,
    last_offset: Offset,
    leader_epoch: LeaderEpoch,
    max_timestamp: TimestampMs = -1,
) -> BatchHeader:
    """Return the header of a batch that stands for offsets of which no record is left."""
    return BatchHeader(
        base_offset,
        HEADER_SIZE - LENGTH_PREFIX_SIZE,
        leader_epoch,
        MAGIC,
        0,
        0,
        last_offset - base_offset,
        max_timestamp,
        max_timestamp,
        -1,
        -1,
        -1,
        0,
    )


def filler(header: BatchHeader, base_offset: Offset) -> bytes:
    """Return an empty batch that stands for the offsets of another one from `base_offset` on."""
    last_offset, newest = header.last_offset, header.max_timestamp
    return bytes(_encode(empty(base_offset, last_offset, header.leader_epoch, newest)))


class Rewriter:
    """A new segment that takes the place of old ones; thread-safe in that one thread has it."""

    __slots__ = ("_has_time", "_newest", "_pending", "_written", "changed", "segment")

    def __init__(self, segment: Segment) -> None:
        """`segment` is new, empty and held."""
        self.segment = segment
        self.changed = False
        """Whether anything is other than it was."""
        self._pending: _Pending | None = None
        self._written: list[Buffer] = []
        self._newest: TimestampMs = -1
        self._has_time = False

    @property
    def size(self) -> int:
        """Bytes so far, with what is not written yet."""
        pending = self._pending
        return self.segment.size + (len(pending.batch) if pending else 0)

    def keep(self, header: BatchHeader, batch: Buffer) -> None:
        """Put a batch behind what is there."""
        self._flush_pending()
        # What a producer's batch covers tells its sequence; and markers stay as they are.
        free = header.producer_id < 0 and not header.attributes & (CONTROL | TRANSACTIONAL)
        self._pending = _Pending(header, batch, header.last_offset, free)

    def drop(self, header: BatchHeader) -> None:
        """Let a batch vanish: nothing but its offsets stays."""
        self.changed = self.changed or header.record_count > 0
        pending, last_offset = self._pending, header.last_offset
        self._newest = max(self._newest, header.max_timestamp)
        if (
            pending is not None
            and pending.stretches
            and pending.header.leader_epoch == header.leader_epoch
            and last_offset - pending.header.base_offset <= DELTA_MAX
        ):
            self._pending = pending._replace(last_offset=last_offset)
            return
        filler = empty(header.base_offset, last_offset, header.leader_epoch)
        self.keep(filler, b"")

    def drop_records(self, header: BatchHeader) -> None:
        """Let a batch's records vanish, but not what it tells of its producer."""
        self.changed = self.changed or header.record_count > 0
        kept = empty(
            header.base_offset, header.last_offset, header.leader_epoch, header.max_timestamp
        )._replace(
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            base_sequence=header.base_sequence,
        )
        self.keep(kept, b"")

    def finish(self) -> None:
        """Write the rest; the indexes are sealed, nothing is synced. Raises DiskError."""
        pending = self._pending
        if pending is not None and not pending.batch and not self._has_time:
            # Retention goes by time, so a segment has one, even if no record is left in it.
            newest = max(self._newest, pending.header.max_timestamp)
            header = pending.header._replace(max_timestamp=newest)
            self._pending = pending._replace(header=header)
        self._flush_pending()
        self._write()
        self.segment.seal()

    def _flush_pending(self) -> None:
        pending = self._pending
        if pending is None:
            return
        header, batch = pending.header, pending.batch
        if not batch:
            header = header._replace(last_offset_delta=pending.last_offset - header.base_offset)
            batch = _encode(header)
        elif pending.last_offset != header.last_offset:
            batch = bytearray(batch)
            _DELTA.pack_into(batch, 23, pending.last_offset - header.base_offset)
            _CRC.pack_into(batch, 17, crc32c(memoryview(batch)[21:]))
        segment = self.segment
        self._has_time = self._has_time or header.max_timestamp >= 0
        segment.note(segment.size, len(batch), pending.last_offset, header.max_timestamp)
        segment.size += len(batch)
        self._written.append(batch)
        self._pending = None
        if segment.size - segment.file.size >= WRITE_BYTES:
            self._write()

    def _write(self) -> None:
        if self._written:
            self.segment.file.append(self._written)
            self._written = []
        if self.segment.crowded:
            self.segment.flush()
