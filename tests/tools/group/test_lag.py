"""Lag, rates and causes are what two looks show, and nothing more."""

from __future__ import annotations

import pytest

from tests.tools.group.looks import a_group, a_look, a_member, at
from tools.group.lag import SILENT_MS, catch_up_ms, measure, names

NOW = 1_000_000
"""Wall clock of a look at 0 ms."""


def test_lag_is_counted_from_the_committed_offset_and_dated_by_the_first_record_that_waits() -> (
    None
):
    """Records and milliseconds for each partition; the group has their sum and the oldest."""
    look = a_look(
        5_000, committed={0: 4, 1: 9, 2: 5}, ends={0: (0, 10), 1: (0, 9), 2: (0, 6), 3: (0, 8)}
    )
    found = measure(None, look, {at(0): NOW + 1_000, at(2): NOW + 4_000})
    assert [part.lag for part in found.partitions] == [6, 0, 1, None]
    assert [part.lag_ms for part in found.partitions] == [4_000, 0, 1_000, None]
    assert (found.lag, found.lag_ms) == (7, 4_000)


def test_an_age_that_is_not_known_leaves_the_groups_age_open() -> None:
    """The record that nobody could read might be the oldest."""
    look = a_look(committed={0: 4, 1: 4}, ends={0: (0, 10), 1: (0, 10)})
    found = measure(None, look, {at(0): NOW})
    assert (found.lag, found.lag_ms) == (12, None)


@pytest.mark.parametrize(("written_ms", "age_ms"), [(-1, None), (NOW + 60_000, 0)])
def test_odd_timestamps_make_no_odd_ages(written_ms: int, age_ms: int | None) -> None:
    """A record without a timestamp has no age; one of a clock that is ahead has none yet."""
    look = a_look(0, committed={0: 4}, ends={0: (0, 10)})
    assert measure(None, look, {at(0): written_ms}).partitions[0].lag_ms == age_ms


def test_a_group_that_committed_nothing_has_no_lag() -> None:
    """Nobody knows where it would begin."""
    found = measure(None, a_look(ends={0: (0, 10)}), {})
    assert (found.lag, found.lag_ms, found.consume_s) == (None, None, None)


def test_rates_are_what_moved_between_two_looks() -> None:
    """Committed offsets and ends, each per second; the catch-up follows from both."""
    before = a_look(1_000, committed={0: 0, 1: 0}, ends={0: (0, 100), 1: (0, 100)})
    after = a_look(3_000, committed={0: 60, 1: 40}, ends={0: (0, 120), 1: (0, 100)})
    found = measure(before, after, {})
    assert (found.consume_s, found.produce_s, found.window_ms) == (50, 10, 2_000)
    assert found.lag == 120
    assert found.catch_up_ms == 3_000


def test_offsets_that_were_set_back_make_no_rate() -> None:
    """A reset between the looks is no reading backwards."""
    before = a_look(1_000, committed={0: 50}, ends={0: (0, 100)})
    found = measure(before, a_look(2_000, committed={0: 10}, ends={0: (0, 100)}), {})
    assert (found.consume_s, found.catch_up_ms) == (None, None)


@pytest.mark.parametrize(
    ("lag", "consume_s", "produce_s", "expected"),
    [
        (0, None, None, 0),
        (0, 0.0, 9.0, 0),
        (100, 20.0, 10.0, 10_000),
        (100, 10.0, 10.0, None),
        (100, 0.0, 0.0, None),
        (100, None, 0.0, None),
        (None, 5.0, 0.0, None),
    ],
)
def test_the_time_to_catch_up(
    lag: int | None, consume_s: float | None, produce_s: float | None, expected: int | None
) -> None:
    """What is left by how much faster it is read than written; never, if it is not."""
    assert catch_up_ms(lag, consume_s, produce_s) == expected


def test_a_group_without_members_is_blocked_only_if_records_wait() -> None:
    """An empty group that read everything lacks nothing."""
    behind = a_look(committed={0: 4}, ends={0: (0, 10)})
    assert measure(None, behind, {}).blocked_by == (
        "no members: 6 records wait and nobody reads them",
    )
    done = a_look(committed={0: 10}, ends={0: (0, 10)})
    assert measure(None, done, {}).blocked_by == ()


def test_a_rebalance_names_who_holds_what_is_to_move() -> None:
    """The target tells who waits; the member that still holds it is named."""
    group = a_group(
        a_member("old", (at(0), at(1)), (at(0),), epoch=3),
        a_member("new", (), (at(1),), epoch=4),
        state="Reconciling",
        kind="consumer",
        epoch=4,
    )
    [cause] = measure(None, a_look(group=group), {}).blocked_by
    assert cause.startswith("rebalance under way (Reconciling)")
    assert cause.endswith("member old has not given up t-1")


def test_a_rebalance_names_members_that_are_late() -> None:
    """Those below the group's epoch, where nobody holds what another is to get."""
    late = [a_member(f"m{n}", (), (), epoch=1) for n in range(5)]
    group = a_group(*late, state="Reconciling", kind="consumer", epoch=2)
    [cause] = measure(None, a_look(group=group), {}).blocked_by
    assert cause.endswith("not yet at epoch 2: m0, m1, m2, …")


@pytest.mark.parametrize("state", ["PreparingRebalance", "CompletingRebalance", "Assigning"])
def test_every_rebalance_is_told(state: str) -> None:
    """Whatever its stage, it is what the group waits for."""
    [cause] = measure(None, a_look(group=a_group(a_member(), state=state)), {}).blocked_by
    assert cause.startswith(f"rebalance under way ({state}): ")


def silent_causes(offset: int, age_ms: int, holder_before: str = "m") -> tuple[str, ...]:
    """Causes two seconds after offset 10 was committed, by the member that holds t-0 now."""
    before = a_look(
        0,
        group=a_group(a_member(holder_before, (at(0),))),
        committed={0: 10},
        ends={0: (0, 100)},
    )
    after = a_look(
        2_000, group=a_group(a_member("m", (at(0),))), committed={0: offset}, ends={0: (0, 100)}
    )
    return measure(before, after, {at(0): NOW + 2_000 - age_ms}).blocked_by


def test_a_member_that_holds_old_records_and_commits_nothing_is_named_with_the_evidence() -> None:
    """How long we looked, how much waits, and since when."""
    [cause] = silent_causes(10, 65_000)
    assert cause.startswith("member m committed nothing for 2.0 s, while 90 records wait in t-0")
    assert cause.endswith("the first for 1 min 5 s")


def test_a_member_is_not_accused_too_soon() -> None:
    """Not if it commits, not while the records are young, not if it has just got the partition."""
    assert silent_causes(11, 65_000) == ()
    assert silent_causes(10, SILENT_MS - 1) == ()
    assert silent_causes(10, 65_000, holder_before="other") == ()


def test_one_look_accuses_nobody() -> None:
    """That a member does not commit takes two looks to see."""
    look = a_look(group=a_group(a_member("m", (at(0),))), committed={0: 10}, ends={0: (0, 100)})
    assert measure(None, look, {at(0): 0}).blocked_by == ()


def test_records_that_no_member_holds_are_told() -> None:
    """A partition of a group with members that none of them has."""
    group = a_group(a_member("m", (at(1),)))
    look = a_look(group=group, committed={0: 1, 1: 5}, ends={0: (0, 5), 1: (0, 5)})
    assert measure(None, look, {}).blocked_by == ("no member holds t-0, where records wait",)


def test_members_of_another_protocol_are_not_said_to_hold_nothing() -> None:
    """What they hold is not known."""
    group = a_group(a_member("m", None))
    look = a_look(group=group, committed={0: 1}, ends={0: (0, 5)})
    assert measure(None, look, {}).blocked_by == ()


def test_partitions_without_a_leader_are_told_first() -> None:
    """Nobody can read them, whatever else is wrong."""
    look = a_look(committed={0: 1, 1: 1}, ends={1: (0, 5)}, leaderless=(0,))
    found = measure(None, look, {})
    assert found.blocked_by[0] == "t-0 has no leader"
    assert [part.lag for part in found.partitions] == [None, 4]


def test_records_that_retention_took_first_are_told() -> None:
    """A committed offset before the log's first one: the group will miss what lay between."""
    look = a_look(committed={0: 1}, ends={0: (4, 10)})
    assert measure(None, look, {}).blocked_by[1:] == (
        "the log no longer has 3 offsets from the committed ones on: t-0",
    )


def test_a_sentence_names_a_few() -> None:
    """However many partitions there are, a sentence stays one."""
    assert names(map(at, range(3))) == "t-0, t-1, t-2"
    assert names(map(at, range(1_003))) == "t-0, t-1, t-2 and 1,000 more"
