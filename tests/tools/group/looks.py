"""Looks at a group for tests: one classic group without members or offsets, but for what is set."""

from __future__ import annotations

from collections.abc import Mapping

from mesh.client import CommittedOffset, GroupState, MemberState, TopicPartition
from tools.group.lag import Ends, Look


def at(index: int, topic: str = "t") -> TopicPartition:
    """A partition of topic t."""
    return TopicPartition(topic, index)


def a_member(
    name: str = "m",
    assigned: tuple[TopicPartition, ...] | None = (),
    target: tuple[TopicPartition, ...] | None = None,
    epoch: int | None = None,
) -> MemberState:
    """A member that holds nothing, but for what is set."""
    return MemberState(
        member_id=name,
        instance_id=None,
        client_id="client",
        host="10.0.0.7",
        topics=("t",),
        pattern=None,
        assigned=assigned,
        target=target,
        member_epoch=epoch,
    )


def a_group(
    *members: MemberState, state: str = "Stable", kind: str = "classic", epoch: int | None = None
) -> GroupState:
    """A group of these members."""
    return GroupState(
        group="g",
        kind=kind,
        state=state,
        protocol_type="consumer",
        assignor="range",
        coordinator=1,
        group_epoch=epoch,
        members=members,
    )


def a_look(
    at_ms: int = 1_000,
    *,
    group: GroupState | None = None,
    committed: Mapping[int, int] | None = None,
    ends: Mapping[int, tuple[int, int]] | None = None,
    leaderless: tuple[int, ...] = (),
) -> Look:
    """Partition → committed offset, and partition → first offset and end, of topic t."""
    return Look(
        at_ms,
        1_000_000 + at_ms,
        group or a_group(state="Empty"),
        {at(index): CommittedOffset(offset, -1, "") for index, offset in (committed or {}).items()},
        {at(index): Ends(*pair) for index, pair in (ends or {}).items()},
        frozenset(map(at, leaderless)),
    )
