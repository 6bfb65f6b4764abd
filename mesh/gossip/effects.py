"""What a gossip machine asks of its driver, in order; plain tuples, for there are thousands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from mesh.gossip.member import Member
from mesh.model.types import NodeId


class Send(NamedTuple):
    """Effect: send one datagram; it may be lost, repeated or overtaken."""

    to: str
    """`host:port`, as in the member's map or as the source of what is answered."""
    data: bytes
    """At most `Settings.datagram_bytes_max`."""


class Call(NamedTuple):
    """Effect: open a stream, send one frame, wait for one frame; then `Gossip.answered`.

    The driver calls `answered(call_id, None)` when the stream fails or the time is over.
    """

    to: str
    call_id: int
    data: bytes
    timeout_ms: int


class Changed(NamedTuple):
    """Effect: what this node believes of a member is not what it was.

    A change of the map alone is told as well: then both have the same state.
    """

    before: Member | None
    """None: the member is new."""
    after: Member
    told_by: str = ""
    """Address of whoever told it; empty: this node found it, or somebody told it on a stream."""


class Doubted(NamedTuple):
    """Effect: more members than before say that they cannot reach one, each by itself."""

    node_id: NodeId
    accusers: Mapping[NodeId, int]
    """All of them so far, in their order, with the percent that the word of each weighs."""


class Joined(NamedTuple):
    """Effect: a seed has answered; this node is a member from now on."""

    through: str


class JoinFailed(NamedTuple):
    """Effect: no seed let this node in; it is not a member and tries no more."""

    reasons: tuple[tuple[str, str], ...]
    """Of each seed: its address, and what it said, or that it did not answer."""


class HasLeft(NamedTuple):
    """Effect: the mesh was told that this node leaves; nothing is sent any more."""


class Clash(NamedTuple):
    """Effect: another process runs under the id of this node, and has the older right to it.

    This node must stop.
    """

    node_id: NodeId
    address: str
    """Of the other one."""
    reason: str


class Sought(NamedTuple):
    """Effect: a member of another mesh looks for one of its own at this node's address."""

    node_id: NodeId
    """Of the one that it looks for."""
    address: str
    """Of the one that looks."""


class Refused(NamedTuple):
    """Effect: something of a peer's was refused that people should know of; rate-limited."""

    source: str
    reason: str


Effect: TypeAlias = (
    Send | Call | Changed | Doubted | Joined | JoinFailed | HasLeft | Clash | Sought | Refused
)
