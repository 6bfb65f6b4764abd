"""What members subscribe to: names and patterns, counted, and what the topics behind them are."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.groups.assignors import HashOrder, text_hash
from mesh.groups.consumer_image import Resolved, are_alike, count

if TYPE_CHECKING:
    from mesh.groups.consumer_image import ConsumerGroup, Member
    from mesh.groups.turn import Topics

NO_TOPICS_HASH = 0
"""Of a group that subscribes to no topic that is there."""

RACK_SETS_MAX = 1_000
"""Different sets of racks that are put in order once, for all partitions and joins."""


@dataclass(slots=True)
class Counts:
    """How many subscribe to what."""

    names: dict[str, int]
    """Members by the names of topics."""
    resolved: dict[str, int]
    """Patterns by the names of topics that match."""
    regexes: dict[str, int]
    """Members by patterns."""

    @classmethod
    def of(cls, group: ConsumerGroup) -> Counts:
        """As it is."""
        return cls(dict(group.name_counts), dict(group.resolved_counts), dict(group.regex_counts))

    def replace(self, group: ConsumerGroup, old: Member, new: Member) -> None:
        """Count one member otherwise than before."""
        count(self.names, old.names, -1)
        count(self.names, new.names, 1)
        if (old.regex or "") != (new.regex or ""):
            self._drop_regex(group, old.regex)
            if new.regex:
                count(self.regexes, [new.regex], 1)

    def remove(self, group: ConsumerGroup, member: Member) -> None:
        """Count one member no more."""
        count(self.names, member.names, -1)
        self._drop_regex(group, member.regex)

    def resolve(self, before: Resolved | None, found: Resolved) -> None:
        """Count the topics that a pattern matches otherwise than before."""
        if before is not None:
            count(self.resolved, before.topics, -1)
        count(self.resolved, found.topics, 1)

    def _drop_regex(self, group: ConsumerGroup, regex: str | None) -> None:
        if regex:
            count(self.regexes, [regex], -1)
            if regex not in self.regexes and regex in group.resolved:
                count(self.resolved, group.resolved[regex].topics, -1)

    def are_alike(self, members_count: int) -> bool:
        """Whether all members subscribe to the same topics; see consumer_image.are_alike."""
        return are_alike(self.names, self.resolved, self.regexes, members_count)

    def hash(self, topics: Topics) -> int:
        """Return a number that changes with the topics behind it; see metadata_hash."""
        return metadata_hash({**self.names, **self.resolved}, topics)


@functools.lru_cache(maxsize=RACK_SETS_MAX)
def _rack_text(racks: frozenset[str]) -> str:
    """Return racks in one order: a thousand partitions have a handful of sets of them."""
    return ",".join(sorted(racks))


def metadata_hash(names: Iterable[str], topics: Topics) -> int:
    """Return a number that changes when one of these topics comes, goes, grows or moves.

    64 bits with a sign. Only compared with itself: what Kafka wrote is just another number.
    """
    digest = hashlib.blake2b(digest_size=8)
    any_there = False
    for name in sorted(names):
        topic = topics.named(name)
        if topic is None:
            continue
        any_there = True
        racks = [_rack_text(each) for each in topics.racks(topic)]
        said = f"{name}\0{topic.partition_count}\0{chr(10).join(racks)}\0"
        digest.update(topic.topic_id + said.encode())
    return int.from_bytes(digest.digest(), "big", signed=True) if any_there else NO_TOPICS_HASH


def names_in_order(
    member: Member, resolved: Mapping[str, Resolved], asked: list[str] | None = None
) -> list[str]:
    """Return the names of topics that a member subscribes to, in Kafka's order.

    Args:
        member: whose.
        resolved: by pattern.
        asked: its names as it has just sent them; None: they stand in its record.
    """
    names = HashOrder.copy_of(text_hash, sorted(member.names) if asked is None else asked)
    found = resolved.get(member.regex) if member.regex else None
    if found is None or not found.topics:
        return list(names)
    matched = HashOrder.copy_of(text_hash, found.topics)
    large, small = (names, matched) if len(names) > len(matched) else (matched, names)
    return [*large, *(name for name in small if name not in large)]
