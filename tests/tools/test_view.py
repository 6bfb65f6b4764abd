"""What a status document says: read with care, and turned into rates."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.metrics import status_document
from mesh.model.statistics import Rates
from tests.mesh.metrics.pictures import a_group, a_picture
from tests.mesh.metrics.test_metrics import a_topic
from tools.view import BadStatusError, View, change, view_untrusted

SOME_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def a_view(**changes: object) -> View:
    return view_untrusted(json.loads(json.dumps(status_document(a_picture(**changes)))))


def test_a_view_holds_what_the_document_says() -> None:
    """What a node tells arrives unchanged."""
    view = a_view(
        connections=3,
        partitions_not_ok=(("t", 1, "no leader is known"),),
        by_topic=(a_topic("t", bytes_in=5),),
    )
    assert (view.here.connections, view.here.by_topic[0].bytes_in) == (3, 5)
    assert view.not_ok == (("t", 1, "no leader is known"),)


@given(path=st.lists(st.integers(0, 40), min_size=1, max_size=4), value=SOME_JSON)
def test_any_damage_is_told_as_such(path: list[int], value: object) -> None:
    """Whatever is put in any place of a document, it is read or refused, nothing else."""
    picture = a_picture(by_topic=(a_topic(),), groups=(a_group(),), groups_by_state={"Empty": 1})
    document: object = json.loads(json.dumps(status_document(picture)))
    place: object = document
    for step in path:
        keys: list[object] = []
        if isinstance(place, dict):
            keys = list(place)
        elif isinstance(place, list):
            keys = list(range(len(place)))
        if not keys:
            break
        key = keys[step % len(keys)]
        inside = place[key]  # type: ignore[index]
        if step == path[-1] or not isinstance(inside, dict | list):
            place[key] = value  # type: ignore[index]
            break
        place = inside
    try:
        view_untrusted(document)
    except BadStatusError:
        pass  # Which is what it is for.


def test_rates_are_what_happened_between_two_views() -> None:
    """Counters are divided by the time that passed, topics sorted by what they do now."""
    before = a_view(
        at_ms=1_000,
        requests=10,
        cpu_ms=100,
        by_topic=(a_topic("busy", bytes_in=100), a_topic("once", bytes_in=10**9)),
    )
    after = a_view(
        at_ms=3_000,
        requests=30,
        cpu_ms=300,
        by_topic=(
            a_topic("busy", bytes_in=300, records_in=8),
            a_topic("new", bytes_in=50),
            a_topic("once", bytes_in=10**9),
        ),
    )
    found = change(before, after)
    assert found.rates.requests_s == 10
    assert found.cpu_percent == 10
    assert [row.topic.name for row in found.topics] == ["busy", "once", "new"]
    assert (found.topics[0].bytes_in_s, found.topics[0].records_in_s) == (100, 4)


def test_groups_keep_their_order_and_move_at_a_rate() -> None:
    """How fast committed offsets move takes two views of the same group."""
    before = a_view(at_ms=1_000, groups=(a_group("a", committed=10), a_group("b", committed=9)))
    after = a_view(
        at_ms=3_000,
        groups=(
            a_group("b", committed=5, lag=7, lag_ms=2_000, blocked_by="no members"),
            a_group("a", committed=30),
            a_group("new", committed=50),
        ),
        groups_by_state={"Stable": 3},
    )
    found = change(before, after)
    assert [(row.group.name, row.read_s) for row in found.groups] == [
        ("b", None),
        ("a", 10),
        ("new", None),
    ]
    first = found.groups[0].group
    assert (first.lag, first.lag_ms, first.blocked_by) == (7, 2_000, "no members")
    assert after.here.group_count == 3


def test_an_older_node_tells_nothing_of_groups() -> None:
    """Names are added to the document: one without them is read all the same."""
    document = json.loads(json.dumps(status_document(a_picture())))
    for name in ("group_count", "group_members", "groups_by_state"):
        del document["here"][name]
    view = view_untrusted(document)
    assert (view.here.group_count, view.here.groups_by_state, view.groups) == (0, {}, ())


@pytest.mark.parametrize("before", [None, {"at_ms": 5_000}, {"at_ms": 1, "requests": 99}])
def test_without_an_earlier_view_the_node_tells_its_own_rates(
    before: dict[str, object] | None,
) -> None:
    """One view, or one of an earlier run of the node, makes no rate of its own."""
    recent = Rates(1.0, 2.0, 3.0, 4.0, 5.0)
    after = a_view(at_ms=5_000, requests=7, recent=recent)
    found = change(None if before is None else a_view(**before), after)
    assert found.rates == recent
    assert found.cpu_percent is None


def test_views_are_frozen() -> None:
    """What is drawn in a thread cannot change under it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_view().healthy = False  # type: ignore[misc]
