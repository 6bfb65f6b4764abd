"""The bytes of the promise journal: what this node promised in every group, round by round.

The file is a run of rounds. Each stands twice, byte for byte, and its number is one more than that
of the round before. The first holds everything, those after it what changed since::

    round:  magic "GPJ\\n" · format u8 · kind u8 · body length u32 · number u64 · xxh3 u64 · body
    body:   any of  facts   · tag 1 · directory id · flags u8 · boot id
                    promise · tag 2 · group · epochs, ends, flags · vote, if any · voters
                    removed · tag 3 · group

All is big-endian; the checksum covers the 18 bytes before it and the body. Magic, format, length
and checksum keep their places in every later format. The first round is only ever written by
replacing the file, so it cannot be torn.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import xxhash

from storage.errors import JournalDamaged, NewerFormat
from storage.types import LeaderEpoch, Offset

FORMAT = 1
"""Raised when an older release would misread what a newer one writes."""

GroupId: TypeAlias = tuple[bytes, int]
"""Topic id (16 bytes) and partition."""

Voter: TypeAlias = tuple[int, bytes]
"""Node id and directory id (16 bytes): a wiped node is another voter."""

NO_BOOT_ID = bytes(16)

_MAGIC = b"GPJ\n"
_CHANGES, _WHOLE = 0, 1
_FACTS, _PROMISE, _REMOVED = 1, 2, 3
_CLEAN, _MEMORY = 1, 2
_TOMBSTONE, _UNSURE, _VOTED = 1, 2, 4

_HEAD = struct.Struct(">4sBBIQ")
_CHECKSUM = struct.Struct(">Q")
_HEAD_SIZE = _HEAD.size + _CHECKSUM.size
_FACTS_BODY = struct.Struct(">B16sB16s")
_GROUP = struct.Struct(">B16si")
_PROMISE_BODY = struct.Struct(">iqiiqqqBH")
_VOTER = struct.Struct(">i16s")


class Promise(NamedTuple):
    """What a node holds durably of one partition group; epochs are int32, the rest int64."""

    leader_epoch: LeaderEpoch
    """Largest that was promised to a candidate or obeyed; -1 before the first."""
    session: int
    """Largest session obeyed in `leader_epoch`; 0 before the first."""
    voted_for: Voter | None
    """Who got the vote in `leader_epoch`."""
    log_epoch: LeaderEpoch
    """Epoch of the leader whose log was last adopted wholly; -1 for none."""
    config_epoch: LeaderEpoch
    config_version: int
    voters: tuple[Voter, ...]
    """At most 65,535."""
    synced_end: Offset
    """Every offset below is on disk."""
    log_start_offset: Offset
    tombstone: bool = False
    """There is no log any more, but the promises bind as long as the topic id exists."""
    unsure: bool = False
    """The log may lack what was acknowledged (`--durability memory`, the machine went down)."""


class Facts(NamedTuple):
    """What the journal holds of the node itself."""

    directory_id: bytes
    """16 bytes; the data directory that the journal belongs to, for good."""
    memory: bool = False
    """Acknowledgements since were given under `--durability memory`."""
    boot_id: bytes = NO_BOOT_ID
    """16 bytes; under which boot of the machine they were given."""
    clean: bool = False
    """The node ended after everything was synced, and has not begun again since."""


@dataclass(slots=True)
class Content:
    """A whole journal as its rounds leave it, and what was found on the way."""

    facts: Facts
    promises: dict[GroupId, Promise] = field(default_factory=dict)
    round: int = 0
    """Number of the last round."""
    whole_bytes: int = 0
    """Size of the first round, both copies."""
    last_position: int = 0
    """Byte at which the last round begins."""
    end: int = 0
    """Byte at which the sound part ends."""
    torn_bytes: int = 0
    """What follows it: a round that was never finished."""
    repaired: list[int] = field(default_factory=list)
    """Rounds of which one copy was bad and the other was used."""


def encode_round(
    number: int,
    changes: Mapping[GroupId, Promise | None],
    facts: Facts | None,
    *,
    whole: bool = False,
) -> bytes:
    """Return a round, both copies.

    Args:
        number: one more than that of the round before; from 0.
        changes: what each group's promise now is; None for a group that was removed.
        facts: the node's, if they changed; always with `whole`.
        whole: the round holds everything and begins a file.
    """
    assert facts is not None or not whole, "a file begins with the node's facts"
    parts = [] if facts is None else [_encode_facts(facts)]
    parts += [_encode_change(group, promise) for group, promise in changes.items()]
    body = b"".join(parts)
    head = _HEAD.pack(_MAGIC, FORMAT, _WHOLE if whole else _CHANGES, len(body), number)
    return b"".join((head, _CHECKSUM.pack(_checksum(head, body)), body)) * 2


def _checksum(head: bytes | memoryview, body: bytes | memoryview) -> int:
    state = xxhash.xxh3_64(head)
    state.update(body)
    return state.intdigest()


def _encode_facts(facts: Facts) -> bytes:
    assert len(facts.directory_id) == len(facts.boot_id) == 16, "ids are 16 bytes"
    flags = facts.clean * _CLEAN | facts.memory * _MEMORY
    return _FACTS_BODY.pack(_FACTS, facts.directory_id, flags, facts.boot_id)


def _encode_change(group: GroupId, promise: Promise | None) -> bytes:
    topic_id, partition = group
    assert len(topic_id) == 16, "a topic id is 16 bytes"
    if promise is None:
        return _GROUP.pack(_REMOVED, topic_id, partition)
    voted = promise.voted_for is not None
    body = _PROMISE_BODY.pack(
        promise.leader_epoch,
        promise.session,
        promise.log_epoch,
        promise.config_epoch,
        promise.config_version,
        promise.synced_end,
        promise.log_start_offset,
        promise.tombstone * _TOMBSTONE | promise.unsure * _UNSURE | voted * _VOTED,
        len(promise.voters),
    )
    vote = (promise.voted_for,) if promise.voted_for is not None else ()
    return b"".join(
        (
            _GROUP.pack(_PROMISE, topic_id, partition),
            body,
            _encode_voters(vote) + _encode_voters(promise.voters),
        )
    )


def _encode_voters(voters: Iterable[Voter]) -> bytes:
    parts = []
    for node_id, directory_id in voters:
        assert len(directory_id) == 16, "a directory id is 16 bytes"
        parts.append(_VOTER.pack(node_id, directory_id))
    return b"".join(parts)


# ---- reading


class Copy(NamedTuple):
    """One sound copy of a round."""

    position: int
    size: int
    format: int
    kind: int
    number: int
    body: memoryview


def decode_journal(path: str, data: bytes) -> Content:
    """Return what a journal holds. `path` is for the errors.

    A last round that is bad in both copies is torn: it was never finished and is left out. A round
    that is bad in one is read from the other.

    Raises:
        JournalDamaged: anything else is wrong; says where.
        NewerFormat: a later release wrote it.
    """
    content = Content(Facts(b""))
    while content.end < len(data):
        copy = _sound_copy(path, data, content)
        if copy is None:
            content.torn_bytes = len(data) - content.end
            break
        _apply(path, copy, content)
        content.last_position = content.end
        content.end = min(content.end + 2 * copy.size, len(data))
    if not content.facts.directory_id:
        raise JournalDamaged(path, 0, "it begins with no sound round")
    return content


def _sound_copy(path: str, data: bytes, content: Content) -> Copy | None:
    """Return the round at the end of `content`, None if it is torn, and note what was bad."""
    position = content.end
    first = copy_at(data, position)
    if first is not None:
        middle = position + first.size
        if data[position:middle] == data[middle : middle + first.size]:
            return first
        following = next_copy(data, middle)
        if following is not None and following.position < middle + first.size:
            raise JournalDamaged(path, middle, "bytes are missing or were added")
        content.repaired.append(first.number)
        return first
    second = next_copy(data, position + 1)
    if second is not None:
        if second.position != position + second.size:
            raise JournalDamaged(path, position, "both copies of a round are bad")
        content.repaired.append(second.number)
        return second
    if _has_more_behind(data, position, content.round + 1):
        raise JournalDamaged(path, position, "both copies of a round are bad")
    return None


def _has_more_behind(data: bytes, position: int, number: int) -> bool:
    """Whether bytes follow the round that should begin there: then it was finished once.

    A torn write may leave zeros for what it did not write, and so a length that is too small. Only
    with the round's number, which stands behind the length and is not 0, is all of it known.
    """
    claimed = _claimed_size(data, position)
    if claimed is None or _HEAD.unpack_from(data, position)[4] != number:
        return False
    return position + 2 * claimed < len(data)


def _claimed_size(data: bytes, position: int) -> int | None:
    """Return the size that one copy there would have, None if none begins there."""
    if len(data) - position < _HEAD_SIZE or not data.startswith(_MAGIC, position):
        return None
    length: int = _HEAD.unpack_from(data, position)[3]
    return _HEAD_SIZE + length


def copy_at(data: bytes, position: int) -> Copy | None:
    """Return the sound copy that begins at `position`, None if none does."""
    size = _claimed_size(data, position)
    if size is None or position + size > len(data):
        return None
    _, format_, kind, _, number = _HEAD.unpack_from(data, position)
    (checksum,) = _CHECKSUM.unpack_from(data, position + _HEAD.size)
    view = memoryview(data)[position : position + size]
    if _checksum(view[: _HEAD.size], view[_HEAD_SIZE:]) != checksum:
        return None
    return Copy(position, size, format_, kind, number, view[_HEAD_SIZE:])


def next_copy(data: bytes, position: int) -> Copy | None:
    """Return the first sound copy that begins at `position` or later."""
    while (position := data.find(_MAGIC, position)) >= 0:
        copy = copy_at(data, position)
        if copy is not None:
            return copy
        position += 1
    return None


def _apply(path: str, copy: Copy, content: Content) -> None:
    if copy.format > FORMAT:
        raise NewerFormat(
            f"{path} has format {copy.format}, this release knows {FORMAT}: "
            "a later release wrote this directory; use that one"
        )
    begins = content.end == 0
    if begins:
        content.whole_bytes = 2 * copy.size
    elif copy.number != content.round + 1:
        reason = f"round {copy.number} follows round {content.round}"
        raise JournalDamaged(path, content.end, reason)
    if copy.format < 1 or copy.kind != (_WHOLE if begins else _CHANGES):
        raise JournalDamaged(path, content.end, f"round {copy.number} is of a wrong kind")
    content.round = copy.number
    try:
        _apply_body(copy.body, content)
    except (struct.error, ValueError) as error:
        reason = f"round {copy.number} is not readable: {error}"
        raise JournalDamaged(path, content.end, reason) from None


def _apply_body(body: memoryview, content: Content) -> None:
    """Raise struct.error or ValueError if the body is malformed."""
    for entry in entries_of(body):
        if isinstance(entry, Facts):
            content.facts = entry
            continue
        group, promise = entry
        if promise is not None:
            content.promises[group] = promise
        else:
            content.promises.pop(group, None)


def entries_of(body: memoryview) -> Iterator[Facts | tuple[GroupId, Promise | None]]:
    """Yield what a round says, in its order; None for a group that was removed.

    Raises struct.error or ValueError if the body is malformed.
    """
    position = 0
    while position < len(body):
        tag = body[position]
        if tag == _FACTS:
            _, directory_id, flags, boot_id = _FACTS_BODY.unpack_from(body, position)
            position += _FACTS_BODY.size
            yield Facts(directory_id, bool(flags & _MEMORY), boot_id, bool(flags & _CLEAN))
            continue
        _, topic_id, partition = _GROUP.unpack_from(body, position)
        position += _GROUP.size
        if tag == _PROMISE:
            promise, position = _decode_promise(body, position)
            yield (topic_id, partition), promise
        elif tag == _REMOVED:
            yield (topic_id, partition), None
        else:
            raise ValueError(f"an entry has the unknown tag {tag}")


def _decode_promise(body: memoryview, position: int) -> tuple[Promise, int]:
    (
        leader_epoch,
        session,
        log_epoch,
        config_epoch,
        config_version,
        synced_end,
        log_start_offset,
        flags,
        voter_count,
    ) = _PROMISE_BODY.unpack_from(body, position)
    position += _PROMISE_BODY.size
    end = position + _VOTER.size * (voter_count + bool(flags & _VOTED))
    if end > len(body):
        raise ValueError("the voters are cut off")
    voters: list[Voter] = list(_VOTER.iter_unpack(body[position:end]))
    promise = Promise(
        leader_epoch=leader_epoch,
        session=session,
        voted_for=voters.pop(0) if flags & _VOTED else None,
        log_epoch=log_epoch,
        config_epoch=config_epoch,
        config_version=config_version,
        voters=tuple(voters),
        synced_end=synced_end,
        log_start_offset=log_start_offset,
        tombstone=bool(flags & _TOMBSTONE),
        unsure=bool(flags & _UNSURE),
    )
    return promise, end
