"""ElectLeaders (key 43): give partitions back to their preferred replicas, or to any (KIP-460)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.partition import NOBODY
from mesh.model.errors import ErrorCode, KafkaError
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


def handle(broker: Broker, request: Request, body: ElectLeadersRequest) -> ElectLeadersResponse:
    """Answer each partition that was named; of all (null), those that need a leader."""
    response = ElectLeadersResponse()
    refused = _refusal(body)
    if refused is not None and body.topic_partitions != []:
        response.error_code = refused.code
    if body.topic_partitions is None:
        if refused is None:
            response.replica_election_results = [
                ReplicaElectionResult(topic=name, partition_result=_needed(broker, name, body))
                for name in broker.registry.topics
            ]
        return response
    for named in body.topic_partitions:
        results = [
            _result(index, refused or _elect(broker, named.topic, index, body.election_type))
            for index in named.partitions
        ]
        response.replica_election_results.append(
            ReplicaElectionResult(topic=named.topic, partition_result=results)
        )
    return response


def _refusal(body: ElectLeadersRequest) -> KafkaError | None:
    if body.timeout_ms <= 0:  # As in Kafka the time is up before anything is looked at.
        return KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    if body.election_type not in ElectionType.__members__.values():
        text = f"Unknown election type {body.election_type}"
        return KafkaError(ErrorCode.INVALID_REQUEST, text)
    return None


def _result(index: int, error: KafkaError) -> PartitionResult:
    return PartitionResult(partition_id=index, error_code=error.code, error_message=error.message)


def _needed(broker: Broker, topic: str, body: ElectLeadersRequest) -> list[PartitionResult]:
    """Leave out the partitions that need no election, as Kafka does where all are asked for."""
    count = broker.registry.topics[topic].partition_count
    answers = ((at, _elect(broker, topic, at, body.election_type)) for at in range(count))
    return [
        _result(index, error)
        for index, error in answers
        if error.code != ErrorCode.ELECTION_NOT_NEEDED
    ]


def _elect(broker: Broker, name: str, index: int, election_type: int) -> KafkaError:
    """Say why there is no election; a leader that could hand over needs a second node."""
    topic = broker.registry.topics.get(name)
    if topic is None:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
    if not 0 <= index < topic.partition_count:
        text = f"No such partition as {name}-{index}"
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    leader_id = broker.owner(topic, index).node_id
    preferred = topic.replicas[index][0]
    if leader_id == preferred or (leader_id != NOBODY and election_type == ElectionType.UNCLEAN):
        text = "Leader election not needed for topic partition."
        return KafkaError(ErrorCode.ELECTION_NOT_NEEDED, text)
    if election_type == ElectionType.UNCLEAN:
        text = "Nobody leads the partition, and no replica of it is available."
        return KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, text)
    text = f"Node {preferred}, which should lead the partition, is not available."
    return KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, text)


HANDLER = Handler(key=43, versions=(0, 2), request=ElectLeadersRequest, handle=handle)
