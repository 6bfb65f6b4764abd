"""From what a coordinator decides to the bytes of `__consumer_offsets`, and back.

Keys and values are Kafka's (mesh.wire.stored.groups), so that what reads that topic
directly understands it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mesh.model.limits import STORED_TEXT_BYTES_MAX
from mesh.wire import Message, WireError, decode_stored, encode_stored
from mesh.wire.stored.groups import KINDS, OffsetCommitKey, OffsetCommitValue

OFFSET_COMMIT: Final = 1
EXPIRING_VERSION: Final = 1
"""The only version of an offset's value with room for its own instant of expiry."""
_KIND_OF: Final = {key: kind for kind, (key, _, _) in KINDS.items() if kind}
_KIND_BYTES: Final = 2


class Record(NamedTuple):
    """Key and value as they are stored; a value of None takes away what the key stands for."""

    key: bytes
    value: bytes | None


def encode(key: Message, value: Message | None) -> Record:
    """Write a record.

    Args:
        key: of one of the classes that KINDS names.
        value: of the class that belongs to it; None makes a tombstone.

    Raises:
        WireError: a text or an array is too long to be stored.
    """
    kind = _KIND_OF[type(key)]
    version = KINDS[kind][2]
    if isinstance(value, OffsetCommitValue) and value.expire_timestamp != -1:
        version = EXPIRING_VERSION
    stored = None if value is None else encode_stored(value, version)
    return Record(encode_stored(key, kind), stored)


def decode_untrusted(key: bytes, value: bytes | None) -> tuple[Message, Message | None] | None:
    """Read a record; None if its kind is none that is read here (share and streams groups).

    Raises:
        WireError: these bytes are no such record.
    """
    if len(key) < _KIND_BYTES:
        raise WireError(f"{len(key)} bytes are no key of a group's record")
    kind = int.from_bytes(key[:_KIND_BYTES], "big", signed=True)
    if kind not in KINDS:
        return None
    key_class, value_class, _ = KINDS[kind]
    read_key = decode_stored(key_class, key)
    return read_key, None if value is None else decode_stored(value_class, value)


def is_storable(text: str) -> bool:
    """Whether records have room for a text; one for which they have none costs all a reload."""
    return len(text.encode()) <= STORED_TEXT_BYTES_MAX


def group_of(key: Message) -> str:
    """Return the id of the group that a record is about."""
    group_id = getattr(key, "group", None) or getattr(key, "group_id", "")
    assert isinstance(group_id, str)
    return group_id


assert _KIND_OF[OffsetCommitKey] == OFFSET_COMMIT
