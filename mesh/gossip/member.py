"""What one node knows of another: four states, two numbers that only rise, and a map of facts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from mesh.model.types import NodeId

Value: TypeAlias = "int | str | bytes | bool | list[int] | list[str]"
"""Of a map's entry; at most ENTRY_BYTES_MAX when encoded."""

EMPTY_MAP: Mapping[str, Value] = MappingProxyType({})


class State(IntEnum):
    """The states of SWIM, in the order in which news of one incarnation overrides other news."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Member(NamedTuple):
    """One member as one node believes it to be. Never changed: another one takes its place."""

    node_id: NodeId
    start: int
    """Start counter, durable at its owner, raised by each start; a higher one empties the map."""
    incarnation: int
    """Within one start: raised by the owner alone, to refute."""
    state: State
    version: int
    """Of the map within one start: that of its newest entry."""
    entries: Mapping[str, Value]
    """The map; its names are the constants below."""
    impaired: bool = False
    """Dead: it was still talking when it was found dead, so its links are bad rather than gone."""

    @property
    def live(self) -> bool:
        """Alive, or suspected and not yet found dead."""
        return self.state <= State.SUSPECT

    @property
    def address(self) -> str:
        """Where its datagrams and streams go, `host:port`; empty while not known."""
        return str(self.entries.get(PEER, ""))


# Names of entries. Only the owner writes them; what nobody knows is kept and passed on.
PEER = "peer"
"""`host:port` for datagrams and streams of peers."""
KAFKA = "kafka"
"""`host:port` that clients are told; empty while this node serves none."""
ADMIN = "admin"
"""`host:port` of the admin port."""
DIRECTORY = "directory"
"""16 bytes: the directory id, made once per data directory."""
RACK = "rack"
HOST = "host"
"""The machine: a failure domain below the rack."""
WEIGHT = "weight"
"""Share of partitions that this node should hold; 100 is the usual one."""
VERSION = "version"
"""Of the release, for people."""
SPEAKS = "speaks"
"""[lowest, highest] version of the peer protocol."""
LOAD = "load"
"""Percent of a core that the process takes, smoothed, in steps that an idle node does not leave."""
DISK_FREE = "disk_free"
"""Percent of the disk, rounded."""
APPEND_MS = "append_ms"
SYNC_MS = "sync_ms"
"""99th percentiles, rounded up to a power of two."""
UNREACHED = "unreached"
"""Ids of live members that this node's probes do not reach directly, ascending; absent if none."""
SERVES = "serves"
"""Of Kafka's APIs: three bytes for each, key, lowest and highest version."""
MOVES = "moves"
"""When somebody last paused (above 0) or resumed (below 0) moves, by this node: wall seconds."""
DRAINING = "draining"
