"""Stories of a group, told word for word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.mesh.replication.stories import STORIES, TRANSCRIPTS, transcript
from tests.mesh.replication.story import Story


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_goes_as_it_was_told(story: Callable[[], Story]) -> None:
    """Every message, effect and state of a story is as in its transcript."""
    assert transcript(story) == (TRANSCRIPTS / f"{story.__name__}.txt").read_text()
