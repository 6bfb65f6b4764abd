"""Records of committed offsets: nearly all that there are, so their bytes are made and read here.

They are the bytes that the declarations in `mesh.wire.stored.groups` say (a test compares them),
in a third of the time. What is out of the ordinary is left to the declarations.
"""

from __future__ import annotations

import functools
import struct
from typing import Final, TypeVar

from mesh.groups.image import CommittedOffset
from mesh.groups.records import OFFSET_COMMIT, Record, encode
from mesh.model.types import NO_TOPIC_ID
from mesh.wire import WireError
from mesh.wire.stored.groups import OffsetCommitKey, OffsetCommitValue

T = TypeVar("T", str, bytes)

VERSION: Final = 4
"""Of the value, as Kafka 4.3 writes it."""
METADATA_BYTES_MAX: Final = 126
"""Longer texts have lengths of more than one byte, and are left to the declarations."""
SHARED_MAX: Final = 10_000
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_KEY: Final = struct.Struct(">hh")
_HEAD: Final = struct.Struct(">hqiB")
"""Version, offset, leader epoch, length of the metadata and one."""
_TAIL: Final = struct.Struct(">qBBB16s")
"""Instant of the commit, one tag, its number, its length, the topic's id."""
_BEGIN: Final = OFFSET_COMMIT.to_bytes(2, "big")
_TAGS: Final = (1, 0, 16)


@functools.lru_cache(maxsize=SHARED_MAX)
def _shared(value: T) -> T:
    """Return an equal value that others hold as well: many groups read the same topics."""
    return value


@functools.lru_cache(maxsize=SHARED_MAX)
def _place(topic: str, index: int) -> tuple[str, int]:
    return topic, index


def encode_offset(
    group_id: str, where: tuple[str, int], committed: CommittedOffset | None
) -> Record:
    """Write the record that says how far a group has come in a partition.

    Args:
        group_id: whose.
        where: topic and partition.
        committed: None makes a tombstone.

    Raises:
        WireError: a text is too long to be stored.
    """
    topic, index = where
    try:
        group, name = group_id.encode(), topic.encode()
        key = b"".join(
            (
                _KEY.pack(OFFSET_COMMIT, len(group)),
                group,
                _INT16.pack(len(name)),
                name,
                _INT32.pack(index),
            )
        )
        if committed is None:
            return Record(key, None)
        offset, leader_epoch, text, commit_ms, expire_ms, topic_id = committed
        metadata = text.encode()
        if expire_ms != -1 or len(metadata) > METADATA_BYTES_MAX or topic_id == NO_TOPIC_ID:
            return encode(_key_of(group_id, topic, index), _value_of(committed))
        head = _HEAD.pack(VERSION, offset, leader_epoch, len(metadata) + 1)
        return Record(key, head + metadata + _TAIL.pack(commit_ms, *_TAGS, topic_id))
    except (struct.error, UnicodeError) as error:
        raise WireError(f"an offset cannot be stored: {error}") from error


def _key_of(group_id: str, topic: str, index: int) -> OffsetCommitKey:
    return OffsetCommitKey(group=group_id, topic=topic, partition=index)


def _value_of(committed: CommittedOffset) -> OffsetCommitValue:
    return OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_ms,
        expire_timestamp=committed.expire_ms,
        topic_id=committed.topic_id,
    )


def decode_offset(
    key: bytes, value: bytes | None
) -> tuple[str, tuple[str, int], CommittedOffset | None] | None:
    """Read a record as `encode_offset` writes most; None: leave it to `decode_untrusted`.

    That one says, too, what is wrong with bytes that are no record at all.
    """
    if key[:2] != _BEGIN:
        return None
    try:
        group_end = 4 + _INT16.unpack_from(key, 2)[0]
        name_at = group_end + 2
        name_end = name_at + _INT16.unpack_from(key, group_end)[0]
        if not 4 <= group_end < name_at <= name_end == len(key) - 4:
            return None
        group_id = str(key[4:group_end], "utf-8")
        where = _place(str(key[name_at:name_end], "utf-8"), _INT32.unpack_from(key, name_end)[0])
        if value is None:
            return group_id, where, None
        version, offset, leader_epoch, length = _HEAD.unpack_from(value)
        text_end = _HEAD.size + length - 1
        if version != VERSION or not 1 <= length <= METADATA_BYTES_MAX + 1:
            return None
        if len(value) != text_end + _TAIL.size:
            return None
        commit_ms, *tags, topic_id = _TAIL.unpack_from(value, text_end)
        if tuple(tags) != _TAGS:
            return None
        text = str(value[_HEAD.size : text_end], "utf-8") if length > 1 else ""
    except (struct.error, UnicodeError):
        return None
    committed = CommittedOffset(offset, leader_epoch, text, commit_ms, -1, _shared(topic_id))
    return group_id, where, committed
