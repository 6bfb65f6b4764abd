"""Ways to take a rule out of the machine, or out of who carries its effects out.

rules.py says which rule each belongs to, and what shows that it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mesh.replication import events as ev
from mesh.replication import messages as msg
from mesh.replication.candidate import Candidate
from mesh.replication.follower import Follower
from mesh.replication.group import Group
from mesh.replication.holding import Holding
from mesh.replication.leader import Leader, Progress
from mesh.replication.state import (
    Config,
    Entry,
    LogPosition,
    Promise,
    Replica,
    Term,
    first_promise,
)
from storage.types import LeaderEpoch, Offset
from tests.mesh.replication.model_node import Node

Patch = Callable[[pytest.MonkeyPatch], None]


# Rule 1: votes.


def votes(*, position: str = "both", config: bool = True) -> Patch:
    """Return a patch of what a voter looks at."""

    def would_grant(self: Group, sender: Replica, request: msg.VoteRequest) -> bool:
        promise, mine, its = self.holding.promise, self.holding.position, request.position
        again = request.leader_epoch == promise.leader_epoch and promise.voted_for == sender
        newer = {
            "nothing": True,
            "end": its.log_end >= mine.log_end,
            "epoch": its.log_epoch >= mine.log_epoch,
            "both": its >= mine,
        }[position]
        return (
            (request.leader_epoch > promise.leader_epoch or (again and not request.pre))
            and (not config or request.config_id >= promise.config.id)
            and newer
        )

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Group, "_would_grant", would_grant)

    return patched


def votes_twice(patch: pytest.MonkeyPatch) -> None:
    def would_grant(self: Group, sender: Replica, request: msg.VoteRequest) -> bool:
        fresh = request.leader_epoch >= self.holding.promise.leader_epoch
        return fresh and request.position >= self.holding.position

    patch.setattr(Group, "_would_grant", would_grant)


def votes_before_that_is_durable(patch: pytest.MonkeyPatch) -> None:
    answers_first(patch, Group, "_on_vote_request")


def campaigns_in_a_used_epoch(patch: pytest.MonkeyPatch) -> None:
    original = Candidate.go_on

    def go_on(self: Candidate) -> None:
        promise = self.holding.promise
        if self.stage == "syncing" and promise.leader_epoch >= 0:
            self.holding.promise = promise._replace(leader_epoch=promise.leader_epoch - 1)
        original(self)

    patch.setattr(Candidate, "go_on", go_on)


def leads_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    def resume(group: Group, promise: Promise) -> None:
        if promise.log_epoch == promise.leader_epoch:
            end = group.holding.log_end
            leader = Leader(
                holding=group.holding, leader_epoch=promise.leader_epoch, epoch_start=end
            )
            leader.installed = True
            leader.adopt(())
            group.role = leader

    _after_a_restart(patch, resume)


def campaigns_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    def resume(group: Group, promise: Promise) -> None:
        grants = {group.holding.me: promise.log_start_offset}
        group.role = Candidate(holding=group.holding, stage="voting", grants=grants)

    _after_a_restart(patch, resume)


def _after_a_restart(patch: pytest.MonkeyPatch, resume: Callable[[Group, Promise], None]) -> None:
    original = Node.start

    def start(self: Node, group_class: type[Group] = Group) -> None:
        original(self, group_class)
        if (
            self.group is not None
            and self.journal is not None
            and self.journal.voted_for == self.me
        ):
            resume(self.group, self.journal)
            self.forget_time()

    patch.setattr(Node, "start", start)


def candidate_does_not_sync(patch: pytest.MonkeyPatch) -> None:
    original = Candidate.go_on

    def go_on(self: Candidate) -> None:
        self.holding.memory = True
        original(self)
        self.holding.memory = False

    patch.setattr(Candidate, "go_on", go_on)


def compares_what_is_synced(patch: pytest.MonkeyPatch) -> None:
    def position(self: Holding) -> LogPosition:
        return LogPosition(self.promise.log_epoch, self.promise.synced_end)

    patch.setattr(Holding, "position", property(position))


def compares_what_is_left(patch: pytest.MonkeyPatch) -> None:
    def position(self: Holding) -> LogPosition:
        return LogPosition(self.promise.log_epoch, self.log_end)

    patch.setattr(Holding, "position", property(position))


@dataclass(slots=True, kw_only=True)
class Obliged(Follower):
    """Still owes its old leader an acknowledgement, though it voted for somebody else."""

    term: Term

    def settle(self) -> None:
        reached = min(self.holding.synced, self.matched)
        if self.leader is not None and reached >= self.epoch_start:
            held = msg.Held(
                *self.term, self.matched, reached, self.holding.promise.config.id, 0, False
            )
            self.holding.send(self.leader, held)


def grants_and_acknowledges(patch: pytest.MonkeyPatch) -> None:
    original = Group._on_vote_request

    def on_vote_request(
        self: Group, sender: Replica, request: msg.VoteRequest, now_ms: int
    ) -> None:
        role, term = self.role, self.holding.promise.term
        original(self, sender, request, now_ms)
        if isinstance(role, Follower) and self.role is not role and role.leader is not None:
            self.role = Obliged(
                holding=role.holding,
                leader=role.leader,
                epoch_start=role.epoch_start,
                matched=role.matched,
                term=term,
            )

    patch.setattr(Group, "_on_vote_request", on_vote_request)


# Rule 3: following.


def obeys_before_that_is_durable(patch: pytest.MonkeyPatch) -> None:
    original = Group._on_append

    def on_append(self: Group, sender: Replica, append: msg.Append, now_ms: int) -> None:
        holding = self.holding
        if Term(append.leader_epoch, append.session) > holding.promise.term:
            self._step_down()
            holding.learn(append.leader_epoch, append.config, append.session, tombstone=False)
            holding.journaled = holding.promise
        original(self, sender, append, now_ms)

    patch.setattr(Group, "_on_append", on_append)
    answers_first(patch, Group, "_on_append")


def files_before_the_journal(patch: pytest.MonkeyPatch) -> None:
    original = Holding._change

    def change(self: Holding, effect: ev.Cut | ev.Empty | ev.Delete, end_offset: Offset) -> None:
        original(self, effect, end_offset)
        effects = [one for one in self.effects if one is not effect]
        self.effects[:] = [effect, *effects]

    patch.setattr(Holding, "_change", change)


def cuts_without_a_sync(patch: pytest.MonkeyPatch) -> None:
    """What was cut is there again after a crash."""
    step, crash = Node.step, Node.crash
    cut: dict[Replica, list[Entry]] = {}

    def keep(self: Node) -> None:
        if isinstance(self.queue[0], ev.Cut):
            cut[self.me] = list(self.log.entries)
        step(self)

    def bring_back(self: Node, kept: Offset) -> None:
        crash(self, kept)
        if self.me in cut:
            self.log.entries[:] = cut[self.me]
            self.log.durable = self.log.log_end_offset
            self.start()

    patch.setattr(Node, "step", keep)
    patch.setattr(Node, "crash", bring_back)


def adopts_before_it_has_all(patch: pytest.MonkeyPatch) -> None:
    original = Follower.settle

    def settle(self: Follower) -> None:
        self.epoch_start = min(self.epoch_start, 0)
        original(self)

    patch.setattr(Follower, "settle", settle)


def adopts_before_it_is_synced(patch: pytest.MonkeyPatch) -> None:
    original = Follower._write_down

    def write_down(self: Follower) -> None:
        original(self)
        if not self.holding.changing and 0 <= self.epoch_start <= self.matched:
            self.holding.persist(log_epoch=self.holding.promise.leader_epoch)

    patch.setattr(Follower, "_write_down", write_down)


def adopts_with_a_foreign_tail(patch: pytest.MonkeyPatch) -> None:
    original = Follower._fork

    def fork(self: Follower, append: msg.Append) -> Offset | None:
        return original(self, replace(append, epoch_start=1 << 60))

    patch.setattr(Follower, "_fork", fork)


# Rule 4: commits.


def never_adopts(patch: pytest.MonkeyPatch) -> None:
    """A follower acknowledges without having written down whose log it has."""
    original = Follower.settle

    def settle(self: Follower) -> None:
        before = self.holding.promise.log_epoch
        original(self)
        self.holding.promise = self.holding.promise._replace(log_epoch=before)
        for index, effect in enumerate(self.holding.effects):
            if hasattr(effect, "promise"):
                promise: Any = effect.promise
                self.holding.effects[index] = replace(
                    effect, promise=promise._replace(log_epoch=before)
                )

    patch.setattr(Follower, "settle", settle)


def commits_in_parts(patch: pytest.MonkeyPatch) -> None:
    """What was inherited counts before all of it is there, at the follower and at the leader."""
    original, advance = Follower.settle, Leader._advance

    def settle(self: Follower) -> None:
        original(self)
        reached = min(self.holding.synced, self.matched)
        for index, effect in enumerate(self.holding.effects):
            if isinstance(effect, ev.Send) and isinstance(effect.message, msg.Held):
                held = replace(effect.message, counted_end=reached)
                self.holding.effects[index] = replace(effect, message=held)

    def in_parts(self: Leader) -> None:
        whole, self.epoch_start = self.epoch_start, 0
        advance(self)
        self.epoch_start = whole

    patch.setattr(Follower, "settle", settle)
    patch.setattr(Leader, "_advance", in_parts)


def acknowledges_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    original = Follower._take

    def take(self: Follower, append: msg.Append) -> None:
        self.holding.memory = True
        original(self, append)
        self.holding.memory = False

    patch.setattr(Follower, "_take", take)


def counts_its_own_unsynced_end(patch: pytest.MonkeyPatch) -> None:
    _counts_of_itself(patch, lambda holding: holding.log_end)


def counts_its_own_end_before_the_journal(patch: pytest.MonkeyPatch) -> None:
    _counts_of_itself(patch, lambda holding: holding.synced)

    def on_synced(self: Leader) -> None:
        self._advance()
        original(self)

    original = Leader.on_synced
    patch.setattr(Leader, "on_synced", on_synced)


def _counts_of_itself(patch: pytest.MonkeyPatch, end: Callable[[Holding], Offset]) -> None:
    original = Leader._ends

    def ends(self: Leader) -> dict[Replica, Offset]:
        return {**original(self), self.holding.me: end(self.holding)}

    patch.setattr(Leader, "_ends", ends)


def acknowledges_before_the_journal(patch: pytest.MonkeyPatch) -> None:
    answers_first(patch, Follower, "settle")


def journal_before_the_log(patch: pytest.MonkeyPatch) -> None:
    """A round writes what speaks of the log before the log."""
    original = Node.run

    def run(self: Node, *, slow: bool) -> Iterator[ev.Effect]:
        yield from original(self, slow=slow)
        while self.group is not None and self.group.holding.syncing is not None:
            self.feed(ev.Synced(self.log.log_end_offset))
            yield from original(self, slow=slow)

    def finish_sync(self: Node) -> None:
        self.log.durable = max(self.log.durable, self.log.syncing or 0)
        self.log.syncing = None

    patch.setattr(Node, "run", run)
    patch.setattr(Node, "finish_sync", finish_sync)


# Rules 5 and 7: voters, and who leaves.


def without(conditions: tuple[str, ...], method: str) -> Patch:
    """Return a patch of a leader's method that takes these conditions for given."""

    def patched(patch: pytest.MonkeyPatch) -> None:
        original = getattr(Leader, method)

        def free(self: Leader, *args: object) -> object:
            with pytest.MonkeyPatch.context() as inside:
                for condition in conditions:
                    inside.setattr(Leader, condition, property(lambda self: True))
                return original(self, *args)

        patch.setattr(Leader, method, free)

    return patched


def counts_who_was_told_to_leave(patch: pytest.MonkeyPatch) -> None:
    original = Leader._order_to_leave

    def order_to_leave(self: Leader) -> None:
        before = dict(self.others)
        original(self)
        self.others |= {replica: before[replica] for replica in self.leaving if replica in before}

    patch.setattr(Leader, "_order_to_leave", order_to_leave)


def obeys_old_orders(patch: pytest.MonkeyPatch) -> None:
    def on_leave(self: Group, sender: Replica, order: msg.Leave) -> None:
        self._step_down()
        self.holding.persist(
            tombstone=True, log_epoch=-1, synced_end=0, log_start_offset=0, unsure=False
        )
        self.holding.delete()

    patch.setattr(Group, "_on_leave", on_leave)


def obeys_orders_of_old_sessions(patch: pytest.MonkeyPatch) -> None:
    original = Group._on_leave

    def on_leave(self: Group, sender: Replica, order: msg.Leave) -> None:
        latest = replace(order, session=self.holding.promise.session)
        original(self, sender, latest)

    patch.setattr(Group, "_on_leave", on_leave)


def leaves_by_itself(patch: pytest.MonkeyPatch) -> None:
    original = Holding.learn

    def learn(
        self: Holding, leader_epoch: LeaderEpoch, config: Config, session: int = 0, **also: Any
    ) -> bool:
        votes = self.me in self.promise.config.voters
        larger = original(self, leader_epoch, config, session, **also)
        if votes and self.me not in self.promise.config.voters:
            self.persist(tombstone=True, log_epoch=-1, synced_end=0, log_start_offset=0)
            self.delete()
        return larger

    patch.setattr(Holding, "learn", learn)


def forgets_that_it_left(patch: pytest.MonkeyPatch) -> None:
    def recreate(self: Node, voters: tuple[Replica, ...]) -> None:
        self.journal = first_promise(self.me, voters, None)
        self.start()

    patch.setattr(Node, "recreate", recreate)


# Replicas that cannot be trusted fully.


def campaigns_although(flaw: str) -> Patch:
    """Return a patch that lets a replica campaign with a log that it knows to be bad."""

    def may_ask(self: Holding) -> bool:
        damaged = self.damaged and flaw != "damaged"
        bad = damaged or self.changing or self.promise.tombstone
        return not bad and self.me in self.promise.config.voters

    def may_campaign(self: Holding) -> bool:
        return may_ask(self) and (flaw == "unsure" or not self.promise.unsure)

    def patched(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(Holding, "may_ask", property(may_ask))
        patch.setattr(Holding, "may_campaign", property(may_campaign))

    return patched


def votes_although_unsure(patch: pytest.MonkeyPatch) -> None:
    original = Group._on_vote_request

    def on_vote_request(
        self: Group, sender: Replica, request: msg.VoteRequest, now_ms: int
    ) -> None:
        self.holding.promise = self.holding.promise._replace(unsure=False)
        original(self, sender, request, now_ms)

    patch.setattr(Group, "_on_vote_request", on_vote_request)


def sure_at_once(patch: pytest.MonkeyPatch) -> None:
    original = Follower.on_append

    def on_append(self: Follower, append: msg.Append) -> None:
        original(self, replace(append, sure_end=0, unsure=self.holding.start))

    patch.setattr(Follower, "on_append", on_append)


def forgets_an_unsure_word_once(patch: pytest.MonkeyPatch) -> None:
    original = Leader._progress

    def progress(self: Leader, sender: Replica, session: int, unsure: int) -> Progress | None:
        known = self.others.get(sender)
        first = known is not None and known.sure_end < 0
        return original(self, sender, session, unsure if first else 0)

    patch.setattr(Leader, "_progress", progress)
    hear = Follower.on_append

    def on_append(self: Follower, append: msg.Append) -> None:
        hear(self, replace(append, unsure=self.holding.start))

    patch.setattr(Follower, "on_append", on_append)


def answers_first(patch: pytest.MonkeyPatch, owner: type[Group | Follower], method: str) -> None:
    """Have the messages of a step leave before what they rest on is durable."""
    original = getattr(owner, method)

    def first(self: Group | Follower, *args: object) -> None:
        waiting, self.holding.effects = self.holding.effects, []
        original(self, *args)
        effects = self.holding.effects
        effects.sort(key=lambda effect: not isinstance(effect, ev.Send))
        self.holding.effects = [*waiting, *effects]

    patch.setattr(owner, method, first)
