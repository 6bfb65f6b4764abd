"""The uniform assignor: members get as many partitions as each other, and keep what they can.

Two ways, as in Kafka: where all subscribe alike, quotas say it all (here); where they do not,
partitions are moved until it is even (uneven.py).
"""

from __future__ import annotations

from itertools import islice

from mesh.groups.assignors.draft import Draft, in_order
from mesh.groups.assignors.order import HashOrder, id_hash
from mesh.groups.assignors.spec import Assignment, Spec
from mesh.groups.assignors.uneven import Uneven
from mesh.model.types import TopicId


def assign_uniform(spec: Spec) -> dict[str, Assignment]:
    """Assign every partition of every topic to one of the topic's subscribers."""
    if not spec.members:
        return {}
    return _Even(spec).assign() if spec.alike else Uneven(spec).assign()


class _Even:
    """One computation where all members subscribe to the same topics."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        first = next(iter(spec.members.values()))
        capacity = max(int(first.names_count / 0.75) + 1, 16)
        self._topic_ids = HashOrder(id_hash, first.topic_ids, capacity)
        self._free: list[tuple[TopicId, int]] = []
        self._drafts: dict[str, Draft] = {}
        self._unfilled: list[tuple[str, int]] = []
        """Members with the number of partitions that they still get."""

    def assign(self) -> dict[str, Assignment]:
        if not self._topic_ids:
            return {}
        taken = {
            (topic_id, partition)
            for member in self._spec.members.values()
            for topic_id, partitions in member.target.items()
            for partition in partitions
        }
        count = 0
        for topic_id in self._topic_ids:
            partitions = range(self._spec.partitions[topic_id])
            count += len(partitions)
            self._free += [(topic_id, p) for p in partitions if (topic_id, p) not in taken]
        self._revoke(*divmod(count, len(self._spec.members)))
        free = iter(self._free)
        for member_id, quota in self._unfilled:
            draft = self._draft(member_id)
            for topic_id, partition in islice(free, quota):
                draft.add(topic_id, partition)
        return {
            member_id: self._drafts[member_id].done()
            if member_id in self._drafts
            else member.target
            for member_id, member in self._spec.members.items()
        }

    def _revoke(self, share: int, extra: int) -> None:
        """Take from each member what exceeds its quota; the first ones have one more."""
        members_left = len(self._spec.members)
        for member_id, member in self._spec.members.items():
            has_extra = extra > 0
            quota = share + has_extra
            for topic_id, partitions in in_order(member.target).items():
                if topic_id not in self._topic_ids:
                    self._draft(member_id).drop_topic(topic_id)
                    continue
                for partition in partitions[quota:]:
                    self._draft(member_id).drop(topic_id, partition)
                    self._free.append((topic_id, partition))
                quota -= min(quota, len(partitions))
            if quota > 0 and has_extra and members_left > extra:
                # Somebody behind it may keep what it has by having one more.
                quota -= 1
                has_extra = False
            if quota > 0:
                self._unfilled.append((member_id, quota))
            extra -= has_extra
            members_left -= 1

    def _draft(self, member_id: str) -> Draft:
        draft = self._drafts.get(member_id)
        if draft is None:
            target = in_order(self._spec.members[member_id].target)
            draft = self._drafts[member_id] = Draft(target)
        return draft
