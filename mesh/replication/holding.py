"""What a replica has in its hands: promise, log, and the effects that it is about to have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesh.replication.budget import Budget
from mesh.replication.events import Cut, Delete, Effect, Empty, Persist, Send, SyncLog
from mesh.replication.messages import Message
from mesh.replication.state import (
    OFFSET_MAX,
    Config,
    LogPosition,
    Promise,
    Replica,
    ReplicaLog,
)
from storage.types import LeaderEpoch, Offset


@dataclass(slots=True, kw_only=True)
class Holding:
    """Shared by the group and its present role; every change of what is durable is made here."""

    me: Replica
    promise: Promise
    """The newest; perhaps still on its way to the journal."""
    journaled: Promise
    """What the journal holds on disk."""
    log: ReplicaLog
    synced: Offset
    """Every offset of the log below is on disk; the journal may not say so yet."""
    memory: bool = False
    """`--durability memory`: the log's ends count before they are synced."""
    high_watermark: Offset = 0
    """Largest that is known here; rises only."""
    syncing: Offset | None = None
    """At most up to here the sync under way may count; None while there is none."""
    start: int = 1
    """Number of the start of our node; larger at each."""
    admitted: bool = True
    """Another member has answered, or there is none; until then we neither vote nor campaign."""
    rotten: Offset | None = None
    """Where our log was found not to be what was written, until it is cut there."""
    unreadable: Offset | None = None
    """Where a leader has just failed to read its log for others."""
    changing: bool = False
    """A Cut, Empty or Delete is under way: nothing may be appended."""
    catch_up: Budget | None = None
    """For what replicas are sent that lag behind what is committed; None: as fast as it goes."""
    is_open: Callable[[int], bool] | None = None
    """Whether a node can be told anything now; LinkOpened says when that begins. None: it can."""
    effects: list[Effect] = field(default_factory=list)

    @property
    def log_end(self) -> Offset:
        """Where the log ends."""
        return self.log.log_end_offset

    @property
    def damaged(self) -> bool:
        """Whether less is there than was acknowledged, so that we neither campaign nor count."""
        return self.log_end < self.promise.synced_end or self.rotten is not None

    @property
    def position(self) -> LogPosition:
        """What we compare candidates with: never less than we ever acknowledged."""
        return LogPosition(self.promise.log_epoch, max(self.log_end, self.promise.synced_end))

    @property
    def tail(self) -> LogPosition:
        """What is compared where log epochs cannot be trusted: the last batch's epoch, our end."""
        end = self.log_end
        return LogPosition(self.log.epoch_at(end - 1), max(end, self.promise.synced_end))

    @property
    def may_ask(self) -> bool:
        """Whether we are a voter with a log to be elected with, if perhaps as a last resort."""
        flawed = self.damaged or self.changing or self.promise.tombstone
        return self.admitted and not flawed and self.me in self.promise.config.voters

    @property
    def may_campaign(self) -> bool:
        """Whether we are a voter whose log can be trusted."""
        return self.may_ask and not self.promise.unsure

    @property
    def unsure(self) -> int:
        """What messages say of that: 0, or since which start of our node."""
        return self.start if self.promise.unsure else 0

    def send(self, to: Replica, message: Message) -> None:
        """Send, once all that was persisted before is durable."""
        self.effects.append(Send(to, message))

    def persist(self, **changes: Any) -> None:
        """Change the promise; what is done from now on happens once that is durable."""
        changed = self.promise._replace(**changes)
        if changed != self.promise:
            self.promise = changed
            self.effects.append(Persist(changed))

    def learn(
        self, leader_epoch: LeaderEpoch, config: Config, session: int = 0, **changes: Any
    ) -> bool:
        """Take up a larger epoch, session or config, whoever told it; say whether the epoch is.

        A config counts as a promise not to obey leaders from before it was made. What else
        `changes` goes in the same write: a crash leaves all of it or nothing.
        """
        before = self.promise
        if config.id > before.config.id:
            changes["config"] = config
            leader_epoch = max(leader_epoch, config.config_epoch)
        if leader_epoch > before.leader_epoch:
            changes |= {"leader_epoch": leader_epoch, "session": session, "voted_for": None}
        elif leader_epoch == before.leader_epoch and session > before.session:
            changes["session"] = session
        self.persist(**changes)
        return leader_epoch > before.leader_epoch

    def sync(self) -> None:
        """Have the log synced to its end, unless that is under way."""
        if self.syncing is None and self.synced < self.log_end and not self.changing:
            self.syncing = OFFSET_MAX
            self.effects.append(SyncLog())

    def note_synced(self, end_offset: Offset) -> None:
        """Take up that the sync under way is done; it began when the log ended there."""
        if self.syncing is not None:
            self.synced = max(self.synced, min(end_offset, self.syncing))
            self.syncing = None

    def cut(self, end_offset: Offset) -> None:
        """Cut the log. The journal must not speak of more than is there, so it goes first."""
        self.persist(synced_end=min(self.promise.synced_end, end_offset))
        self._change(Cut(end_offset), end_offset)

    def cut_rotten(self) -> None:
        """Cut a bad batch off and what follows it; what we held stays promised, so we are damaged.

        In memory mode more was acknowledged than the journal knows of: then we are unsure.
        """
        assert self.rotten is not None
        end_offset, self.rotten = self.rotten, None
        if self.memory:
            self.persist(unsure=True)
        self._change(Cut(end_offset), end_offset)

    def empty(self, log_start_offset: Offset) -> None:
        """Drop a log that ends below the leader's start, and begin where its first batch does."""
        self.persist(
            synced_end=max(self.promise.synced_end, log_start_offset),
            log_start_offset=max(self.promise.log_start_offset, log_start_offset),
        )
        self._change(Empty(log_start_offset), log_start_offset)

    def delete(self) -> None:
        """Remove the log; the caller has persisted the tombstone."""
        self._change(Delete(), 0)
        self.high_watermark = 0

    def _change(self, effect: Cut | Empty | Delete, end_offset: Offset) -> None:
        self.synced = end_offset if isinstance(effect, Empty) else min(self.synced, end_offset)
        if self.syncing is not None:
            # Of what a sync under way reaches, only what stays may count when it is done.
            self.syncing = min(self.syncing, end_offset)
        self.changing = True
        self.effects.append(effect)
