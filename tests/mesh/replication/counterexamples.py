"""Stories that are clean with a rule and break an invariant without it: votes, logs, commits.

Each was found by hand or told by the exploration; the rule that it needs stands beside it in
rules.py. A story says only what happens; all that it loses may be lost, and may be late.
"""

from __future__ import annotations

from mesh.replication import events as ev
from mesh.replication.messages import VoteRequest
from tests.mesh.replication.story import Story


def led(voters: str = "abc", *, memory: bool = False, one_by_one: bool = False) -> Story:
    """Let a lead in epoch 0, and everybody follow."""
    story = Story(voters, voters, memory=memory, one_by_one=one_by_one)
    story.campaign("a")
    story.talk(voters)
    return story


def win(story: Story, name: str, voters: str) -> None:
    """Have somebody elected by these; its first epoch may be used already."""
    for _ in range(2):
        if not story.leads(name):
            story.campaign(name)
            for voter in voters:
                story.deliver(name, voter)
                story.deliver(voter, name)


def may_campaign(story: Story, name: str) -> bool:
    group = story.nodes[name].group
    return group is not None and group.holding.may_campaign


def two_in_one_epoch() -> Story:
    """A voter gives its vote, crashes before its journal has that, and is asked again."""
    story = Story()
    story.campaign("a")
    story.campaign("c")
    story.slow.add("b")
    story.deliver("a", "b")
    story.deliver("b", "a")
    story.crash("b")
    story.slow.clear()
    story.talk("bc")
    return story


def shorter() -> Story:
    """A replica without a committed record asks one that has it for its vote."""
    story = led()
    story.write("a", "x")
    story.talk("ab")
    story.lose()
    story.campaign("c")
    story.talk("bc")
    return story


def longer_but_older() -> Story:
    """An old leader has more entries, none of them committed, than those that went on."""
    story = led()
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


def old_config() -> Story:
    """A leader removes its voters by the rules, but one of them never hears of it."""
    story = led()
    story.lose()
    a, b, _ = story.voters
    story.do("a", ev.Reconfigure((a, b)))
    story.talk("ab")
    story.do("a", ev.Reconfigure((a,)))
    story.lose()
    story.write("a", "x")
    story.lose()
    story.campaign("c")
    story.talk("bc")
    return story


def leads_again() -> Story:
    """A leader crashes with an entry that only its follower has; it is given another one."""
    story = led()
    story.write("a", "x", later=True)
    story.deliver("a", "b")
    story.lose()
    story.crash("a")
    story.write("a", "y")
    story.talk("ac")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    return story


def unsynced_candidate() -> Story:
    """A candidate has an entry in its page cache only; it wins, and its machine goes down."""
    story = led()
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


def granted_while_syncing() -> Story:
    """A follower votes for a newer epoch while an entry of the old leader is being synced.

    What it compares cannot forbid the vote: it is not yet synced up to the old leader's start, so
    its log counts as one of epoch 0, and the candidate's of epoch 1 as newer.
    """
    story = led()
    story.write("a", "w")
    story.talk("ac")
    story.lose()
    story.do("a", ev.Stalled())
    story.campaign("a")
    story.talk("ac")
    story.lose()
    story.write("a", "x")
    for sender, to in ("ab", "ba"):
        story.deliver(sender, to)
    story.deliver("a", "b", later=True)
    story.lose()
    story.campaign("c")
    story.deliver("c", "b", later=True)
    story.sync("b")
    story.deliver("b", "a")
    story.deliver("b", "c")
    return story


def forgotten_follower() -> Story:
    """A follower answers a new leader, and crashes before its journal has the new epoch.

    It holds an entry of epoch 0 that is committed by its answer. Having forgotten that it gave
    that in epoch 2, it votes for a log of epoch 1 that lacks the entry.
    """
    story = Story("abcde", "abcde")
    win(story, "b", "cd")  # Epoch 0.
    story.talk("bc")
    story.write("b", "x")
    story.talk("bc")
    story.lose()
    win(story, "a", "de")  # Epoch 1.
    story.lose()
    story.write("a", "z")
    story.lose()
    story.do("b", ev.Stalled())
    win(story, "b", "de")  # Epoch 2.
    story.talk("bd")
    story.lose(VoteRequest)
    story.slow.add("c")
    story.deliver("b", "c")
    story.deliver("c", "b")
    story.crash("c")
    story.slow.clear()
    story.lose()
    story.do("a", ev.Stalled())
    win(story, "a", "ce")  # Epoch 3.
    return story


def cut_halfway() -> Story:
    """A follower gives up what an old leader wrote, and crashes after the first of two steps."""
    story = led()
    story.write("a", "x")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    for sender, to in ("ba", "ab"):
        story.deliver(sender, to)
    story.slow.add("a")
    story.deliver("b", "a")
    story.carry_on("a")
    story.crash("a")
    return story


def cut_undone() -> Story:
    """A follower gives up an entry and follows on; its machine goes down after that."""
    story = led()
    story.write("a", "x")
    story.talk("abc")
    story.write("a", "lost")
    story.lose()
    story.campaign("b")
    story.talk("abc")
    story.write("b", "y")
    story.talk("bc")
    story.lose()
    story.crash("a")
    story.campaign("a")
    story.talk("ac")
    return story


def half_adopted() -> Story:
    """A follower got half of what its new leader inherited, and campaigns with that."""
    story = Story(one_by_one=True)
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


def adopted_unsynced() -> Story:
    """A follower got what its new leader inherited in its page cache, and its machine goes down."""
    story = led()
    story.write("a", "x")
    story.talk("ab")
    story.lose()
    story.campaign("b")
    for sender, to in ("bc", "cb", "bc", "cb"):
        story.deliver(sender, to)
    story.deliver("b", "c", later=True)
    story.lose()
    story.crash("c")
    story.campaign("c")
    story.talk("ac")
    return story


def foreign_tail() -> Story:
    """An old leader has an entry of its own where the new leader's log ends."""
    story = led()
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


def unsynced_follower() -> Story:
    """A follower has an entry in its page cache when its machine goes down."""
    story = led()
    story.write("a", "x")
    story.deliver("a", "b", later=True)
    story.deliver("b", "a")
    story.lose()
    story.crash("b")
    story.campaign("c")
    story.talk("bc")
    return story


def unsynced_leader() -> Story:
    """A leader has an entry in its page cache when its machine goes down; a follower has it."""
    story = led()
    story.write("a", "x", later=True)
    story.deliver("a", "b")
    story.deliver("b", "a", later=True)
    story.lose()
    story.crash("a")
    story.campaign("c")
    story.talk("ac")
    return story


def follower_with_a_slow_journal() -> Story:
    """A follower's log is synced, its journal not yet, and what the disk has is unreadable.

    Above what the journal says, recovery takes that for a torn tail, and cuts it.
    """
    story = led()
    story.write("a", "x")
    story.slow.add("b")
    story.deliver("a", "b")
    story.deliver("b", "a")
    story.lose()
    story.slow.clear()
    story.crash("b")
    story.rot("b", 0)
    story.campaign("c")
    story.talk("bc")
    return story


def leader_with_a_slow_journal() -> Story:
    """The same of a leader."""
    story = led()
    story.slow.add("a")
    story.write("a", "x", later=True)
    story.deliver("a", "b")
    story.deliver("b", "a", later=True)
    story.sync("a")
    story.lose()
    story.slow.clear()
    story.crash("a")
    story.rot("a", 0)
    story.campaign("c")
    story.talk("ac")
    return story


def part_of_an_older_log() -> Story:
    """Two old logs fight; a majority has the first entry of one, and the other is newer."""
    return _two_old_logs(whole=False)


def whole_of_an_older_log() -> Story:
    """As above, but the majority has all of the older log, under a leader that is newer still."""
    return _two_old_logs(whole=True)


def _two_old_logs(*, whole: bool) -> Story:
    story = Story(one_by_one=True)
    win(story, "b", "c")  # Epoch 0: b's x and y reach nobody.
    story.lose()
    story.write("b", "x")
    story.write("b", "y")
    story.lose()
    win(story, "a", "c")  # Epoch 1: nor does a's z.
    story.lose()
    story.write("a", "z")
    story.lose()
    story.do("b", ev.Stalled())
    win(story, "b", "c")  # Epoch 2.
    for sender, to in ("bc", "cb", "bc", "cb"):
        story.deliver(sender, to)
    if whole:
        story.talk("bc")
    story.lose()
    story.do("a", ev.Stalled())
    win(story, "a", "c")  # Epoch 3.
    return story
