"""Each rule is needed: without it, something breaks that must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mesh.replication.explore import Explorer
from tests.mesh.replication.rules import EXPLORED, EXPLORED_LONG, TOLD, Mutation, Told, table


@pytest.mark.parametrize("mutation", EXPLORED, ids=lambda mutation: mutation.rule)
def test_without_a_rule_the_exploration_finds_what_breaks(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken invariant, not an exception, within a bound that is clean with the rule."""
    mutation.patch(monkeypatch)
    _, _, broken = Explorer(mutation.bound).run()
    assert broken is not None


@pytest.mark.slow
@pytest.mark.parametrize("mutation", EXPLORED_LONG, ids=lambda mutation: mutation.rule)
def test_without_a_rule_a_long_exploration_finds_what_breaks(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, where that takes seconds."""
    mutation.patch(monkeypatch)
    _, _, broken = Explorer(mutation.bound).run()
    assert broken is not None


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.rule)
def test_a_story_is_clean_with_a_rule_and_breaks_without(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same script, carried out by the same machine but for one rule."""
    assert told.story().broken == ""
    told.patch(monkeypatch)
    assert told.story().broken


def test_the_table_of_rules_is_current() -> None:
    """README.md says what `python -m tests.mesh.replication.rules` says."""
    assert table() in (Path(__file__).parent / "README.md").read_text()
