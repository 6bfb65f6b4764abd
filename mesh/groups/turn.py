"""One turn of a coordinator: what it is given, and what it wants done.

A turn begins with a request or a timer. Whatever it changes for good it writes as records, which
are replayed as they are written, so that the same turn sees them already; the driver appends them
in one batch when the turn is over. Answers leave once everything on which they rest is committed.
Should the append fail, or leadership be lost before the commit, the whole coordinator is thrown
away and replayed from its log: nobody was told anything that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mesh.groups.offset_records import encode_offset
from mesh.groups.records import Record, encode, group_of

if TYPE_CHECKING:
    from mesh.groups.image import CommittedOffset, Image
    from mesh.model.config import BrokerConfig
    from mesh.model.types import Now, TopicId
    from mesh.wire import Message, Struct


class Topic(Protocol):
    """What a coordinator needs to know of a topic."""

    @property
    def name(self) -> str:
        """As clients say it."""

    @property
    def topic_id(self) -> TopicId:
        """16 bytes; a topic made anew under its old name has another one."""

    @property
    def partition_count(self) -> int:
        """At least 1."""


class Topics(Protocol):
    """The committed topics of the mesh, as this node knows them."""

    version: int
    """Another one after every change."""

    def named(self, name: str) -> Topic | None:
        """Return the topic of that name."""

    def with_id(self, topic_id: TopicId) -> Topic | None:
        """Return the topic of that id."""

    def is_deleted(self, topic_id: TopicId) -> bool:
        """Whether a topic is known to be gone; one that is unknown may only be new."""

    def is_current(self) -> bool:
        """Whether every topic is known that there is."""

    def names(self) -> Iterable[str]:
        """Names of all topics that clients can see."""

    def racks(self, topic: Topic) -> list[frozenset[str]]:
        """Racks of the nodes that hold each partition, by index; empty where none is known."""


class Rng(Protocol):
    """The part of random.Random that is used here."""

    def getrandbits(self, k: int, /) -> int:
        """Return k random bits."""


@dataclass(slots=True, eq=False)
class Ask:
    """A request that waits for its answer; machines keep it and answer it in this or a later turn.

    The driver makes these; what its subclass adds is no business of the machines.
    """

    body: Struct
    """The request, or the part of one that concerns a group."""
    version: int
    """Of its API."""
    client_id: str
    client_host: str
    """As Kafka stores it: `/` and the address."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Effect: give an answer once all records about a group so far are committed."""

    ask: Ask
    response: Struct
    group_id: str | None
    """None: it rests on everything that was appended so far."""


@dataclass(slots=True)
class Turn:
    """Given to a machine for one event; it writes and replies through it."""

    now: Now
    config: BrokerConfig
    topics: Topics
    rng: Rng
    image: Image
    records: list[Record] = field(default_factory=list)
    """In order; to be appended as one batch."""
    replies: list[Reply] = field(default_factory=list)
    touched: dict[str, None] = field(default_factory=dict)
    """Groups that records are about."""

    def write(self, key: Message, value: Message | None) -> None:
        """Write a record and replay it; a value of None is a tombstone.

        Raises:
            WireError: a text is too long to be stored; nothing was written or changed.
        """
        self.records.append(encode(key, value))
        self.touched[group_of(key)] = None
        self.image.replay(key, value)

    def write_offset(
        self, group_id: str, where: tuple[str, int], committed: CommittedOffset | None
    ) -> None:
        """Write what a group committed in a partition (None: a tombstone), and replay it.

        Raises:
            WireError: a text is too long to be stored; nothing was written or changed.
        """
        self.records.append(encode_offset(group_id, where, committed))
        self.touched[group_id] = None
        self.image.replay_offset(group_id, where, committed)

    def reply(self, ask: Ask, response: Struct, group_id: str | None) -> None:
        """Answer a request."""
        self.replies.append(Reply(ask, response, group_id))
