"""Each rule of the partition group, how to take it out, and where that shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.mesh.replication import counterexamples as told
from tests.mesh.replication import counterexamples_disks as disks
from tests.mesh.replication import counterexamples_voters as voters
from tests.mesh.replication import mutations as take
from tests.mesh.replication.explore import Bound
from tests.mesh.replication.mutations import Patch
from tests.mesh.replication.story import Story


class Mutation(NamedTuple):
    """A rule, how to take it out, and the bound within which that shows."""

    rule: str
    patch: Patch
    bound: Bound


class Told(NamedTuple):
    """A rule, how to take it out, and the story that shows why it is there."""

    rule: str
    patch: Patch
    story: Callable[[], Story]


REFUSALS = Bound(name="refusals", epochs=1, entries=1, crashes=1, resends=False)
CALM = Bound(name="no crash", epochs=2, entries=1, quiet=True)
CRASH = Bound(name="one crash", epochs=2, entries=1, quiet=True, crashes=1, resends=False)

EXPLORED = (
    Mutation("1: one vote in an epoch", take.votes_twice, REFUSALS),
    Mutation("1: a campaign takes an epoch of its own", take.campaigns_in_a_used_epoch, CALM),
    Mutation("1: (log_epoch, log_end) at least ours", take.votes(position="nothing"), CALM),
)
"""Shown by going through all states until something breaks; quick."""

EXPLORED_LONG = (
    Mutation("4: a synced end is counted", take.acknowledges_before_the_sync, CRASH),
    Mutation("4: our own end counts alike", take.counts_its_own_unsynced_end, CRASH),
)
"""The same for the slow tests; a story shows each, too."""

BOTH = ("config_settled", "log_settled")

TOLD = (
    Told(
        "1: a vote is durable before it is given",
        take.votes_before_that_is_durable,
        told.two_in_one_epoch,
    ),
    Told("1: leadership does not survive a restart", take.leads_after_a_restart, told.leads_again),
    Told(
        "1: a campaign and late grants do not survive a restart",
        take.campaigns_after_a_restart,
        disks.late_grant,
    ),
    Told(
        "1: the candidate first syncs its log",
        take.candidate_does_not_sync,
        told.unsynced_candidate,
    ),
    Told(
        "1: a voter compares its log end, not what is synced",
        take.compares_what_is_synced,
        disks.page_cache_voter,
    ),
    Told(
        "1: a damaged voter compares the end that it held",
        take.compares_what_is_left,
        disks.rotten_voter,
    ),
    Told(
        "1: a grant cancels acknowledgements not yet sent",
        take.grants_and_acknowledges,
        told.granted_while_syncing,
    ),
    Told("1: the candidate's config is at least ours", take.votes(config=False), told.old_config),
    Told("1: its log_epoch is at least ours", take.votes(position="end"), told.longer_but_older),
    Told("1: its log_end is at least ours", take.votes(position="epoch"), told.shorter),
    Told(
        "3: a larger epoch is durable before it is obeyed",
        take.obeys_before_that_is_durable,
        told.forgotten_follower,
    ),
    Told("3: a cut: the journal first", take.files_before_the_journal, told.cut_halfway),
    Told("3: a cut: synced before anything is appended", take.cuts_without_a_sync, told.cut_undone),
    Told(
        "3: log_epoch only with all up to epoch_start",
        take.adopts_before_it_has_all,
        told.half_adopted,
    ),
    Told(
        "3: log_epoch only with all of that synced",
        take.adopts_before_it_is_synced,
        told.adopted_unsynced,
    ),
    Told(
        "3: log_epoch only with nothing older above epoch_start",
        take.adopts_with_a_foreign_tail,
        told.foreign_tail,
    ),
    Told(
        "4: an acknowledgement says that log_epoch is the leader's",
        take.never_adopts,
        told.whole_of_an_older_log,
    ),
    Told(
        "4: inherited entries commit only whole", take.commits_in_parts, told.part_of_an_older_log
    ),
    Told(
        "4: a synced end is counted, a follower's",
        take.acknowledges_before_the_sync,
        told.unsynced_follower,
    ),
    Told(
        "4: a synced end is counted, our own",
        take.counts_its_own_unsynced_end,
        told.unsynced_leader,
    ),
    Told(
        "4: acknowledged once the journal holds it",
        take.acknowledges_before_the_journal,
        told.follower_with_a_slow_journal,
    ),
    Told(
        "4: our own counted once the journal holds it",
        take.counts_its_own_end_before_the_journal,
        told.leader_with_a_slow_journal,
    ),
    Told(
        "order of a round: growing, the log first",
        take.journal_before_the_log,
        told.unsynced_follower,
    ),
    Told(
        "order of a round: leaving, the journal first",
        take.files_before_the_journal,
        voters.leaving_halfway,
    ),
    Told(
        "5: a majority has installed the config",
        take.without(("config_settled",), "_obstacle"),
        voters.two_changes,
    ),
    Told(
        "5: a majority of it holds all that is committed",
        take.without(("log_settled",), "_obstacle"),
        voters.two_removals,
    ),
    Told(
        "7: what is committed is held without the one that leaves",
        take.without(("log_settled",), "_order_to_leave"),
        voters.dismissed_before_others_have_it,
    ),
    Told(
        "7: both conditions of an order to leave",
        take.without(BOTH, "_order_to_leave"),
        voters.dismissed_by_a_config_that_nobody_has,
    ),
    Told("7: only the leader's order deletes a log", take.leaves_by_itself, voters.left_by_itself),
    Told(
        "7: from the order to the answer it counts for nothing",
        take.counts_who_was_told_to_leave,
        voters.counted_while_leaving,
    ),
    Told(
        "7: a replica that knows a larger epoch or config refuses",
        take.obeys_old_orders,
        voters.order_of_an_old_leader,
    ),
    Told(
        "7: an order of an older session is none",
        take.obeys_orders_of_old_sessions,
        voters.late_order,
    ),
    Told("7: a tombstone stays", take.forgets_that_it_left, voters.shrinks_and_is_recreated),
    Told(
        "a damaged replica does not campaign",
        take.campaigns_although("damaged"),
        disks.rotten_candidate,
    ),
    Told("an unsure replica does not vote", take.votes_although_unsure, disks.unsure_voter),
    Told(
        "an unsure replica does not campaign",
        take.campaigns_although("unsure"),
        disks.unsure_candidate,
    ),
    Told(
        "an unsure replica is sure with all that its leader has",
        take.sure_at_once,
        disks.sure_with_half,
    ),
    Told(
        "a leader forgets an unsure replica's word each time",
        take.forgets_an_unsure_word_once,
        disks.sure_with_half_again,
    ),
)
"""Shown by a story, where states that show it are too many to see them all."""


def breaks(told: Told) -> str:
    """Return what breaks in a story when its rule is taken out."""
    with pytest.MonkeyPatch.context() as patch:
        told.patch(patch)
        return told.story().broken


def table() -> str:
    """Return, for README.md, which rule is shown by what."""
    rows = [
        (mutation.rule, mutation.patch, f"all states of `{mutation.bound.name}`", "")
        for mutation in (*EXPLORED, *EXPLORED_LONG)
    ]
    rows += [(one.rule, one.patch, f"`{one.story.__name__}`", breaks(one)) for one in TOLD]
    lines = ["| rule | taken out by | shown by | what breaks |", "|---|---|---|---|"]
    for rule, patch, shown, broken in sorted(rows, key=lambda row: row[0]):
        name = patch.__qualname__.partition(".")[0]
        lines.append(f"| {rule} | `{name}` | {shown} | {broken} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
