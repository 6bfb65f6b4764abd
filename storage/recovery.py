"""What a crash may leave behind in a partition's directory, and the repair.

Below the recovery point everything was synced, indexes included: it is believed, and what is
missing there is damage. Above it the log is read batch by batch and ends before the first one
that is torn, does not follow, or has a lower leader epoch than its predecessor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from storage.config import LogConfig
from storage.disk import Disk, Missing
from storage.epochs import FILE_NAME as EPOCHS_NAME
from storage.epochs import LeaderEpochs
from storage.errors import DamagedLog
from storage.producers import SNAPSHOT_SUFFIX, UNKNOWN_MS, Producers
from storage.records import HEADER_SIZE, MAGIC, BatchHeader, crc_matches, read_batch_header
from storage.segment import Segment, file_name
from storage.snapshots import (
    bequeath,
    inherited,
    load_newest,
    rebuild_producers,
    snapshot_offsets,
    snapshot_path,
)
from storage.swaps import complete_swaps
from storage.types import LeaderEpoch, Offset

CHUNK_BYTES = 1 << 20
"""Read at once while checking batches; a larger batch is read whole."""

OFFSET_MAX = (1 << 63) - 1
"""As a recovery point: the shutdown was clean, all is believed."""

DERIVED_SUFFIXES = (".index", ".timeindex", SNAPSHOT_SUFFIX)


@dataclass(slots=True)
class Recovered:
    """What a directory holds after the repair."""

    segments: list[Segment] = field(default_factory=list)
    log_end_offset: Offset = 0
    snapshots: list[Offset] = field(default_factory=list)
    """Offsets of the usable producer snapshots, rising."""
    scanned_bytes: int = 0
    """Checked batch by batch, and written again so that the next sync covers them."""
    truncated_bytes: int = 0
    """Cut off: torn, or after something torn."""
    warnings: list[str] = field(default_factory=list)


def recover(
    disk: Disk,
    directory: str,
    config: LogConfig,
    *,
    recovery_point: Offset,
    log_start_offset: Offset,
    synced_end: Offset,
    epochs: LeaderEpochs,
    producers: Producers,
) -> Recovered:
    """Return what is in `directory`, repaired, with `epochs` and `producers` filled.

    Segments wholly below `log_start_offset` are removed.

    Raises:
        DamagedLog: something below the recovery point or `synced_end` is missing or altered. Only
            indexes may have been changed.
    """
    names = complete_swaps(disk, directory, disk.list_directory(directory))
    bases = segment_bases(names, log_start_offset)
    found = Recovered()
    if not bases:
        if 0 < recovery_point < OFFSET_MAX or synced_end > log_start_offset:
            raise DamagedLog(directory, 0, 0, "there is no segment")
        _remove_others(disk, directory, names, found)
        return found
    found.log_end_offset = bases[0]
    ends = [*bases[1:], OFFSET_MAX]
    trusted_count = sum(end <= recovery_point for end in ends)
    for base, end in zip(bases[:trusted_count], ends, strict=False):
        segment = Segment(disk, directory, base, config.index_interval_bytes)
        _must_follow(found, segment)
        found.log_end_offset = segment.resume(end)
        found.segments.append(segment)
    replay = _Replay(epochs, producers)
    replay.load(disk, directory, names, recovery_point, bases[0], found)
    gone = [Segment(disk, directory, base, 1) for base in _bases_before(names, bases[0])]
    if gone and not found.snapshots:
        producers.take_over(inherited(disk, directory, gone, snapshot_offsets(names)))
    _replay_trusted(found.segments, replay)
    for base in bases[trusted_count:]:
        segment = Segment(disk, directory, base, config.index_interval_bytes)
        if found.segments and base != found.log_end_offset:
            break
        found.segments.append(segment)
        if not _check(segment, recovery_point, synced_end, replay, found):
            break
    if bases[0] > 0:
        _learn_of_gone(disk, directory, names, bases[0], producers, found)
    sure_end = max(synced_end, recovery_point if recovery_point < OFFSET_MAX else 0)
    if found.log_end_offset < sure_end and sure_end > bases[0]:
        last = found.segments[-1]
        reason = f"the log ends, though all below {sure_end} was synced,"
        raise DamagedLog(last.path, found.log_end_offset, last.size, reason)
    for base in bases:
        if base > found.segments[-1].base_offset:  # `_remove_others` removes it.
            path = f"{directory}/{file_name(base, '.log')}"
            found.truncated_bytes += disk.open_cached(path).size
    if found.truncated_bytes:
        found.warnings.append(
            f"{directory}: {found.truncated_bytes} bytes after offset {found.log_end_offset} "
            "were torn by a crash and are cut off; they had not been synced"
        )
    for segment in found.segments[:-1]:
        segment.seal()  # Its last time entry is made when it is rolled, not when a batch is noted.
    _remove_others(disk, directory, names, found)
    return found


def _learn_of_gone(
    disk: Disk,
    directory: str,
    names: Sequence[str],
    first_offset: Offset,
    producers: Producers,
    found: Recovered,
) -> None:
    """Use snapshots above the recovery point: amid a deletion they alone tell of what is gone.

    None of a log that was cut is left: that was on disk before anything was appended. What is
    known of segments that are about to be removed is written down.
    """
    known = found.snapshots[-1] if found.snapshots else first_offset - 1
    later = [o for o in snapshot_offsets(names) if known < o <= found.log_end_offset]
    start, _ = load_newest(disk, directory, later, Producers())
    if start is not None:
        found.snapshots += later[: later.index(start) + 1]
        rebuilt = rebuild_producers(disk, directory, found.segments, found.snapshots)
        producers.take_over(rebuilt)
    if _bases_before(names, first_offset) and first_offset not in found.snapshots:
        bequeath(disk, directory, first_offset, producers.encode(first_offset))
        disk.sync_directory(directory)
        found.snapshots.insert(0, first_offset)


def _bases_before(names: Sequence[str], first_offset: Offset) -> list[Offset]:
    return [base for base in segment_bases(names, 0) if base < first_offset]


def segment_bases(names: Sequence[str], log_start_offset: Offset) -> list[Offset]:
    """Return the base offsets of the `.log` files, rising, but those wholly below the start."""
    bases = sorted(
        int(name[:20])
        for name in names
        if len(name) == 24 and name.endswith(".log") and name[:20].isdecimal()
    )
    while len(bases) > 1 and bases[1] <= log_start_offset:
        del bases[0]
    return bases


def _must_follow(found: Recovered, segment: Segment) -> None:
    if segment.base_offset != found.log_end_offset:
        last = found.segments[-1]
        reason = f"its batches end, though those of {segment.path} come much later,"
        raise DamagedLog(last.path, found.log_end_offset, last.size, reason)


class _Replay:
    """Builds epochs and producers from headers, as far as their files did not tell already."""

    def __init__(self, epochs: LeaderEpochs, producers: Producers) -> None:
        self.epochs = epochs
        self.producers = producers
        self.producers_from: Offset = 0
        self.needed_from: Offset = 0

    def load(
        self,
        disk: Disk,
        directory: str,
        names: Sequence[str],
        recovery_point: Offset,
        first_offset: Offset,
        found: Recovered,
    ) -> None:
        """Take what the files tell; remember from where on headers are needed."""
        path = f"{directory}/{EPOCHS_NAME}"
        try:
            known = self.epochs.load(disk.read_file(path))
            if not known:
                found.warnings.append(f"{path} is not readable; it is derived from the log anew")
        except Missing:
            known = False
        # Entries beyond may speak of batches that the crash took.
        believed_end = found.log_end_offset if recovery_point == OFFSET_MAX else recovery_point
        self.epochs.truncate_end(believed_end)
        self.producers_from = first_offset
        # One at the log's beginning is made before what it tells of is deleted, which is committed.
        usable = [
            offset
            for offset in snapshot_offsets(names)
            if first_offset <= offset <= max(believed_end, first_offset)
        ]
        start, unreadable = load_newest(disk, directory, usable, self.producers)
        if start is not None:
            self.producers_from = start
            found.snapshots += usable[: usable.index(start) + 1]
        for offset in unreadable:
            path = snapshot_path(directory, offset)
            found.warnings.append(f"{path} is damaged and is left out")
        self.needed_from = self.producers_from if known else first_offset

    def take(self, header: BatchHeader) -> None:
        """Learn from the header of a batch; they come in order."""
        self.epochs.assign(header.leader_epoch, header.base_offset)
        if header.producer_id >= 0 and header.base_offset >= self.producers_from:
            self.producers.appended(header, header.base_offset, UNKNOWN_MS)


def _replay_trusted(segments: Sequence[Segment], replay: _Replay) -> None:
    for number, segment in enumerate(segments):
        if segments[number + 1 :] == [] or segments[number + 1].base_offset > replay.needed_from:
            for _, header in segment.walk(segment.position_of(replay.needed_from)):
                replay.take(header)


def _check(
    segment: Segment,
    recovery_point: Offset,
    synced_end: Offset,
    replay: _Replay,
    found: Recovered,
) -> bool:
    """Check the batches of a segment that was not wholly synced; whether all are sound.

    It is left to end after the last sound one. Raises DamagedLog below the recovery point and
    below what was synced.
    """
    position = 0
    file = segment.hold()
    if segment.base_offset < recovery_point <= replay.needed_from:
        segment.drop_torn_entries(recovery_point)
        position, leader_epoch = segment.believe_indexes(recovery_point), -1
        found.log_end_offset = _claimed_offset(segment, position, recovery_point)
    else:
        segment.forget_indexes()
        replay.epochs.truncate_end(segment.base_offset)
        leader_epoch = replay.epochs.latest
    unsynced_from = start = position
    for position, header in sound_batches(segment, start, leader_epoch):
        replay.take(header)
        segment.note(position, header.batch_size, header.last_offset, header.max_timestamp)
        found.log_end_offset = header.last_offset + 1
        position += header.batch_size
        if header.last_offset < recovery_point:
            unsynced_from = position
    if position < segment.size and found.log_end_offset < max(recovery_point, synced_end):
        raise DamagedLog(segment.path, found.log_end_offset, position, "a batch is not sound")
    sound = position == segment.size
    if not sound:
        found.truncated_bytes += segment.size - position
        file.truncate(position)
        segment.size = position
        # Before anything is appended: a cut that a crash undoes must not bring back old batches
        # behind new ones.
        file.sync()
    file.rewrite(unsynced_from)
    found.scanned_bytes += position - start
    return sound


def _claimed_offset(segment: Segment, position: int, recovery_point: Offset) -> Offset:
    """Return where the batch at `position` claims to begin, should it turn out not to be sound."""
    data = segment.file.read(position, HEADER_SIZE)
    claimed = read_batch_header(data).base_offset if len(data) == HEADER_SIZE else 0
    return claimed if segment.base_offset <= claimed < recovery_point else segment.base_offset


def sound_batches(
    segment: Segment, position: int, leader_epoch: LeaderEpoch
) -> Iterator[tuple[int, BatchHeader]]:
    """Yield position and header of batches that are whole, unaltered and follow one another.

    `position` is where a batch begins, `leader_epoch` the least that it may have. Ends before
    the first one that is none of this.
    """
    file = segment.file
    chunk = b""
    chunk_at = position
    expected = segment.base_offset if position == 0 else -1
    while segment.size - position >= HEADER_SIZE:
        at = position - chunk_at
        if at + HEADER_SIZE > len(chunk):
            chunk, chunk_at, at = file.read(position, CHUNK_BYTES), position, 0
        header = read_batch_header(chunk, at)
        size = header.batch_size
        if size < HEADER_SIZE or position + size > segment.size:
            return
        if at + size > len(chunk):
            chunk, chunk_at, at = file.read(position, max(size, CHUNK_BYTES)), position, 0
        if (
            header.magic != MAGIC
            or header.base_offset != (header.base_offset if expected < 0 else expected)
            or header.last_offset_delta < 0
            or header.leader_epoch < leader_epoch
            or not crc_matches(memoryview(chunk)[at : at + size])
        ):
            return
        yield position, header
        expected = header.last_offset + 1
        leader_epoch = header.leader_epoch
        position += size


def verify(segments: Sequence[Segment]) -> None:
    """Check all batches of these segments, which follow one another.

    Raises:
        DamagedLog: the first batch that is altered, cut or does not follow.
    """
    leader_epoch: LeaderEpoch = -1
    for segment in segments:
        position, expected = 0, segment.base_offset
        for position, header in sound_batches(segment, 0, leader_epoch):
            expected, leader_epoch = header.last_offset + 1, header.leader_epoch
            position += header.batch_size
        if position != segment.size:
            raise DamagedLog(segment.path, expected, position, "a batch is not sound")


def _remove_others(disk: Disk, directory: str, names: Sequence[str], found: Recovered) -> None:
    """Remove half-written files, and derived ones that belong to nothing that is kept.

    Logs go oldest first, each durably: a crash leaves no gap, and brings none back behind new
    records.
    """
    keep = [segment.base_offset for segment in found.segments]
    for name in names:
        suffix = f".{name.rpartition('.')[2]}"
        offset = int(name[:20]) if name[:20].isdecimal() and len(name) > 20 else -1
        kept = found.snapshots if suffix == SNAPSHOT_SUFFIX else keep
        if suffix == ".tmp" or (suffix in DERIVED_SUFFIXES and offset not in kept):
            disk.remove(f"{directory}/{name}")
        elif suffix == ".log" and offset >= 0 and offset not in keep:
            disk.remove(f"{directory}/{name}")
            disk.sync_directory(directory)
    if max(snapshot_offsets(names), default=0) > found.log_end_offset:
        disk.sync_directory(directory)  # Or a crash may bring it back when the log is as long.
