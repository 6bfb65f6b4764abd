"""What the core decides, as data; the driver carries it out in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mesh.broker.groups import LogRound
from mesh.model.types import NodeId
from mesh.node.compactor import Compact
from mesh.node.connection import Connection
from mesh.wire import Part

if TYPE_CHECKING:
    from storage.journal import JournalTicket


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send these pieces to a connection, after all that was sent to it before."""

    connection: Connection
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class HangUp:
    """Effect: close a connection and log why, in one line."""

    connection: Connection
    cause: str


@dataclass(frozen=True, slots=True)
class Sync:
    """Effect: bring a round to the disk in threads, then call `Node.synced` with it."""

    round: LogRound
    journal: JournalTicket | None
    """To be run when all tickets of the round have; DiskFull is no error, but to be told."""
    after: Callable[[], None] | None
    """What to run in a thread once all tickets have."""


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Effect: run this ticket in a thread, then call `Node.journaled` with it.

    It may go on at once with a round of the logs. On a full disk it is to be run again later.
    """

    ticket: JournalTicket


@dataclass(frozen=True, slots=True)
class Work:
    """Effect: run this blocking piece of disk work in a thread, then call `Node.worked`."""

    run: Callable[[], None]
    in_log: bool
    """Whether it works in the directory of a partition that is in use."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Effect: send one frame, in pieces, over our link to a node."""

    node_id: NodeId
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Effect: stop at once: this disk is an old one, and must not take part any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class WantLinks:
    """Effect: keep a link to each of these nodes and to no other; by id, the peer address."""

    addresses: Mapping[NodeId, str]


Effect: TypeAlias = Send | HangUp | Sync | WriteJournal | Work | Compact | Tell | WantLinks | GiveUp
