"""A `.log` file, batch by batch: walked, never loaded, and gone on with behind what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from storage.compression import Codec
from storage.disk import File
from storage.errors import CorruptBatch
from storage.records import (
    CONTROL,
    DELETE_HORIZON,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    MAGIC,
    TRANSACTIONAL,
    BatchHeader,
    Record,
    crc_of,
    read_batch_header,
    read_records,
)
from storage.types import LeaderEpoch, Offset
from tools.dump.rows import DAMAGED, TORN, Counted, Row, Rows, Wanted, problem, shown

WALK_BYTES = 64 << 10
SEARCH_BYTES = 1 << 20
"""Read at once where the next sound batch is looked for, and to check a sum."""
SEARCH_SUMS_MAX = 4
"""Bytes summed in a search, in multiples of the file: one that imitates headers ends there."""
BATCH_BYTES_MAX = 128 << 20
"""A batch that is looked into is read whole; Kafka's largest request is smaller."""
OFFSETS_PER_SEGMENT = 1 << 31
"""A segment's offsets differ by less, since its indexes hold them in 32 bits (Kafka)."""
_MAGIC_AT, _CRC_AT = 16, 21
_EPOCHS_MAX = 100_000


@dataclass(slots=True)
class Segment:
    """What is known of a file before it is read, and what was seen when it was."""

    path: str
    base_offset: Offset | None
    """What its name says; None if the name is no offset."""
    recovery_point: Offset | None = None
    """Below it everything is on disk for certain; None if no checkpoint says."""
    is_newest: bool = True
    """Whether it may still grow: no other may be torn."""

    end_offset: Offset | None = None
    batches: int = 0
    records: int = 0
    size: int = 0
    damages: int = 0
    is_cut: bool = False
    """Whether less was walked than there is, because no more was asked for."""
    epochs: list[tuple[LeaderEpoch, Offset]] = field(default_factory=list)
    """Each leader epoch with the first offset at which it was seen."""


@dataclass(frozen=True, slots=True)
class Found:
    """A batch with a possible header."""

    position: int
    header: BatchHeader


def walk(file: File, segment: Segment, position: int = 0) -> Iterator[Found | Row]:
    """Yield every batch from the one at `position`, and a problem where there is none.

    Headers only: a sum is not checked unless that is needed to find where to go on.
    """
    size = file.size
    expected = segment.base_offset or 0
    is_first = segment.base_offset is None or position > 0
    data, data_position = b"", position
    while position < size:
        at = position - data_position
        if at + HEADER_SIZE > len(data):
            data = file.read(position, min(WALK_BYTES, size - position))
            data_position, at = position, 0
        header = read_batch_header(data, at) if len(data) - at >= HEADER_SIZE else None
        reason = _fault(header, expected, position, size)
        if header is not None and reason is None:
            if header.base_offset != expected and not is_first:
                yield _gap(segment, position, expected, header.base_offset)
            is_first = False
            yield Found(position, header)
            expected = header.last_offset + 1
            position += header.batch_size
            continue
        following = next_sound(file, position + 1, expected)
        yield _unsound(file, segment, position, expected, reason or "", following)
        if following is None:
            return
        position, is_first = following, True  # What is missing in between was told.


def _fault(header: BatchHeader | None, expected: Offset, position: int, size: int) -> str | None:
    """Return why no batch can begin here, None if one can."""
    if header is None:
        return f"{size - position} bytes are too few for a batch"
    if header.magic != MAGIC:
        return f"magic {header.magic} is not 2"
    if header.batch_size < HEADER_SIZE:
        return f"a batch claims {header.batch_length} bytes"
    if position + header.batch_size > size:
        missing = position + header.batch_size - size
        return f"a batch is cut: {missing} of its {header.batch_size} bytes are missing"
    if header.base_offset < expected:
        return f"a batch claims offset {header.base_offset}, which is behind"
    if header.last_offset_delta < 0 or header.record_count < 0:
        return f"a batch claims {header.record_count} records"
    return None


def _gap(segment: Segment, position: int, expected: Offset, found: Offset) -> Row:
    reason = f"offsets {expected} to {found} (exclusive) are missing"
    return problem(segment.path, position, reason, offset=expected, sound=_before(position))


def _before(position: int) -> str:
    return f"all before byte {position}" if position else "nothing before it"


def _unsound(
    file: File,
    segment: Segment,
    position: int,
    expected: Offset,
    reason: str,
    following: int | None,
) -> Row:
    recovery_point = segment.recovery_point
    was_synced = recovery_point is not None and expected < recovery_point
    is_end = following is None and segment.is_newest and not was_synced
    if is_end and ("cut" in reason or "too few" in reason or is_zeros(file, position)):
        reason = f"{file.size - position} bytes at the end are no whole batch ({reason})"
        state = TORN
    else:
        state = DAMAGED
        reason += (
            "; nothing sound follows"
            if following is None
            else f"; the next sound batch begins at byte {following}"
        )
    return problem(
        segment.path, position, reason, state=state, offset=expected, sound=_before(position)
    )


def is_zeros(file: File, position: int) -> bool:
    """Whether nothing but zeros stands from `position` to the end."""
    while data := file.read(position, SEARCH_BYTES):
        if data.count(0) != len(data):
            return False
        position += len(data)
    return True


def next_sound(file: File, position: int, expected: Offset) -> int | None:
    """Return where the first batch begins at `position` or later whose sum is right."""
    size = file.size
    sums_left = SEARCH_SUMS_MAX * size
    while position + HEADER_SIZE <= size:
        data = file.read(position, SEARCH_BYTES + HEADER_SIZE)
        at = data.find(MAGIC, _MAGIC_AT)
        while at >= 0 and at - _MAGIC_AT <= min(SEARCH_BYTES, len(data) - HEADER_SIZE):
            begin = at - _MAGIC_AT
            header = read_batch_header(data, begin)
            if (
                _fault(header, expected, position + begin, size) is None
                and header.base_offset - expected < OFFSETS_PER_SEGMENT
            ):
                if header.batch_size > sums_left:
                    return None
                sums_left -= header.batch_size
                if sum_is_right(file, position + begin, header):
                    return position + begin
            at = data.find(MAGIC, at + 1)
        position += SEARCH_BYTES
    return None


def sum_is_right(file: File, position: int, header: BatchHeader) -> bool:
    """Whether the batch at `position` is what was summed; read in pieces."""
    return crc_of(_pieces(file, position + _CRC_AT, position + header.batch_size)) == header.crc


def _pieces(file: File, at: int, end: int) -> Iterator[bytes]:
    while at < end and (data := file.read(at, min(SEARCH_BYTES, end - at))):
        yield data
        at += len(data)


def dump_log(file: File, segment: Segment, wanted: Wanted, position: int = 0) -> Rows:
    """Yield the batches of a file, their records if they are asked for, and a summary."""
    counted = Counted(wanted)
    for found in walk(file, segment, position):
        if isinstance(found, Row):
            segment.damages += found.fields["state"] == DAMAGED
            yield found
            continue
        header = found.header
        if header.base_offset >= wanted.end:
            segment.is_cut = True
            break
        if not wanted.overlaps(header.base_offset, header.last_offset):
            _note(segment, header)
            continue
        if not counted.take():
            break
        _note(segment, header)
        right = _is_right(file, found, wanted)
        yield _batch_row(segment, found, right)
        if right is not None:
            for row in _inside(file, segment, found, wanted, right=right):
                if row.kind == "record" and not counted.take():
                    break
                segment.damages += row.fields.get("state") == DAMAGED
                yield row
        if counted.is_cut:
            break
    segment.size = file.size
    segment.is_cut |= counted.is_cut or position > 0
    yield Row(
        "log",
        {
            "file": segment.path,
            "base_offset": segment.base_offset,
            "end_offset": segment.end_offset,
            "batches": segment.batches,
            "records": segment.records,
            "bytes": file.size,
            "damages": segment.damages,
            "verified": wanted.verify,
            "whole": not segment.is_cut and wanted.is_all,
        },
    )


def _note(segment: Segment, header: BatchHeader) -> None:
    if segment.base_offset is None and segment.batches == 0:
        segment.base_offset = header.base_offset
    segment.batches += 1
    segment.records += header.record_count
    segment.end_offset = header.last_offset + 1
    epochs = segment.epochs
    if (not epochs or epochs[-1][0] != header.leader_epoch) and len(epochs) < _EPOCHS_MAX:
        epochs.append((header.leader_epoch, header.base_offset))


def _is_right(file: File, found: Found, wanted: Wanted) -> bool | None:
    if not (wanted.verify or wanted.records):
        return None
    return sum_is_right(file, found.position, found.header)


def _batch_row(segment: Segment, found: Found, right: bool | None) -> Row:
    header = found.header
    is_known = header.codec in set(Codec)
    has_horizon = bool(header.attributes & DELETE_HORIZON)
    return Row(
        "batch",
        {
            "file": segment.path,
            "base_offset": header.base_offset,
            "last_offset": header.last_offset,
            "records": header.record_count,
            "byte": found.position,
            "size": header.batch_size,
            "leader_epoch": header.leader_epoch,
            "codec": Codec(header.codec).name.lower() if is_known else str(header.codec),
            "base_timestamp_ms": header.base_timestamp,
            "max_timestamp_ms": header.max_timestamp,
            "log_append_time": bool(header.attributes & LOG_APPEND_TIME),
            "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch,
            "base_sequence": header.base_sequence,
            "transactional": bool(header.attributes & TRANSACTIONAL),
            "control": bool(header.attributes & CONTROL),
            "compacted": header.record_count <= header.last_offset_delta,
            "delete_horizon_ms": header.base_timestamp if has_horizon else None,
            "crc": header.crc,
            "crc_right": right,
        },
    )


def _inside(file: File, segment: Segment, found: Found, wanted: Wanted, *, right: bool) -> Rows:
    """Look into a batch: its records, and whether they are what its header says."""
    header, path = found.header, segment.path

    def wrong(reason: str) -> Row:
        return problem(
            path,
            found.position,
            reason,
            offset=header.base_offset,
            sound=_before(found.position),
        )

    if not right:
        yield wrong("the CRC-32C of a batch differs")
        return
    if header.batch_size > BATCH_BYTES_MAX:
        yield wrong(f"a batch of {header.batch_size:,} bytes is too large to look into")
        return
    expected = header.base_offset
    newest = -1
    try:
        for record in read_records(file.read(found.position, header.batch_size)):
            if record.offset < expected or record.offset > header.last_offset:
                yield wrong(f"a record has offset {record.offset}, not {expected}")
            expected = record.offset + 1
            newest = max(newest, record.timestamp_ms)
            if wanted.records and wanted.begin <= record.offset < wanted.end:
                yield _record_row(path, record)
    except CorruptBatch as error:
        yield wrong(str(error))
        return
    is_compacted = header.record_count <= header.last_offset_delta
    if not is_compacted and (
        header.last_offset_delta + 1 != header.record_count or expected != header.last_offset + 1
    ):
        yield wrong(
            f"the header says {header.record_count} records up to offset {header.last_offset}, "
            f"they end at {expected - 1}"
        )
    if (
        header.record_count
        and newest != header.max_timestamp
        and not header.attributes & LOG_APPEND_TIME
    ):
        yield wrong(f"the newest record is of {newest}, the header says {header.max_timestamp}")


def _record_row(path: str, record: Record) -> Row:
    return Row(
        "record",
        {
            "file": path,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": shown(record.key),
            "key_bytes": None if record.key is None else len(record.key),
            "value": shown(record.value),
            "value_bytes": None if record.value is None else len(record.value),
            "headers": [
                {"name": shown(name.encode("utf-8", "surrogateescape")), "value": shown(value)}
                for name, value in record.headers
            ],
        },
    )


def header_at(file: File, position: int) -> BatchHeader | None:
    """Return the header of the batch at `position`, None if none can begin there."""
    if position < 0 or position + HEADER_SIZE > file.size:
        return None
    header = read_batch_header(file.read(position, HEADER_SIZE))
    return header if _fault(header, 0, position, file.size) is None else None
