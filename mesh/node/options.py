"""What a node is told at its start, merged and checked; neither flags nor files are read here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from mesh.model.statistics import Statistics

Durability: TypeAlias = Literal["disk", "memory"]
"""`disk`: acks=all answers after fdatasync. `memory`: after the page cache has it (Kafka's way)."""

WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - bound only if asked for
"""Hosts that mean "every interface": good to listen on, useless to tell to a client."""


class Address(NamedTuple):
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port from 0 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT_LISTEN = Address("127.0.0.1", 9092)
PEER_PORT_AFTER = 1
ADMIN_PORT_AFTER = 2
"""The admin port is the client port and this; the one between them is for peers."""
PORT_MAX = 65535


def parse_address(text: str, *, default_port: int | None = None) -> Address:
    """Return the address that `HOST:PORT`, `[IPV6]:PORT` or, with a default port, `HOST` names.

    Raises:
        ValueError: with a text for people that says what is missing or out of bounds.
    """
    host, colon, port_text = text.rpartition(":")
    if default_port is not None and (not colon or text.endswith("]")):
        host, port_text = text, str(default_port)
    elif not colon:
        raise ValueError(f"{text!r} has no port; write HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} is an IPv6 address without brackets; write [HOST]:PORT")
    if not host or any(c.isspace() or c in "[]/" for c in host):
        raise ValueError(f"{text!r} has no valid host; write HOST:PORT")
    if not (port_text.isascii() and port_text.isdecimal() and int(port_text[:6]) <= 65535):
        raise ValueError(f"{text!r} has no valid port; a port is a number from 0 to 65535")
    return Address(host, int(port_text))


def default_admin(listen: Address) -> Address:
    """Return where the admin port is if nobody says: on loopback, after the client port.

    Raises:
        ValueError: there is no port after it.
    """
    host = listen.host if is_loopback(listen.host) else "127.0.0.1"
    if listen.port == 0:
        return Address(host, 0)
    if listen.port + ADMIN_PORT_AFTER > PORT_MAX:
        raise ValueError(f"no port is left for the admin port after {listen.port}")
    return Address(host, listen.port + ADMIN_PORT_AFTER)


def default_peer(listen: Address, *, guarded: bool) -> Address:
    """Return where the peer port is if nobody says: after the client port.

    It is on loopback, unless a cluster key guards it or whoever reaches it is trusted.

    Raises:
        ValueError: there is no port after it.
    """
    host = listen.host if guarded or is_loopback(listen.host) else "127.0.0.1"
    if listen.port == 0:
        return Address(host, 0)
    if listen.port + PEER_PORT_AFTER > PORT_MAX:
        raise ValueError(f"no port is left for the peer port after {listen.port}")
    return Address(host, listen.port + PEER_PORT_AFTER)


def is_loopback(host: str) -> bool:
    """Whether only processes of this machine can reach a host."""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Everything that `mesh node` can be told, after flags, variables and file were merged."""

    data_directory: str = "./mesh-data"
    """Holds everything of this node; made if it is not there."""
    listen: Address = DEFAULT_LISTEN
    """Where Kafka clients connect. Port 0: the system picks one, and `Ready` tells it."""
    advertise: Address | None = None
    """What clients are told; None: what was bound. Port 0 means the port that was bound."""
    admin_listen: Address | None = None
    """Where metrics, health and status are read; None: `default_admin(listen)`."""
    peer_listen: Address | None = None
    """Where other members reach this one; None: `default_peer`. Port 0: the system picks one."""
    join: tuple[Address, ...] = ()
    """Peer addresses of members of the mesh that this node joins; remembered afterwards."""
    node_id: int | None = None
    """The id that a new member would have; None: whichever comes next. The founder is 1."""
    cluster_key_file: str | None = None
    """Holds the keys that seal what members say (`mesh.runtime.ring`); None: it is plain."""
    insecure_peers: bool = False
    """Whether a plain peer port may be where others than this machine's processes reach it."""
    profile: str | None = None
    """Of the gossip's times: `local`, `lan` or `wan`; None: local on loopback, else lan."""
    host: str | None = None
    """The machine, a failure domain below the rack; None: its host name."""
    weight: int = 100
    """Share of partitions that this node should hold, beside others; 100 is the usual one."""
    rack: str | None = None
    """Failure domain of this node, told to clients in Metadata."""
    durability: Durability = "disk"
    config: Mapping[str, str] = field(default_factory=dict)
    """Broker configs under Kafka's names, each already accepted by `BrokerConfig.from_mapping`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the driver tells once clients can connect."""

    node_id: int
    cluster_id: str
    listen: Address | None
    """What was really bound; never port 0. None: this node serves no clients."""
    admin: Address
    """Where the admin port was really bound."""
    peer: Address
    """Where the peer port was really bound."""
    advertise: Address | None
    """What clients are told; None: this node serves none."""
    data_directory: str
    statistics: Callable[[], Statistics]
    """A fresh snapshot; cheap, to be called from the thread that runs the node."""


class ListenError(Exception):
    """A listener could not be bound: the port is taken, forbidden or not of this machine."""

    def __init__(self, address: Address, cause: OSError, option: str = "--listen") -> None:
        super().__init__(address, cause)
        self.address = address
        self.cause = cause
        self.option = option
        """What tells the node to listen elsewhere."""

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.cause.strerror or self.cause}"


class ControlSocketError(Exception):
    """The Unix socket for commands could not be made in the data directory."""

    def __init__(self, path: str, cause: OSError) -> None:
        super().__init__(path, cause)
        self.path = path
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot make the socket {self.path}: {self.cause.strerror or self.cause}"
