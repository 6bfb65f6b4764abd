"""Stories of a group, told word for word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.replication import events as ev
from mesh.replication.leader import Leader
from mesh.replication.messages import Refused
from tests.mesh.replication.stories import STORIES, TRANSCRIPTS, transcript
from tests.mesh.replication.story import Story


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_goes_as_it_was_told(story: Callable[[], Story]) -> None:
    """Every message, effect and state of a story is as in its transcript."""
    assert transcript(story) == (TRANSCRIPTS / f"{story.__name__}.txt").read_text()


def test_an_order_to_leave_is_renewed_under_a_later_config() -> None:
    """Whoever heard of that config refuses the old order; it would be told it for ever."""
    story = Story("abcd", "abc")
    d = story.me("d")
    story.join("d")
    story.campaign("a")
    story.talk("abc")
    story.do("a", ev.Adopt((d,)))
    story.talk("abcd")
    story.do("a", ev.Adopt(()))
    story.lose()
    story.do("a", ev.Reconfigure(story.voters[:2]))
    story.talk("abc")
    group = story.nodes["a"].group
    assert group is not None
    config = group.holding.promise.config
    assert config.voters == story.voters[:2]
    story.hear("a", "d", Refused(group.leader_epoch, config))
    story.lose()
    story.repeat("a")
    story.talk("ad")
    assert isinstance(group.role, Leader)
    assert group.role.leaving == {}
    story.do("a", ev.Adopt((d,)))
    story.talk("abcd")
    assert d in group.role.others
