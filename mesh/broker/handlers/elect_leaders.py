"""ElectLeaders (key 43): give partitions back to their preferred replicas, or to any (KIP-460)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.partition import NOBODY
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, Now
from mesh.registry import shard_of
from mesh.wire.schemas.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


class ElectionType(IntEnum):
    """The protocol's numbers."""

    PREFERRED = 0
    """To the first of a partition's replicas."""
    UNCLEAN = 1
    """To any replica, also if that loses records; only where nobody leads."""


def handle(
    broker: Broker, request: Request, body: ElectLeadersRequest
) -> ElectLeadersResponse | AfterCommit:
    """Answer each partition that was named; of all (null), those that need a leader.

    A leader that can hand over is asked to; the answer waits until the preferred one leads.
    """
    response = ElectLeadersResponse()
    refused = _refusal(body)
    if refused is not None and body.topic_partitions != []:
        response.error_code = refused.code
    if body.topic_partitions is None and refused is not None:
        return response
    election = _Election(broker, request.now, body.election_type)
    if body.topic_partitions is None:
        for name, topic in broker.registry.topics.items():
            answers = [(at, election.begin(name, at)) for at in range(topic.partition_count)]
            told = [
                _result(index, error)
                for index, error in answers
                if error is None or error.code != ErrorCode.ELECTION_NOT_NEEDED
            ]
            response.replica_election_results.append(
                ReplicaElectionResult(topic=name, partition_result=told)
            )
    for named in body.topic_partitions or ():
        results = [
            _result(index, refused or election.begin(named.topic, index))
            for index in named.partitions
        ]
        response.replica_election_results.append(
            ReplicaElectionResult(topic=named.topic, partition_result=results)
        )
    return election.answer(response, body.timeout_ms)


def _refusal(body: ElectLeadersRequest) -> KafkaError | None:
    if body.timeout_ms <= 0:  # As in Kafka the time is up before anything is looked at.
        return KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    if body.election_type not in ElectionType.__members__.values():
        text = f"Unknown election type {body.election_type}"
        return KafkaError(ErrorCode.INVALID_REQUEST, text)
    return None


def _result(index: int, error: KafkaError | None) -> PartitionResult:
    if error is None:
        return PartitionResult(partition_id=index, error_message=None)
    return PartitionResult(partition_id=index, error_code=error.code, error_message=error.message)


class _Election:
    """The hand-overs that one request asks for."""

    def __init__(self, broker: Broker, now: Now, election_type: int) -> None:
        self._broker = broker
        self._now = now
        self._type = election_type
        self._begun: dict[tuple[str, int], NodeId] = {}
        """By partition, who is to lead it."""

    def begin(self, name: str, index: int) -> KafkaError | None:
        """Ask the leader to hand over; return why there is no election, None if there is one."""
        broker = self._broker
        topic = broker.registry.topics.get(name)
        if topic is None:
            return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
        if not 0 <= index < topic.partition_count:
            text = f"No such partition as {name}-{index}"
            return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
        owner = broker.owner(topic, index)
        preferred = owner.replicas[0]
        unclean = self._type == ElectionType.UNCLEAN
        if owner.node_id == preferred or (owner.node_id != NOBODY and unclean):
            text = "Leader election not needed for topic partition."
            return KafkaError(ErrorCode.ELECTION_NOT_NEEDED, text)
        if unclean:
            text = "Nobody leads the partition, and no replica of it is available."
            return KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, text)
        if (
            owner.node_id == NOBODY
            or preferred not in broker.members
            or not broker.relay.prefer(owner.node_id, (topic.topic_id, index), preferred, self._now)
        ):
            text = f"Node {preferred}, which should lead the partition, is not available."
            return KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, text)
        self._begun[name, index] = preferred
        return None

    def answer(
        self, response: ElectLeadersResponse, timeout_ms: int
    ) -> ElectLeadersResponse | AfterCommit:
        """Return the response, or what makes it once all that was begun is over."""
        if not self._begun:
            return response
        homes = {self._broker.shards[shard_of(name)] for name, _ in self._begun}

        def finish(committed: bool, now: Now) -> ElectLeadersResponse:
            del committed, now
            for topic in response.replica_election_results:
                for result in topic.partition_result:
                    key = topic.topic, result.partition_id
                    if key not in self._begun:
                        continue
                    if self._is_in_vain(*key):
                        result.error_code = ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
                        result.error_message = "The preferred leader holds it no more."
                    elif not self._is_over(*key):
                        result.error_code = ErrorCode.REQUEST_TIMED_OUT
                        result.error_message = "The preferred leader did not take over in time."
            return response

        def over() -> bool:
            return all(self._is_over(*key) or self._is_in_vain(*key) for key in self._begun)

        deadline_ms = self._now.monotonic_ms + timeout_ms
        return AfterCommit([(home, 0) for home in homes], deadline_ms, finish, over)

    def _is_over(self, name: str, index: int) -> bool:
        topic = self._broker.registry.topics.get(name)
        if topic is None:
            return True
        return self._broker.owner(topic, index).node_id == self._begun[name, index]

    def _is_in_vain(self, name: str, index: int) -> bool:
        """Whether who was to lead it is no replica any more: a reassignment was taken back."""
        topic = self._broker.registry.topics.get(name)
        if topic is None:
            return False
        owner = self._broker.owner(topic, index)
        return owner.node_id != NOBODY and self._begun[name, index] not in owner.replicas


HANDLER = Handler(key=43, versions=(0, 2), request=ElectLeadersRequest, handle=handle)
