"""What a path is, by its name or its contents; and what is known of the files around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from mesh.model.names import REGISTRY_TOPIC
from storage import epochs, journal, meta, partition_metadata
from storage.checkpoints import CLEAN_MARK, CLEANED_ENDS, LOG_STARTS, RECOVERY_POINTS, parse_offsets
from storage.disk import Disk, DiskError, File, Missing, parent
from storage.producers import SNAPSHOT_SUFFIX, read_snapshot
from storage.types import Offset
from tools.dump.batches import Segment, header_at, sum_is_right
from tools.dump.rows import read_if_there

PARTITION = re.compile(r"(?P<topic>[a-zA-Z0-9._-]+)-(?P<partition>[0-9]+)(?P<rest>\..+)?")
"""A partition's directory; `rest` says that it is being deleted or was set aside."""
SEGMENT = re.compile(r"([0-9]{20})\.(log|index|timeindex|snapshot)")
LOG, INDEX, TIMEINDEX = ".log", ".index", ".timeindex"
SMALL_BYTES = 4_096
"""Looked at of a file whose name says nothing."""


class Kind(Enum):
    """What a path is."""

    DATA = "data directory"
    PARTITION = "partition directory"
    LOG = "segment"
    INDEX = "offset index"
    TIMEINDEX = "time index"
    SNAPSHOT = "producer snapshot"
    EPOCHS = "leader epochs"
    OFFSETS = "offset checkpoint"
    TOPIC_ID = "topic id"
    META = "identity"
    JOURNAL = "promise journal"
    CLEAN = "clean mark"


_BY_NAME = {
    epochs.FILE_NAME: Kind.EPOCHS,
    partition_metadata.FILE_NAME: Kind.TOPIC_ID,
    meta.FILE_NAME: Kind.META,
    journal.FILE_NAME: Kind.JOURNAL,
    RECOVERY_POINTS: Kind.OFFSETS,
    LOG_STARTS: Kind.OFFSETS,
    CLEANED_ENDS: Kind.OFFSETS,
    "replication-offset-checkpoint": Kind.OFFSETS,
    CLEAN_MARK: Kind.CLEAN,
}
_BY_SUFFIX = {
    LOG: Kind.LOG,
    INDEX: Kind.INDEX,
    TIMEINDEX: Kind.TIMEINDEX,
    SNAPSHOT_SUFFIX: Kind.SNAPSHOT,
}


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return path.rstrip("/").rpartition("/")[2]


def kind_of(disk: Disk, path: str) -> Kind | None:
    """Return what a path is, None if it is nothing of ours.

    Raises:
        DiskError: it cannot be read.
    """
    try:
        names = disk.list_directory(path)
    except DiskError as error:
        if isinstance(error, Missing):
            raise
        return _file_kind(disk, path)
    if meta.FILE_NAME in names:
        return Kind.DATA
    if partition_metadata.FILE_NAME in names or any(SEGMENT.fullmatch(name) for name in names):
        return Kind.PARTITION
    if any(PARTITION.fullmatch(name) for name in names):
        return Kind.DATA
    return Kind.PARTITION if PARTITION.fullmatch(name_of(path)) else None


def _file_kind(disk: Disk, path: str) -> Kind | None:
    name = name_of(path)
    if (by_name := _BY_NAME.get(name)) is not None:
        return by_name
    file = disk.open(path)
    suffix = name[name.rfind(".") :] if "." in name else ""
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    return _kind_by_content(file)


def _kind_by_content(file: File) -> Kind | None:
    begin = file.read(0, SMALL_BYTES)
    if begin.startswith(b"GPJ\n"):
        return Kind.JOURNAL
    if begin.startswith(b"version: 0\ntopic_id: "):
        return Kind.TOPIC_ID
    if re.match(rb"0\n[0-9]+\n", begin):
        line = begin.split(b"\n")[2]
        return Kind.OFFSETS if line.count(b" ") == 2 else Kind.EPOCHS
    if b"directory_id =" in begin:
        return Kind.META
    header = header_at(file, 0)
    if header is not None and sum_is_right(file, 0, header):
        return Kind.LOG
    if read_snapshot(file.read(0, file.size) if file.size < (64 << 20) else b"") is not None:
        return Kind.SNAPSHOT
    return None


@dataclass(frozen=True, slots=True)
class Partition:
    """What a directory's name and the files beside it say of a partition."""

    path: str
    topic: str
    index: int
    rest: str
    """`.….delete` or `.….stray`, if it is not in use."""
    recovery_point: Offset | None
    log_start_offset: Offset | None

    @property
    def is_registry(self) -> bool:
        """Whether it is a shard of the registry."""
        return self.topic == REGISTRY_TOPIC

    def segment(self, path: str, *, is_newest: bool) -> Segment:
        """Return what is known of one of its segments before it is read."""
        found = SEGMENT.fullmatch(name_of(path))
        base_offset = int(found[1]) if found else None
        return Segment(path, base_offset, self.recovery_point, is_newest)


def partition_at(disk: Disk, path: str) -> Partition:
    """Return what is known of the partition in a directory. Raises DiskError."""
    path = path.rstrip("/")
    found = PARTITION.fullmatch(name_of(path))
    topic, index, rest = (found[1], int(found[2]), found[3] or "") if found else ("", 0, "")
    above = parent(path)
    points = checkpoint(disk, f"{above}/{RECOVERY_POINTS}")
    starts = checkpoint(disk, f"{above}/{LOG_STARTS}")
    key = (topic, index)
    usable = not rest
    return Partition(
        path,
        topic,
        index,
        rest,
        points.get(key) if points is not None and usable else None,
        starts.get(key) if starts is not None and usable else None,
    )


def checkpoint(disk: Disk, path: str) -> dict[tuple[str, int], Offset] | None:
    """Return a checkpoint's offsets; None if it is missing or none, which its own dump tells."""
    try:
        data = read_if_there(disk, path)
    except DiskError:
        return None
    return None if data is None else parse_offsets(data)


def topic_names(disk: Disk, data_directory: str) -> dict[bytes, str]:
    """Return topics by their ids, as the partitions' directories tell them."""
    names: dict[bytes, str] = {}
    try:
        listed = disk.list_directory(data_directory)
    except DiskError:
        return names
    for name in listed:
        found = PARTITION.fullmatch(name)
        if found is None or found[3]:
            continue
        try:
            data = read_if_there(disk, f"{data_directory}/{name}/{partition_metadata.FILE_NAME}")
        except DiskError:
            continue
        topic_id = partition_metadata.decode(data) if data is not None else None
        if topic_id is not None:
            names[topic_id] = found[1]
    return names
