"""The small files: leader epochs, snapshots of producers, checkpoints, topic ids, identity."""

from __future__ import annotations

from storage import partition_metadata
from storage.checkpoints import parse_offsets
from storage.disk import Disk, parent
from storage.epochs import LeaderEpochs
from storage.errors import BadMeta
from storage.meta import read_meta
from storage.producers import read_snapshot
from tools.dump.rows import Counted, Row, Rows, Wanted, id_text, problem, read_small


def _first_wrong_line(data: bytes, words_count: int) -> tuple[int, str]:
    """Return where a checkpoint file stops to be one, and why."""
    lines = data.split(b"\n")
    byte = 0
    for number, line in enumerate(lines):
        words = line.split(b" ")
        is_last = number == len(lines) - 1
        if number == 0 and line != b"0":
            return byte, "the first line is not version 0"
        if number == 1 and not line.isdigit():
            return byte, "the second line is no count"
        if number == 1 and int(line) != len(lines) - 3:
            return byte, f"the second line counts {int(line)} entries, {len(lines) - 3} follow"
        if is_last and line:
            return byte, "the last line has no end"
        if number > 1 and not is_last and len(words) != words_count:
            return byte, f"line {number + 1} does not have {words_count} words"
        if number > 1 and not is_last and not all(word.isdigit() for word in words[-2:]):
            return byte, f"line {number + 1} does not end with two numbers"
        byte += len(line) + 1
    return 0, "its entries do not rise"


def dump_epochs(disk: Disk, path: str, wanted: Wanted) -> Rows:
    """Yield the entries of a `leader-epoch-checkpoint`. Raises DiskError."""
    data = read_small(disk, path)
    epochs = LeaderEpochs(lambda: -1)
    if not epochs.load(data):
        byte, reason = _first_wrong_line(data, 2)
        yield problem(path, byte, reason, sound=None)
        return
    counted = Counted(wanted)
    known = epochs.entries()
    ends: list[int | None] = [start for _, start in known[1:]]
    for (epoch, start), end in zip(known, [*ends, None], strict=True):
        if wanted.overlaps(start, start if end is None else end - 1) and counted.take():
            fields: dict[str, object] = {"file": path, "leader_epoch": epoch}
            yield Row("epoch", fields | {"start_offset": start, "end_offset": end})


def load_epochs(data: bytes) -> LeaderEpochs | None:
    """Return the epochs of a checkpoint, None if it is not one."""
    epochs = LeaderEpochs(lambda: -1)
    return epochs if epochs.load(data) else None


def dump_snapshot(disk: Disk, path: str, wanted: Wanted) -> Rows:
    """Yield the entries of a snapshot of producers. Raises DiskError."""
    entries = read_snapshot(read_small(disk, path))
    if entries is None:
        reason = "it is no snapshot of producers, or its CRC-32C differs"
        yield problem(path, 0, reason, sound="nothing; the node rebuilds it from the log")
        return
    counted = Counted(wanted)
    for entry in entries:
        if not wanted.overlaps(entry.last_offset, entry.last_offset):
            continue
        if not counted.take():
            break
        yield Row("producer", {"file": path, **entry._asdict()})


def dump_offsets_file(disk: Disk, path: str, wanted: Wanted) -> Rows:
    """Yield the lines of a checkpoint, whatever its offsets are of. Raises DiskError."""
    data = read_small(disk, path)
    offsets = parse_offsets(data)
    if offsets is None:
        byte, reason = _first_wrong_line(data, 3)
        yield problem(path, byte, reason, sound="nothing; the node checks its logs whole then")
        return
    counted = Counted(wanted)
    for (topic, partition), offset in sorted(offsets.items()):
        if not counted.take():
            break
        fields: dict[str, object] = {"file": path, "topic": topic, "partition": partition}
        yield Row("checkpoint", fields | {"offset": offset})


def dump_topic_id(disk: Disk, path: str) -> Rows:
    """Yield what a `partition.metadata` says. Raises DiskError."""
    topic_id = partition_metadata.decode(read_small(disk, path))
    if topic_id is None:
        yield problem(path, 0, "it holds no topic id")
        return
    yield Row(
        "partition_metadata",
        {"file": path, "topic_id": id_text(topic_id), "topic_id_hex": topic_id.hex()},
    )


def dump_meta(disk: Disk, path: str) -> Rows:
    """Yield what a `meta.toml` says. Raises DiskError."""
    try:
        meta = read_meta(disk, parent(path))
    except BadMeta as error:
        reason = str(error).removeprefix(f"{path} ").removeprefix("is damaged: ")
        yield problem(path, 0, reason)
        return
    if meta is None:
        return
    yield Row(
        "meta",
        {
            "file": path,
            "directory_format": meta.format,
            "cluster_id": str(meta.cluster_id),
            "directory_id": str(meta.directory_id),
            "node_id": meta.node_id,
            "version": meta.version,
        },
    )
