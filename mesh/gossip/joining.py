"""How a node without an id asks for one, before it can be a member; frames beside gossip's.

`claim` is answered by `given`, by `wait` (ask again soon: the claim is being made durable), by
`refer` (ask there: this member gives no ids), or by `refused` with a text for people.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import cbor2

from mesh.gossip.messages import (
    KINDS_END,
    NODE_ID_MAX,
    SPEAKS,
    MalformedError,
    is_count,
    parse_untrusted,
)
from mesh.model.types import NodeId

CLAIM, GIVEN, WAIT, REFER, REFUSED = range(KINDS_END, KINDS_END + 5)
ID_BYTES = 16
TEXT_LENGTH_MAX = 300
ADDRESS_LENGTH_MAX = 280
"""A DNS name of 253 characters, and a port."""


class Claim(NamedTuple):
    """A directory asks for a node id."""

    directory_id: bytes
    """16 bytes: a repeated claim of one directory is answered alike."""
    lowest: int
    highest: int
    """Versions of the peer protocol that it speaks."""
    release: str
    wanted: NodeId = 0
    """The id that it would have; 0: whichever comes next."""


class Given(NamedTuple):
    """The directory has this id, durably, in this mesh."""

    cluster_id: bytes
    node_id: NodeId


class Wait(NamedTuple):
    """The claim is under way; ask again soon."""


class Refer(NamedTuple):
    """This member gives no ids; that one does."""

    address: str


class Refused(NamedTuple):
    """There is no id for it; the text says why."""

    text: str


Answer: TypeAlias = Given | Wait | Refer | Refused


def is_claim(data: bytes) -> bool:
    """Whether a frame is one of these rather than gossip's: its first item is such a kind."""
    return data[1:3] == bytes((0x18, CLAIM))


def encode_claim(claim: Claim) -> bytes:
    """Return the frame of a claim."""
    return cbor2.dumps((CLAIM, *claim))


def encode_answer(answer: Answer) -> bytes:
    """Return the frame of an answer."""
    kinds = {Given: GIVEN, Wait: WAIT, Refer: REFER, Refused: REFUSED}
    return cbor2.dumps((kinds[type(answer)], *answer))


def parse_claim(data: bytes) -> Claim:
    """Return the claim that a frame is.

    Raises:
        MalformedError: it is none.
    """
    found = parse_untrusted(data)
    if len(found) != 6 or found[0] != CLAIM:
        raise MalformedError("no claim")
    _, directory_id, lowest, highest, release, wanted = found
    if type(directory_id) is not bytes or len(directory_id) != ID_BYTES:
        raise MalformedError("no claim")
    if not is_count(lowest) or not is_count(highest) or type(release) is not str:
        raise MalformedError("no claim")
    if not is_count(wanted, NODE_ID_MAX):
        raise MalformedError("no claim")
    return Claim(directory_id, lowest, highest, release[:TEXT_LENGTH_MAX], wanted)


def parse_answer(data: bytes) -> Answer:
    """Return the answer that a frame is.

    Raises:
        MalformedError: it is none.
    """
    match parse_untrusted(data):
        case [kind, bytes(cluster_id), int(node_id)] if kind == GIVEN:
            if len(cluster_id) == ID_BYTES and 0 < node_id <= NODE_ID_MAX:
                return Given(cluster_id, node_id)
        case [kind] if kind == WAIT:
            return Wait()
        case [kind, str(address)] if kind == REFER and 0 < len(address) <= ADDRESS_LENGTH_MAX:
            return Refer(address)
        case [kind, str(text)] if kind == REFUSED:
            return Refused("".join(c if c.isprintable() else "?" for c in text[:TEXT_LENGTH_MAX]))
    raise MalformedError("no answer to a claim")


def version_fault(claim: Claim) -> str | None:
    """Return why a claimer could not be understood here; None if it can."""
    if claim.lowest > SPEAKS[1] or claim.highest < SPEAKS[0]:
        return (
            f"it speaks versions {claim.lowest} to {claim.highest} of the peer protocol, "
            f"this mesh {SPEAKS[0]} to {SPEAKS[1]}"
        )
    return None
