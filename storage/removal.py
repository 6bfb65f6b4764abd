"""Removes files of logs for good: blocking, for a thread, after a log let go of them."""

from __future__ import annotations

from collections.abc import Sequence

from storage import checkpoints
from storage.disk import Disk


def remove_segments(disk: Disk, directory: str, paths: Sequence[str]) -> None:
    """Remove old segments' files, given oldest first; each `.log` durably.

    So what a crash leaves has no gap. The segment that follows is made durable before.
    """
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
