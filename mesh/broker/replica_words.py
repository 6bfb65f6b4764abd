"""Messages of partition groups as fields and bytes of a link's frame, and back.

A config is `epoch, version, node, directory, node, directory …` in one list; the entries of an
append are pairs of leader epoch and number of offsets, and their batches follow the header.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from mesh.links import Word
from mesh.replication import messages as msg
from mesh.replication.state import Config, ConfigId, Entry, LogPosition, Replica
from storage.errors import CorruptBatch
from storage.records import MAGIC, crc_matches, read_batch_header
from storage.types import Buffer

(
    VOTE_REQUEST,
    VOTE_REPLY,
    APPEND,
    HELD,
    MISMATCH,
    REFUSED,
    CAMPAIGN,
    ASTRAY,
    LEAVE,
    LEFT,
) = range(10)
CONFIRM, CONFIRMED = 10, 11
"""No messages of groups: `confirming.py` asks and answers with a leader epoch and a number."""
FOR_NEWCOMERS = (APPEND, LEAVE)
"""What a replica may be told before it has any state. Whoever was to be taken in, and is not any
more, may have heard of nothing yet; its leader waits for its answer to the order all the same."""
INT64_MAX = (1 << 63) - 1
INT32_MAX = (1 << 31) - 1
EPOCH_MAX = INT32_MAX - 1
"""The journal and batches have 32 bits for an epoch, and a campaign takes the next one."""
VOTERS_MAX = 100


class BadWordError(Exception):
    """What came as a message of a group is none; the text says why."""


def to_word(message: msg.Message) -> tuple[int, list[Any], list[Buffer]]:
    """Return kind, fields and bytes of a message."""
    match message:
        case msg.Append():
            entries = message.entries
            steps = [part for entry in entries for part in (entry.leader_epoch, entry.size)]
            fields = [
                message.leader_epoch,
                message.session,
                _from_config(message.config),
                message.epoch_start,
                message.base_offset,
                message.previous_epoch,
                message.high_watermark,
                message.log_start_offset,
                message.sure_end,
                message.unsure,
                steps,
            ]
            return APPEND, fields, [_bytes(entry.data) for entry in entries]
        case msg.Held(epoch, session, end, counted, config_id, start, unsure):
            return HELD, [epoch, session, end, counted, *config_id, start, unsure], []
        case msg.Mismatch(epoch, session, found, end, unsure):
            return MISMATCH, [epoch, session, found, end, unsure], []
        case msg.VoteRequest(epoch, config_id, position, pre, last):
            return VOTE_REQUEST, [epoch, *config_id, *position, pre, last], []
        case msg.VoteReply():
            fields = [
                message.leader_epoch,
                message.pre,
                message.granted,
                message.promised_epoch,
                _from_config(message.config),
                message.log_start_offset,
                *message.tail,
                message.unsure,
                message.led,
            ]
            return VOTE_REPLY, fields, []
        case msg.Refused(epoch, config):
            return REFUSED, [epoch, _from_config(config)], []
        case msg.Campaign(epoch):
            return CAMPAIGN, [epoch], []
        case msg.Astray(epoch):
            return ASTRAY, [epoch], []
        case msg.Leave(epoch, session, config):
            return LEAVE, [epoch, session, _from_config(config)], []
        case msg.Left(epoch, session):
            return LEFT, [epoch, session], []


def from_word_untrusted(word: Word) -> msg.Message:
    """Return the message that a peer said; its batches are whole and pass their checksums.

    Raises:
        BadWordError: it is none.
    """
    kind, read = word.kind, _Fields(word.fields)
    blobs = [memoryview(blob) for blob in word.blobs]
    message: msg.Message
    match kind:
        case _ if kind == APPEND:
            return _append(read, blobs)
        case _ if kind == HELD:
            message = msg.Held(
                read.epoch(),
                read.number(),
                read.number(),
                read.number(),
                ConfigId(read.epoch(), read.number()),
                read.number(),
                read.number(),
            )
        case _ if kind == MISMATCH:
            message = msg.Mismatch(
                read.epoch(), read.number(), read.epoch(), read.number(), read.number()
            )
        case _ if kind == VOTE_REQUEST:
            message = msg.VoteRequest(
                read.epoch(),
                ConfigId(read.epoch(), read.number()),
                LogPosition(read.epoch(), read.number()),
                read.flag(),
                read.flag(),
            )
        case _ if kind == VOTE_REPLY:
            message = msg.VoteReply(
                read.epoch(),
                read.flag(),
                read.flag(),
                read.epoch(),
                read.config(),
                read.number(),
                LogPosition(read.epoch(), read.number()),
                read.flag(),
                read.flag(),
            )
        case _ if kind == REFUSED:
            message = msg.Refused(read.epoch(), read.config())
        case _ if kind == CAMPAIGN:
            message = msg.Campaign(read.epoch())
        case _ if kind == ASTRAY:
            message = msg.Astray(read.epoch())
        case _ if kind == LEAVE:
            message = msg.Leave(read.epoch(), read.number(), read.config())
        case _ if kind == LEFT:
            message = msg.Left(read.epoch(), read.number())
        case _:
            raise BadWordError(f"a message of a partition group of unknown kind {kind}")
    read.end()
    if blobs:
        raise BadWordError("a message of a partition group with bytes that it does not use")
    return message


def _append(read: _Fields, blobs: Sequence[memoryview]) -> msg.Append:
    epoch, session, config = read.epoch(), read.number(), read.config()
    epoch_start, base_offset, previous = read.number(), read.number(), read.epoch()
    high_watermark, log_start, sure_end = read.number(), read.number(), read.number()
    unsure, steps = read.number(), read.numbers()
    read.end()
    if len(steps) != 2 * len(blobs) or base_offset < 0 or log_start < 0:
        raise BadWordError("an append that does not add up")
    entries, offset, least = [], base_offset, previous
    for number, blob in enumerate(blobs):
        leader_epoch, size = steps[2 * number], steps[2 * number + 1]
        if not (size > 0 and least <= leader_epoch <= epoch and offset + size <= INT64_MAX):
            raise BadWordError("an append with a batch that no leader has there")
        _check_batch(blob, offset, leader_epoch, size)
        least = leader_epoch
        entries.append(Entry(leader_epoch, size, blob))
        offset += size
    return msg.Append(
        epoch,
        session,
        config,
        epoch_start,
        base_offset,
        previous,
        tuple(entries),
        high_watermark,
        log_start,
        sure_end,
        unsure,
    )


def _check_batch(batch: memoryview, offset: int, leader_epoch: int, size: int) -> None:
    """Hold a batch against what is said of it.

    Raises:
        BadWordError: it would not lie in our log as it does in the leader's.
    """
    try:
        header = read_batch_header(batch)
    except CorruptBatch as error:
        raise BadWordError(f"an append with what is no batch: {error}") from error
    said = (len(batch), offset, leader_epoch, size)
    found = (
        header.batch_size,
        header.base_offset,
        header.leader_epoch,
        header.last_offset_delta + 1,
    )
    if said != found or header.magic != MAGIC or not crc_matches(batch):
        raise BadWordError("an append with a batch that is not what it says")


def numbers_untrusted(word: Word) -> tuple[int, int]:
    """Return epoch and number of a CONFIRM or CONFIRMED.

    Raises:
        BadWordError: it is none.
    """
    read = _Fields(word.fields)
    found = read.number(), read.number()
    read.end()
    return found


class _Fields:
    """Takes fields one by one."""

    __slots__ = ("_fields", "_next")

    def __init__(self, fields: Sequence[object]) -> None:
        self._fields = fields
        self._next = 0

    def _take(self) -> object:
        if self._next >= len(self._fields):
            raise BadWordError("a message of a partition group that is too short")
        self._next += 1
        return self._fields[self._next - 1]

    def number(self) -> int:
        found = self._take()
        if type(found) is not int or not -1 <= found <= INT64_MAX:
            raise BadWordError("a message of a partition group with a number out of bounds")
        return found

    def epoch(self) -> int:
        found = self.number()
        if found > EPOCH_MAX:
            raise BadWordError("a message of a partition group with an epoch out of bounds")
        return found

    def flag(self) -> bool:
        found = self._take()
        if type(found) is not bool:
            raise BadWordError("a message of a partition group without a flag that it has")
        return found

    def numbers(self) -> list[int]:
        found = self._take()
        if type(found) is not list or any(
            type(one) is not int or not -1 <= one <= INT64_MAX for one in found
        ):
            raise BadWordError("a message of a partition group without numbers that it has")
        return found

    def config(self) -> Config:
        found = self._take()
        if type(found) is not list:
            raise BadWordError("a message of a partition group without its config")
        try:
            return _to_config(*found)
        except (TypeError, ValueError) as error:
            raise BadWordError("a message of a partition group without its config") from error

    def end(self) -> None:
        if self._next != len(self._fields):
            raise BadWordError("a message of a partition group that is too long")


@functools.lru_cache(maxsize=10_000)
def _from_config(config: Config) -> list[object]:
    said: list[object] = [config.config_epoch, config.config_version]
    for node_id, directory_id in config.voters:
        said += [node_id, UUID(directory_id).bytes]
    return said


@functools.lru_cache(maxsize=10_000, typed=True)  # True is no 1 here.
def _to_config(epoch: int, version: int, *voters: object) -> Config:
    if any(type(one) is not int or not -1 <= one <= EPOCH_MAX for one in (epoch, version)):
        raise ValueError("no config")
    if len(voters) % 2 or len(voters) > 2 * VOTERS_MAX:
        raise ValueError("no config")
    found = []
    for node_id, directory_id in zip(voters[::2], voters[1::2], strict=True):
        if type(node_id) is not int or type(directory_id) is not bytes or not _is_id(node_id):
            raise ValueError("no voter")
        found.append(Replica(node_id, str(UUID(bytes=directory_id))))
    if len(set(found)) != len(found):
        raise ValueError("a voter twice")
    return Config(epoch, version, tuple(found))


def _is_id(node_id: int) -> bool:
    return 0 <= node_id <= INT32_MAX


def _bytes(data: object) -> Buffer:
    assert isinstance(data, bytes | bytearray | memoryview), "an entry holds a batch"
    return data
