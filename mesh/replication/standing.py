"""Whether a node may take part: what it decides once for all its groups. A pure machine.

A node whose disk was restored from a snapshot has forgotten promises that it gave. It cannot tell
that by itself; but every link frame says how far its sender's journal is, and members remember the
largest that they heard of each data directory. So a node votes, campaigns and leads only once
another member has answered it, and gives its directory up if that one knows of a journal that
was further than the one on its disk.

Our frames say our own mark over a link only once the other side has answered over it: before, they
would make it forget that it knew of a later journal.

Best effort: a member that heard nothing since the snapshot was taken cannot tell either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, assert_never

REMEMBER_MS = 10_000
"""How often what was heard of others is written down, but for their new starts: at once."""


class Mark(NamedTuple):
    """How far a node's journal is; the larger was later."""

    start: int
    """Number of the node's start, durable before anything is said in it."""
    round: int
    """Last round of the journal that is durable."""


NO_MARK = Mark(0, 0)


@dataclass(frozen=True, slots=True)
class LinkMade:
    """A link to this directory of another member was made; nothing was said over it yet."""

    directory_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of a link came in; before what it brings is looked at."""

    directory_id: str
    """Of the sender."""
    mark: Mark


@dataclass(frozen=True, slots=True)
class Answered:
    """What a member remembered of us when our link to it was made, before it heard us again."""

    mark: Mark
    """NO_MARK if it never heard of our directory."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due at `wake_at_ms`, harmless earlier."""


Event: TypeAlias = LinkMade | Heard | Answered | Tick


@dataclass(frozen=True, slots=True)
class Answer:
    """Say to the member to which this link leads what we remember of it: Answered, over there.

    It is the first thing that is said over a link.
    """

    directory_id: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Remember:
    """Write to disk what was heard of others, and sync; what follows happens only then."""

    marks: tuple[tuple[str, Mark], ...]


@dataclass(frozen=True, slots=True)
class Admit:
    """The node may vote, campaign and lead: put Admitted into all its groups."""


@dataclass(frozen=True, slots=True)
class GiveUpDirectory:
    """Our disk is an old one. Stop at once, and say so; return only with a new directory."""

    found: Mark
    """What our disk held."""
    known: Mark
    """What another member heard of it."""


Effect: TypeAlias = Answer | Remember | Admit | GiveUpDirectory


@dataclass(slots=True, kw_only=True)
class Standing:
    """One for each node. Instants are of the monotonic clock."""

    found: Mark
    """What the disk held at this start, before the start was counted."""
    mark: Mark
    """What our own frames say; the driver raises its round as rounds become durable."""
    alone: bool = False
    """There is no other member."""
    known: dict[str, Mark] = field(default_factory=dict)
    """The largest mark heard of each directory, as read from disk at first."""
    admitted: bool = False
    stale: bool = False
    """Ours is an old disk: nothing may be done any more."""
    wake_at_ms: int | None = None
    """When the next Tick is due; None while nothing waits to be written down."""

    def __post_init__(self) -> None:
        """Admit a node without others at once."""
        assert self.found < self.mark, "a start is counted before anything is said in it"
        self.admitted = self.admitted or self.alone

    def on(self, event: Event, now_ms: int) -> list[Effect]:
        """Take one event and return its effects; their order is binding."""
        match event:
            case LinkMade(directory_id):
                return [Answer(directory_id, self.known.get(directory_id, NO_MARK))]
            case Heard(directory_id, mark):
                return self._hear(directory_id, mark, now_ms)
            case Answered(mark):
                return self._on_answered(mark)
            case Tick():
                if self.wake_at_ms is None or now_ms < self.wake_at_ms:
                    return []
                return [self._remember()]
            case _:
                assert_never(event)

    def _hear(self, directory_id: str, mark: Mark, now_ms: int) -> list[Effect]:
        before = self.known.get(directory_id, NO_MARK)
        if mark <= before:
            return []
        self.known[directory_id] = mark
        if mark.start > before.start:
            return [self._remember()]
        if self.wake_at_ms is None:
            self.wake_at_ms = now_ms + REMEMBER_MS
        return []

    def _remember(self) -> Remember:
        self.wake_at_ms = None
        return Remember(tuple(sorted(self.known.items())))

    def _on_answered(self, known: Mark) -> list[Effect]:
        if self.stale:
            return []
        # Of this start we may have been heard before, over an earlier link; of one that our disk
        # does not know of, never.
        mine = self.mark if known.start == self.mark.start else self.found
        if known > mine:
            self.stale, self.admitted = True, False
            return [GiveUpDirectory(self.found, known)]
        if self.admitted:
            return []
        self.admitted = True
        return [Admit()]
