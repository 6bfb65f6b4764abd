"""Stories of a group, one a function; each ends in a transcript.

`python -m tests.mesh.replication.stories` writes the transcripts anew; read the difference. What a
line begins with `--` says by which rule (mesh/replication/README.md) the next lines happen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mesh.replication import events as ev
from mesh.replication.follower import Follower
from mesh.replication.limits import APPENDS_UNANSWERED_MAX
from mesh.replication.messages import Campaign, Leave, Refused
from mesh.replication.state import Config
from tests.mesh.replication.story import Story

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def elections() -> Story:
    """Two campaign at once, one wins; the other follows."""
    story = Story()
    story.campaign("a")
    story.campaign("b")
    story.note("[1] c votes once in an epoch, for who came first")
    story.deliver("a", "c")
    story.deliver("b", "c")
    story.deliver("b", "a")
    story.deliver("a", "b")
    story.note("[2] a has its own vote and c's; it leads once its journal says so")
    story.deliver("c", "a")
    story.talk("abc")
    assert story.leads("a")
    assert not story.leads("b")
    return story


def failed_election() -> Story:
    """Nobody reaches anybody: each asks in vain, and waits twice as long; nothing changes by that.

    Once links are open again, the first whose time is up is elected at its first try.
    """
    story = Story(timed=True)
    story.note("no link is open")
    story.wait(4_500, "")
    for name in "abc":
        journal = story.nodes[name].journal
        assert journal is not None
        assert journal.leader_epoch == -1
    story.note("links are open; [1] whoever would be elected by a majority, campaigns")
    story.wait(8_000, "abc")
    leaders = [name for name in "abc" if story.leads(name)]
    assert len(leaders) == 1
    return story


def fencing() -> Story:
    """A leader that was cut off writes on; nobody takes it, and it learns that it leads no more."""
    story = _led("x")
    story.note("a is cut off; [1] b and c elect b in a new epoch")
    story.campaign("b")
    story.talk("bc")
    story.lose()
    story.write("a", "lost")
    story.note("links are open; [3] what comes of an older epoch is refused")
    story.talk("ac", rounds=1)
    assert not story.leads("a")
    assert story.leads("b")
    story.note("a takes no more writes, and did not say that it had committed the last")
    story.write("a", "refused")
    assert [log for _, log in story.history.committed if len(log) > 1] == []
    return story


def truncation() -> Story:
    """A follower gives up what an old leader wrote alone, though it crashes halfway."""
    story = _led("x")
    story.write("a", "lost")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    story.write("b", "y")
    story.talk("bc")
    story.lose()
    story.begin("a led in epoch 0 and wrote one entry alone; b leads in epoch 1 and committed y")
    story.repeat("b")
    for sender, to in ("ba", "ab"):
        story.deliver(sender, to)
    story.note("[3] first the journal, which then speaks of no more than will be there")
    story.slow.add("a")
    story.deliver("b", "a")
    story.carry_on("a")
    story.crash("a")
    story.slow.clear()
    story.note("the journal says 1, the log still has 2 entries; all of it happens again")
    story.lose()
    story.repeat("b")
    story.talk("ab")
    assert story.log("a") == story.log("b") == story.log("c")
    return story


def catch_up() -> Story:
    """A replica that was away gets what it missed, also what was not yet synced at its crash."""
    story = _led("x")
    story.note("[4] what c holds unsynced counts for nothing; it is lost")
    for data in ("y1", "y2"):
        story.write("a", data)
        story.deliver("a", "c", later=True)
    story.note("the first began a sync, whose end answers it; the other is answered at once")
    story.deliver("c", "a")
    story.crash("c")
    story.talk("ab")
    story.write("a", "z")
    story.talk("ab")
    story.note("[3] c says where its log ends; the leader goes on from there")
    story.lose()
    story.repeat("a")
    story.talk("ac")
    assert story.log("c") == story.log("a")
    assert len(story.log("c")) == 4
    return story


def owed_word() -> Story:
    """What is committed is said to a slow one as soon as it has answered enough, though no append
    follows.

    It followed the registry, and would not have heard of its newest record before the next one.
    """
    story = _led("x")
    story.note("c has so many appends to answer that it is sent no more")
    for number in range(APPENDS_UNANSWERED_MAX):
        story.write("a", f"y{number}")
        story.deliver("a", "c", later=True)
    story.talk("ab")
    story.order("a", ev.Announce())
    story.talk("ab")
    assert story.committed_at("b") == story.committed_at("a")
    assert story.committed_at("c") < story.committed_at("a")
    story.sync("c")
    story.talk("ac")
    assert story.committed_at("c") == story.committed_at("a")
    return story


def reconfiguration() -> Story:
    """A learner catches up and votes; then the one that it replaces is removed, and leaves."""
    story = _led("x", names="abcd")
    d = story.me("d")
    story.join("d")
    story.order("a", ev.Adopt((d,)))
    story.note("[5] a new voter is first a learner that has caught up")
    story.order("a", ev.Reconfigure((*story.voters, d)))
    story.talk("ad")
    story.order("a", ev.Reconfigure((*story.voters, d)))
    story.note("[5] one change at a time, and only once a majority has the last one")
    without_b = (story.me("a"), story.me("c"), d)
    story.order("a", ev.Reconfigure(without_b))
    story.talk("abcd")
    story.order("a", ev.Reconfigure(without_b))
    story.note("[7] nor may b go before a majority of the others has the config without it")
    story.order("a", ev.Adopt(()))
    story.talk("acd")
    story.note("[7] first the tombstone, then the log goes")
    story.talk("ab")
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
    story.order("a", ev.HandOver(story.me("b")))
    story.write("a", "refused")
    story.note("[6] b is told once it has everything and all is committed")
    story.talk("ab", rounds=2)
    story.note("[1] its campaign takes an epoch of its own")
    story.talk("abc")
    assert story.leads("b")
    assert len(story.log("b")) == 2
    return story


def hand_over_fails() -> Story:
    """A successor does not hear that it shall campaign; after 2 s its leader takes writes again."""
    story = _timed()
    story.order("a", ev.HandOver(story.me("b")))
    story.lose(Campaign)
    story.write("a", "refused")
    story.note("[6] it has 2 s to win")
    story.wait(1_900, "abc")
    story.write("a", "refused")
    story.wait(200, "abc")
    story.write("a", "y")
    story.wait(50, "abc")
    assert story.leads("a")
    assert [entry.data for entry in story.log("b")] == ["x", "y"]
    return story


def cut_off_leader() -> Story:
    """A leader that reaches no majority gives up after 600 ms; the others elect one meanwhile."""
    story = _timed()
    story.note("a reaches nobody from now on, b and c reach each other")
    story.write("a", "y")
    story.wait(550, "bc")
    assert story.leads("a")
    story.wait(450, "bc")
    assert not story.leads("a")
    assert story.leads("b")
    story.write("a", "refused")
    story.note("links are open; [3] a follows, and gives up what it wrote alone")
    story.wait(300, "abc")
    assert story.log("a") == story.log("b")
    return story


def wiped() -> Story:
    """A wiped node is another replica: no vote of its counts until it is taken in anew."""
    story = _led("x")
    story.wipe("c")
    story.note("[7] it makes no state by itself, for it is not the voter that the config names")
    assert story.nodes["c'"].journal is None
    story.join("c'")
    story.order("a", ev.Adopt((story.me("c'"),)))
    story.talk(["a", "b", "c'"])
    story.note("[5] the dead one is removed before the new one becomes a voter")
    story.order("a", ev.Reconfigure((story.me("a"), story.me("b"))))
    story.talk(["a", "b", "c'"])
    story.order("a", ev.Reconfigure((story.me("a"), story.me("b"), story.me("c'"))))
    story.talk(["a", "b", "c'"])
    group = story.nodes["c'"].group
    assert group is not None
    assert story.me("c'") in group.holding.promise.config.voters
    return story


def damaged() -> Story:
    """A replica whose disk lost what it had acknowledged votes with that, and is repaired."""
    story = _led("x")
    story.write("a", "y")
    story.talk("ab")
    story.lose()
    story.rot("b", 1)
    node = story.nodes["b"]
    assert node.group is not None
    assert not node.group.holding.may_campaign
    story.note("[1] c never had y; b has lost it, but knows that it had it: no vote, nor campaign")
    story.campaign("c")
    story.talk("bc")
    assert not story.leads("c")
    story.lose()
    story.note("b is back; [4] what the leader gives it counts once it is synced")
    story.order("a", ev.LinkOpened(2))
    story.talk("ab")
    assert story.log("b") == story.log("a")
    assert not node.group.holding.damaged
    return story


def unsure() -> Story:
    """In memory mode a machine goes down, and a replica with what it had acknowledged unsynced.

    It neither votes nor counts until it has all that its leader had when that heard from it again.
    """
    story = Story(memory=True)
    story.campaign("a", later=True)
    story.talk("abc", later=True)
    story.begin("a leads in epoch 0, everybody follows; acknowledgements do not wait for the disk")
    story.write("a", "x", later=True)
    for sender, to in ("ab", "ba"):
        story.deliver(sender, to, later=True)
    story.lose()
    story.power_loss("b")
    story.note("c has not x; b had it, but does not know that: it gives no vote")
    story.campaign("c", later=True)
    for sender, to in ("cb", "bc"):
        story.deliver(sender, to, later=True)
    assert not story.leads("c")
    story.lose()
    story.note("the leader hears from it, and takes it in anew: what it said before is forgotten")
    story.order("a", ev.LinkOpened(2), later=True)
    story.talk("ab", later=True)
    journal = story.nodes["b"].journal
    assert journal is not None
    assert not journal.unsure
    assert story.log("b") == story.log("a")
    return story


def late_order() -> Story:
    """An order to leave comes a second time, after its replica was taken in anew."""
    story = Story("abd", "ab")
    d = story.me("d")
    story.join("d")
    story.campaign("a")
    story.talk("ab")
    story.do("a", ev.Adopt((d,)))
    story.talk("abd")
    story.begin("a leads in epoch 0, with b as voter and d as learner")
    story.note("[7] d is dismissed, and gives up its log")
    story.order("a", ev.Adopt(()))
    order = story.waiting(Leave, "d")
    story.talk("ad")
    story.note("d shall be a learner again: that is a new session")
    story.order("a", ev.Adopt((d,)))
    story.talk("ad")
    story.write("a", "x")
    story.talk("ad")
    story.note("the old order comes once more; it is of session 2, and d knows session 3")
    story.hear("a", "d", order)
    assert [entry.data for entry in story.log("d")] == ["x"]
    return story


def outrun_order() -> Story:
    """Who was ordered to leave hears of a newer config first; it obeys the order all the same."""
    story = _led("x")
    a, b, _ = story.voters
    story.order("a", ev.Reconfigure((a, b)))
    story.talk("ab")
    story.lose()
    story.order("a", ev.Adopt(()))
    story.note("[7] the order comes with the config that c was removed by; it is lost")
    story.lose()
    story.order("a", ev.Reconfigure((a,)))
    story.talk("ab")
    story.note("[1] a refusal tells c of the newest config")
    story.hear("b", "c", Refused(0, Config(0, 2, (a,))))
    story.repeat("a")
    story.talk("ac")
    journal = story.nodes["c"].journal
    assert journal is not None
    assert journal.tombstone
    return story


def forgotten() -> Story:
    """A voter that was removed while it was away asks the leader that is named to it."""
    story = _timed()
    a, b, _ = story.voters
    story.note("c is away, and votes no more")
    story.order("a", ev.Reconfigure((a, b)))
    story.talk("ab")
    story.order("a", ev.Adopt(()))
    story.talk("ab")
    story.lose()
    story.note("a starts anew, and has nothing for c any more")
    story.crash("a")
    story.campaign("a")
    story.talk("ab")
    story.note("[5] c is back: a leader is named to it that does not feed it, so it asks")
    story.wait(1_500, "abc")
    story.note("[7] placement does not want it")
    story.order("a", ev.Adopt(()))
    story.wait(100, "abc")
    journal = story.nodes["c"].journal
    assert journal is not None
    assert journal.tombstone
    return story


def campaigned_in_vain() -> Story:
    """A voter that stood still for a while asks for votes; its idle leader has to tell it more."""
    story = _timed()
    story.note("c stands still")
    story.wait(1_500, "ab")
    story.note("c goes on; [1] whoever hears of the leader refuses")
    story.wait(3_000, "abc")
    group = story.nodes["c"].group
    assert group is not None
    assert isinstance(group.role, Follower)
    assert group.role.is_following
    return story


def delete_records() -> Story:
    """Records are deleted once a majority has the new log start; who was away begins there."""
    story = _led("x")
    story.lose()
    for data in "yz":
        story.write("a", data)
        story.talk("ab")
    story.lose()
    story.begin("a and b have committed x, y and z; c is away, and has x")
    story.order("a", ev.Trim(2))
    story.note("a's own journal has the new start; a majority has it with b's")
    assert story.nodes["a"].log.log_start_offset == 0
    story.talk("ab")
    assert story.nodes["a"].log.log_start_offset == 2
    story.note("[3] c comes back; its log ends below the leader's start, so it begins there")
    story.lose()
    story.repeat("a")
    story.talk("ac")
    assert [entry.data for entry in story.log("c")] == ["z"]
    assert story.nodes["c"].log.log_start_offset == 2
    return story


def _led(data: str, names: str = "abc") -> Story:
    story = Story(names)
    story.campaign("a")
    story.talk("abc")
    for item in data:
        story.write("a", item)
        story.talk("abc")
    story.begin(f"a leads in epoch 0, everybody follows; committed: {' '.join(data)}")
    return story


def _timed() -> Story:
    story = Story(timed=True)
    story.wait(100, "abc")
    story.write("a", "x")
    story.wait(100, "abc")
    story.begin("a leads in epoch 0, everybody follows; committed: x")
    return story


STORIES: tuple[Callable[[], Story], ...] = (
    elections,
    failed_election,
    fencing,
    truncation,
    catch_up,
    owed_word,
    reconfiguration,
    hand_over,
    hand_over_fails,
    cut_off_leader,
    wiped,
    damaged,
    unsure,
    late_order,
    outrun_order,
    forgotten,
    campaigned_in_vain,
    delete_records,
)


def transcript(story: Callable[[], Story]) -> str:
    told = story()
    assert not told.broken, told.broken
    return "\n".join([str(story.__doc__).replace("\n    ", "\n").strip(), "", *told.lines, ""])


if __name__ == "__main__":
    TRANSCRIPTS.mkdir(exist_ok=True)
    for one in STORIES:
        (TRANSCRIPTS / f"{one.__name__}.txt").write_text(transcript(one))
