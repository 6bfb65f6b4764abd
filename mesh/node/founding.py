"""Who a data directory belongs to: found a mesh in an empty one, take an older one over.

The groups of the registry are made here and never again: together with the identity, whose file
is written last. A crash before that leaves a directory in which founding simply begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from mesh.broker.stored_promises import to_stored
from mesh.model.names import REGISTRY_TOPIC_ID
from mesh.node.store import PARTITION_DIRECTORY, keep_directories
from mesh.registry import SHARD_COUNT
from mesh.replication import Replica, first_promise
from mesh.version import VERSION
from storage import journal, partition_metadata
from storage.disk import Missing
from storage.journal import Journal
from storage.meta import Meta, read_meta, write_meta

if TYPE_CHECKING:
    from storage.disk import Disk
    from storage.promises import GroupId

log = logging.getLogger("mesh.node")

FOUNDER_ID = 1
"""Node id of whoever founds a mesh."""
FORMAT_WITHOUT_JOURNAL = 1
HARMLESS = {".lock", "lost+found", "meta.toml.tmp", journal.FILE_NAME, f"{journal.FILE_NAME}.tmp"}
"""Names that do not make a directory somebody else's. What is half written is of a founding that
was cut short; so is a journal, or `Journal.found` refuses it."""


class ForeignDirectoryError(Exception):
    """The data directory holds something, and none of it is ours."""

    def __init__(self, directory: str, example: str) -> None:
        super().__init__(f"{directory} is not empty and holds no meta.toml (but {example})")
        self.directory = directory


def identify(disk: Disk, directory: str, entropy: Callable[[int], bytes]) -> Meta:
    """Return who the directory belongs to; an empty one founds a mesh of one.

    Raises:
        BadMeta: it is of a newer format, or damaged.
        ForeignDirectoryError: it is full of something else.
        JournalExists: it holds promises, but not whose they are.
        DiskError, SyncFailed: it cannot be read or written.
    """
    meta = read_meta(disk, directory)
    if meta is not None:
        return _take_over(disk, directory, meta) if meta.format == FORMAT_WITHOUT_JOURNAL else meta
    names = disk.list_directory(directory)
    others = [name for name in names if name not in HARMLESS]
    if others:
        raise ForeignDirectoryError(directory, others[0])
    founded = Meta(
        cluster_id=UUID(bytes=entropy(16), version=4),
        directory_id=UUID(bytes=entropy(16), version=4),
        node_id=FOUNDER_ID,
        version=VERSION,
    )
    keep_directories(disk, directory)  # Before anything in it is called durable.
    me = _replica(founded)
    first = first_promise(me, (me,), None)
    assert first is not None, "the founder is the first voter"
    promises = {(REGISTRY_TOPIC_ID, index): to_stored(first) for index in range(SHARD_COUNT)}
    Journal.found(disk, directory, founded.directory_id.bytes, promises).close()
    write_meta(disk, directory, founded)
    log.info("founded a mesh of one", extra={"cluster_id": str(founded.cluster_id)})
    return founded


def _take_over(disk: Disk, directory: str, meta: Meta) -> Meta:
    """Give a directory of a release that had no promise journal one; it was a mesh of one.

    All its partitions were led in epoch 0. Until the new identity is written nothing rests on
    the journal, so one that a crash left behind is made anew.
    """
    me = _replica(meta)
    first = first_promise(me, (me,), None)
    assert first is not None, "the founder is the first voter"
    led = first._replace(leader_epoch=0, log_epoch=0)
    promises = {(REGISTRY_TOPIC_ID, index): to_stored(first) for index in range(SHARD_COUNT)}
    promises |= {group: to_stored(led) for group in _groups_on_disk(disk, directory)}
    disk.remove(f"{directory}/{journal.FILE_NAME}")
    Journal.found(disk, directory, meta.directory_id.bytes, promises).close()
    taken = Meta(meta.cluster_id, meta.directory_id, meta.node_id, VERSION)
    write_meta(disk, directory, taken)
    log.info("took over a data directory of release %s", meta.version)
    return taken


def _groups_on_disk(disk: Disk, directory: str) -> list[GroupId]:
    groups = []
    for name in disk.list_directory(directory):
        found = PARTITION_DIRECTORY.fullmatch(name)
        if found is None:
            continue
        try:
            data = disk.read_file(f"{directory}/{name}/{partition_metadata.FILE_NAME}")
        except Missing:
            continue
        topic_id = partition_metadata.decode(data)
        if topic_id is not None:
            groups.append((topic_id, int(found[2])))
    return groups


def _replica(meta: Meta) -> Replica:
    return Replica(meta.node_id, str(meta.directory_id))
