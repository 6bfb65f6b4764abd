"""What a node remembers of its membership: how often it was started, and who the members were."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from mesh.model.types import NodeId
from storage.disk import Disk, Missing

FILE_NAME = "membership.toml"
PEERS_MAX = 50
"""Addresses that are remembered; any one of them that answers is enough."""
ADDRESS_LENGTH_MAX = 280
PLACES_MAX = 10_000
NAME_LENGTH_MAX = 1_000
WEIGHT_MAX = 2**31
_COMMENT = "# How often this node was started, and where it met others. Written by the node."


class BadMemoryError(Exception):
    """The file is damaged; the text says how."""


class Place(NamedTuple):
    """A member as placement sees it."""

    node_id: NodeId
    directory_id: str
    """UUID as text."""
    peer: str
    """`host:port` of its peer port."""
    rack: str | None
    machine: str
    weight: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What a start leaves to the next one."""

    start: int = 0
    """Raised, durably, by each start: what a node says of itself overrides what it said before."""
    peers: tuple[str, ...] = ()
    """Their addresses, `host:port`."""
    places: tuple[Place, ...] = ()
    """Members that have not left: after a start of the whole mesh, those that are not there yet
    keep their places for a while."""


def read_memory(disk: Disk, data_directory: str) -> Memory:
    """Return what earlier starts left; nothing if this is the first.

    Raises:
        BadMemoryError: it is damaged.
        DiskError: it cannot be read.
    """
    path = f"{data_directory}/{FILE_NAME}"
    try:
        table = tomllib.loads(disk.read_file(path).decode())
    except Missing:
        return Memory()
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadMemoryError(f"{path} is damaged: {error}") from error
    start, peers = table.get("start"), table.get("peers")
    if type(start) is not int or start < 1:
        raise BadMemoryError(f"{path} is damaged: start is {start!r}")
    if not isinstance(peers, list) or not all(_is_address(peer) for peer in peers):
        raise BadMemoryError(f"{path} is damaged: peers is no list of addresses")
    members = table.get("members", [])  # Earlier releases wrote none.
    places = [_place(one) for one in members] if isinstance(members, list) else [None]
    found = tuple(place for place in places if place is not None)
    if len(found) < len(places) or len(found) > PLACES_MAX:
        raise BadMemoryError(f"{path} is damaged: members is no list of members")
    return Memory(start, tuple(peers[:PEERS_MAX]), found)


def write_memory(disk: Disk, data_directory: str, memory: Memory) -> None:
    """Replace the file, atomically and durably. Raises DiskError."""
    peers = ", ".join(json.dumps(peer) for peer in known_first(memory.peers))
    text = f"{_COMMENT}\nstart = {memory.start}\npeers = [{peers}]\n"
    if memory.places:
        places = "".join(f"    {_written(place)},\n" for place in memory.places[:PLACES_MAX])
        text += f"members = [\n{places}]\n"
    disk.write_atomically(f"{data_directory}/{FILE_NAME}", text.encode())


def known_first(peers: Sequence[str]) -> list[str]:
    """Return what of these is remembered: no address twice, and not too many."""
    return [peer for peer in dict.fromkeys(peers) if _is_address(peer)][:PEERS_MAX]


def _written(place: Place) -> str:
    return json.dumps(place._replace(rack=place.rack or ""))  # TOML has no null.


def _place(told: object) -> Place | None:
    """Return a member as it was written; None if it is none."""
    match told:
        case [int(node_id), str(directory_id), str(peer), str(rack), str(machine), int(weight)] if (
            type(node_id) is type(weight) is int
            and 0 < node_id < 2**31
            and 0 <= weight <= WEIGHT_MAX
            and _is_address(peer)
            and max(len(machine), len(rack)) <= NAME_LENGTH_MAX
        ):
            try:
                directory_id = str(UUID(directory_id))
            except ValueError:
                return None
            return Place(node_id, directory_id, peer, rack or None, machine, weight)
    return None


def _is_address(peer: object) -> bool:
    return isinstance(peer, str) and 0 < len(peer) <= ADDRESS_LENGTH_MAX and peer.isprintable()
