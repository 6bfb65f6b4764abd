"""Produce requests that come while their partitions are handed over: refused once the heir leads.

Who is refused at once asks where the leader is before anybody knows, is sent here again, and waits
for its back-off twice. Some milliseconds later there is a leader to be named (`redirects.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mesh.broker.api import Request
from mesh.broker.redirects import name_leaders
from mesh.broker.stored_promises import group_id
from mesh.model.errors import ErrorCode
from mesh.model.types import Now
from mesh.wire.schemas.produce import ProduceRequest, ProduceResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import LeaderEpoch

HELD_MS_MAX = 200
"""A hand-over takes some 10 ms; one that takes much longer is not waited for."""


class _Row(NamedTuple):
    partition: Partition
    leadership: int
    leader_epoch: LeaderEpoch


class AfterHandOver:
    """A refusal that is told once every partition is led by somebody else; a waiter."""

    __slots__ = ("_broker", "_request", "_response", "_rows", "deadline_ms")

    def __init__(
        self,
        broker: Broker,
        request: Request,
        body: ProduceRequest,
        response: ProduceResponse,
        partitions: Sequence[Partition],
    ) -> None:
        """`response` refuses what is about `partitions`, and stays so whoever leads by then."""
        self._broker, self._request, self._response = broker, request, response
        self._rows = [_Row(one, one.leadership, one.leader_epoch) for one in partitions]
        self.deadline_ms = request.now.monotonic_ms + min(max(body.timeout_ms, 0), HELD_MS_MAX)

    def watched(self) -> Sequence[Partition]:
        """Partitions that are handed over."""
        return [row.partition for row in self._rows]

    def poll(self, now: Now) -> ProduceResponse | None:
        """Return the response once nothing is handed over any more."""
        return self.expired(now) if all(map(self._is_over, self._rows)) else None

    def expired(self, now: Now) -> ProduceResponse:
        """Return the response with whoever leads now, if that is known."""
        del now
        name_leaders(self._broker, self._request, self._response)
        return self._response

    def _is_over(self, row: _Row) -> bool:
        partition, leadership, leader_epoch = row
        if partition.gone or partition.takes_writes:
            return True
        if partition.leads:
            return partition.leadership != leadership
        owner = self._broker.groups.owners.get(group_id(partition))
        return owner is not None and owner.leader_epoch > leader_epoch


def once_handed_over(
    broker: Broker, request: Request, body: ProduceRequest, response: ProduceResponse
) -> ProduceResponse | AfterHandOver:
    """Return a response that refuses something, or what waits for heirs that it may name."""
    found = [
        partition
        for topic in response.responses
        if (name := topic.name or broker.topic_name(topic.topic_id)) is not None
        for result in topic.partition_responses
        if result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        and (partition := broker.partitions.get((name, result.index))) is not None
        and partition.is_handed_over
    ]
    return AfterHandOver(broker, request, body, response, found) if found else response
