"""The rules taken out one by one. Each must break an invariant, or it would not be needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from mesh.replication.candidate import Candidate
from mesh.replication.follower import Follower
from mesh.replication.group import Group
from mesh.replication.leader import Leader
from mesh.replication.messages import Append, VoteRequest
from mesh.replication.state import Replica
from storage.types import Offset
from tests.mesh.replication.explore import Bound

Patch = Callable[[pytest.MonkeyPatch], None]


class Mutation(NamedTuple):
    """A rule, how to take it out, and where that shows."""

    rule: str
    patch: Patch
    bound: Bound


def grants_whatever_the_log(patch: pytest.MonkeyPatch) -> None:
    def would_grant(self: Group, sender: Replica, request: VoteRequest) -> bool:
        promise = self.holding.promise
        again = request.leader_epoch == promise.leader_epoch and promise.voted_for == sender
        return request.leader_epoch > promise.leader_epoch or again

    patch.setattr(Group, "_would_grant", would_grant)


def compares_ends_only(patch: pytest.MonkeyPatch) -> None:
    def would_grant(self: Group, sender: Replica, request: VoteRequest) -> bool:
        promise = self.holding.promise
        again = request.leader_epoch == promise.leader_epoch and promise.voted_for == sender
        newer = request.leader_epoch > promise.leader_epoch or again
        return newer and request.position.log_end >= self.holding.position.log_end

    patch.setattr(Group, "_would_grant", would_grant)


def votes_twice(patch: pytest.MonkeyPatch) -> None:
    def would_grant(self: Group, sender: Replica, request: VoteRequest) -> bool:
        fresh = request.leader_epoch >= self.holding.promise.leader_epoch
        return fresh and request.position >= self.holding.position

    patch.setattr(Group, "_would_grant", would_grant)


def campaigns_in_a_used_epoch(patch: pytest.MonkeyPatch) -> None:
    original = Candidate.go_on

    def go_on(self: Candidate) -> None:
        promise = self.holding.promise
        if self.stage == "syncing" and promise.leader_epoch >= 0:
            self.holding.promise = promise._replace(leader_epoch=promise.leader_epoch - 1)
        original(self)

    patch.setattr(Candidate, "go_on", go_on)


def acknowledges_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    original = Follower.settle

    def settle(self: Follower) -> None:
        self.holding.memory = True
        original(self)
        self.holding.memory = False

    patch.setattr(Follower, "settle", settle)


def counts_its_own_unsynced_end(patch: pytest.MonkeyPatch) -> None:
    original = Leader._ends

    def ends(self: Leader) -> dict[Replica, Offset]:
        return {**original(self), self.holding.me: self.holding.log_end}

    patch.setattr(Leader, "_ends", ends)


def adopts_before_it_has_all(patch: pytest.MonkeyPatch) -> None:
    original = Follower.settle

    def settle(self: Follower) -> None:
        self.epoch_start = min(self.epoch_start, 0)
        original(self)

    patch.setattr(Follower, "settle", settle)


def adopts_with_a_foreign_tail(patch: pytest.MonkeyPatch) -> None:
    original = Follower._fork

    def fork(self: Follower, append: Append) -> Offset | None:
        return original(self, replace(append, epoch_start=1 << 60))

    patch.setattr(Follower, "_fork", fork)


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


def candidate_does_not_sync(patch: pytest.MonkeyPatch) -> None:
    original = Candidate.go_on

    def go_on(self: Candidate) -> None:
        self.holding.memory = True
        original(self)
        self.holding.memory = False

    patch.setattr(Candidate, "go_on", go_on)


CALM = Bound(name="no crash", epochs=2, entries=1, quiet=True)
CRASH = Bound(name="one crash", epochs=2, entries=1, quiet=True, crashes=1, resends=False)
THREE = Bound(name="more epochs", epochs=4, entries=3, quiet=True)
REFUSALS = Bound(name="refusals", epochs=1, entries=1, crashes=1, resends=False)

EXPLORED = [
    Mutation("1: one vote in an epoch", votes_twice, REFUSALS),
    Mutation("1: the candidate's log is at least as new as ours", grants_whatever_the_log, CALM),
    Mutation("1: a campaign takes an epoch of its own", campaigns_in_a_used_epoch, CALM),
    Mutation("4: only what is synced is acknowledged", acknowledges_before_the_sync, CRASH),
    Mutation("4: our own end counts alike", counts_its_own_unsynced_end, CRASH),
]
"""Shown by going through all states."""

WALKED = [
    Mutation("4: an acknowledgement means the log is adopted", never_adopts, THREE),
]
"""Shown by walks at random: they need three leaders, which are too many states for all."""
