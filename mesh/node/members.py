"""The members of the mesh as the core sees them: what gossip believes, in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mesh.model.types import NodeId
from mesh.node.memory import Place
from mesh.placement import Node


class MemberSeen(NamedTuple):
    """One member that has not left."""

    node_id: NodeId
    directory_id: str
    """UUID as text."""
    peer: str
    """`host:port` of its peer port."""
    host: str
    """What clients are told, with `port`."""
    port: int
    """0 while it serves no clients."""
    rack: str | None
    machine: str
    """The host that it runs on: a failure domain below the rack."""
    weight: int
    dead_since_ms: int | None = None
    """Monotonic; None while it is believed to live."""
    draining: bool = False
    moves: int = 0
    """When it last had moves paused (above 0) or resumed (below 0), in wall seconds; 0: never."""
    serves: bytes = b""
    """Of Kafka's APIs: three bytes for each, key, lowest and highest version; or nothing."""

    @property
    def is_live(self) -> bool:
        """Whether it is believed to live."""
        return self.dead_since_ms is None


def expected_member(place: Place, since_ms: int) -> MemberSeen:
    """Return a member that is remembered, and was not heard of since this node's start."""
    node_id, directory_id, peer, rack, machine, weight = place
    return MemberSeen(node_id, directory_id, peer, "", 0, rack, machine, weight, since_ms)


def placement_nodes(members: Iterable[MemberSeen], now_ms: int, replace_ms: int) -> list[Node]:
    """Return the nodes that should hold partitions: a dead one keeps its place for a while.

    Args:
        members: all that have not left.
        now_ms: monotonic clock.
        replace_ms: for so long a dead one is expected back.
    """
    return [
        Node(one.node_id, one.rack or "", one.machine, one.weight)
        for one in members
        if one.dead_since_ms is None or now_ms - one.dead_since_ms < replace_ms
    ]
