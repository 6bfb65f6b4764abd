"""What a node remembers of its membership: how often it was started, and where its peers were."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from storage.disk import Disk, Missing

FILE_NAME = "membership.toml"
PEERS_MAX = 50
"""Addresses that are remembered; any one of them that answers is enough."""
ADDRESS_LENGTH_MAX = 280
_COMMENT = "# How often this node was started, and where it met others. Written by the node."


class BadMemoryError(Exception):
    """The file is damaged; the text says how."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a start leaves to the next one."""

    start: int = 0
    """Raised, durably, by each start: what a node says of itself overrides what it said before."""
    peers: tuple[str, ...] = ()
    """Their addresses, `host:port`."""


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
    return Memory(start, tuple(peers[:PEERS_MAX]))


def write_memory(disk: Disk, data_directory: str, memory: Memory) -> None:
    """Replace the file, atomically and durably. Raises DiskError."""
    peers = ", ".join(json.dumps(peer) for peer in known_first(memory.peers))
    text = f"{_COMMENT}\nstart = {memory.start}\npeers = [{peers}]\n"
    disk.write_atomically(f"{data_directory}/{FILE_NAME}", text.encode())


def known_first(peers: Sequence[str]) -> list[str]:
    """Return what of these is remembered: no address twice, and not too many."""
    return [peer for peer in dict.fromkeys(peers) if _is_address(peer)][:PEERS_MAX]


def _is_address(peer: object) -> bool:
    return isinstance(peer, str) and 0 < len(peer) <= ADDRESS_LENGTH_MAX and peer.isprintable()
