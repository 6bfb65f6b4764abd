"""`partition.metadata`: to which topic id a partition's directory belongs (Kafka's format)."""

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

from storage.disk import Disk, File, Missing
from storage.errors import DamagedLog, WrongTopicId

FILE_NAME = "partition.metadata"
STRAY_SUFFIX = "-stray"
"""Kafka's word for a directory that is set aside."""


def encode(topic_id: bytes) -> bytes:
    """Return the file for a topic id of 16 bytes."""
    return b"version: 0\ntopic_id: " + urlsafe_b64encode(topic_id).rstrip(b"=")


def decode(data: bytes) -> bytes | None:
    """Return the topic id, None if `data` is not such a file."""
    version, _, rest = data.strip().partition(b"\n")
    name, _, text = rest.partition(b": ")
    if version != b"version: 0" or name != b"topic_id" or len(text) != 22:
        return None
    try:
        # Strictly: a torn file may hold zeros, which the lenient decoder skips.
        return b64decode(text + b"==", altchars=b"-_", validate=True)
    except Base64Error:
        return None


def write(disk: Disk, directory: str, topic_id: bytes) -> File:
    """Write the file, unsynced; the caller syncs what is returned before it promises anything."""
    file = disk.open(f"{directory}/{FILE_NAME}", create=True)
    file.truncate(0)
    file.append((encode(topic_id),))
    return file


def rewrite(disk: Disk, directory: str) -> File:
    """Write the same again, for what was killed before its first sync; the caller syncs it."""
    file = disk.open_cached(f"{directory}/{FILE_NAME}")
    file.rewrite(0)
    return file


def directory_holds(
    disk: Disk, directory: str, topic_id: bytes, *, was_synced: bool
) -> list[str] | None:
    """Return None if there is no directory to use, warnings (mostly none) if there is one.

    A directory that a crash left before its first sync, hence without a readable file, is set
    aside: nothing in it was ever promised.

    Raises:
        WrongTopicId: it belongs to another topic.
        DamagedLog: it was synced, but the file is missing or not readable.
    """
    if not disk.exists(directory):
        return None
    path = f"{directory}/{FILE_NAME}"
    try:
        found = decode(disk.read_file(path))
    except Missing:
        found = None
    if found == topic_id:
        return []
    if found is not None:
        raise WrongTopicId(directory, found, topic_id)
    if was_synced:
        raise DamagedLog(path, 0, 0, "the topic id is missing or unreadable")
    number = 1
    while disk.exists(aside := f"{directory}.{number}{STRAY_SUFFIX}"):
        number += 1
    disk.rename(directory, aside)
    return None
