"""What is asked of worlds of whole nodes finds what it is for: a rule is broken each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mesh.replication import Replica
from mesh.replication.follower import Follower
from mesh.replication.group import Group
from mesh.replication.leader import Leader
from mesh.replication.messages import Append, VoteRequest
from simulations.broker_invariants import History
from simulations.broker_swarm import run
from storage import Journal, JournalDamaged
from storage.disk import Disk
from storage.producers import Producers
from storage.records import BatchHeader
from storage.types import Offset


def votes_for_any_log(patch: pytest.MonkeyPatch) -> None:
    def would_grant(self: Group, sender: Replica, request: VoteRequest) -> bool:
        del sender
        return request.leader_epoch > self.holding.promise.leader_epoch

    patch.setattr(Group, "_would_grant", would_grant)


def commits_alone(patch: pytest.MonkeyPatch) -> None:
    def ends(self: Leader) -> dict[Replica, Offset]:
        return dict.fromkeys((self.holding.me, *self.others), self.holding.log_end)

    patch.setattr(Leader, "_ends", ends)


def keeps_what_differs(patch: pytest.MonkeyPatch) -> None:
    def fork(self: Follower, append: Append) -> None:
        del self, append

    patch.setattr(Follower, "_fork", fork)


def appends_duplicates(patch: pytest.MonkeyPatch) -> None:
    def check(self: Producers, header: BatchHeader) -> None:
        del self, header

    patch.setattr(Producers, "check", check)


def reads_no_journal(patch: pytest.MonkeyPatch) -> None:
    def opened(disk: Disk, data_directory: str, directory_id: bytes) -> Journal:
        del disk, directory_id
        raise JournalDamaged(data_directory, 0, "by this test")

    patch.setattr(Journal, "open", opened)


SEEDS = range(12)


@dataclass(frozen=True)
class Broken:
    """A rule taken out, and worlds in which that shows sooner or later."""

    take_out: Callable[[pytest.MonkeyPatch], None]
    classes: tuple[str, ...]
    found: str


BROKEN = (
    Broken(
        votes_for_any_log,
        ("split", "isolate", "crash", "torn_write", "slow_disk", "slow_net"),
        "it leads without all of",
    ),
    Broken(
        commits_alone,
        ("kill", "crash", "restart_all", "split", "isolate"),
        "it leads without all of",
    ),
    Broken(keeps_what_differs, ("kill", "split", "isolate"), "another value at"),
    Broken(appends_duplicates, ("break_link", "kill"), "holds a record twice"),
    Broken(reads_no_journal, ("kill",), "the world ended at test_broker_invariants.py"),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.take_out.__name__)
def test_a_rule_taken_out_is_found(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of few seeds says what does not hold without the rule; with it, that seed holds."""
    with monkeypatch.context() as patch:
        broken.take_out(patch)
        telling = (seed for seed in SEEDS if broken.found in str(_violations(seed, broken)))
        seed = next(telling, None)
    assert seed is not None
    assert _violations(seed, broken) == ()


def _violations(seed: int, broken: Broken) -> tuple[str, ...]:
    return run(seed, 3, broken.classes).violations


def test_a_late_leader_need_not_hold_what_later_epochs_committed() -> None:
    """Found by seed 60383: who won, and then stood still, led when a later epoch had gone on."""
    history = History()
    history.ends[0], history.end = 0, 32
    history.ends[2], history.end = 32, 34
    assert history.needed_in(1) == 32
    assert history.needed_in(3) == 34
