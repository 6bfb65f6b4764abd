"""What the replicas of a group say to each other. Any may be lost, come late, or come twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mesh.replication.state import NO_TAIL, Config, ConfigId, Entry, LogPosition
from storage.types import LeaderEpoch, Offset


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """A candidate asks for a vote or, with `pre`, whether it would get one."""

    leader_epoch: LeaderEpoch
    config_id: ConfigId
    position: LogPosition
    """With `last_resort`: the last batch's leader epoch instead of the log's."""
    pre: bool = False
    last_resort: bool = False
    """Fewer than a majority can be trusted: every voter is needed, the unsure among them."""


@dataclass(frozen=True, slots=True)
class VoteReply:
    """The answer. What the voter knows goes with it, so that the candidate can learn."""

    leader_epoch: LeaderEpoch
    """Of the request."""
    pre: bool
    granted: bool
    promised_epoch: LeaderEpoch
    config: Config
    log_start_offset: Offset
    tail: LogPosition = NO_TAIL
    """With `pre`: the last batch's leader epoch of the voter, and where its log ends."""
    unsure: bool = False
    led: bool = False
    """With `pre`: the voter leads, or heard of a leader lately."""


@dataclass(frozen=True, slots=True)
class Append:
    """A leader's entries from `base_offset` on; without any it is a probe."""

    leader_epoch: LeaderEpoch
    session: int
    config: Config
    epoch_start: Offset
    """The leader's log end when it was elected; from there on all entries are its own."""
    base_offset: Offset
    previous_epoch: LeaderEpoch
    """Of the entry before `base_offset`; NO_EPOCH at the leader's log start."""
    entries: tuple[Entry, ...]
    high_watermark: Offset
    log_start_offset: Offset
    sure_end: Offset
    """An unsure replica that holds all below is sure again; NO_OFFSET: not yet known."""
    unsure: int = 0
    """For which start of its node `sure_end` is; said in an earlier one, it counts no more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A replica agrees with its leader up to `log_end`."""

    leader_epoch: LeaderEpoch
    session: int
    log_end: Offset
    counted_end: Offset
    """What may be counted: synced, and the journal says so (in memory mode: `log_end`).
    NO_OFFSET until the replica has adopted this leader's log."""
    config_id: ConfigId
    log_start_offset: Offset
    unsure: int = 0
    """0 if the replica is sure; else the start of its node since which it may not be."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A replica has something else before the offered offset, or nothing; where to try next."""

    leader_epoch: LeaderEpoch
    session: int
    epoch: LeaderEpoch
    """Largest epoch of the replica's log that is not above the offered one."""
    end_offset: Offset
    """Where that epoch ends in the replica's log."""
    unsure: int = 0
    """As in `Held`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was said belongs to the past; this is what the replica knows."""

    promised_epoch: LeaderEpoch
    config: Config


@dataclass(frozen=True, slots=True)
class Campaign:
    """A leader hands over: campaign at once. Its epoch is the warrant; the campaign's is new."""

    leader_epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class Astray:
    """A replica that no leader feeds, or that no config names, asks what shall become of it."""

    leader_epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class Leave:
    """A leader orders a replica that is no voter to give up its log."""

    leader_epoch: LeaderEpoch
    session: int
    config: Config


@dataclass(frozen=True, slots=True)
class Left:
    """The log is gone; a tombstone keeps the promises."""

    leader_epoch: LeaderEpoch
    session: int


Message: TypeAlias = (
    VoteRequest | VoteReply | Append | Held | Mismatch | Refused | Campaign | Astray | Leave | Left
)
