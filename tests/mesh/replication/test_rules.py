"""Rules seen one at a time, where the exploration's bounds are too small for them."""

from __future__ import annotations

from mesh.replication import events as ev
from tests.mesh.replication import counterexamples_voters as voters
from tests.mesh.replication.story import Story


def test_a_tombstone_forbids_a_first_state() -> None:
    """Voters of long ago, made anew from the registry's record, elect nobody."""
    story = voters.shrinks_and_is_recreated()
    assert not story.broken
    assert story.leads("a")
    assert not story.leads("b")


def test_an_order_to_leave_counts_in_its_session_only() -> None:
    """Said twice, it does not delete what was acknowledged since the replica was taken in anew."""
    assert [entry.data for entry in voters.late_order().log("d")] == ["x"]


def test_a_leader_does_not_remove_itself() -> None:
    """It answers why, and the voters stay."""
    story = Story()
    story.campaign("a")
    story.talk("abc")
    story.do("a", ev.Reconfigure(story.voters[1:]))
    assert any("hands over first" in line for line in story.lines)


def test_voters_change_only_after_a_majority_has_the_last_change() -> None:
    """Two changes in a row: the second waits until the first is installed by a majority."""
    story = Story()
    a, b, _ = story.voters
    story.campaign("a")
    story.talk("abc")
    story.do("a", ev.Reconfigure((a, b)))
    story.do("a", ev.Reconfigure((a,)))
    assert any(line.startswith("    a not yet:") for line in story.lines)
    story.talk("abc")
    story.do("a", ev.Reconfigure((a,)))
    group = story.nodes["a"].group
    assert group is not None
    assert group.holding.promise.config.voters == (a,)


def test_an_unsure_replica_neither_votes_nor_counts_until_it_has_everything_again() -> None:
    """Acknowledged from the page cache and lost with the machine, a record is not outvoted."""
    story = Story()
    for node in story.nodes.values():
        node.memory = True
        node.start()
    story.campaign("a")
    story.talk("abc")
    for data in "xy":  # Once more, after it was sure again: the leader forgets it again.
        story.write("a", data, later=True)
        story.talk("ab")
        story.lose()
        node = story.nodes["b"]
        assert node.journal is not None
        node.journal = node.journal._replace(unsure=True)
        node.log.cut(0)
        node.start()
        story.campaign("c")
        story.deliver("c", "b")
        story.deliver("b", "c")
        assert not story.leads("c")
        story.lose()
        story.do("a", ev.Stalled())
        story.campaign("a")
        story.talk("abc")
        if not story.leads("a"):  # Its first epoch may have been used by the other campaign.
            story.campaign("a")
            story.talk("abc")
        assert story.leads("a")
        assert node.journal is not None
        assert not node.journal.unsure
    assert len(story.log("b")) == 2
    assert story.broken == ""


def test_a_leader_with_nothing_to_say_leads_on() -> None:
    """That a majority is there it sees from its links; the group itself may be silent."""
    story = Story(timed=True)
    story.wait(5_000, "abc")
    assert story.leads("a")
    assert sum("LEADS" in line for line in story.lines) == 1


def test_a_link_made_anew_shows_the_leader_what_a_replica_lost() -> None:
    """It is asked where it is, though it had everything and nothing was written since."""
    story = Story(memory=True)
    story.campaign("a")
    story.talk("abc", later=True)
    story.write("a", "x", later=True)
    story.talk("abc", later=True)
    story.power_loss("b")
    story.repeat("a")
    story.talk("ab")
    assert story.log("b") == ()
    story.do("a", ev.LinkOpened(story.me("b").node_id))
    story.talk("ab")
    assert story.log("b") == story.log("a")
    journal = story.nodes["b"].journal
    assert journal is not None
    assert not journal.unsure


def test_a_replica_that_crashes_while_it_is_taken_in_again_is_not_lost() -> None:
    """Its new session and that it has not left are one write: the leader's next word is obeyed."""
    story = Story("abd", "ab")
    d = story.me("d")
    story.join("d")
    story.campaign("a")
    story.talk("ab")
    story.do("a", ev.Adopt((d,)))
    story.talk("abd")
    story.do("a", ev.Adopt(()))
    story.talk("ad")
    story.write("a", "x")
    story.slow.add("d")
    story.do("a", ev.Adopt((d,)))
    story.deliver("a", "d")
    story.carry_on("d")
    story.crash("d")
    story.slow.clear()
    story.lose()
    story.repeat("a")
    story.talk("ad")
    assert [entry.data for entry in story.log("d")] == ["x"]


def test_a_replica_that_crashes_while_it_leaves_deletes_its_log_anyway() -> None:
    """With the tombstone in its journal and the log on its disk, it goes on where it was."""
    story = voters.leaving_halfway()
    journal = story.nodes["c"].journal
    assert journal is not None
    assert journal.tombstone
    assert len(story.log("c")) == 1
    story.slow.clear()
    story.repeat("c")
    assert story.log("c") == ()
    story.lose()
    story.repeat("a")
    story.talk("ac")
    assert any("I have left" in line for line in story.lines)
