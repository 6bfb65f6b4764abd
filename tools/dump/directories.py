"""Whole paths: a file of any kind, everything of a partition, an overview of a data directory."""

from __future__ import annotations

from collections.abc import Iterable

from storage import epochs, journal, meta, partition_metadata
from storage.checkpoints import CLEAN_MARK, LOG_STARTS, RECOVERY_POINTS
from storage.disk import Disk, File, Missing, parent
from storage.epochs import LeaderEpochs
from storage.producers import SNAPSHOT_SUFFIX
from storage.swaps import SWAP
from tools.dump.batches import Found, Segment, dump_log, walk
from tools.dump.files import (
    dump_epochs,
    dump_meta,
    dump_offsets_file,
    dump_snapshot,
    dump_topic_id,
    load_epochs,
)
from tools.dump.indexes import dump_offsets, dump_times, position_before
from tools.dump.places import (
    INDEX,
    LOG,
    PARTITION,
    SEGMENT,
    TIMEINDEX,
    Kind,
    Partition,
    partition_at,
    topic_names,
)
from tools.dump.promises import dump_journal
from tools.dump.registry import Shard
from tools.dump.rows import (
    DAMAGED,
    OFFSET_END,
    PROBLEM,
    TORN,
    Counted,
    Row,
    Rows,
    Wanted,
    id_text,
    problem,
    read_if_there,
)


def dump(disk: Disk, path: str, kind: Kind, wanted: Wanted) -> Rows:
    """Yield the rows of one path. Raises DiskError."""
    match kind:
        case Kind.DATA:
            return _data_directory(disk, path.rstrip("/"), wanted)
        case Kind.PARTITION:
            return dump_partition(disk, partition_at(disk, path), wanted)
        case Kind.LOG | Kind.INDEX | Kind.TIMEINDEX:
            return _segment_file(disk, path, kind, wanted)
        case Kind.SNAPSHOT:
            return dump_snapshot(disk, path, wanted)
        case Kind.EPOCHS:
            return dump_epochs(disk, path, wanted)
        case Kind.OFFSETS:
            return dump_offsets_file(disk, path, wanted)
        case Kind.TOPIC_ID:
            return dump_topic_id(disk, path)
        case Kind.META:
            return dump_meta(disk, path)
        case Kind.JOURNAL:
            return dump_journal(disk, path, topic_names(disk, parent(path)), wanted)
        case Kind.CLEAN:
            return iter([Row("clean", {"file": path, "clean": True})])


def _segment_file(disk: Disk, path: str, kind: Kind, wanted: Wanted) -> Rows:
    directory = parent(path)
    partition = partition_at(disk, directory)
    stem = path[: path.rfind(".")] if "." in path.rpartition("/")[2] else path
    newest = max((p for p in _segments(disk, directory)), default=stem + LOG)
    segment = partition.segment(path, is_newest=f"{stem}{LOG}" >= newest)
    if kind is Kind.LOG:
        file = disk.open(path)
        yield from dump_log(file, segment, wanted, _begin(disk, stem, file, segment, wanted))
    else:
        yield from _index_file(disk, stem, kind, segment, wanted)


def _begin(disk: Disk, stem: str, log: File, segment: Segment, wanted: Wanted) -> int:
    """Return where to begin for the offsets that are asked for, as far as the index knows."""
    if not wanted.begin or segment.base_offset is None:
        return 0
    return position_before(_open(disk, stem + INDEX), log, segment.base_offset, wanted.begin)


def _open(disk: Disk, path: str) -> File | None:
    try:
        return disk.open(path)
    except Missing:
        return None


def _index_file(disk: Disk, stem: str, kind: Kind, segment: Segment, wanted: Wanted) -> Rows:
    # The index first: beside a running node the log is never behind it then.
    file = disk.open(stem + (INDEX if kind is Kind.INDEX else TIMEINDEX))
    index = _open(disk, stem + INDEX)
    log = _open(disk, stem + LOG)
    if kind is Kind.INDEX:
        yield from dump_offsets(file, log, segment, wanted)
    else:
        yield from dump_times(file, log, index, segment, wanted)


def _segments(disk: Disk, directory: str) -> list[str]:
    """Return the paths of a directory's `.log` files, oldest first."""
    try:
        names = disk.list_directory(directory)
    except Missing:
        return []
    return [
        f"{directory}/{name}" for name in names if SEGMENT.fullmatch(name) and name.endswith(LOG)
    ]


# Partitions


def dump_partition(disk: Disk, partition: Partition, wanted: Wanted) -> Rows:
    """Yield everything in a partition's directory, and a summary. Raises DiskError."""
    path = partition.path
    names = disk.list_directory(path)
    seen: list[Segment] = []
    damages = 0
    for row in _partition_rows(disk, partition, names, seen, wanted):
        damages += row.kind == PROBLEM and row.fields["state"] == DAMAGED
        yield row
    yield _partition_row(disk, partition, names, seen, damages, is_whole=wanted.is_all)


def _partition_rows(
    disk: Disk, partition: Partition, names: list[str], seen: list[Segment], wanted: Wanted
) -> Rows:
    path = partition.path
    if partition_metadata.FILE_NAME in names:
        yield from dump_topic_id(disk, f"{path}/{partition_metadata.FILE_NAME}")
    shard = Shard(partition.index) if partition.is_registry else None
    yield from _logs(disk, partition, seen, shard, wanted)
    for log in _segments(disk, path):
        stem = log.removesuffix(LOG)
        for suffix, kind in ((INDEX, Kind.INDEX), (TIMEINDEX, Kind.TIMEINDEX)):
            segment = partition.segment(stem + LOG, is_newest=log == seen[-1].path)
            segment.path = stem + suffix
            if stem[len(path) + 1 :] + suffix in names:
                yield from _index_file(disk, stem, kind, segment, wanted)
    if epochs.FILE_NAME in names:
        file = f"{path}/{epochs.FILE_NAME}"
        yield from dump_epochs(disk, file, wanted)
        yield from _compare_epochs(disk, file, seen)
    for name in names:
        if name.endswith(SNAPSHOT_SUFFIX):
            yield from dump_snapshot(disk, f"{path}/{name}", wanted)
    if shard is not None:
        yield from shard.image_rows(wanted)


def _logs(
    disk: Disk, partition: Partition, seen: list[Segment], shard: Shard | None, wanted: Wanted
) -> Rows:
    logs = _segments(disk, partition.path)
    for log in logs:
        segment = partition.segment(log, is_newest=log == logs[-1])
        try:
            file = disk.open(log)
        except Missing:
            continue  # Retention took it meanwhile.
        before = seen[-1].end_offset if seen and not seen[-1].is_cut else None
        seen.append(segment)
        if before is not None and before != segment.base_offset:
            reason = f"offsets {before} to {segment.base_offset} (exclusive) are missing"
            state = DAMAGED
            if _is_swapping(disk, partition.path):
                reason += "; a compaction is about to put them in place, or the next start does"
                state = TORN
            yield problem(log, 0, reason, state=state, offset=before, sound="the segments before")
        begin = _begin(disk, log.removesuffix(LOG), file, segment, wanted)
        rows = dump_log(file, segment, wanted, begin)
        if shard is None:
            yield from rows
            continue
        summary: list[Row] = []
        for row in rows:
            if row.kind == "log":
                summary.append(row)
            elif row.kind != "batch" or wanted.records or wanted.verify:
                yield row
        yield from (row for row in shard.dump(file, segment, wanted) if _is_news(row, wanted))
        yield from summary


def _is_swapping(disk: Disk, directory: str) -> bool:
    """Whether a compacted segment has not got its name yet."""
    return any(name.endswith(LOG + SWAP) for name in disk.list_directory(directory))


def _is_news(row: Row, wanted: Wanted) -> bool:
    """Whether the walk before has not told it: it looks at sums only if it is asked to."""
    looked_at_sums = wanted.verify or wanted.records
    return row.kind != PROBLEM or not looked_at_sums or "CRC" not in str(row.fields["reason"])


def _compare_epochs(disk: Disk, path: str, seen: Iterable[Segment]) -> Rows:
    """Hold the checkpoint against what the batches say of their epochs; it may be behind."""
    data = read_if_there(disk, path)
    known: LeaderEpochs | None = load_epochs(data) if data is not None else None
    if known is None:
        return  # Missing, or told already.
    for segment in seen:
        for leader_epoch, offset in segment.epochs:
            said = known.epoch_of(offset)
            if said not in (-1, leader_epoch) and leader_epoch <= known.latest:
                reason = f"it says epoch {said}, the batch there has {leader_epoch}"
                yield problem(path, 0, reason, offset=offset)


def _partition_row(
    disk: Disk,
    partition: Partition,
    names: list[str],
    seen: list[Segment],
    damages: int,
    *,
    is_whole: bool,
) -> Row:
    data = read_if_there(disk, f"{partition.path}/{partition_metadata.FILE_NAME}")
    topic_id = partition_metadata.decode(data) if data is not None else None
    first = seen[0].base_offset if seen else None
    start = partition.log_start_offset
    latest = [segment.epochs[-1][0] for segment in seen if segment.epochs]
    ends = [segment.end_offset for segment in seen if segment.end_offset is not None]
    end = None if seen and seen[-1].is_cut else ends[-1] if ends else first
    return Row(
        "partition",
        {
            "directory": partition.path,
            "topic": partition.topic,
            "partition": partition.index,
            "topic_id": id_text(topic_id) if topic_id is not None else None,
            "in_use": not partition.rest,
            "segments": len(seen),
            "bytes": sum(segment.size for segment in seen),
            "log_start_offset": first if start is None else start,
            "log_end_offset": end,
            "recovery_point": partition.recovery_point,
            "leader_epoch": latest[-1] if latest else -1,
            "snapshots": sum(name.endswith(SNAPSHOT_SUFFIX) for name in names),
            "damages": damages,
            "whole": is_whole,
        },
    )


def _glance(disk: Disk, partition: Partition) -> Rows:
    """Yield a partition's summary at the price of the end of its log; and what is wrong there."""
    names = disk.list_directory(partition.path)
    seen: list[Segment] = []
    damages = 0
    logs = _segments(disk, partition.path)
    for log in logs:
        segment = partition.segment(log, is_newest=log == logs[-1])
        try:
            file = disk.open(log)
        except Missing:
            continue
        segment.size = file.size
        seen.append(segment)
        if log != logs[-1]:
            continue
        index = _open(disk, log.removesuffix(LOG) + INDEX)
        begin = position_before(index, file, segment.base_offset or 0, OFFSET_END)
        for found in walk(file, segment, begin):
            if isinstance(found, Found):
                segment.end_offset = found.header.last_offset + 1
                segment.epochs = [(found.header.leader_epoch, found.header.base_offset)]
            else:
                damages += found.fields["state"] == DAMAGED
                yield found
    if len(seen) > 1 and seen[-1].end_offset is None:
        seen[-1].end_offset = seen[-1].base_offset
    if seen and not seen[-1].epochs:
        data = read_if_there(disk, f"{partition.path}/{epochs.FILE_NAME}")
        known = load_epochs(data) if data is not None else None
        if known is not None and known.latest >= 0:
            seen[-1].epochs = [(known.latest, 0)]
    yield _partition_row(disk, partition, names, seen, damages, is_whole=False)


# Data directories


def _data_directory(disk: Disk, path: str, wanted: Wanted) -> Rows:
    """Yield an overview; with --verify every byte of every partition is looked at."""
    names = disk.list_directory(path)
    if meta.FILE_NAME in names:
        yield from dump_meta(disk, f"{path}/{meta.FILE_NAME}")
    for name in (RECOVERY_POINTS, LOG_STARTS):
        if name in names:
            rows = dump_offsets_file(disk, f"{path}/{name}", wanted)
            yield from (row for row in rows if row.kind == PROBLEM)
    if journal.FILE_NAME in names:
        rows = dump_journal(disk, f"{path}/{journal.FILE_NAME}", {}, wanted)
        yield from (row for row in rows if row.kind in (PROBLEM, "journal", "facts"))
    partitions = [name for name in names if PARTITION.fullmatch(name)]
    counted = Counted(wanted)
    total = in_use = 0
    for name in partitions:
        if not counted.take():
            break
        try:
            for row in _one_of_many(disk, partition_at(disk, f"{path}/{name}"), wanted):
                if row.kind == "partition":
                    size = row.fields["bytes"]
                    total += size if isinstance(size, int) else 0
                    in_use += row.fields["in_use"] is True
                yield row
        except Missing:
            continue  # Deleted meanwhile.
    yield Row(
        "data_directory",
        {
            "directory": path,
            "clean": CLEAN_MARK in names,
            "journal": journal.FILE_NAME in names,
            "partitions": in_use,
            "set_aside": len(partitions) - in_use if not counted.is_cut else None,
            "bytes": total,
            "whole": not counted.is_cut,
        },
    )


def _one_of_many(disk: Disk, partition: Partition, wanted: Wanted) -> Rows:
    if not wanted.verify:
        return _glance(disk, partition)
    everything = Wanted(verify=True)
    return (
        row
        for row in dump_partition(disk, partition, everything)
        if row.kind in (PROBLEM, "partition")
    )
