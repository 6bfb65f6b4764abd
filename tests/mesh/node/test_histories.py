"""What happened to members, in words: what `mesh why` tells."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from mesh.gossip import Changed, Doubted, Member, State
from mesh.gossip.member import PEER, Value
from mesh.node.histories import EVENTS_MAX, MEMBERS_MAX, Histories

ALIVE, SUSPECT, DEAD, LEFT = State


def a_member(
    state: State = ALIVE,
    incarnation: int = 0,
    start: int = 1,
    *,
    node_id: int = 3,
    impaired: bool = False,
    **entries: Value,
) -> Member:
    told = MappingProxyType({PEER: f"10.0.0.{node_id}:9093", **entries})
    return Member(node_id, start, incarnation, state, 1, told, impaired)


def words_of(*effects: Changed | Doubted) -> list[str]:
    """Return what is told of node 3 by node 1 after these, a second apart."""
    histories = Histories(1)
    for second, effect in enumerate(effects):
        if isinstance(effect, Changed):
            histories.changed(effect, second * 1000)
        else:
            histories.doubted(effect, second * 1000)
    return [f"{event.kind}: {event.text}" for event in histories.events.get(3, ())]


@pytest.mark.parametrize(
    ("effect", "told"),
    [
        (Changed(None, a_member()), "joined: heard of first, at 10.0.0.3:9093"),
        (Changed(a_member(), a_member(SUSPECT), "h:1"), "suspect: is suspected to be dead, told"),
        (Changed(a_member(SUSPECT), a_member()), "cleared: nobody else agreed"),
        (Changed(a_member(SUSPECT), a_member(ALIVE, 4)), "refuted: refuted it (incarnation 4)"),
        (Changed(a_member(), a_member(ALIVE, 4)), "refuted: refuted that others suspect it"),
        (Changed(a_member(SUSPECT), a_member(DEAD), "h:1"), "dead: found dead, told by h:1"),
        (Changed(a_member(SUSPECT), a_member(DEAD)), "dead: found dead: told on a stream"),
        (Changed(a_member(DEAD), a_member(ALIVE, 1)), "back: says that it is alive"),
        (Changed(a_member(DEAD), a_member(start=2)), "back: started anew (start 2) at 10.0.0.3"),
        (Changed(a_member(), a_member(LEFT)), "left: said that it leaves for good"),
        (Changed(a_member(DEAD), a_member(LEFT)), "left: it was dead, and counts as left"),
        (
            Changed(a_member(), a_member(peer="10.9.9.9:1")),
            "moved: from 10.0.0.3:9093 to 10.9.9.9:1",
        ),
        (Changed(a_member(), a_member(draining=True)), "draining: said that it stops"),
        (
            Changed(a_member(), a_member(unreached=[4, 5])),
            "reach: said that it does not reach 4 and 5 itself",
        ),
        (
            Changed(a_member(unreached=[4]), a_member()),
            "reach: said that it reaches all others again",
        ),
        (Doubted(3, {1: 100, 5: 50}), "accused: did not answer this node and node 5 (which is not"),
    ],
)
def test_each_thing_that_happens_is_a_sentence(effect: Changed | Doubted, told: str) -> None:
    """Whoever reads it sees what happened, and who said so."""
    (words,) = words_of(effect)
    assert words.startswith(told)


def test_what_is_no_news_of_a_life_is_not_told() -> None:
    """That a load or a disk changes makes no event: it would push out what matters."""
    assert words_of(Changed(a_member(load=1), a_member(load=5))) == []


def test_a_death_tells_how_long_it_could_have_been_refuted() -> None:
    """The suspicion, its accusers in one event, and its end; one that talked has bad links."""
    assert words_of(
        Changed(a_member(), a_member(SUSPECT)),
        Doubted(3, {1: 100}),
        Doubted(3, {1: 100, 2: 100}),
        Changed(a_member(SUSPECT), a_member(DEAD, impaired=True)),
    ) == [
        "suspect: is suspected to be dead",
        "accused: did not answer this node and node 2",
        "dead: found dead: it did not refute it within 3.0 s; it still talked: bad links",
    ]


def test_histories_are_bounded() -> None:
    """Of each member the newest events are kept, and of many those to whom something happened."""
    histories = Histories(1)
    for turn in range(EVENTS_MAX + 5):
        histories.changed(Changed(a_member(ALIVE, turn), a_member(ALIVE, turn + 1)), turn)
    assert [event.at_ms for event in histories.events[3]] == list(range(5, EVENTS_MAX + 5))
    for node_id in range(4, 4 + MEMBERS_MAX):
        histories.changed(Changed(None, a_member(node_id=node_id)), 99)
    assert len(histories.events) == MEMBERS_MAX
    assert 3 not in histories.events
