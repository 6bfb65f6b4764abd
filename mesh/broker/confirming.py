"""Whether this node still leads, asked of the voters: one that is cut off tells no old news.

What is read must not be older than the question. A leader that stood still, or is cut off, may not
know yet that another one was elected; whoever voted for that one knows. So a reader waits until a
majority of the voters has said, after it asked, that they follow this epoch. One round serves all
who asked before it began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mesh.broker.replica_words import CONFIRM, CONFIRMED
from mesh.links import Word
from mesh.replication.quorum import is_quorum

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.model.types import NodeId
    from mesh.replication import Replica
    from storage.promises import GroupId


class _Round:
    """What is under way for one partition, in one leadership."""

    __slots__ = ("asked", "confirmed", "leadership", "said", "wanted")

    def __init__(self, leadership: int) -> None:
        self.leadership = leadership
        self.asked = self.confirmed = 0
        self.wanted = False
        """Whether somebody came after the round under way had begun."""
        self.said: set[Replica] = set()


class Confirming:
    """Of all partitions that this node leads."""

    def __init__(self, say: Callable[[NodeId, Word], None], me: Replica) -> None:
        """`say` sends a word to a node."""
        self._say = say
        self._me = me
        self._rounds: dict[Partition, _Round] = {}

    def ask(self, partition: Partition, group: GroupId) -> int:
        """Have the voters asked; return the round that answers. 0: there is nobody to ask."""
        config = partition.group.holding.promise.config
        if len(config.voters) == 1 or not partition.leads:
            return 0
        found = self._rounds.get(partition)
        if found is None or found.leadership != partition.leadership:
            found = self._rounds[partition] = _Round(partition.leadership)
        if found.asked > found.confirmed:
            found.wanted = True
            return found.asked + 1
        return self._begin(partition, group, found)

    def _begin(self, partition: Partition, group: GroupId, round_: _Round) -> int:
        round_.asked += 1
        round_.said = {self._me}
        round_.wanted = False
        word = Word(group, CONFIRM, [partition.leader_epoch, round_.asked])
        for voter in partition.group.holding.promise.config.voters:
            if voter != self._me:
                self._say(voter.node_id, word)
        return round_.asked

    def again(self, partition: Partition, group: GroupId) -> None:
        """A link was made anew: what was asked over the one before may be lost."""
        found = self._rounds.get(partition)
        if found is not None and found.asked > found.confirmed and partition.leads:
            word = Word(group, CONFIRM, [partition.leader_epoch, found.asked])
            for voter in partition.group.holding.promise.config.voters:
                if voter != self._me:
                    self._say(voter.node_id, word)

    def asked(self, partition: Partition, node_id: NodeId, epoch: int, number: int) -> None:
        """A leader asks: it is one as long as this node promised nobody a later epoch."""
        group = partition.topic_id, partition.index
        if partition.group.leader_epoch == epoch and not partition.leads:
            self._say(node_id, Word(group, CONFIRMED, [epoch, number]))

    def confirmed(self, partition: Partition, voter: Replica, epoch: int, number: int) -> bool:
        """A voter has answered; say whether that makes a majority for the round."""
        found = self._rounds.get(partition)
        if (
            found is None
            or found.leadership != partition.leadership
            or (epoch, number) != (partition.leader_epoch, found.asked)
            or found.confirmed >= number
        ):
            return False
        found.said.add(voter)
        if not is_quorum(partition.group.holding.promise.config, found.said):
            return False
        found.confirmed = number
        if found.wanted:
            self._begin(partition, (partition.topic_id, partition.index), found)
        return True

    def is_confirmed(self, partition: Partition, number: int) -> bool:
        """Whether a round is over."""
        if number == 0:
            return True
        found = self._rounds.get(partition)
        return (
            found is not None
            and found.leadership == partition.leadership
            and found.confirmed >= number
        )

    def forget(self, partition: Partition) -> None:
        """A partition is led here no more."""
        self._rounds.pop(partition, None)
