"""Why a member is in its state: since when, and the sentences that lead there."""

from __future__ import annotations

import pytest

from mesh.metrics import why_document
from mesh.metrics.why import since_ms
from mesh.model.statistics import MemberEvent
from tests.mesh.metrics.pictures import a_member, a_picture, a_view


def events(*kinds: str) -> tuple[MemberEvent, ...]:
    """Return an event of each kind, a second apart."""
    return tuple(MemberEvent(1000 * n, kind, f"text of {kind}") for n, kind in enumerate(kinds))


def because(state: str, *kinds: str, **changes: object) -> object:
    view = a_view(
        a_member(1, unreached=(3,)),
        a_member(3, state=state, **changes),
        history={3: events(*kinds)},
    )
    document = why_document(a_picture(view=view), 3)
    assert document is not None
    return document["because"]


@pytest.mark.parametrize(
    ("kinds", "state", "since"),
    [
        (("joined",), "alive", 0),
        (("joined", "accused", "refuted", "reach"), "alive", 0),
        (("joined", "suspect", "accused", "refuted"), "alive", 3_000),
        (("joined", "suspect", "accused"), "suspect", 1_000),
        (("suspect", "cleared"), "alive", 1_000),
        (("suspect", "accused", "dead"), "dead", 2_000),
        (("dead", "back", "moved"), "alive", 1_000),
        (("dead", "left"), "left", 1_000),
        (("refuted", "refuted"), "alive", None),
        (("reach", "draining"), "alive", None),
        (("joined", "dead"), "alive", None),
        ((), "alive", None),
    ],
)
def test_a_state_lasts_since_the_event_that_led_to_it(
    kinds: tuple[str, ...], state: str, since: int | None
) -> None:
    """Not since the newest event; and what began before the oldest one is not known."""
    assert since_ms(events(*kinds), state) == since


def test_the_evidence_of_a_death_is_told() -> None:
    """Who accused it and how it was found dead; what went before its last life is not."""
    told = because(
        "dead", "suspect", "accused", "refuted", "draining", "suspect", "accused", "dead"
    )
    assert told == ["text of draining", "text of accused", "text of dead"]
    assert because("dead", "dead", "back", "dead") == ["text of dead"]


def test_a_suspect_has_its_time() -> None:
    """While it may still refute, that is told, and who accuses it, and what others see of it."""
    told = because("suspect", "suspect", "accused", suspect_left_ms=1_200, load_percent=None)
    assert told == [
        "text of accused",
        "unless it says that it is alive, it is found dead in 1.2 s",
        "it is not reached by 1",
        "it says of itself: sync p99 2 ms, disk free 50 %",
    ]


def test_who_left_and_was_forgotten_is_told_while_events_are_kept() -> None:
    """One that is no member any more still has its history; one that never was has none."""
    view = a_view(a_member(1), history={3: events("dead", "expelled", "left")})
    document = why_document(a_picture(view=view), 3)
    assert document is not None
    assert document["state"] == "forgotten"
    assert document["because"] == [
        "text of expelled",
        "text of left",
        "long enough ago to be forgotten",
    ]
    assert why_document(a_picture(view=view), 4) is None


def test_times_are_of_the_wall_clock() -> None:
    """A machine's monotonic times mean nothing elsewhere."""
    view = a_view(a_member(1), a_member(3), history={3: events("joined", "suspect", "cleared")})
    document = why_document(a_picture(view=view, at_ms=10_000, wall_ms=500_000), 3)
    assert document is not None
    assert document["since_ms"] == 492_000
    times = [event["at_ms"] for event in document["events"]]  # type: ignore[attr-defined]
    assert times == [490_000, 491_000, 492_000]


def test_one_that_is_not_well_itself_says_so() -> None:
    """Whoever reads it must know how much the word of the node that tells it weighs."""
    view = a_view(a_member(1), a_member(3), local_health=2)
    document = why_document(a_picture(view=view), 3)
    assert document is not None
    assert "node 1, which tells this, is not well itself (local health 2" in str(
        document["because"]
    )
    own = why_document(a_picture(view=view, at_ms=5_000, uptime_ms=4_000), 1)
    assert own is not None
    assert own["since_ms"] == 1_000 - 5_000
