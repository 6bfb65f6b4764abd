"""The uniform assignor where members subscribe to different topics.

What is free goes to whoever of its topic's subscribers has least; then topic by topic partitions
are moved from those with most to those with least, until a round changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesh.groups.assignors.draft import Draft, in_order
from mesh.groups.assignors.spec import Assignment, Spec
from mesh.model.types import TopicId

_ROUNDS_MAX = 16
"""As in Kafka: what is not even by then stays as it is."""


class Uneven:
    """One computation. Members go by their place in the order, not by their ids."""

    def __init__(self, spec: Spec) -> None:
        """See Spec."""
        self._spec = spec
        self._members = list(spec.members.values())
        self._subscribers: dict[TopicId, list[int]] = {}
        for index, member in enumerate(self._members):
            for topic_id in member.topic_ids:
                self._subscribers.setdefault(topic_id, []).append(index)
        self._owners = {
            topic_id: [-1] * spec.partitions[topic_id] for topic_id in self._subscribers
        }
        self._sizes = [0] * len(self._members)
        self._drafts: dict[int, Draft] = {}

    def assign(self) -> dict[str, Assignment]:
        """Assign every partition of every topic to one of the topic's subscribers."""
        if not self._subscribers:
            return {}
        self._keep()
        self._assign_free()
        self._balance()
        return {
            member_id: self._drafts[index].done()
            if index in self._drafts
            else self._members[index].target
            for index, member_id in enumerate(self._spec.members)
        }

    def _keep(self) -> None:
        for index, member in enumerate(self._members):
            topic_ids = set(member.topic_ids)
            for topic_id, partitions in member.target.items():
                if topic_id not in topic_ids:
                    self._draft(index).drop_topic(topic_id)
                    continue
                self._sizes[index] += len(partitions)
                for partition in partitions:
                    self._owners[topic_id][partition] = index

    def _in_order(self, topic_ids: Iterable[TopicId]) -> list[TopicId]:
        """Return first the topics with most partitions per subscriber, which are hardest."""

        def key(topic_id: TopicId) -> tuple[float, int, int, int]:
            count = len(self._subscribers[topic_id])
            high = int.from_bytes(topic_id[:8], "big", signed=True)
            low = int.from_bytes(topic_id[8:], "big", signed=True)
            return -self._spec.partitions[topic_id] / count, count, high, low

        return sorted(topic_ids, key=key)

    def _assign_free(self) -> None:
        free = {
            topic_id: [p for p, owner in enumerate(owners) if owner == -1]
            for topic_id, owners in self._owners.items()
        }
        for topic_id in self._in_order(topic_id for topic_id in free if free[topic_id]):
            scale = _Scale(self._sizes, self._subscribers[topic_id])
            for partition in free[topic_id]:
                self._give(topic_id, partition, scale.next_least())

    def _balance(self) -> None:
        topic_ids = self._in_order(t for t, who in self._subscribers.items() if len(who) > 1)
        last_index = -1
        for _ in range(_ROUNDS_MAX):
            for index, topic_id in enumerate(topic_ids):
                if index == last_index:
                    return  # Once around without a change.
                if self._balance_topic(topic_id) or last_index == -1:
                    last_index = index

    def _balance_topic(self, topic_id: TopicId) -> int:
        """Move partitions of one topic; return how many."""
        scale = _Scale(self._sizes, self._subscribers[topic_id])
        if scale.difference <= 1:
            return 0
        owned: dict[int, list[int]] = {}
        for partition, owner in enumerate(self._owners[topic_id]):
            owned.setdefault(owner, []).append(partition)
        moved = 0
        while not scale.is_balanced():
            while (most := scale.next_most()) is not None and not owned.get(most):
                scale.exclude_most()
            if most is None:
                break
            partition = owned[most].pop()
            least = scale.next_least()
            if scale.is_balanced():
                break
            self._give(topic_id, partition, least)
            moved += 1
        return moved

    def _give(self, topic_id: TopicId, partition: int, index: int) -> None:
        owner = self._owners[topic_id][partition]
        if owner != -1:
            self._draft(owner).drop(topic_id, partition)
            self._sizes[owner] -= 1
        subscribers_count = len(self._subscribers[topic_id])
        share = -(-self._spec.partitions[topic_id] // subscribers_count)
        self._draft(index).add(topic_id, partition, int(share / 0.75 + 1))
        self._owners[topic_id][partition] = index
        self._sizes[index] += 1

    def _draft(self, index: int) -> Draft:
        draft = self._drafts.get(index)
        if draft is None:
            draft = self._drafts[index] = Draft(in_order(self._members[index].target))
        return draft


class _Scale:
    """Names in turn the members of one topic with least, and those with most partitions.

    A partition that is given to whom `next_least` named, or taken from whom `next_most` named,
    is foreseen here; sizes are not looked at again.
    """

    def __init__(self, sizes: list[int], members: list[int]) -> None:
        self._sizes = sizes
        self._sorted = sorted(members, key=lambda index: (sizes[index], index))
        least, most = sizes[self._sorted[0]], sizes[self._sorted[-1]]
        self.difference = most - least
        """Between most and least, to begin with."""
        # Members in sorted[:least_end] have least_size partitions by now, those in
        # sorted[most_start:most_end] have most_size; next_* walk through either stretch.
        self._least_end, self._least_size, self._next_least = 0, least - 1, 0
        self._most_start = self._most_end = len(self._sorted)
        self._most_size, self._next_most = most + 1, len(self._sorted) - 1

    def is_balanced(self) -> bool:
        """Whether most and least differ by no more than one."""
        return self._most_size - self._least_size <= 1

    def next_least(self) -> int:
        """Return a member that has least; it is to get one."""
        if self._next_least >= self._least_end:
            self._least_size += 1
            while (
                self._least_end < len(self._sorted)
                and self._sizes[self._sorted[self._least_end]] == self._least_size
            ):
                self._least_end += 1
            self._next_least = 0
        self._next_least += 1
        return self._sorted[self._next_least - 1]

    def next_most(self) -> int | None:
        """Return a member that has most; it is to lose one. None if nobody is left."""
        if self._next_most < self._most_start:
            if self._most_end <= self._most_start and self._most_start > 0:
                # All of that size were excluded: go on with the next smaller size there is.
                self._most_size = self._sizes[self._sorted[self._most_start - 1]]
            else:
                self._most_size -= 1
            while (
                self._most_start > 0
                and self._sizes[self._sorted[self._most_start - 1]] == self._most_size
            ):
                self._most_start -= 1
            self._next_most = self._most_end - 1
        if self._next_most < 0:
            return None
        self._next_most -= 1
        return self._sorted[self._next_most + 1]

    def exclude_most(self) -> None:
        """Do not name the last one again: it has none of this topic."""
        index = self._next_most + 1
        self._most_end -= 1
        self._sorted[index], self._sorted[self._most_end] = (
            self._sorted[self._most_end],
            self._sorted[index],
        )
