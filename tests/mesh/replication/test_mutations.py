"""Each rule is needed: without it, something breaks that must not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.replication import events as ev
from tests.mesh.replication import mutations
from tests.mesh.replication.explore import Explorer
from tests.mesh.replication.model_node import ModelLog
from tests.mesh.replication.mutations import EXPLORED, WALKED, Mutation, Patch
from tests.mesh.replication.story import Story

by_rule = pytest.mark.parametrize


@by_rule("mutation", EXPLORED, ids=lambda mutation: mutation.rule)
def test_without_a_rule_the_exploration_finds_what_breaks(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken invariant, not an exception, within the bound that is clean with the rule."""
    mutation.patch(monkeypatch)
    _, _, broken = Explorer(mutation.bound).run()
    assert broken is not None


@by_rule("mutation", WALKED, ids=lambda mutation: mutation.rule)
def test_without_a_rule_walks_find_what_breaks(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, where the states are too many to see them all."""
    mutation.patch(monkeypatch)
    explorer = Explorer(mutation.bound)
    assert any(explorer.wander(seed, 20, 120)[1] for seed in range(30))


def test_walks_find_nothing_while_all_rules_hold() -> None:
    """The same walks are clean with the machine as it is."""
    explorer = Explorer(mutations.THREE)
    assert [explorer.wander(seed, 20, 120)[1] for seed in range(5)] == [None] * 5


def half_adopted() -> Story:
    """A follower got half of what its new leader inherited, and campaigns with that."""
    story = Story()
    story.campaign("a")
    story.talk("ab")
    story.write("a", "x")
    story.write("a", "y")
    story.talk("ab")
    story.lose()
    story.campaign("b")
    for sender, to in ("bc", "cb", "bc", "cb", "bc"):
        story.deliver(sender, to)
    story.lose()
    story.campaign("c")
    story.talk("ac")
    return story


def foreign_tail() -> Story:
    """An old leader has an entry of its own where the new leader's log ends."""
    story = Story()
    story.campaign("a")
    story.talk("abc")
    story.write("a", "x")
    story.lose()
    story.campaign("b")
    story.talk("bc", rounds=2)
    for sender, to in ("ba", "ab", "ba"):
        story.deliver(sender, to)
    story.lose()
    story.write("b", "y")
    story.talk("bc")
    story.lose()
    story.campaign("a")
    story.talk("ac")
    return story


def longer_but_older() -> Story:
    """An old leader has more entries, none of them committed, than those that went on."""
    story = Story()
    story.campaign("a")
    story.talk("abc")
    story.write("a", "x")
    story.write("a", "y")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    story.write("b", "z")
    story.talk("bc")
    story.lose()
    story.do("a", ev.Stalled())
    for _ in range(2):  # The first of its campaigns takes an epoch that is used already.
        story.campaign("a")
        story.talk("ac")
    return story


def unsynced_candidate() -> Story:
    """A candidate has an entry in its page cache only; it wins, and its machine goes down."""
    story = Story()
    story.campaign("a")
    story.talk("abc")
    story.write("a", "x")
    story.deliver("a", "c")
    story.deliver("c", "a")
    story.deliver("a", "b", later=True)
    story.lose()
    story.campaign("b", later=True)
    story.deliver("b", "c", later=True)
    story.deliver("c", "b", later=True)
    story.lose()
    story.crash("b")
    story.campaign("b", later=True)
    story.talk("ab")
    return story


STORIES: list[tuple[Patch, Callable[[], Story]]] = [
    (mutations.compares_ends_only, longer_but_older),
    (mutations.adopts_before_it_has_all, half_adopted),
    (mutations.adopts_with_a_foreign_tail, foreign_tail),
    (mutations.candidate_does_not_sync, unsynced_candidate),
]


@by_rule(("patch", "story"), STORIES, ids=lambda value: value.__name__)
def test_a_story_is_clean_with_a_rule_and_breaks_without(
    patch: Patch, story: Callable[[], Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three leaders in a row lose what the first one committed, unless the rule holds."""
    read = ModelLog.read
    monkeypatch.setattr(ModelLog, "read", lambda self, base, most: read(self, base, most)[:1])
    assert story().broken == ""
    patch(monkeypatch)
    assert story().broken
