"""The bytes on a link: how it opens, and frames with a small CBOR header and raw bytes behind it.

A frame is `header length u32 | header | bytes`; whoever carries it puts its whole length before
it. Batches are never part of the header: they follow it as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple, TypeAlias

import cbor2

from mesh.model.types import NodeId, TopicId
from mesh.model.untrusted import UnreadableError, read_untrusted

MAGIC = b"GL1"
"""How a link begins; a text of seven letters as CBOR, so no question of members."""
ID_BYTES = 16
TEXT_LENGTH_MAX = 300
FRAME_BYTES_MAX = 256 << 20
"""Of a frame: a batch may be `socket.request.max.bytes` (100 MiB) long, and others go with it."""
HEADER_BYTES_MAX = 8 << 20
COUNT_MAX = 1 << 62
"""Of every number: an int64 holds it."""
_LENGTH = Struct(">I")

GroupId: TypeAlias = "tuple[TopicId, int]"
Buffer: TypeAlias = "bytes | bytearray | memoryview"


class BadFrameError(Exception):
    """What came over a link is nothing that a member says; the text says why."""


class Hello(NamedTuple):
    """What whoever opens a link says first."""

    cluster_id: bytes
    node_id: NodeId
    directory_id: bytes
    start: int
    """Number of its node's start."""
    address: str
    """Where it is reached itself, `host:port` of its peer port."""
    to_node_id: NodeId
    """Whom it takes the other side for."""
    version: int = 1
    """Of what is said over links."""


class Welcome(NamedTuple):
    """The answer of the other side: who it is, and what it remembers of us."""

    node_id: NodeId
    directory_id: bytes
    start: int
    known_start: int
    known_round: int
    """Largest mark that it ever heard of our directory; zeros if none."""


class Word(NamedTuple):
    """A message of a partition group, as fields that CBOR can say and bytes that go behind."""

    group: GroupId
    kind: int
    fields: Sequence[object]
    blobs: Sequence[Buffer] = ()


class Led(NamedTuple):
    """What a leader says of a partition that it leads."""

    leader_epoch: int
    config_version: int
    replicas: tuple[NodeId, ...]
    in_sync: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Messages of groups, of one round."""

    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat: which list of what is led is in force, and how far the journal is."""

    version: int
    digest: int
    start: int
    round: int


@dataclass(frozen=True, slots=True)
class Leads:
    """What changed in the list of what is led; or, from version 0 on, all of it."""

    since: int
    version: int
    led: dict[GroupId, Led]
    gone: tuple[GroupId, ...] = ()


@dataclass(frozen=True, slots=True)
class WantWhole:
    """The list of what is led is not what its heartbeat says: send all of it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether the sender has to know that the other side lives: send it heartbeats, or none."""

    wanted: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of a client that the other side is to answer, with its body behind it."""

    number: int
    api_key: int
    api_version: int
    client_id: str
    body: Buffer


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer, and which records of the registry it rests on."""

    number: int
    error: int
    """A code of Kafka's if there is no body."""
    text: str
    ends: tuple[tuple[int, int], ...]
    """Shards, and the offsets that their replay has to reach first."""
    body: Buffer


Frame: TypeAlias = Words | Beat | Leads | WantWhole | Watch | Ask | Reply

_WORDS, _BEAT, _LEADS, _WANT_WHOLE, _ASK, _REPLY, _WATCH = range(7)


def encode_hello(hello: Hello) -> bytes:
    """Return the first bytes of a link."""
    return MAGIC + cbor2.dumps(tuple(hello))


def is_hello(data: bytes) -> bool:
    """Whether the first frame of a stream opens a link."""
    return data[: len(MAGIC)] == MAGIC


def parse_hello_untrusted(data: bytes) -> Hello:
    """Return a hello.

    Raises:
        BadFrameError: it is none.
    """
    match _read(data[len(MAGIC) :]) if is_hello(data) else None:
        case [bytes(cluster), int(node), bytes(directory), int(start), str(where), int(to), int(v)]:
            pass
        case _:
            raise BadFrameError("no hello of a link")
    found = Hello(cluster, node, directory, start, where[:TEXT_LENGTH_MAX], to, v)
    if len(cluster) != ID_BYTES or len(directory) != ID_BYTES or not 0 < node < 1 << 31:
        raise BadFrameError("no hello of a link")
    _check_counts(node, start, to, v)
    return found


def encode_welcome(answer: Welcome | str) -> bytes:
    """Return the answer to a hello: a welcome, or why not."""
    if isinstance(answer, str):
        return MAGIC + cbor2.dumps((answer[:TEXT_LENGTH_MAX],))
    return MAGIC + cbor2.dumps(tuple(answer))


def parse_welcome_untrusted(data: bytes) -> Welcome | str:
    """Return the answer to a hello; a text says why there is no link.

    Raises:
        BadFrameError: it is none.
    """
    match _read(data[len(MAGIC) :]) if is_hello(data) else None:
        case [int(node), bytes(directory), int(start), int(known_start), int(known_round)]:
            _check_counts(node, start, known_start, known_round)
            if len(directory) == ID_BYTES:
                return Welcome(node, directory, start, known_start, known_round)
        case [str(text)]:
            return "".join(c if c.isprintable() else "?" for c in text[:TEXT_LENGTH_MAX])
    raise BadFrameError("no answer to a hello of a link")


def encode(frame: Frame) -> list[Buffer]:
    """Return a frame in pieces, batches uncopied."""
    blobs: list[Buffer] = []
    header: tuple[object, ...]
    match frame:
        case Words(words):
            said = []
            for (topic_id, index), kind, fields, parts in words:
                said.append((topic_id, index, kind, fields, [len(part) for part in parts]))
                blobs += parts
            header = (_WORDS, said)
        case Beat(version, digest, start, round_):
            header = (_BEAT, version, digest, start, round_)
        case Leads(since, version, led, gone):
            named = [(*group, *row) for group, row in led.items()]
            header = (_LEADS, since, version, named, gone)
        case WantWhole():
            header = (_WANT_WHOLE,)
        case Watch(wanted):
            header = (_WATCH, wanted)
        case Ask(number, api_key, api_version, client_id, body):
            header = (_ASK, number, api_key, api_version, client_id)
            blobs = [body]
        case Reply(number, error, text, ends, body):
            header = (_REPLY, number, error, text, ends)
            blobs = [body]
    data = cbor2.dumps(header)
    return [_LENGTH.pack(len(data)) + data, *blobs]


def parse_untrusted(frame: memoryview) -> Frame:
    """Return what a frame says; what lies behind its header is not copied.

    Raises:
        BadFrameError: it is no frame.
    """
    if len(frame) < _LENGTH.size:
        raise BadFrameError("a frame of a link that is too short")
    length: int = _LENGTH.unpack_from(frame)[0]
    if length > min(len(frame) - _LENGTH.size, HEADER_BYTES_MAX):
        raise BadFrameError("a frame of a link that is shorter than its header")
    blobs = frame[_LENGTH.size + length :]
    header = _read(bytes(frame[_LENGTH.size : _LENGTH.size + length]))
    match header:
        case [kind, list(said)] if kind == _WORDS:
            return _words(said, blobs)
        case [kind, int(version), int(digest), int(start), int(round_)] if kind == _BEAT:
            _check_counts(version, start, round_)
            return Beat(version, digest, start, round_)
        case [kind, int(since), int(version), list(named), list(gone)] if kind == _LEADS:
            _check_counts(since, version)
            led = dict(_led(row) for row in named)
            return Leads(since, version, led, tuple(_group(row) for row in gone))
        case [kind] if kind == _WANT_WHOLE:
            return WantWhole()
        case [kind, bool(wanted)] if kind == _WATCH:
            return Watch(wanted)
        case [kind, int(number), int(key), int(version), str(client)] if kind == _ASK:
            _check_counts(number, key, version)
            return Ask(number, key, version, client, blobs)
        case [kind, int(number), int(error), str(text), list(ends)] if kind == _REPLY:
            _check_counts(number)
            return Reply(number, error, text, tuple(map(_end, ends)), blobs)
    raise BadFrameError("a frame of a link of no known kind")


def _read(data: bytes) -> object:
    try:
        return read_untrusted(data)
    except UnreadableError as error:
        raise BadFrameError("a frame of a link that is no CBOR") from error


def _check_counts(*numbers: int) -> None:
    if any(type(number) is not int or not 0 <= number < COUNT_MAX for number in numbers):
        raise BadFrameError("a number of a link's frame that is out of bounds")


def _group(row: object) -> GroupId:
    match row:
        case [bytes(topic_id), int(index)] if len(topic_id) == ID_BYTES:
            _check_counts(index)
            return topic_id, index
    raise BadFrameError("no name of a partition group")


def _led(row: object) -> tuple[GroupId, Led]:
    match row:
        case [topic_id, index, int(epoch), int(version), list(replicas), list(in_sync)]:
            _check_counts(epoch, version, *replicas, *in_sync)
            return _group([topic_id, index]), Led(epoch, version, tuple(replicas), tuple(in_sync))
    raise BadFrameError("no leadership")


def _end(row: object) -> tuple[int, int]:
    match row:
        case [int(shard), int(end)]:
            _check_counts(shard, end)
            return shard, end
    raise BadFrameError("no end of a shard")


def _words(said: list[object], blobs: memoryview) -> Words:
    words, position = [], 0
    for row in said:
        match row:
            case [bytes() as topic_id, int() as index, int(kind), list(fields), list(lengths)]:
                pass
            case _:
                raise BadFrameError("no message of a partition group")
        group = _group([topic_id, index])
        _check_counts(*lengths)
        parts = []
        for length in lengths:
            parts.append(blobs[position : position + length])
            position += length
        words.append(Word(group, kind, fields, parts))
    if position != len(blobs):
        raise BadFrameError("a frame of a link whose parts do not add up")
    return Words(words)
