"""Stories of a group, one a function; each ends in a transcript.

`python -m tests.mesh.replication.stories` writes the transcripts anew; read the difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mesh.replication import events as ev
from tests.mesh.replication.story import Story

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def elections() -> Story:
    """Two campaign at once, one wins; the other follows."""
    story = Story()
    story.campaign("a")
    story.campaign("b")
    story.deliver("a", "c")
    story.deliver("b", "c")
    story.talk("abc")
    assert story.leads("a")
    return story


def fencing() -> Story:
    """A leader that was cut off writes on; nobody takes it, and it learns that it leads no more."""
    story = _led("x")
    story.campaign("b")
    story.talk("bc")
    story.write("a", "lost")
    story.write("b", "y")
    story.talk("abc")
    assert story.leads("b")
    assert not story.leads("a")
    return story


def truncation() -> Story:
    """A follower gives up what an old leader wrote alone: journal first, then the log."""
    story = fencing()
    story.repeat("b")
    story.talk("abc")
    assert story.log("a") == story.log("b") == story.log("c")
    return story


def catch_up() -> Story:
    """A replica that was away gets what it missed, also what was not yet synced at its crash."""
    story = _led("x")
    story.write("a", "y")
    story.deliver("a", "c", later=True)
    story.crash("c")
    story.talk("ab")
    story.write("a", "z")
    story.talk("ab")
    story.repeat("a")
    story.talk("abc")
    assert len(story.log("c")) == 3
    return story


def reconfiguration() -> Story:
    """A learner catches up and votes; then the one that it replaces is removed, and leaves."""
    story = _led("x", names="abcd")
    story.join("d")
    story.do("a", ev.Adopt((story.me("d"),)))
    story.do("a", ev.Reconfigure((*story.voters, story.me("d"))))
    story.talk("abcd")
    story.do("a", ev.Reconfigure((*story.voters, story.me("d"))))
    story.do("a", ev.Reconfigure((story.me("a"), story.me("c"), story.me("d"))))
    story.talk("abcd")
    story.do("a", ev.Reconfigure((story.me("a"), story.me("c"), story.me("d"))))
    story.talk("abcd")
    story.do("a", ev.Adopt(()))
    story.talk("abcd")
    journal = story.nodes["b"].journal
    assert journal is not None
    assert journal.tombstone
    story.nodes["b"].recreate(story.voters)  # From the registry's old record: refused.
    assert story.nodes["b"].journal is journal
    return story


def hand_over() -> Story:
    """A successor campaigns only once it has everything; nothing is taken meanwhile."""
    story = _led("x")
    story.write("a", "y")
    story.do("a", ev.HandOver(story.me("b")))
    story.write("a", "refused")
    story.talk("abc")
    story.repeat("b")
    story.talk("abc")
    assert story.leads("b")
    assert len(story.log("b")) == 2
    return story


def wiped() -> Story:
    """A wiped node is another replica: no vote of its counts until it is taken in anew."""
    story = _led("x")
    story.wipe("c")
    assert story.nodes["c'"].journal is None  # It makes no state of its own.
    story.join("c'")
    story.do("a", ev.Adopt((story.me("c'"),)))
    story.talk(["a", "b", "c'"])
    story.do("a", ev.Reconfigure((story.me("a"), story.me("b"))))
    story.talk(["a", "b", "c'"])
    story.do("a", ev.Reconfigure((story.me("a"), story.me("b"), story.me("c'"))))
    story.talk(["a", "b", "c'"])
    group = story.nodes["c'"].group
    assert group is not None
    assert story.me("c'") in group.holding.promise.config.voters
    return story


def _led(data: str, names: str = "abc") -> Story:
    story = Story(names)
    story.campaign("a")
    story.talk("abc")
    story.write("a", data)
    story.talk("abc")
    return story


STORIES: tuple[Callable[[], Story], ...] = (
    elections,
    fencing,
    truncation,
    catch_up,
    reconfiguration,
    hand_over,
    wiped,
)


def transcript(story: Callable[[], Story]) -> str:
    told = story()
    assert not told.broken, told.broken
    text = "\n".join([str(story.__doc__), "", *told.lines, ""])
    return re.sub(r"Replica\(node_id=\d+, directory_id=['\"]([a-z]'?)['\"]\)", r"\1", text)


if __name__ == "__main__":
    TRANSCRIPTS.mkdir(exist_ok=True)
    for one in STORIES:
        (TRANSCRIPTS / f"{one.__name__}.txt").write_text(transcript(one))
