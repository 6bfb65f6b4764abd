"""What a group's history must be like, whatever happened to its members; pure.

A *stint* is the time in which a member holds one partition, as the member itself was told. A member
that stood still, or was told that it lost the partition, may not know that its stint is over: such
a stint may overlap the next one, but nothing it commits from then on may be accepted. A member may
even be told, as the first thing after it stood still, of a stint that began and was over meanwhile.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.interop.flights.ledger import Ledger
from tests.interop.members.events import (
    Assigned,
    Committed,
    Committing,
    Ended,
    Event,
    Failed,
    Killed,
    Lost,
    Observed,
    Paused,
    Refused,
    Resumed,
    Revoked,
    Rows,
)

FOREVER = 1 << 62

History = Mapping[str, Sequence[Event]]
"""What happened to each member, in its own order. A process started anew is another member."""


@dataclass(slots=True)
class Stint:
    """One member's time with one partition."""

    member: str
    partition: int
    since_us: int
    until_us: int = FOREVER
    unaware: bool = False
    """It may have lasted, for the member, longer than it did."""
    told_late: bool = False
    """It was the first thing that the member was told after it had stood still."""
    rows: list[Rows] = field(default_factory=list)

    def was_over(self, commits: Iterable[Commit]) -> bool:
        """Whether it was over before it was told: it was lost, and no commit of it accepted."""
        accepted = any(
            commit.accepted_us is not None
            and (commit.member, commit.partition) == (self.member, self.partition)
            and self.since_us <= commit.sent_us <= self.until_us
            for commit in commits
        )
        return self.told_late and self.unaware and not accepted


@dataclass(slots=True)
class Commit:
    """One offset that a member committed, or tried to."""

    member: str
    partition: int
    offset: int
    sent_us: int
    accepted_us: int | None = None
    """When the member had the answer; None if it was refused, or nobody answered."""


@dataclass(slots=True)
class Told:
    """A history taken apart: all that the rules below look at."""

    stints: list[Stint] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    stray: list[tuple[str, Rows]] = field(default_factory=list)
    """Rows that a member processed without having their partition."""
    failures: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Rows]:
        """Yield all that was processed, in no order."""
        for stint in self.stints:
            yield from stint.rows
        for _, rows in self.stray:
            yield rows


class _Reader:
    """Takes one member's events apart."""

    def __init__(self, member: str, told: Told) -> None:
        self.member = member
        self.told = told
        self.held: dict[int, Stint] = {}
        self.sent: dict[int, list[Commit]] = {}
        self.paused = False
        self.just_resumed = False

    def on(self, event: Event) -> None:
        match event:
            case Assigned(at_us, partitions):
                for partition in partitions:
                    if partition in self.held:
                        self._complain(f"was assigned {partition}, which it has")
                        continue
                    stint = Stint(
                        self.member,
                        partition,
                        at_us,
                        unaware=self.paused,
                        told_late=self.just_resumed,
                    )
                    self.held[partition] = stint
                    self.told.stints.append(stint)
            case Revoked(at_us, partitions) | Lost(at_us, partitions):
                for partition in partitions:
                    self._end(partition, at_us, unaware=isinstance(event, Lost))
            case Rows(partition=partition):
                self.just_resumed = False
                if partition in self.held:
                    self.held[partition].rows.append(event)
                else:
                    self.told.stray.append((self.member, event))
            case Committing(at_us, number, offsets):
                self.sent[number] = [Commit(self.member, p, offset, at_us) for p, offset in offsets]
                self.told.commits += self.sent[number]
            case Committed(at_us, number):
                for commit in self.sent[number]:
                    commit.accepted_us = at_us
            case Refused():
                pass
            case Paused():
                self.paused = True
                for stint in self.held.values():
                    stint.unaware = True
            case Resumed():
                self.paused = False
                self.just_resumed = True
            case Ended(at_us) | Killed(at_us):
                self._end_all(at_us, unaware=False)
            case Failed(at_us, error):
                # Fenced: since when, it cannot know.
                self._complain(f"gave up: {error}")
                self._end_all(at_us, unaware=True)

    def _complain(self, words: str) -> None:
        self.told.failures.append(f"{self.member} {words}")

    def _end_all(self, at_us: int, *, unaware: bool) -> None:
        for partition in list(self.held):
            self._end(partition, at_us, unaware=unaware)

    def _end(self, partition: int, at_us: int, *, unaware: bool) -> None:
        stint = self.held.pop(partition, None)
        if stint is None:
            self._complain(f"lost {partition}, which it had not")
            return
        stint.until_us = at_us
        stint.unaware |= unaware


def read(history: History) -> Told:
    """Take a history apart."""
    told = Told()
    for member, events in history.items():
        reader = _Reader(member, told)
        # What the story notes and what the member prints come by two ways.
        for event in sorted(events, key=lambda event: event.at_us):
            reader.on(event)
    told.stints.sort(key=lambda stint: stint.since_us)
    return told


def missing_rows(told: Told, ends: Sequence[int]) -> Iterator[str]:
    """Yield the offsets that nobody processed."""
    runs: dict[int, list[Rows]] = defaultdict(list)
    for rows in told.rows():
        runs[rows.partition].append(rows)
    for partition, end in enumerate(ends):
        reached = 0
        for rows in sorted(runs[partition], key=lambda rows: rows.first):
            if rows.first > reached:
                yield f"nobody processed {partition}@{reached} to {rows.first - 1}"
            reached = max(reached, rows.last + 1)
        if reached < end:
            yield f"nobody processed {partition}@{reached} to {end - 1}"
        if reached > end:
            yield f"{partition} ends at {end}, and rows up to {reached - 1} were processed"


def wrong_rows(told: Told, ledger: Ledger) -> Iterator[str]:
    """Yield runs of rows whose values are not what was acknowledged there."""
    for rows in told.rows():
        crc = 0
        for offset in range(rows.first, rows.last + 1):
            record = ledger.expected(rows.partition, offset)
            crc = zlib.crc32((record.value if record is not None else None) or b"", crc)
        if crc != rows.crc:
            yield f"{rows.partition}@{rows.first} to {rows.last} hold other values"


def uneven_stints(told: Told, observations: Sequence[Observed] = ()) -> Iterator[str]:
    """Yield stints that leave out rows or do them twice, and those that begin at a wrong place.

    A stint goes on from what is committed: not below what was acknowledged, or seen by the
    observer, before it began; not beyond what anybody had tried to commit.
    """
    commits: dict[int, list[Commit]] = defaultdict(list)
    for commit in told.commits:
        commits[commit.partition].append(commit)
    for stint in told.stints:
        for before, after in itertools.pairwise(stint.rows):
            if after.first != before.last + 1:
                yield (
                    f"{stint.member} went from {stint.partition}@{before.last} to {after.first}"
                    " without a new assignment"
                )
        if not stint.rows:
            continue
        begin = stint.rows[0]
        mine = commits[stint.partition]
        known = [
            commit.offset
            for commit in mine
            if commit.accepted_us is not None and commit.accepted_us <= stint.since_us
        ]
        seen = [it for it in observations if it.answered_us <= stint.since_us]
        known += [dict(it.offsets).get(stint.partition, 0) for it in seen]
        lowest = max(known, default=0)
        tried = (commit.offset for commit in mine if commit.sent_us <= begin.at_us)
        highest = max(tried, default=0)
        if not lowest <= begin.first <= highest:
            yield (
                f"{stint.member} began {stint.partition} at {begin.first};"
                f" committed were {lowest}, at most {highest}"
            )


def double_owners(told: Told) -> Iterator[str]:
    """Yield partitions that two members had at one time, and both had to know."""
    for partition, stints in _owners(told).items():
        for before, after in itertools.combinations(stints, 2):
            if before.member == after.member or before.unaware:
                continue
            if after.since_us < before.until_us:
                yield f"{before.member} still had {partition} when {after.member} was given it"


def _owners(told: Told) -> dict[int, list[Stint]]:
    """Return the stints with each partition, but for those that were over before they were told."""
    found: dict[int, list[Stint]] = defaultdict(list)
    for stint in told.stints:
        if not stint.was_over(told.commits):
            found[stint.partition].append(stint)
    return found


def strangers_commits(told: Told) -> Iterator[str]:
    """Yield commits that were accepted from one who was no longer, or never, the owner."""
    stints = _owners(told)
    for commit in told.commits:
        if commit.accepted_us is None:
            continue
        owners = [it for it in stints[commit.partition] if it.since_us <= commit.sent_us]
        if not owners or owners[-1].member != commit.member:
            owner = owners[-1].member if owners else "nobody"
            yield (
                f"{commit.member} committed {commit.partition}@{commit.offset},"
                f" and {owner} was the owner"
            )


def premature_commits(told: Told) -> Iterator[str]:
    """Yield commits beyond what their own member had processed."""
    done_at: dict[tuple[str, int, int], int] = {}
    for stint in told.stints:
        for rows in stint.rows:
            done_at.setdefault((stint.member, stint.partition, rows.last + 1), rows.at_us)
    for commit in told.commits:
        at_us = done_at.get((commit.member, commit.partition, commit.offset), FOREVER)
        if at_us > commit.sent_us:
            yield f"{commit.member} commits {commit.partition}@{commit.offset} before it is there"


def commits_that_go_back(told: Told) -> Iterator[str]:
    """Yield accepted commits below one that had been acknowledged before they were sent."""
    accepted: dict[int, list[Commit]] = defaultdict(list)
    for commit in told.commits:
        if commit.accepted_us is not None:
            accepted[commit.partition].append(commit)
    for partition, commits in accepted.items():
        moments = [(it.accepted_us or 0, 0, it) for it in commits]
        moments += [(it.sent_us, 1, it) for it in commits]
        highest = 0
        for _, is_sent, commit in sorted(moments, key=lambda moment: moment[:2]):
            if is_sent and commit.offset < highest:
                yield f"{commit.member} committed {partition}@{commit.offset} after {highest}"
            if not is_sent:
                highest = max(highest, commit.offset)


def wrong_observations(told: Told, observations: Sequence[Observed]) -> Iterator[str]:
    """Yield what the broker said that is older than it had acknowledged, or younger than sent."""
    last: dict[int, int] = {}
    for observed in observations:
        offsets = dict(observed.offsets)
        for partition, before in last.items():
            if offsets.get(partition, 0) < before:
                yield f"{partition}@{before} was committed, then {offsets.get(partition)}"
        last |= offsets
        for partition in {commit.partition for commit in told.commits}:
            mine = [commit for commit in told.commits if commit.partition == partition]
            known = [
                commit.offset
                for commit in mine
                if commit.accepted_us is not None and commit.accepted_us <= observed.asked_us
            ]
            tried = [commit.offset for commit in mine if commit.sent_us <= observed.answered_us]
            lowest, highest = max(known, default=0), max(tried, default=0)
            if not lowest <= offsets.get(partition, 0) <= highest:
                yield (
                    f"the broker said {partition}@{offsets.get(partition)};"
                    f" acknowledged were {lowest}, tried {highest}"
                )


def anomalies(
    history: History,
    observations: Sequence[Observed],
    ledger: Ledger,
    *,
    tells_its_assignment: bool = True,
    may_give_up: frozenset[str] = frozenset(),
) -> list[str]:
    """Return all that is wrong with a history that has come to rest; nothing is good news.

    Args:
        history: all events of all members.
        observations: what the broker said was committed, in the order it was asked; the last was
            asked when nothing was left to read.
        ledger: the rows there were.
        tells_its_assignment: False for clients that go on with partitions for a moment after
            they say that they gave them up: rows and commits of such moments are not looked at.
        may_give_up: members that are to be fenced.
    """
    told = read(history)
    ends = ledger.ends()
    failures = [it for it in told.failures if it.partition(" gave up: ")[0] not in may_give_up]
    found = [*failures, *missing_rows(told, ends), *wrong_rows(told, ledger)]
    if tells_its_assignment:
        found += [f"{member} had not {rows.partition}: {rows}" for member, rows in told.stray]
        found += uneven_stints(told, observations)
        found += premature_commits(told)
    found += double_owners(told)
    found += strangers_commits(told)
    found += commits_that_go_back(told)
    found += wrong_observations(told, observations)
    final = dict(observations[-1].offsets) if observations else {}
    for partition, end in enumerate(ends):
        if end > 0 and final.get(partition) != end:
            found.append(f"{partition} ends at {end}, committed is {final.get(partition)}")
    return found


def repeated_count(history: History) -> int:
    """Return how many rows were processed more than once, each repetition counted."""
    seen: set[tuple[int, int]] = set()
    repeated = 0
    for rows in read(history).rows():
        for offset in range(rows.first, rows.last + 1):
            repeated += (rows.partition, offset) in seen
            seen.add((rows.partition, offset))
    return repeated
