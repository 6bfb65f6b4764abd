"""Removes files of logs for good: blocking, for a thread, after a log let go of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import xxhash

from storage import checkpoints
from storage.disk import Disk
from storage.snapshots import bequeath
from storage.sync import Directory
from storage.types import Offset

NAME_MAX = 255  # Bytes of a file name (Linux).


def remove_segments(
    disk: Disk, directory: str, paths: Sequence[str], first_offset: Offset, producers: bytes
) -> None:
    """Remove old segments' files, given oldest first; each `.log` durably.

    So what a crash leaves has no gap. The segment that follows is made durable before, and with
    it, as a snapshot at its base, what else would be forgotten of producers.
    """
    bequeath(disk, directory, first_offset, producers)
    disk.sync_directory(directory)
    for path in paths:
        disk.remove(path)
        if path.endswith(".log"):
            disk.sync_directory(directory)


def remove_directory(
    disk: Disk, data_directory: str, topic: str, partition: int, renamed: str
) -> None:
    """Remove a deleted partition's directory, after what checkpoints say of it."""
    disk.sync_directory(data_directory)
    checkpoints.forget(disk, data_directory, topic, partition)
    disk.remove_tree(renamed)


def take_away(
    disk: Disk,
    directory: Directory,
    data_directory: str,
    name: tuple[str, int],
    topic_id: bytes,
    *,
    is_there: bool,
) -> Callable[[], None]:
    """Rename a partition's directory away, at once; the callable, for a thread, removes it.

    Args:
        disk: where it is.
        directory: of the log; nothing is written there any more afterwards.
        data_directory: that holds it.
        name: topic and partition.
        topic_id: 16 bytes; they make the new name unique.
        is_there: whether there is a directory at all.

    Raises:
        DiskError: it cannot be renamed.
    """
    topic, partition = name
    unique = xxhash.xxh3_128_hexdigest(topic_id + partition.to_bytes(4, "big"))
    suffix = f".{unique}{checkpoints.DELETED_SUFFIX}"
    renamed = f"{data_directory}/{f'{topic}-{partition}'[: NAME_MAX - len(suffix)]}{suffix}"
    with directory.lock:  # Not while a ticket writes small files there.
        directory.is_gone = True
        if is_there:
            disk.remove_tree(renamed)
            disk.rename(directory.path, renamed)
    if not is_there:
        return _nothing
    return partial(remove_directory, disk, data_directory, topic, partition, renamed)


def _nothing() -> None:
    """A log that never was on the disk leaves nothing there."""
