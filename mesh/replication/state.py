"""What a replica of a partition is, and what it holds durably. All of it is plain values."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import NamedTuple, Protocol

from storage.types import LeaderEpoch, Offset

NO_EPOCH: LeaderEpoch = -1
NO_OFFSET: Offset = -1
OFFSET_MAX: Offset = (1 << 63) - 1


class Replica(NamedTuple):
    """A node with one data directory: a wiped node is another replica."""

    node_id: int
    directory_id: str


class ConfigId(NamedTuple):
    """What configs are ordered by: a larger one replaces a smaller one."""

    config_epoch: LeaderEpoch
    config_version: int


class Config(NamedTuple):
    """Who votes in a group."""

    config_epoch: LeaderEpoch
    """Epoch of the leader that made it, or that took it over when it was elected."""
    config_version: int
    """Raised by every change of the voters."""
    voters: tuple[Replica, ...]

    @property
    def id(self) -> ConfigId:
        """What it is compared by."""
        return ConfigId(self.config_epoch, self.config_version)


class Term(NamedTuple):
    """Under which leader, and since which time that it took us in, we follow."""

    leader_epoch: LeaderEpoch
    session: int
    """A leader counts how often it took a replica in. What was said in an earlier session (that
    the replica holds something, that it should leave) no longer counts in a later one."""


class Promise(NamedTuple):
    """What the node's journal holds of a replica."""

    leader_epoch: LeaderEpoch
    """Largest that was promised to a candidate or obeyed."""
    session: int
    """Largest obeyed in `leader_epoch`; 0 before the first."""
    voted_for: Replica | None
    """Who got our vote in `leader_epoch`."""
    log_epoch: LeaderEpoch
    """Epoch of the leader whose log this replica last adopted wholly."""
    config: Config
    synced_end: Offset
    """Every offset below is on disk."""
    log_start_offset: Offset
    tombstone: bool = False
    """The replica left: there is no log, but its promises bind as long as the topic id exists."""
    unsure: bool = False
    """It may have lost what it acknowledged (`--durability memory`, the machine went down)."""

    @property
    def is_blank(self) -> bool:
        """Whether the replica has no state yet: nothing was promised, and no config heard of."""
        return self.config.config_version < 0 and self.leader_epoch < 0

    @property
    def term(self) -> Term:
        """What messages of leaders are compared with."""
        return Term(self.leader_epoch, self.session)


class LogPosition(NamedTuple):
    """What votes compare: the last normal view, then the log's end (Viewstamped Replication)."""

    log_epoch: LeaderEpoch
    log_end: Offset


NO_TAIL = LogPosition(NO_EPOCH, 0)


class Entry(NamedTuple):
    """One batch of the log; nobody here looks into it."""

    leader_epoch: LeaderEpoch
    size: int
    """How many offsets it takes, from 1."""
    data: object

    @property
    def bytes(self) -> int:
        """Its length in bytes, as far as it has one."""
        return len(self.data) if isinstance(self.data, Sized) else 0


class ReplicaLog(Protocol):
    """The log as this room needs it. Appends and reads answer from the page cache.

    Cutting, emptying, deleting and syncing are effects, for they wait for the disk.
    """

    @property
    def rotten_offset(self) -> Offset | None:
        """Where the last `read` met an entry that is not as it was written, and nothing before."""

    @property
    def log_start_offset(self) -> Offset:
        """First offset that is kept."""

    @property
    def first_offset(self) -> Offset:
        """Where the entry begins that holds the log's start; that itself if there is none."""

    @property
    def log_end_offset(self) -> Offset:
        """The offset that the next entry gets."""

    def epoch_at(self, offset: Offset) -> LeaderEpoch:
        """Return the leader epoch of the entry that holds `offset`; NO_EPOCH outside the log."""

    def end_of(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        """Return the log's largest epoch <= `leader_epoch` and where it ends.

        Below the first epoch of the log: NO_EPOCH and the log's start.
        """

    def read(self, base_offset: Offset, bytes_max: int) -> tuple[Entry, ...]:
        """Return whole entries from `base_offset` on; at least one, if there is a sound one.

        Where an entry begins before `base_offset`, only its rest is returned, which must be empty.
        """

    def append(self, entries: Sequence[Entry]) -> None:
        """Append them at the end, unsynced; a full disk takes none from some entry on."""


def first_promise(me: Replica, voters: tuple[Replica, ...], held: Promise | None) -> Promise | None:
    """Return a replica's first state from the registry's record; None if it may have none.

    Whoever was here before keeps what it promised, above all a tombstone: made anew from an old
    record, it would vote with an empty log for the voters of long ago.

    Args:
        me: the replica that asks, with its directory.
        voters: as the registry's record names them.
        held: what the journal has of this group.
    """
    if held is not None or me not in voters:
        return None
    config = Config(NO_EPOCH, 0, voters)
    return Promise(NO_EPOCH, 0, None, NO_EPOCH, config, synced_end=0, log_start_offset=0)


def learner_promise() -> Promise:
    """Return the first state of a replica that a leader takes in; its config comes with that."""
    return Promise(NO_EPOCH, 0, None, NO_EPOCH, Config(NO_EPOCH, -1, ()), 0, 0)
