"""Stories that are clean with a rule and break an invariant without it: who votes, who leaves."""

from __future__ import annotations

from mesh.replication import events as ev
from mesh.replication.messages import Leave
from tests.mesh.replication.counterexamples import led, may_campaign, win
from tests.mesh.replication.story import Story


def two_changes() -> Story:
    """A leader that is cut off removes its voters one by one; the others go on without it."""
    story = led()
    a, b, _ = story.voters
    story.lose()
    story.do("a", ev.Reconfigure((a, b)))
    story.do("a", ev.Reconfigure((a,)))
    story.lose()
    story.write("a", "x")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    return story


def two_removals() -> Story:
    """Of five voters three hold a record. Two of those are removed; the rest has the configs."""
    story = led("abcde")
    a, _, c, d, e = story.voters
    story.write("a", "x")
    for sender, to in ("ab", "ba", "ac", "ca"):
        story.deliver(sender, to)
    story.lose()
    story.do("a", ev.Reconfigure((a, c, d, e)))
    for sender, to in ("ac", "ca"):
        story.deliver(sender, to)
    story.deliver("a", "d", later=True)
    story.write("a", "y")  # It answers at once to what comes while a sync is under way.
    story.deliver("a", "d", later=True)
    story.deliver("d", "a")
    story.do("a", ev.Reconfigure((a, d, e)))
    story.deliver("a", "d", later=True)
    story.lose()
    story.crash("d")
    story.campaign("d")
    story.talk("de")
    return story


def dismissed_before_others_have_it() -> Story:
    """A voter is removed and holds a record that the other voter has in its page cache only."""
    story = led()
    a, b, _ = story.voters
    story.write("a", "x")
    for sender, to in ("ac", "ca"):
        story.deliver(sender, to)
    story.lose()
    story.do("a", ev.Reconfigure((a, b)))
    story.deliver("a", "b", later=True)
    story.write("a", "y")  # It answers at once to what comes while a sync is under way.
    story.deliver("a", "b", later=True)
    story.deliver("b", "a")
    story.do("a", ev.Adopt(()))
    story.deliver("a", "c")
    return story


def dismissed_by_a_config_that_nobody_has() -> Story:
    """One of five voters is removed and told to leave; the others go on with the old config.

    It helps to elect a leader that lacks the record of which it was one of three holders.
    """
    story = led("abcde")
    story.write("a", "x")
    for sender, to in ("ab", "ba", "ae", "ea"):
        story.deliver(sender, to)
    story.lose()
    story.do("a", ev.Reconfigure(story.voters[:4]))
    story.lose()
    story.do("a", ev.Adopt(()))
    story.deliver("a", "e")
    story.lose()
    win(story, "b", "cd")  # Epoch 1; its config counts for more than the one without e.
    for to in "cde":
        story.deliver("b", to, later=True)
    for to in "cde":
        story.crash(to)
    story.lose()
    win(story, "d", "ce")  # Epoch 2.
    return story


def left_by_itself() -> Story:
    """The same voter hears that it is removed, and nobody tells it to leave."""
    story = led()
    a, b, _ = story.voters
    story.write("a", "x")
    for sender, to in ("ac", "ca"):
        story.deliver(sender, to)
    story.lose()
    story.do("a", ev.Reconfigure((a, b)))
    story.deliver("a", "c")
    return story


def counted_while_leaving() -> Story:
    """A learner that was told to leave shall become a voter before it has answered."""
    story = _with_a_learner()
    story.write("a", "x")
    for sender, to in ("ad", "da"):
        story.deliver(sender, to)
    story.lose()
    story.do("a", ev.Adopt(()))
    story.deliver("a", "d")
    story.lose()
    return _counted_as_voter(story)


def late_order() -> Story:
    """An order to leave comes a second time, after its replica was taken in anew."""
    story = _with_a_learner()
    story.do("a", ev.Adopt(()))
    order = story.waiting(Leave, "d")
    story.talk("abd")
    story.do("a", ev.Adopt((story.me("d"),)))
    story.talk("abd")
    story.write("a", "x")
    for sender, to in ("ad", "da"):
        story.deliver(sender, to)
    story.lose()
    story.hear("a", "d", order)
    story.lose()
    return _counted_as_voter(story)


def order_of_an_old_leader() -> Story:
    """An old leader's order to leave comes after a newer leader made its receiver a voter."""
    story = Story("abcd", "abc")
    d = story.me("d")
    story.join("d")
    story.campaign("a")
    story.talk("abc")
    story.do("a", ev.Adopt((d,)))
    story.talk("abcd")
    story.do("a", ev.Adopt(()))
    order = story.waiting(Leave, "d")
    story.lose()
    story.campaign("b")
    story.talk("abc")
    story.do("b", ev.Adopt((d,)))
    story.talk("abcd")
    for voters in ((*story.voters, d), (*story.voters[1:], d)):
        story.do("b", ev.Reconfigure(voters))
        story.talk("abcd")
    story.write("b", "x")
    for sender, to in ("bd", "db"):
        story.deliver(sender, to)
    story.lose()
    story.hear("a", "d", order)
    story.lose()
    story.campaign("c")
    story.talk("cd")
    return story


def shrinks_and_is_recreated() -> Story:
    """From three voters to one; the removed ones are asked to begin anew from the old record."""
    story = led()
    a, b, _ = story.voters
    for voters in ((a, b), (a,)):
        story.do("a", ev.Reconfigure(voters))
        story.talk("abc")
        story.do("a", ev.Adopt(()))
        story.talk("abc")
    story.write("a", "x")
    for name in "bc":
        story.nodes[name].recreate(story.voters)
    if may_campaign(story, "b"):
        story.campaign("b")
        story.talk("bc")
        story.write("b", "y")
        story.talk("bc")
    return story


def leaving_halfway() -> Story:
    """A removed voter is told to leave, and crashes after the first of two steps."""
    story = led()
    a, b, _ = story.voters
    story.write("a", "x")
    story.talk("abc")
    story.do("a", ev.Reconfigure((a, b)))
    story.talk("ab")
    story.do("a", ev.Adopt(()))
    story.slow.add("c")
    story.deliver("a", "c")
    story.carry_on("c")
    while len(story.nodes["c"].queue) > 2:
        story.carry_on("c")
    story.crash("c")
    return story


def _with_a_learner() -> Story:
    story = Story("abd", "ab")
    story.join("d")
    story.campaign("a")
    story.talk("ab")
    story.do("a", ev.Adopt((story.me("d"),)))
    story.talk("abd")
    return story


def _counted_as_voter(story: Story) -> Story:
    """Make d a voter; b hears of that, but keeps no record, and campaigns."""
    story.do("a", ev.Reconfigure((*story.voters, story.me("d"))))
    story.deliver("a", "b", later=True)
    story.lose()
    story.crash("b")
    win(story, "b", "d")
    return story
