"""How far a group is behind, in records and in time, and what keeps it there.

`take_look` asks the cluster; everything after it is pure: two looks make rates, and what is said
to block a group rests on what the looks show, with the numbers beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mesh.client import (
    EARLIEST,
    LATEST,
    Client,
    CommittedOffset,
    GroupState,
    MemberState,
    TopicPartition,
    describe_group,
    fetch_offsets,
    first_timestamps,
    list_offsets,
)
from mesh.client.client import now
from tools.screen import duration

SILENT_MS = 10_000
"""A member that commits nothing is named only if the first record that waits for it is older:
twice the interval at which clients commit by default."""
NAMED_MAX = 3
"""Partitions and members that one sentence names."""
REBALANCES = {
    "PreparingRebalance": "it waits for its members to join again",
    "CompletingRebalance": "it waits for its leader's assignment",
    "Assigning": "the coordinator computes the assignment",
    "Reconciling": "members are moving to the new assignment",
}
"""States in which a group is between two assignments, and what each of them means."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a log."""

    first: int
    """The first offset that is kept."""
    end: int
    """The high watermark."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a group and its partitions were at one instant."""

    at_ms: int
    """Monotonic instant of the offsets."""
    wall_ms: int
    state: GroupState
    committed: Mapping[TopicPartition, CommittedOffset]
    ends: Mapping[TopicPartition, Ends]
    """Of the partitions that have a leader."""
    leaderless: frozenset[TopicPartition] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLag:
    """A partition, as far as the group is concerned."""

    partition: TopicPartition
    committed: int | None
    """None if the group never committed there."""
    first: int | None
    end: int | None
    lag: int | None
    """Records from the committed offset up to the end; offsets, where some were compacted away."""
    lag_ms: int | None
    """Age of the first record that waits; 0 if none does, None if it is not known."""
    consume_s: float | None
    """How fast the committed offset moved; None with one look, or if it went back."""
    produce_s: float | None
    member: MemberState | None
    """Who holds it, as the coordinator says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLag:
    """A group, and how far it is behind."""

    state: GroupState
    partitions: tuple[PartitionLag, ...]
    lag: int | None
    """Sum of those that are known; None if none is."""
    lag_ms: int | None
    """The oldest record that waits; None if that is not known."""
    window_ms: int
    """Between the two looks; 0 with one."""
    consume_s: float | None
    produce_s: float | None
    catch_up_ms: int | None
    """Until the lag is 0 at these rates; None if never, or if there are no rates."""
    blocked_by: tuple[str, ...] = field(default=())


async def take_look(client: Client, group: str) -> Look:
    """Ask for a group, its committed offsets, and the ends of all partitions it has to do with.

    Raises:
        GroupNotFoundError: there is none of this name.
        KafkaError: the coordinator or a leader objects.
    """
    state = await describe_group(client, group)
    committed = await fetch_offsets(client, group)
    held = {place for member in state.members for place in member.assigned or ()}
    wanted = sorted(held | set(committed))
    await client.refresh(sorted({place.topic for place in wanted}))
    known = [place for place in wanted if client.cluster.partition(place) is not None]
    led = [place for place in known if client.cluster.leader(place) is not None]
    ends = {}
    if led:
        firsts = await list_offsets(client, led, EARLIEST)
        lasts = await list_offsets(client, led, LATEST)
        ends = {place: Ends(firsts[place].offset, lasts[place].offset) for place in led}
    at = now()
    leaderless = frozenset(known) - frozenset(led)
    return Look(at.monotonic_ms, at.wall_ms, state, committed, ends, leaderless)


async def ages(client: Client, look: Look) -> dict[TopicPartition, int]:
    """Return the timestamp of the first record that waits, of each partition that lags."""
    waiting = {
        place: max(at.offset, look.ends[place].first)
        for place, at in look.committed.items()
        if place in look.ends and at.offset < look.ends[place].end
    }
    return await first_timestamps(client, waiting) if waiting else {}


def measure(before: Look | None, look: Look, timestamps: Mapping[TopicPartition, int]) -> GroupLag:
    """Return how far a group is behind at a look.

    Args:
        before: an earlier look, for rates.
        look: the one that counts.
        timestamps: of the first record that waits in each partition, where it is known.
    """
    window_ms = 0 if before is None else look.at_ms - before.at_ms
    then = before if window_ms > 0 else None
    holders = {place: member for member in look.state.members for place in member.assigned or ()}
    places = sorted(set(look.committed) | set(look.ends) | set(holders))
    parts = tuple(
        _measure_one(then, look, place, timestamps.get(place), holders.get(place))
        for place in places
    )
    lags = [part.lag for part in parts if part.lag is not None]
    waits = [part.lag_ms for part in parts if part.lag]
    lag = sum(lags) if lags else None
    consume_s = _total(part.consume_s for part in parts)
    produce_s = _total(part.produce_s for part in parts)
    return GroupLag(
        state=look.state,
        partitions=parts,
        lag=lag,
        # One that is not known could be the oldest.
        lag_ms=None if lag is None or None in waits else max(filter(None, waits), default=0),
        window_ms=max(0, window_ms),
        consume_s=consume_s,
        produce_s=produce_s,
        catch_up_ms=catch_up_ms(lag, consume_s, produce_s),
        blocked_by=tuple(causes(then, look, parts)),
    )


def _total(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def _measure_one(
    then: Look | None,
    look: Look,
    place: TopicPartition,
    timestamp_ms: int | None,
    member: MemberState | None,
) -> PartitionLag:
    ends, at = look.ends.get(place), look.committed.get(place)
    lag = None if ends is None or at is None else max(0, ends.end - at.offset)
    lag_ms = 0 if lag == 0 else None
    if lag and timestamp_ms is not None and timestamp_ms >= 0:
        lag_ms = max(0, look.wall_ms - timestamp_ms)
    consume_s = produce_s = None
    if then is not None:
        seconds = (look.at_ms - then.at_ms) / 1000
        was, earlier = then.committed.get(place), then.ends.get(place)
        if at is not None and was is not None and at.offset >= was.offset:
            consume_s = (at.offset - was.offset) / seconds
        if ends is not None and earlier is not None and ends.end >= earlier.end:
            produce_s = (ends.end - earlier.end) / seconds
    return PartitionLag(
        partition=place,
        committed=None if at is None else at.offset,
        first=None if ends is None else ends.first,
        end=None if ends is None else ends.end,
        lag=lag,
        lag_ms=lag_ms,
        consume_s=consume_s,
        produce_s=produce_s,
        member=member,
    )


def catch_up_ms(lag: int | None, consume_s: float | None, produce_s: float | None) -> int | None:
    """Return how long the lag lasts at these rates; None if for ever, or if they are not known."""
    if lag == 0:
        return 0
    if lag is None or consume_s is None or produce_s is None or consume_s <= produce_s:
        return None
    return round(lag / (consume_s - produce_s) * 1000)


def causes(then: Look | None, look: Look, parts: Iterable[PartitionLag]) -> list[str]:
    """Return what keeps a group from reading, each a sentence with its evidence; worst first."""
    state = look.state
    behind = [part for part in parts if part.lag]
    found = (
        [f"{names(look.leaderless)} {'has' if len(look.leaderless) == 1 else 'have'} no leader"]
        if look.leaderless
        else []
    )
    if state.state in REBALANCES:
        found.append(_rebalance(state))
    elif not state.members:
        if behind:
            waiting = sum(part.lag or 0 for part in behind)
            found.append(f"no members: {waiting:,} records wait and nobody reads them")
    else:
        unheld = [part.partition for part in behind if part.member is None]
        if unheld and all(member.assigned is not None for member in state.members):
            found.append(f"no member holds {names(unheld)}, where records wait")
        found += _silent(then, look, behind)
    lost = [p for p in behind if p.first is not None and (p.committed or 0) < p.first]
    if lost:
        gone = sum((part.first or 0) - (part.committed or 0) for part in lost)
        where = names(part.partition for part in lost)
        found.append(f"the log no longer has {gone:,} offsets from the committed ones on: {where}")
    return found


def _rebalance(state: GroupState) -> str:
    text = f"rebalance under way ({state.state}): {REBALANCES[state.state]}"
    wanted = {place: member.member_id for member in state.members for place in member.target or ()}
    for member in state.members:
        held = set(member.assigned or ())
        awaited = [
            place
            for place in sorted(held - set(member.target or held))
            if wanted.get(place, member.member_id) != member.member_id
        ]
        if awaited:
            return f"{text}; member {member.member_id} has not given up {names(awaited)}"
    late = [
        member.member_id
        for member in state.members
        if member.member_epoch is not None and member.member_epoch < (state.group_epoch or 0)
    ]
    if late:
        named = ", ".join(late[:NAMED_MAX]) + (", …" if len(late) > NAMED_MAX else "")
        text += f"; not yet at epoch {state.group_epoch}: {named}"
    return text


def _silent(then: Look | None, look: Look, behind: list[PartitionLag]) -> list[str]:
    """Name members that hold old records and committed nothing between the looks."""
    if then is None:
        return []
    seconds = (look.at_ms - then.at_ms) / 1000
    found = []
    for member in look.state.members:
        held = set(member.assigned or ())
        parts = [part for part in behind if part.partition in held]
        moved = any(then.committed.get(place) != look.committed.get(place) for place in held)
        # Who got a partition since the first look had no time to commit.
        same = any(
            member.member_id == other.member_id and member.assigned == other.assigned
            for other in then.state.members
        )
        ages_ms = [part.lag_ms for part in parts if part.lag_ms is not None]
        oldest_ms = max(ages_ms, default=0)
        if same and not moved and oldest_ms >= SILENT_MS:
            waiting = sum(part.lag or 0 for part in parts)
            found.append(
                f"member {member.member_id} committed nothing for {seconds:.1f} s, while "
                f"{waiting:,} records wait in {names(part.partition for part in parts)}, "
                f"the first for {duration(oldest_ms)}"
            )
    return found


def names(places: Iterable[TopicPartition]) -> str:
    """Return the first few partitions and the number of the others."""
    found = [str(place) for place in sorted(places)]
    more = f" and {len(found) - NAMED_MAX:,} more" if len(found) > NAMED_MAX else ""
    return ", ".join(found[:NAMED_MAX]) + more
