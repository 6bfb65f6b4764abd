"""`.index` and `.timeindex`: their entries, each held against the log beside it as Kafka does.

Of an offset entry the batch at its byte must end with its offset; of a time entry the batch that
ends with its offset must have its timestamp; both rise. Zeros after the first entry are room that
was set aside (Kafka).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from storage.disk import File
from storage.index import OFFSET_ENTRY, TIME_ENTRY
from storage.types import Offset
from tools.dump.batches import Found, Segment, header_at, walk
from tools.dump.rows import DAMAGED, TORN, Counted, Row, Rows, Wanted, problem

ENTRIES_AT_ONCE = 4096


def entries(file: File, entry: Struct) -> Iterator[tuple[int, int]]:
    """Yield all whole entries, read in pieces."""
    count = file.size // entry.size
    for first in range(0, count, ENTRIES_AT_ONCE):
        data = file.read(first * entry.size, min(ENTRIES_AT_ONCE, count - first) * entry.size)
        yield from entry.iter_unpack(data[: len(data) // entry.size * entry.size])


def _first(file: File, entry: Struct) -> int:
    """Return from which entry on zeros are room set aside: a lone first one is an entry."""
    begin = file.read(0, 2 * entry.size)
    return 1 if any(begin) or len(begin) < 2 * entry.size else 0


def position_before(index: File | None, log: File, base_offset: Offset, offset: Offset) -> int:
    """Return where to begin to walk a log for `offset`: what the index says, if the log agrees."""
    if index is None:
        return 0
    low, high = 0, index.size // OFFSET_ENTRY.size
    while low < high:  # The first entry that is not below the offset.
        middle = (low + high) // 2
        relative = _entry_at(index, middle)[0]
        if base_offset + relative < offset:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return 0
    relative, position = _entry_at(index, low - 1)
    header = header_at(log, position)
    agrees = header is not None and header.last_offset == base_offset + relative
    return position if agrees else 0


def _entry_at(index: File, number: int) -> tuple[int, int]:
    data = index.read(number * OFFSET_ENTRY.size, OFFSET_ENTRY.size)
    relative, position = OFFSET_ENTRY.unpack(data.ljust(OFFSET_ENTRY.size, b"\0"))
    return relative, position


def dump_offsets(file: File, log: File | None, segment: Segment, wanted: Wanted) -> Rows:
    """Yield the entries of an `.index` and a summary. `segment` is that of its log."""
    base_offset = segment.base_offset or 0
    counted = Counted(wanted)
    count = damages = zeros = 0
    last = (-1, -1)
    first = _first(file, OFFSET_ENTRY)
    for number, (relative, position) in enumerate(entries(file, OFFSET_ENTRY)):
        if number >= first and (relative, position) == (0, 0):
            zeros += 1
            continue
        offset = base_offset + relative
        reason = None
        if zeros or relative <= last[0] or position <= last[1]:
            reason = f"offset {offset}, byte {position} does not rise"
        elif log is not None:
            header = header_at(log, position)
            if header is None:
                reason = f"no batch begins at byte {position} of the log"
            elif header.last_offset != offset:
                reason = f"the batch at byte {position} ends with {header.last_offset}"
        last = max(last[0], relative), max(last[1], position)
        is_shown = wanted.overlaps(offset, offset)
        if is_shown and not counted.take():
            break
        count += 1
        if not is_shown:
            continue
        fields: dict[str, object] = {"file": segment.path, "offset": offset, "position": position}
        yield Row("index", fields | {"sound": None if log is None else reason is None})
        if reason is not None:
            row = _wrong(segment, number * OFFSET_ENTRY.size, offset, reason)
            damages += row.fields["state"] == DAMAGED
            yield row
    yield from _rest(file, segment, OFFSET_ENTRY)
    yield _summary("index", file, segment, count, damages, zeros, counted, wanted, log)


def dump_times(
    file: File, log: File | None, index: File | None, segment: Segment, wanted: Wanted
) -> Rows:
    """Yield the entries of a `.timeindex` and a summary. `segment` is that of its log."""
    base_offset = segment.base_offset or 0
    counted = Counted(wanted)
    batches = _Batches(log, index, segment) if log is not None else None
    count = damages = zeros = 0
    last = (-1, -1)
    first = _first(file, TIME_ENTRY)
    for number, (timestamp_ms, relative) in enumerate(entries(file, TIME_ENTRY)):
        if number >= first and (timestamp_ms, relative) == (0, 0):
            zeros += 1
            continue
        offset = base_offset + relative
        reason = None
        if zeros or timestamp_ms <= last[0] or relative < last[1]:
            reason = f"timestamp {timestamp_ms}, offset {offset} does not rise"
        elif batches is not None:
            found = batches.at(offset)
            if found is None:
                reason = f"no batch ends with offset {offset}"
            elif found.header.max_timestamp != timestamp_ms:
                reason = f"the newest of that batch is of {found.header.max_timestamp}"
        last = max(last[0], timestamp_ms), max(last[1], relative)
        is_shown = wanted.overlaps(offset, offset)
        if is_shown and not counted.take():
            break
        count += 1
        if not is_shown:
            continue
        fields: dict[str, object] = {"file": segment.path, "timestamp_ms": timestamp_ms}
        yield Row("timeindex", fields | {"offset": offset, "sound": _verdict(log, reason)})
        if reason is not None:
            row = _wrong(segment, number * TIME_ENTRY.size, offset, reason)
            damages += row.fields["state"] == DAMAGED
            yield row
    yield from _rest(file, segment, TIME_ENTRY)
    yield _summary("timeindex", file, segment, count, damages, zeros, counted, wanted, log)


def _verdict(log: File | None, reason: str | None) -> bool | None:
    return None if log is None else reason is None


class _Batches:
    """Finds batches by their last offset, asked for in rising order: one walk serves all."""

    def __init__(self, log: File, index: File | None, segment: Segment) -> None:
        self._log, self._index = log, index
        self._base_offset = segment.base_offset or 0
        self._path = segment.path
        self._walk = self._from(0)
        self._current = next(self._walk, None)

    def _from(self, position: int) -> Iterator[Found]:
        quiet = Segment(self._path, self._base_offset)
        return (it for it in walk(self._log, quiet, position) if isinstance(it, Found))

    def at(self, last_offset: Offset) -> Found | None:
        """Return the batch that ends with `last_offset`, None if none does."""
        position = position_before(self._index, self._log, self._base_offset, last_offset)
        if self._current is not None and position > self._current.position:
            self._walk = self._from(position)
            self._current = next(self._walk, None)
        while self._current is not None and self._current.header.last_offset < last_offset:
            self._current = next(self._walk, None)
        found = self._current
        return found if found is not None and found.header.last_offset == last_offset else None


def _wrong(segment: Segment, byte: int, offset: Offset, reason: str) -> Row:
    """Return what is wrong with an entry; what was never synced is mended at the next start."""
    recovery_point = segment.recovery_point
    is_loose = segment.is_newest and recovery_point is not None and offset >= recovery_point
    return problem(
        segment.path,
        byte,
        reason,
        state=TORN if is_loose else DAMAGED,
        offset=offset,
        sound=f"all entries before byte {byte}" if byte else "nothing before it",
    )


def _rest(file: File, segment: Segment, entry: Struct) -> Rows:
    rest = file.size % entry.size
    if rest:
        state = TORN if segment.is_newest else DAMAGED
        reason = f"{rest} bytes at the end are no whole entry"
        yield problem(segment.path, file.size - rest, reason, state=state)


def _summary(
    kind: str,
    file: File,
    segment: Segment,
    count: int,
    damages: int,
    zeros: int,
    counted: Counted,
    wanted: Wanted,
    log: File | None,
) -> Row:
    return Row(
        f"{kind}_file",
        {
            "file": segment.path,
            "entries": count,
            "zeros": zeros,
            "bytes": file.size,
            "damages": damages,
            "compared": log is not None,
            "whole": not counted.is_cut and wanted.is_all,
        },
    )
