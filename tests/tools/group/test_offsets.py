"""Words, files and arithmetic of a reset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.group.looks import at
from tools.group.offsets import (
    Change,
    Scope,
    csv_text,
    parse_csv,
    parse_duration_ms,
    parse_scope,
    plan,
    shifted,
)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("flights", Scope("flights", None)),
        ("flights:0", Scope("flights", (0,))),
        ("flights:2,0,2", Scope("flights", (2, 0))),
    ],
)
def test_topics_are_named_as_in_kafkas_tool(text: str, scope: Scope) -> None:
    """A topic, or a topic and its partitions."""
    assert parse_scope(text) == scope


@pytest.mark.parametrize("text", ["", ":0", "t:", "t:x", "t:-1", "t:0,", "t:99999999999"])
def test_what_names_no_partition_is_refused(text: str) -> None:
    """With an error that says how to write it."""
    with pytest.raises(ValueError, match=r"names no topic|is no partition"):
        parse_scope(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("PT2H30M", 9_000_000),
        ("P1DT0.25S", 86_400_250),
        ("P2W", 1_209_600_000),
        ("PT0S", 0),
    ],
)
def test_durations(text: str, ms: int) -> None:
    """Short ones and those of ISO 8601, which Kafka's tool takes."""
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "P", "PT", "2", "h", "-2h", "P1M", "2 weeks"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """A month has no length, and a number no unit."""
    with pytest.raises(ValueError, match="no duration"):
        parse_duration_ms(text)


def test_files_of_kafkas_tool_are_read() -> None:
    """Of one group, or of several: then each line begins with the group."""
    assert parse_csv('t,0,5\n"t",1,6\n\n', "g") == {at(0): 5, at(1): 6}
    assert parse_csv("g,t,0,5\nother,t,0,9\n", "g") == {at(0): 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("t,0,5\nt,0\n", "line 2 is not topic,partition,offset"),
        ("t,x,5\n", "line 1 names no partition"),
        (",0,5\n", "line 1 names no partition"),
        ("t,0,-1\n", "line 1: '-1' is no offset"),
        ("t,0,9223372036854775808\n", "is no offset"),
        ("t,0,5\nt,0,6\n", "line 2 names t-0 a second time"),
    ],
)
def test_a_wrong_line_is_named(text: str, words: str) -> None:
    """Nothing of such a file is used."""
    with pytest.raises(ValueError, match=words):
        parse_csv(text, "g")


@given(st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), st.integers(0, 99)))
def test_what_is_exported_can_be_read_back(offsets: dict[tuple[str, int], int]) -> None:
    """A file keeps every offset."""
    given_offsets = {at(index, topic): offset for (topic, index), offset in offsets.items()}
    assert parse_csv(csv_text(given_offsets), "g") == given_offsets


def test_offsets_stay_within_the_log() -> None:
    """What lies outside goes to the nearest end, and says so."""
    wanted = {at(0): -5, at(1): 5, at(2): 50, at(3): 10}
    found = plan(wanted, {at(1): 7}, dict.fromkeys(wanted, (2, 10)))
    assert found == [
        Change(at(0), None, 2, "-5 is before the first offset"),
        Change(at(1), 7, 5, ""),
        Change(at(2), None, 10, "50 is behind the end"),
        Change(at(3), None, 10, ""),
    ]


def test_only_what_is_committed_can_be_shifted() -> None:
    """Without an offset there is nothing to count from."""
    assert shifted([at(0)], {at(0): 10}, -3) == {at(0): 7}
    with pytest.raises(ValueError, match="t-1 has no committed offset"):
        shifted([at(0), at(1)], {at(0): 10}, 1)
