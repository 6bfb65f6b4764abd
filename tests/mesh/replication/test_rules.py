"""Rules seen one at a time, where the exploration's bounds are too small for them."""

from __future__ import annotations

import pytest

from mesh.replication import events as ev
from mesh.replication.group import Group
from mesh.replication.leader import Leader
from mesh.replication.messages import Leave
from mesh.replication.state import Replica, first_promise
from tests.mesh.replication.model_node import Node
from tests.mesh.replication.story import Story


def shrinks_and_is_recreated() -> Story:
    """From three voters to one; the removed ones are asked to begin anew from the old record."""
    story = Story()
    a, b, _ = story.voters
    story.campaign("a")
    story.talk("abc")
    for voters in ((a, b), (a,)):
        story.do("a", ev.Reconfigure(voters))
        story.talk("abc")
        story.do("a", ev.Adopt(()))
        story.talk("abc")
    story.write("a", "x")
    for name in "bc":
        story.nodes[name].recreate(story.voters)
    if story.nodes["b"].group is not None and story.nodes["b"].group.holding.may_campaign:
        story.campaign("b")
        story.talk("bc")
    return story


def late_order() -> Story:
    """An order to leave comes a second time, after its replica was taken in anew."""
    story = Story("abcd", "abc")
    d = story.me("d")
    story.join("d")
    story.campaign("a")
    story.talk("abc")
    story.do("a", ev.Adopt((d,)))
    story.talk("abcd")
    story.do("a", ev.Adopt(()))
    order = next(m for _, to, m in story.sent if to == d and isinstance(m, Leave))
    story.talk("abcd")
    story.do("a", ev.Adopt((d,)))
    story.talk("abcd")
    story.write("a", "x")
    story.deliver("a", "d")
    story.hear("a", "d", order)
    return story


def test_a_tombstone_forbids_a_first_state() -> None:
    """Voters of long ago, made anew from the registry's record, elect nobody."""
    story = shrinks_and_is_recreated()
    assert not story.broken
    assert story.leads("a")
    assert not story.leads("b")


def test_without_tombstones_voters_of_long_ago_lose_what_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule is needed: made anew, two empty replicas outvote the one that has it all."""

    def recreate(self: Node, voters: tuple[Replica, ...]) -> None:
        self.journal = first_promise(self.me, voters, None)
        self.start()

    monkeypatch.setattr(Node, "recreate", recreate)
    assert shrinks_and_is_recreated().broken


def test_an_order_to_leave_counts_in_its_session_only() -> None:
    """Said twice, it does not delete what was acknowledged since the replica was taken in anew."""
    assert [entry.data for entry in late_order().log("d")] == ["x"]


def test_without_sessions_a_late_order_deletes_what_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule is needed: epoch and config alone do not tell the late order from a new one."""
    original = Group._on_leave

    def on_leave(self: Group, sender: Replica, order: Leave) -> None:
        latest = Leave(order.leader_epoch, self.holding.promise.session, order.config)
        original(self, sender, latest)

    monkeypatch.setattr(Group, "_on_leave", on_leave)
    assert late_order().log("d") == ()


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
    assert any(line.startswith("    a: NotYet") for line in story.lines)
    story.talk("abc")
    story.do("a", ev.Reconfigure((a,)))
    group = story.nodes["a"].group
    assert group is not None
    assert group.holding.promise.config.voters == (a,)


def two_changes() -> Story:
    """A leader that is cut off removes its voters one by one; the others go on without it."""
    story = Story()
    a, b, _ = story.voters
    story.campaign("a")
    story.talk("abc")
    story.lose()
    story.do("a", ev.Reconfigure((a, b)))
    story.do("a", ev.Reconfigure((a,)))
    story.lose()
    story.write("a", "x")
    story.lose()
    story.campaign("b")
    story.talk("bc")
    return story


def test_a_leader_that_is_cut_off_cannot_shrink_its_group_to_itself() -> None:
    """It commits nothing alone while the others elect a leader."""
    assert not two_changes().broken


def test_without_the_conditions_a_leader_shrinks_its_group_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule is needed: what it then commits alone, the others' leader lacks."""
    monkeypatch.setattr(Leader, "settled", property(lambda self: True))
    assert two_changes().broken


def test_a_damaged_replica_votes_with_the_end_that_it_held() -> None:
    """Having lost what it acknowledged, it does not help one that never had it."""
    story = Story()
    story.campaign("a")
    story.talk("abc")
    story.write("a", "x")
    story.deliver("a", "b")
    story.deliver("b", "a")
    assert story.nodes["a"].group is not None
    assert story.nodes["a"].group.high_watermark == 1
    story.lose()
    node = story.nodes["b"]
    node.log.cut(0)  # Rot: the journal still says 1.
    node.start()
    story.campaign("c")
    story.talk("bc")
    assert not story.leads("c")
    assert not story.broken


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
