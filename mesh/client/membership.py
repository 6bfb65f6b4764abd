"""A member of a new consumer group (KIP-848): what it says to its coordinator, and when. Pure.

One heartbeat is on its way at a time. The coordinator answers with the partitions that are ours;
what we no longer have we give up first (its user commits), then we say what we hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from mesh.client.codes import code_of
from mesh.model.errors import ErrorCode
from mesh.model.types import Now, TopicId
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)

Held: TypeAlias = frozenset[tuple[TopicId, int]]
"""Partitions by their topic's id, as the protocol names them."""

JOIN, LEAVE = 0, -1
"""Member epochs that say so."""
BEAT_MS_MIN = 100
"""However short an interval a coordinator asks for."""
FENCED = frozenset({ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID})
"""The group goes on without us: others have our partitions, and we may join anew."""


class Membership:
    """One member, from its first heartbeat to its last."""

    def __init__(
        self, group: str, member_id: str, topics: Sequence[str], rebalance_ms_max: int
    ) -> None:
        """A member that has not joined yet.

        Args:
            group: to join.
            member_id: chosen by us, unlike any other.
            topics: subscribed to.
            rebalance_ms_max: how long we may take to give up partitions.
        """
        self.group = group
        self.member_id = member_id
        self.epoch = JOIN
        self.held: Held = frozenset()
        self.wanted: Held | None = None
        """What the coordinator assigned, until `take` makes it what we hold."""
        self.fenced = False
        """Whether what we held is others' by now; `forget` it without a commit."""
        self.wake_at_ms = 0
        """Monotonic instant of the next heartbeat; 0: at once."""
        self._topics = sorted(topics)
        self._rebalance_ms_max = rebalance_ms_max
        self._on_its_way = False
        self._introduced = False
        """Whether the coordinator may know us."""
        self._told: Held | None = None
        """What the coordinator knows that we hold; None: tell it everything."""

    def request(self, now: Now) -> ConsumerGroupHeartbeatRequest | None:
        """Return the heartbeat to send now; None if none is due."""
        if self._on_its_way or self.fenced or now.monotonic_ms < self.wake_at_ms:
            return None
        self._on_its_way = self._introduced = True
        everything = self._told is None
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=self.epoch,
            rebalance_timeout_ms=self._rebalance_ms_max if everything else -1,
            subscribed_topic_names=self._topics if everything else None,
            topic_partitions=_by_topic(self.held) if self.held != self._told else None,
        )
        self._told = self.held
        return request

    def answered(self, response: ConsumerGroupHeartbeatResponse, now: Now) -> ErrorCode:
        """Take an answer; return the error that ends the membership for good, or NONE."""
        self._on_its_way = False
        code = code_of(response.error_code)
        if code in FENCED:
            self.fenced = True
            return ErrorCode.NONE
        if code:
            return code
        self.epoch = response.member_epoch
        if response.assignment is not None:
            assigned = frozenset(
                (topic.topic_id, index)
                for topic in response.assignment.topic_partitions
                for index in topic.partitions
            )
            self.wanted = None if assigned == self.held else assigned
        interval_ms = max(BEAT_MS_MIN, response.heartbeat_interval_ms)
        # What we hold may have changed while the answer was on its way.
        self.wake_at_ms = now.monotonic_ms + interval_ms if self.held == self._told else 0
        return ErrorCode.NONE

    def lost(self, now: Now) -> None:
        """No answer will come: say everything again, at once."""
        self._on_its_way = False
        self._told = None
        self.wake_at_ms = now.monotonic_ms + BEAT_MS_MIN

    def take(self) -> None:
        """Hold what was assigned; what is not in it has been given up."""
        assert self.wanted is not None, "there is something to take"
        self.held, self.wanted = self.wanted, None
        self.wake_at_ms = 0

    def forget(self) -> None:
        """Hold nothing, and join again with the next heartbeat."""
        self.held, self.wanted, self.fenced = frozenset(), None, False
        self.epoch, self._told, self._introduced = JOIN, None, False
        self.wake_at_ms = 0

    def leaving(self) -> ConsumerGroupHeartbeatRequest | None:
        """Return the last heartbeat; None for one who is no member."""
        if self.fenced or not self._introduced:
            return None
        return ConsumerGroupHeartbeatRequest(
            group_id=self.group, member_id=self.member_id, member_epoch=LEAVE
        )


def _by_topic(held: Held) -> list[TopicPartitions]:
    topics: dict[TopicId, TopicPartitions] = {}
    for topic_id, index in sorted(held):
        topic = topics.setdefault(topic_id, TopicPartitions(topic_id=topic_id))
        topic.partitions.append(index)
    return list(topics.values())
