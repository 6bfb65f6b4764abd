"""What goes into the machine and what comes out. The order of effects is their contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mesh.replication.messages import Message
from mesh.replication.state import Promise, Replica
from storage.types import LeaderEpoch, Offset


@dataclass(frozen=True, slots=True)
class Received:
    """A message of another replica, over an authentic link."""

    sender: Replica
    message: Message


@dataclass(frozen=True, slots=True)
class Persisted:
    """A Persist is durable."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class Synced:
    """A SyncLog is done: what the log held when the sync began is on disk."""

    end_offset: Offset
    """Where the log ended then."""


@dataclass(frozen=True, slots=True)
class LogChanged:
    """A Cut, Empty or Delete is done and synced."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due at `wake_at_ms`, harmless earlier."""


@dataclass(frozen=True, slots=True)
class LeaderNamed:
    """A heartbeat over an open link names its sender as leader of the group."""

    sender: Replica
    leader_epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class LeaderUnnamed:
    """Nobody names a leader over an open link any more; the last one did so until then."""

    heard_at_ms: int
    """Monotonic; when something last came from it."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell all others how much is committed, though there is nothing else to send them."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Something came over the link from this node, whatever group it was for: it is there."""

    node_id: int


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A link to this node was made anew: what was under way is lost, it may have restarted."""

    node_id: int


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """No link to this node is open any more; shortens a wait, decides nothing."""

    node_id: int


@dataclass(frozen=True, slots=True)
class Appended:
    """Batches of clients were appended to the log, in our epoch, while we took writes."""


@dataclass(frozen=True, slots=True)
class Trim:
    """DeleteRecords: the leader's log shall begin here; at most its high watermark."""

    log_start_offset: Offset


@dataclass(frozen=True, slots=True)
class Adopt:
    """Placement wants these, besides the voters, to copy the log; others are dismissed."""

    learners: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """These shall vote: one more or one less than now, the leader among them."""

    voters: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class HandOver:
    """Somebody else shall lead."""

    target: Replica


@dataclass(frozen=True, slots=True)
class Stalled:
    """The disk hangs: give up leadership."""


@dataclass(frozen=True, slots=True)
class Rotten:
    """A batch of the log is not what was written: it differs from its checksum."""

    base_offset: Offset


@dataclass(frozen=True, slots=True)
class Admitted:
    """Another member has answered this node since it started; see standing.py."""


Event: TypeAlias = (
    Received
    | Persisted
    | Synced
    | LogChanged
    | Tick
    | LeaderNamed
    | LeaderUnnamed
    | Announce
    | Reached
    | LinkOpened
    | LinkClosed
    | Appended
    | Trim
    | Adopt
    | Reconfigure
    | HandOver
    | Stalled
    | Rotten
    | Admitted
)


@dataclass(frozen=True, slots=True)
class Persist:
    """Write to the journal and sync. What follows happens only then; then Persisted goes in."""

    promise: Promise


@dataclass(frozen=True, slots=True)
class SyncLog:
    """Sync the log, at once: it waits for nothing; then Synced goes in. One at a time."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Cut the log to this end and sync. What follows happens only then; then LogChanged."""

    end_offset: Offset


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty the log, begin at this offset and sync; as Cut."""

    log_start_offset: Offset


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the log wholly: the next one begins at 0; as Cut."""


@dataclass(frozen=True, slots=True)
class Send:
    """To the link of another replica; it may be lost."""

    to: Replica
    message: Message


@dataclass(frozen=True, slots=True)
class Lead:
    """We lead: take writes, and name us in heartbeats."""

    leader_epoch: LeaderEpoch
    epoch_start: Offset


@dataclass(frozen=True, slots=True)
class StepDown:
    """We lead no more; writes that are not committed are to be answered as such."""

    leader_epoch: LeaderEpoch
    """Of the leadership that ended."""


@dataclass(frozen=True, slots=True)
class FoundRot:
    """Our log is not what was written; we hand over, and will have it from whoever leads then."""

    base_offset: Offset


@dataclass(frozen=True, slots=True)
class LossPossible:
    """We were elected although fewer than a majority of the voters could be trusted.

    What they acknowledged may be missing from our log, with which the group goes on.
    """

    leader_epoch: LeaderEpoch
    log_end: Offset
    unsure: tuple[Replica, ...]
    """Who may have lost what it acknowledged."""


@dataclass(frozen=True, slots=True)
class NotLeader:
    """The answer to a Trim, Adopt, Reconfigure or HandOver where nobody leads (any more)."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The answer to a Reconfigure whose conditions do not hold; ask again later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """A quorum holds all below: answer acks=all, wake waiting fetches."""

    high_watermark: Offset


@dataclass(frozen=True, slots=True)
class Advanced:
    """We follow, have all below, and the leader says that it is committed."""

    high_watermark: Offset


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The log start is durable here: records below may go. On a leader: on a quorum."""

    log_start_offset: Offset


Effect: TypeAlias = (
    Persist
    | SyncLog
    | Cut
    | Empty
    | Delete
    | Send
    | Lead
    | StepDown
    | FoundRot
    | LossPossible
    | NotLeader
    | NotYet
    | Committed
    | Advanced
    | Trimmed
)

AT_ONCE = (SyncLog, FoundRot, LossPossible, Lead, StepDown, Committed, Advanced, NotLeader, NotYet)
"""Effects that rest on nothing that is still on its way to the disk: they do not wait for what
stands before them. Everything else keeps its place."""
