"""What peers say to each other: CBOR arrays, built by hand where it is hot, parsed with suspicion.

A datagram is `[kind, tag, sender, start, seq, view_hash, arg, items]`. A record about a member is
`[node_id, start, incarnation, state, extra, version]`, with `base, entries` after it when it
brings the map, or what changed in it since version `base`. A frame is `[kind, tag, ...]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cbor2
import xxhash

from mesh.gossip.member import Member, State, Value
from mesh.gossip.settings import ENTRIES_MAX, ENTRY_BYTES_MAX, MEMBERS_MAX
from mesh.model.types import NodeId
from mesh.model.untrusted import UnreadableError, read_untrusted

PING, ACK, NACK, PROBE_FOR, NEWS, HAVE, WANT, REFUSE = range(8)
"""Kinds of datagrams. `arg`: PING the id of whom it is meant for; ACK 0, or whom it was got from;
NACK (id of the target) * 16 + local health; PROBE_FOR the target; REFUSE a reason."""
SYNC, SAME, STUBS, EXCHANGE, RECORDS, PROBE, PROBED, JOIN, JOINED, REFUSED = range(8, 18)
"""Kinds of frames, each question followed by its answers."""
KINDS_END = 32
"""Frames of these kinds and above are not gossip's."""

FOREIGN, TOO_NEW, CLASHES, UNKEYED = range(4)
"""Reasons of REFUSE and REFUSED."""

SPEAKS = (1, 1)
"""Lowest and highest version of what is written here."""

NODE_ID_MAX = 2**31 - 1
COUNT_MAX = 2**53
"""Of starts, incarnations and versions: JSON's integers end there."""
ACCUSERS_MAX = 16
NAME_LENGTH_MAX = 64
LIST_LENGTH_MAX = 64
STUB_LENGTH = 5


class MalformedError(Exception):
    """The bytes are none of our messages; the text says why, for the count by reason."""


class Record(NamedTuple):
    """News about a member."""

    node_id: NodeId
    start: int
    incarnation: int
    state: State
    accusers: dict[NodeId, int]
    """Of a suspicion: who could not reach it, with the percent that its word weighs."""
    impaired: bool
    version: int
    base: int
    """Of the entries: the version that they change; 0: they are the whole map."""
    entries: dict[str, Value | None] | None
    """None: the map is not told."""


def tag_of(cluster_id: bytes) -> int:
    """Return the 32 bits by which a datagram says which mesh it is of."""
    return xxhash.xxh32_intdigest(cluster_id)


def array_head(count: int) -> bytes:
    """Return how CBOR begins an array of so many items."""
    if count < 24:
        return bytes((0x80 | count,))
    if count < 256:
        return bytes((0x98, count))
    if count < 65536:
        return b"\x99" + count.to_bytes(2, "big")
    return b"\x9a" + count.to_bytes(4, "big")


def with_items(datagram: bytes, items: Sequence[bytes]) -> bytes:
    """Return a datagram, or frame, whose last part was empty with encoded items in it."""
    return datagram[:-1] + array_head(len(items)) + b"".join(items)


def encode_record(member: Member, accusers: Mapping[NodeId, int] | None = None) -> bytes:
    """Return the news of a member's state alone."""
    return cbor2.dumps(_state_of(member, accusers))


def encode_full(member: Member, accusers: Mapping[NodeId, int] | None = None) -> bytes:
    """Return all that is known of a member."""
    return cbor2.dumps((*_state_of(member, accusers), 0, dict(member.entries)))


def encode_change(member: Member, base: int, entries: Mapping[str, Value | None]) -> bytes:
    """Return a member's state and what changed in its map after version `base`."""
    return cbor2.dumps((*_state_of(member, None), base, dict(entries)))


def _state_of(member: Member, accusers: Mapping[NodeId, int] | None) -> tuple[Any, ...]:
    extra: Any = 0
    if member.state is State.SUSPECT:
        extra = [part for pair in sorted((accusers or {}).items()) for part in pair]
    elif member.state is State.DEAD:
        extra = int(member.impaired)
    return (
        member.node_id,
        member.start,
        member.incarnation,
        int(member.state),
        extra,
        member.version,
    )


def stub_of(member: Member) -> tuple[int, int, int, int, int]:
    """Return the numbers by which two nodes find out who knows more of a member."""
    return (member.node_id, member.start, member.incarnation, rank_of(member), member.version)


def rank_of(member: Member | Record) -> int:
    """Return the order of states in a stub: a suspicion is not told by it."""
    if member.state is State.DEAD:
        return 2 + member.impaired
    return 4 if member.state is State.LEFT else 0


def hash_of(member: Member) -> int:
    """Return a member's part of the view hash; of one who left it is 0.

    The incarnation is left out: of a refutation only those learn who doubted.
    """
    if member.state is State.LEFT:
        return 0
    numbers = (member.node_id, member.start, rank_of(member), member.version)
    return xxhash.xxh3_64_intdigest(b"%d,%d,%d,%d" % numbers)


# Parsing. Everything below takes what anybody may have sent.


def parse_untrusted(data: bytes) -> list[Any]:
    """Return the array that a datagram or frame is.

    Raises:
        MalformedError: it is none.
    """
    try:
        found = read_untrusted(data)
    except UnreadableError as error:
        raise MalformedError(str(error)) from error
    if type(found) is not list or not found or type(found[0]) is not int:
        raise MalformedError("no message")
    return found


def parse_record(item: object) -> Record:
    """Return the news that an item of a message is.

    Raises:
        MalformedError: it is none.
    """
    if type(item) is not list or len(item) not in (6, 8):
        raise MalformedError("no record")
    node_id, start, incarnation, state, extra, version = item[:6]
    if (
        not is_count(node_id, NODE_ID_MAX)
        or not node_id
        or not is_count(start)
        or not is_count(incarnation)
        or not is_count(state, State.LEFT)
        or not is_count(version)
    ):
        raise MalformedError("bad record")
    accusers: dict[NodeId, int] = {}
    impaired = False
    if state == State.SUSPECT:
        accusers = _accusers(extra)
    elif state == State.DEAD:
        impaired = extra == 1
    base, entries = 0, None
    if len(item) == 8:
        base = item[6]
        if not is_count(base) or base > version:
            raise MalformedError("bad record")
        entries = _entries(item[7])
    state = State(state)
    return Record(node_id, start, incarnation, state, accusers, impaired, version, base, entries)


def parse_stubs(items: object) -> Iterable[tuple[int, ...]]:
    """Return the stubs in a flat list of integers.

    Raises:
        MalformedError: it is none.
    """
    if type(items) is not list or len(items) % STUB_LENGTH or len(items) > MEMBERS_MAX * 10:
        raise MalformedError("bad stubs")
    if not all(is_count(number) for number in items):
        raise MalformedError("bad stubs")
    return zip(*(items[index::STUB_LENGTH] for index in range(STUB_LENGTH)), strict=True)


def parse_ids(items: object) -> list[NodeId]:
    """Return a list of node ids.

    Raises:
        MalformedError: it is none.
    """
    if type(items) is not list or len(items) > MEMBERS_MAX:
        raise MalformedError("bad ids")
    if not all(is_count(number, NODE_ID_MAX) for number in items):
        raise MalformedError("bad ids")
    return items


def is_count(number: object, number_max: int = COUNT_MAX) -> bool:
    """Whether it is an integer from 0 on; a bool is none."""
    return type(number) is int and 0 <= number <= number_max


def _accusers(extra: object) -> dict[NodeId, int]:
    if type(extra) is not list or len(extra) % 2 or len(extra) > 2 * ACCUSERS_MAX:
        raise MalformedError("bad accusers")
    if not all(is_count(number, NODE_ID_MAX) for number in extra):
        raise MalformedError("bad accusers")
    return {who: min(100, percent) for who, percent in zip(extra[::2], extra[1::2], strict=True)}


def _entries(found: object) -> dict[str, Value | None]:
    if type(found) is not dict or len(found) > ENTRIES_MAX:
        raise MalformedError("bad map")
    for name, value in found.items():
        if type(name) is not str or not 0 < len(name) <= NAME_LENGTH_MAX:
            raise MalformedError("bad map")
        if value is not None and not is_value(value):
            raise MalformedError("bad map")
    return found


def is_value(value: object) -> bool:
    """Whether it may stand in a map, ENTRY_BYTES_MAX at most."""
    if type(value) is bool:
        return True
    if type(value) is int:
        return -COUNT_MAX <= value <= COUNT_MAX
    if type(value) is str:
        return len(value) <= ENTRY_BYTES_MAX and len(value.encode(errors="replace")) <= (
            ENTRY_BYTES_MAX
        )
    if type(value) is bytes:
        return len(value) <= ENTRY_BYTES_MAX
    if type(value) is list:
        fine = len(value) <= LIST_LENGTH_MAX
        return fine and (
            all(is_count(one) for one in value)
            or (all(type(one) is str for one in value) and sum(map(len, value)) <= ENTRY_BYTES_MAX)
        )
    return False
