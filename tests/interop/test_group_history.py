"""The rules that a group's history is held against find each thing that can be wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from tests.interop.flights.ledger import Ledger
from tests.interop.flights.rows import Row
from tests.interop.members.events import (
    Assigned,
    Committed,
    Committing,
    Ended,
    Event,
    Failed,
    Killed,
    Lost,
    NonsenseError,
    Observed,
    Paused,
    Refused,
    Resumed,
    Revoked,
    Rows,
    parse,
    render,
)
from tests.interop.members.history import anomalies, repeated_count

Histories = dict[str, list[Event]]

VALUES = [b"value %d" % number for number in range(20)]


def _ledger() -> Ledger:
    """Ten rows on each of two partitions."""
    ledger = Ledger("t", 2, [Row(None, value) for value in VALUES])
    for index in range(20):
        ledger.acknowledge(index, index // 10, index % 10)
    return ledger


def _rows(at_us: int, partition: int, first: int, last: int) -> Rows:
    values = VALUES[partition * 10 + first : partition * 10 + last + 1]
    return Rows(at_us, partition, first, last, zlib.crc32(b"".join(values)))


def _a_history() -> Histories:
    """`a` has both, gives 1 to `b`, is killed after rows that it did not commit; `b` ends it."""
    return {
        "a": [
            Assigned(100, (0, 1)),
            _rows(110, 0, 0, 4),
            _rows(111, 1, 0, 2),
            Committing(120, 1, ((0, 5), (1, 3))),
            Committed(125, 1),
            Revoked(130, (1,)),
            _rows(140, 0, 5, 7),
            Killed(150),
        ],
        "b": [
            Assigned(135, (1,)),
            _rows(136, 1, 3, 9),
            Committing(138, 1, ((1, 10),)),
            Committed(139, 1),
            Assigned(160, (0,)),
            _rows(165, 0, 5, 9),
            Committing(170, 2, ((0, 10),)),
            Committed(175, 2),
            Revoked(180, (0, 1)),
            Ended(190),
        ],
    }


OBSERVATIONS = [
    Observed(90, 95, ()),
    Observed(126, 127, ((0, 5), (1, 3))),
    Observed(121, 176, ((0, 5), (1, 10))),
    Observed(195, 196, ((0, 10), (1, 10))),
]


def _judge(change: Callable[[Histories], object], observations: list[Observed]) -> list[str]:
    history = _a_history()
    change(history)
    return anomalies(history, observations, _ledger())


def _set(member: str, index: int, event: Event) -> Callable[[Histories], None]:
    def change(history: Histories) -> None:
        history[member][index] = event

    return change


def _insert(member: str, *events: Event) -> Callable[[Histories], None]:
    return lambda history: history[member].extend(events)


def test_a_sound_history_has_nothing_wrong_with_it() -> None:
    """Rows that were done twice, but not committed in between, are nothing to complain of."""
    assert _judge(lambda history: None, OBSERVATIONS) == []
    assert repeated_count(_a_history()) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            _set("b", 5, _rows(165, 0, 5, 8)), "nobody processed 0@9 to 9", id="a row is missing"
        ),
        pytest.param(
            _set("a", 1, _rows(110, 0, 1, 4)), "nobody processed 0@0 to 0", id="the first"
        ),
        pytest.param(
            _set("b", 5, Rows(165, 0, 5, 9, 1)), "0@5 to 9 hold other values", id="other values"
        ),
        pytest.param(
            _set("b", 5, _rows(165, 0, 4, 9)), "b began 0 at 4; committed were 5", id="too low"
        ),
        pytest.param(
            _set("b", 5, _rows(165, 0, 6, 9)), "b began 0 at 6; committed were 5", id="too high"
        ),
        pytest.param(
            _set("a", 6, _rows(140, 0, 6, 7)), "a went from 0@4 to 6 without", id="a row left out"
        ),
        pytest.param(_set("a", 5, Revoked(137, (1,))), "a still had 1 when b", id="two owners"),
        pytest.param(
            _insert("a", _rows(132, 1, 3, 3)), "a had not 1: Rows", id="rows of another's"
        ),
        pytest.param(
            _insert("a", _rows(128, 0, 5, 7), Committing(155, 9, ((0, 8),)), Committed(156, 9)),
            "b began 0 at 5; committed were 8",
            id="a commit that nobody heeds",
        ),
        pytest.param(
            _insert("a", Committing(161, 9, ((0, 8),)), Committed(177, 9)),
            "a committed 0@8, and b was the owner",
            id="a dead one commits",
        ),
        pytest.param(
            _insert("b", Committing(176, 9, ((0, 9),)), Committed(177, 9)),
            "b committed 0@9 after 10",
            id="a commit goes back",
        ),
        pytest.param(
            _set("b", 2, Committing(138, 1, ((1, 11),))), "b commits 1@11 before", id="too early"
        ),
        pytest.param(_insert("b", Failed(185, "fenced")), "b gave up: fenced", id="gives up"),
        pytest.param(
            _insert("b", Assigned(170, (0,))), "b was assigned 0, which it has", id="given twice"
        ),
        pytest.param(_insert("b", Lost(140, (0,))), "b lost 0, which it had not", id="not its own"),
    ],
)
def test_each_anomaly_is_found(change: Callable[[Histories], object], words: str) -> None:
    """Whatever is changed in a sound history is named."""
    found = _judge(change, OBSERVATIONS)
    assert [line for line in found if line.startswith(words)] != [], found


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        pytest.param([Observed(126, 127, ((0, 5),))], "the broker said 1@None", id="forgotten"),
        pytest.param(
            [Observed(150, 151, ((0, 4), (1, 10)))], "the broker said 0@4", id="older than known"
        ),
        pytest.param(
            [Observed(150, 151, ((0, 6), (1, 10)))], "the broker said 0@6", id="never sent"
        ),
        pytest.param(
            [Observed(172, 173, ((0, 10), (1, 10))), Observed(172, 174, ((0, 5), (1, 10)))],
            "0@10 was committed, then 5",
            id="back",
        ),
    ],
)
def test_a_broker_that_says_wrong_offsets_is_found(observed: list[Observed], words: str) -> None:
    """What the broker says is committed lies between what it acknowledged and what was sent."""
    found = _judge(lambda history: None, [*observed, OBSERVATIONS[-1]])
    assert [line for line in found if line.startswith(words)] != [], found


def test_what_is_left_in_the_end_is_found() -> None:
    """Rows that were processed and never committed are lag."""
    found = _judge(lambda history: None, OBSERVATIONS[:-1])
    assert "0 ends at 10, committed is 5" in found


def _a_zombie(last: Event) -> Histories:
    """`a` stands still while `b` takes over, goes on not knowing it, and commits in vain."""
    return {
        "a": [
            Assigned(100, (0, 1)),
            _rows(110, 0, 0, 9),
            _rows(111, 1, 0, 5),
            Committing(112, 1, ((0, 10),)),
            Committed(113, 1),
            Paused(120),
            Resumed(150),
            _rows(151, 1, 6, 7),
            Committing(152, 2, ((1, 8),)),
            last,
            Lost(155, (0, 1)),
        ],
        "b": [
            Assigned(130, (0, 1)),
            _rows(140, 1, 0, 9),
            Committing(145, 1, ((1, 10),)),
            Committed(146, 1),
        ],
    }


def test_one_that_stood_still_may_go_on_but_not_commit() -> None:
    """Two owners are no anomaly where one cannot know; a commit of that one is."""
    observations = [OBSERVATIONS[-1]]
    assert anomalies(_a_zombie(Refused(153, 2, "x")), observations, _ledger()) == []
    found = anomalies(_a_zombie(Committed(153, 2)), observations, _ledger())
    assert "a committed 1@8, and b was the owner" in found
    assert "a committed 1@8 after 10" in found


def _a_stale_assignment(last: Event) -> Histories:
    """`a` was given 1 while it stood still, and put out; it hears of that when `b` has it."""
    return {
        "a": [
            Assigned(100, (0,)),
            _rows(110, 0, 0, 9),
            Committing(112, 1, ((0, 10),)),
            Committed(113, 1),
            Paused(120),
            Resumed(150),
            Assigned(151, (1,)),
            _rows(152, 1, 0, 3),
            Committing(153, 2, ((1, 4),)),
            last,
            Lost(160, (0, 1)),
        ],
        "b": [
            Assigned(130, (1,)),
            _rows(154, 1, 0, 9),
            Committing(170, 1, ((1, 10),)),
            Committed(171, 1),
        ],
    }


def test_one_that_stood_still_may_be_told_what_is_over() -> None:
    """Its client has kept an old assignment: no anomaly, if it is lost and nothing committed."""
    observations = [OBSERVATIONS[-1]]
    assert anomalies(_a_stale_assignment(Refused(155, 2, "x")), observations, _ledger()) == []
    found = anomalies(_a_stale_assignment(Committed(155, 2)), observations, _ledger())
    assert "b still had 1 when a was given it" in found
    told = _a_stale_assignment(Refused(155, 2, "x"))
    told["a"].insert(6, _rows(151, 0, 9, 9))
    assert "b still had 1 when a was given it" in anomalies(told, observations, _ledger())


def test_events_come_through_their_line() -> None:
    """What a member prints is what is read; anything else is called nonsense."""
    line = render(Committing, {"at_us": 1, "number": 2, "offsets": [(0, 3), (1, 4)]})
    assert parse(line) == Committing(1, 2, ((0, 3), (1, 4)))
    for nonsense in ("", "[]", '{"event":"dances"}', '{"event":"ended"}', '{"event":"killed"}'):
        with pytest.raises(NonsenseError):
            parse(nonsense)
