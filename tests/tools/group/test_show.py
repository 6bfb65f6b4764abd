"""What people and machines are told of a group."""

from __future__ import annotations

import json

import pytest

from mesh.client import GroupsUnservedError
from mesh.model.errors import ErrorCode
from tests.tools.group.looks import a_group, a_look, a_member, at
from tools.group.lag import measure
from tools.group.show import group_json, group_lines, short, table_lines

LOADING = GroupsUnservedError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, "g")


def test_a_group_that_lags() -> None:
    """The headline, the verdict in records and time, the cause, and a line for each partition."""
    before = a_look(0, committed={0: 10}, ends={0: (0, 100), 1: (0, 9)})
    after = a_look(2_000, committed={0: 30}, ends={0: (0, 110), 1: (0, 9)})
    found = measure(before, after, {at(0): 1_000_000 + 2_000 - 125_000})
    assert group_lines(found, members=False, width=None) == [
        "g  classic group  Empty  range  0 members  coordinator 1",
        "  lag 80 records, the oldest 2 min 5 s old",
        "  no committed offset in t-1 (9 records)",
        "  10/s committed, 5.0/s written, over 2.0 s: caught up in 16 s",
        "  blocked by: no members: 80 records wait and nobody reads them",
        "PARTITION  COMMITTED  END  LAG  LAG TIME   READ  WRITTEN  MEMBER",
        "t-0        30         110  80   2 min 5 s  10/s  5.0/s    -",
        "t-1        -          9    -    -          -     0/s      -",
    ]


def test_one_look_tells_no_rates() -> None:
    """Neither in the verdict nor in the table."""
    lines = group_lines(
        measure(None, a_look(committed={0: 9}, ends={0: (0, 9)}), {}), members=False, width=None
    )
    assert lines[1:] == [
        "  lag 0: caught up",
        "PARTITION  COMMITTED  END  LAG  LAG TIME  MEMBER",
        "t-0        9          9    0    0 s       -",
    ]


@pytest.mark.parametrize(
    ("committed", "words"), [(0, "never at this rate"), (1, "caught up in 1 min 39 s")]
)
def test_the_catch_up_is_told(committed: int, words: str) -> None:
    """When it will be, or that it will not."""
    before = a_look(0, committed={0: 0}, ends={0: (0, 100)})
    after = a_look(1_000, committed={0: committed}, ends={0: (0, 100)})
    assert words in group_lines(measure(before, after, {}), members=False, width=None)[2]


def test_members_are_told_with_what_they_hold_and_are_to_hold() -> None:
    """Partitions in few characters; an arrow where the target is another."""
    member = a_member("m", (at(0), at(1), at(2)), (at(0),), epoch=3)
    group = a_group(member, kind="consumer", state="Reconciling", epoch=4)
    lines = group_lines(measure(None, a_look(group=group), {}), members=True, width=None)
    assert lines[-2:] == [
        "MEMBER  CLIENT  HOST      INSTANCE  EPOCH  PARTITIONS",
        "m       client  10.0.0.7  -         3      t:0-2 -> t:0",
    ]


def test_partitions_in_few_characters() -> None:
    """Three or more in a row are a range."""
    places = [at(n) for n in (0, 1, 3, 4, 5, 9)] + [at(2, "u")]
    assert short(places) == "t:0,1,3-5,9 u:2"
    assert short([]) == "-"


@pytest.mark.parametrize("width", [60, 80, 110])
def test_a_table_gives_way_to_the_terminal(width: int) -> None:
    """The widest column loses its end, so that no line wraps."""
    rows = [("PARTITION", "LAG", "MEMBER"), ("t-0", "5", "m" * 200)]
    lines = table_lines(rows, width)
    assert max(map(len, lines)) == width
    assert lines[1].endswith("m…")


def test_strangers_names_do_nothing_to_a_terminal() -> None:
    """Clients choose names of groups and members freely."""
    group = a_group(a_member("\x1b[2J", (at(0),)))
    look = a_look(group=group, committed={0: 1}, ends={0: (0, 5)})
    for members in (False, True):
        text = "".join(group_lines(measure(None, look, {}), members=members, width=80))
        assert "\x1b" not in text


def test_the_document_keeps_its_names() -> None:
    """Scripts lean on them: the same as in `mesh status`, and more."""
    group = a_group(a_member("m", (at(0),)))
    look = a_look(5_000, group=group, committed={0: 1}, ends={0: (0, 5)})
    found = json.loads(json.dumps(group_json(measure(None, look, {at(0): 1_003_000}))))
    assert {name: found[name] for name in ("group", "state", "members", "lag", "lag_ms")} == {
        "group": "g",
        "state": "Stable",
        "members": 1,
        "lag": 4,
        "lag_ms": 2_000,
    }
    assert found["blocked_by"] is None
    assert found["partitions"][0]["member_id"] == "m"
    assert found["member_states"][0]["assigned"] == [{"topic": "t", "partition": 0}]


def test_a_group_whose_coordinator_is_loading_is_told_as_such() -> None:
    """It is there, only nothing is known of it now."""
    assert group_lines(LOADING, members=False, width=None) == [
        "g  state unknown",
        "  blocked by: its coordinator answers COORDINATOR_LOAD_IN_PROGRESS",
    ]
    found = group_json(LOADING)
    assert (found["state"], found["lag"]) == ("Unknown", None)
    assert found["blocked_by"] == "its coordinator answers COORDINATOR_LOAD_IN_PROGRESS"
