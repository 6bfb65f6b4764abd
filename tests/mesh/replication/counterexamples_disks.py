"""Stories that are clean with a rule and break an invariant without it: disks that forget."""

from __future__ import annotations

from mesh.replication import events as ev
from mesh.replication.messages import VoteReply
from storage.types import Offset
from tests.mesh.replication.counterexamples import led, may_campaign
from tests.mesh.replication.story import Story


def page_cache_voter() -> Story:
    """In memory mode a voter acknowledged what no disk has yet, and is asked for its vote."""
    story = led(memory=True)
    _cache(story, "x", "b")
    return _asked(story)


def late_grant() -> Story:
    """A candidate loses its machine; a vote for the log that it had comes after that."""
    story = led(memory=True)
    _cache(story, "x", "b")
    story.do("a", ev.Stalled(), later=True)
    story.campaign("a", later=True)
    story.deliver("a", "c")
    grant = story.waiting(VoteReply, "a")
    story.lose()
    story.power_loss("a")
    story.hear("c", "a", grant)
    return story


def rotten_voter() -> Story:
    """A voter's disk loses what it acknowledged, and is asked for its vote."""
    story = led()
    story.write("a", "x")
    story.talk("ab")
    story.lose()
    story.rot("b", 0)
    story.campaign("c")
    story.talk("bc")
    return story


def rotten_candidate() -> Story:
    """A voter's disk loses what it acknowledged; nobody else hears from the leader."""
    story = led()
    story.write("a", "x")
    story.talk("ab")
    story.lose()
    story.rot("b", 0)
    if may_campaign(story, "b"):
        story.campaign("b")
        story.talk("bc")
    return story


def unsure_voter() -> Story:
    """In memory mode a voter loses its machine with a record, and is asked for its vote."""
    story = led(memory=True)
    _cache(story, "x", "b")
    story.power_loss("b")
    return _asked(story)


def unsure_candidate() -> Story:
    """In memory mode a voter loses its machine with a record; nobody else hears of the leader."""
    story = led(memory=True)
    _cache(story, "x", "b")
    story.power_loss("b")
    if may_campaign(story, "b"):
        story.campaign("b")
        story.talk("bc")
    return story


def sure_with_half() -> Story:
    """An unsure voter got back half of what it had, and is asked for its vote."""
    story = led(memory=True, one_by_one=True)
    _cache(story, "x", "bc")
    _cache(story, "y", "b")
    story.power_loss("b")
    _give_back(story, "z", 1)
    return _asked(story)


def sure_with_half_again() -> Story:
    """The same, at the second time that it loses its machine: it had become sure in between."""
    story = led(memory=True, one_by_one=True)
    _cache(story, "x", "bc")
    story.power_loss("b")
    story.write("a", "w", later=True)
    story.talk("abc", later=True)
    _cache(story, "y", "b")
    story.power_loss("b")
    _give_back(story, "z", 2)
    return _asked(story)


def _cache(story: Story, data: str, names: str) -> None:
    """Have a record in the page caches of these and of a, and on no disk."""
    story.write("a", data, later=True)
    for name in names:
        story.deliver("a", name, later=True)
        story.deliver(name, "a", later=True)
    story.lose()


def _give_back(story: Story, data: str, end: Offset) -> None:
    """Have a write something, which shows it what b lacks, until b has a part of that."""
    story.write("a", data, later=True)
    for _ in range(12):
        if len(story.log("b")) < end:
            story.talk("ab", rounds=1, later=True)
    story.lose()


def _asked(story: Story) -> Story:
    """Ask b to vote for c."""
    story.campaign("c", later=True)
    for sender, to in ("cb", "bc"):
        story.deliver(sender, to, later=True)
    return story
