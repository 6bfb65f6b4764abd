"""How far the groups of this node are behind, for pictures of it. Nothing is decided by it.

A survey walks over all groups, a bounded piece for each picture, so that a node with a hundred
thousand groups does not stand still while somebody watches. What is told is of the last walk that
was finished; with few groups that is this picture's own.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mesh.model.limits import GROUP_AGES_MAX, GROUP_LOOKS_MAX
from mesh.model.statistics import GROUPS_MAX, GroupStatistics
from storage.disk import DiskError
from storage.errors import LogError
from storage.records import HEADER_SIZE, LOG_APPEND_TIME, read_batch_header

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from mesh.groups import Coordinator
    from mesh.groups.image import Group
    from mesh.model.types import Now
    from storage.types import Offset, TimestampMs

REBALANCES = {
    "PreparingRebalance": "it waits for its members to join again",
    "CompletingRebalance": "it waits for its leader's assignment",
    "Assigning": "the assignment is being computed",
    "Reconciling": "members are moving to the new assignment",
}
"""States between two assignments, and what each of them means."""
NAMED_MAX = 3
"""Members that one sentence names."""
SILENT_MS = 30_000
"""Members that committed nothing for so long, while records wait, are told of: clients commit
every 5 s by default."""


class Found(NamedTuple):
    """What a finished walk saw."""

    groups: tuple[GroupStatistics, ...] = ()
    by_state: Mapping[str, int] = {}
    members: int = 0


class Seen(NamedTuple):
    """A group as the walk saw it; sorted, the worst comes first."""

    lag_below: int
    """Minus its lag."""
    group_id: str
    coordinator: Coordinator
    has_offsets: bool
    committed: int
    newest_ms: TimestampMs
    """Of the last commit in a partition where records wait."""


class GroupSurvey:
    """Walks over the groups of the coordinators that are loaded."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._found = Found()
        self._left: list[tuple[Coordinator, list[str]]] = []
        """Groups that are still to be looked at in this walk, from the end on."""
        self._seen: list[Seen] = []
        self._by_state: Counter[str] = Counter()
        self._members = 0

    def look(self, broker: Broker, now: Now) -> Found:
        """Walk on, at most GROUP_LOOKS_MAX offsets far; return what the last whole walk found."""
        if not self._left:
            self._seen, self._by_state, self._members = [], Counter(), 0
            self._left = [(each, list(each.image.groups)) for each in broker.coordinators.loaded]
        looks = 0
        while self._left and looks < GROUP_LOOKS_MAX:
            coordinator, group_ids = self._left[-1]
            if not group_ids:
                self._left.pop()
                continue
            group = coordinator.image.groups.get(group_ids.pop())
            if group is not None:  # Else it was deleted since the walk began.
                looks += 1 + len(group.offsets)
                self._look_at(coordinator, group, broker)
        self._seen = heapq.nsmallest(GROUPS_MAX, self._seen)
        if not any(group_ids for _, group_ids in self._left):
            self._left = []
            told = [_statistics(seen, now) for seen in self._seen]
            self._found = Found(
                _with_ages(told, broker, now), dict(sorted(self._by_state.items())), self._members
            )
        return self._found

    def _look_at(self, coordinator: Coordinator, group: Group, broker: Broker) -> None:
        _, state, members = _standing(coordinator, group)
        self._by_state[state] += 1
        self._members += members
        lag = committed = 0
        newest_ms = -1
        has_offsets = False
        for where, at in group.offsets.items():
            partition = broker.partitions.get(where)
            if partition is None or not partition.leads:
                continue
            has_offsets = True
            committed += at.offset
            if (left := partition.high_watermark - at.offset) > 0:
                lag += left
                newest_ms = max(newest_ms, at.commit_ms)
        self._seen.append(
            Seen(-lag, group.group_id, coordinator, has_offsets, committed, newest_ms)
        )


def _statistics(seen: Seen, now: Now) -> GroupStatistics:
    group = seen.coordinator.image.groups.get(seen.group_id)
    kind, state, members = ("", "Dead", 0) if group is None else _standing(seen.coordinator, group)
    lag = -seen.lag_below if seen.has_offsets else None
    blocked_by = _cause(state, members, lag, now.wall_ms - seen.newest_ms)
    if blocked_by is not None and group is not None:
        blocked_by += _awaited(group)
    return GroupStatistics(
        group=seen.group_id,
        kind=kind,
        state=state,
        members=members,
        lag=lag,
        lag_ms=None if lag else lag,
        blocked_by=blocked_by,
        committed=seen.committed,
    )


def _standing(coordinator: Coordinator, group: Group) -> tuple[str, str, int]:
    """Return what kind of group it is, what it is doing and how many members it has."""
    if group.consumer is not None:
        return "consumer", group.consumer.state, len(group.consumer.members)
    classic = coordinator.classic
    return "classic", classic.state_of(group.group_id).value, classic.member_count(group.group_id)


def _cause(state: str, members: int, lag: int | None, silent_ms: int) -> str | None:
    """Return what keeps a group from reading; only what is certain.

    Args:
        state: of the group.
        members: how many there are.
        lag: records that wait.
        silent_ms: since the newest commit in a partition where records wait.
    """
    if state in REBALANCES:
        return f"rebalance under way ({state}): {REBALANCES[state]}"
    if not lag:
        return None
    if not members:
        return f"no members: {lag:,} records wait and nobody reads them"
    if silent_ms >= SILENT_MS:
        return f"nothing was committed for {silent_ms // 1000:,} s where {lag:,} records wait"
    return None


def _awaited(group: Group) -> str:
    """Name members that have not moved to their assignment yet, as an end of the sentence."""
    consumer = group.consumer
    if consumer is None or consumer.state != "Reconciling":
        return ""
    epoch = consumer.assignment_epoch
    late = [m.member_id for m in consumer.members.values() if not m.is_reconciled_to(epoch)]
    more = f" and {len(late) - NAMED_MAX:,} more" if len(late) > NAMED_MAX else ""
    return f"; not there yet: {', '.join(late[:NAMED_MAX])}{more}"


def _with_ages(
    groups: list[GroupStatistics], broker: Broker, now: Now
) -> tuple[GroupStatistics, ...]:
    """Add the age of the oldest record that waits, for as many as a picture may look up."""
    looks = 0
    told = []
    for group in groups:
        waiting = _waiting(group.group, broker) if group.lag else []
        looks += len(waiting)
        if waiting and looks <= GROUP_AGES_MAX:
            times = [_written_ms(partition, offset) for partition, offset in waiting]
            known = [time for time in times if time is not None and time >= 0]
            if len(known) == len(times):  # The oldest might be one that is not known.
                age_ms = max(0, now.wall_ms - min(known))
                group = dataclasses.replace(group, lag_ms=age_ms)
        told.append(group)
    return tuple(told)


def _waiting(group_id: str, broker: Broker) -> list[tuple[Partition, Offset]]:
    seat, error = broker.coordinators.find(group_id)
    group = None if seat is None or error else seat.coordinator.image.groups.get(group_id)
    found = []
    for where, at in group.offsets.items() if group is not None else ():
        partition = broker.partitions.get(where)
        if partition is not None and partition.leads and at.offset < partition.high_watermark:
            found.append((partition, max(at.offset, partition.log.log_start_offset)))
    return found


def _written_ms(partition: Partition, offset: Offset) -> TimestampMs | None:
    """Return when the batch with an offset was begun; None if that takes a disk to know."""
    try:
        pieces = partition.log.read(offset, 1, partition.high_watermark)
        head = pieces[0].file.read_if_cached(pieces[0].position, HEADER_SIZE) if pieces else None
    except (LogError, DiskError):
        return None  # A picture is no place to find that out.
    if head is None:
        return None
    header = read_batch_header(head)
    if header.attributes & LOG_APPEND_TIME:
        return header.max_timestamp
    return header.base_timestamp
