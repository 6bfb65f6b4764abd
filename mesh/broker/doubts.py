"""Refusals that hold only if this node still leads: confirmed by its voters before they are told.

A leader that stood still, or is cut off, may lack what another leader has committed meanwhile. What
it appends then counts for nothing, but what it refuses a producer takes for a loss of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mesh.broker.stored_promises import group_id
from mesh.model.errors import ErrorCode

if TYPE_CHECKING:
    from mesh.broker.groups import Groups
    from mesh.broker.partition import Partition
    from mesh.wire.schemas.produce import PartitionProduceResponse
    from storage.types import Offset


class Doubt(NamedTuple):
    """One partition's refusal."""

    result: PartitionProduceResponse
    partition: Partition
    leadership: int
    round_: int
    """In which voters confirm that this node leads."""


class Doubts:
    """Of one produce request."""

    __slots__ = ("_groups", "_rows")

    def __init__(self, groups: Groups) -> None:
        """None yet."""
        self._groups = groups
        self._rows: list[Doubt] = []

    def add(self, result: PartitionProduceResponse, partition: Partition | None) -> None:
        """Have a refusal confirmed, if it is one that rests on what is here, and there are voters.

        Args:
            result: with its error.
            partition: of that; None if it is not here.
        """
        if partition is None or result.error_code != ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
            return
        if round_ := self._groups.confirming.ask(partition, group_id(partition)):
            self._rows.append(Doubt(result, partition, partition.leadership, round_))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rows)

    @property
    def waits(self) -> list[tuple[Partition, Offset]]:
        """What an AfterCommit is to watch: partitions, and no commit of theirs."""
        return [(doubt.partition, 0) for doubt in self._rows]

    @property
    def are_over(self) -> bool:
        """Whether each was confirmed, or is led elsewhere."""
        return all(self._holds(doubt) or self._is_lost(doubt) for doubt in self._rows)

    def settle(self) -> None:
        """Refuse otherwise what was not confirmed: the producer is to look who leads."""
        for doubt in self._rows:
            if self._is_lost(doubt) or not self._holds(doubt):
                doubt.result.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
                doubt.result.error_message = None

    def _holds(self, doubt: Doubt) -> bool:
        return self._groups.confirming.is_confirmed(doubt.partition, doubt.round_)

    @staticmethod
    def _is_lost(doubt: Doubt) -> bool:
        return doubt.partition.leadership != doubt.leadership
