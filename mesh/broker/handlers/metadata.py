"""Metadata (key 3): who leads what, and topics made because somebody asked for them (G39).

A leader is named only once it serves the partition (S1): a partition whose log is not open yet
has none. A topic made here is answered for after its commit, so the first ask names its leaders.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.awaited import AwaitedLeaders, may_have_lost_a_leader
from mesh.broker.owners import NOBODY
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import INTERNAL_TOPICS, is_hidden, topic_name_fault
from mesh.model.types import NO_TOPIC_ID, Now
from mesh.registry import NewTopic, Topic, check_partition_total
from mesh.wire.schemas.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import Offset

TOPIC_OPERATIONS = sum(1 << code for code in (3, 4, 5, 6, 7, 8, 10, 11))
"""Read, write, create, delete, alter, describe, both for configs: all, as without ACLs."""
CLUSTER_OPERATIONS = sum(1 << code for code in (5, 7, 8, 9, 10, 11, 12))
"""Create, alter, describe, cluster action, describe and alter configs, idempotent write."""

IDS_SINCE = 12
"""First version in which a topic may be asked for by its id alone."""
AUTO_CREATE_MS_MAX = 1_000
"""A topic that is not committed by then has no leader yet; clients ask again by themselves."""


def handle(
    broker: Broker, request: Request, body: MetadataRequest
) -> MetadataResponse | AfterCommit | AwaitedLeaders:
    """Answer at once, or after elections, or the commit of topics that are made on demand."""
    if body.topics is None or (request.api_version == 0 and not body.topics):
        response = _response(broker, body)
        response.topics = [_topic(broker, topic, body) for topic in broker.registry.topics.values()]
        return response
    if any(wanted.topic_id != NO_TOPIC_ID or wanted.name is None for wanted in body.topics):
        return _by_id(broker, request, body, body.topics)
    names = list(dict.fromkeys(wanted.name or "" for wanted in body.topics))
    waits: list[tuple[Partition, Offset]] = []
    refused: dict[str, ErrorCode] = {}
    proposed: set[str] = set()
    """Names that are about to be topics."""
    if broker.config.auto_create_topics and body.allow_auto_topic_creation:
        for made, name in enumerate(name for name in names if _may_be_made(broker, name)):
            try:
                check_partition_total((made + 1) * broker.config.partitions)
                waits.append(broker.propose_topic(NewTopic(name=name), request.now))
                proposed.add(name)
            except KafkaError as error:
                refused[name] = error.code

    def finish(committed: bool, now: Now) -> MetadataResponse:
        response = _response(broker, body)
        for name in names:
            topic = broker.registry.topics.get(name)
            if topic is not None:
                response.topics.append(_topic(broker, topic, body))
                continue
            code = refused.get(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if topic_name_fault(name) is not None:
                code = ErrorCode.INVALID_TOPIC_EXCEPTION
            elif name in broker.registry.tentative.topics or name in proposed:
                code = ErrorCode.LEADER_NOT_AVAILABLE
            response.topics.append(
                MetadataResponseTopic(
                    error_code=code, name=name, is_internal=name in INTERNAL_TOPICS
                )
            )
        return response

    if not waits:
        if may_have_lost_a_leader(broker, names):
            return AwaitedLeaders(broker, names, request.now, functools.partial(finish, True))
        return finish(True, request.now)

    def served() -> bool:
        known = broker.registry.topics
        return all(name in known and broker.serves(known[name]) for name in proposed)

    return AfterCommit(waits, request.now.monotonic_ms + AUTO_CREATE_MS_MAX, finish, served)


def _may_be_made(broker: Broker, name: str) -> bool:
    return not (name in broker.registry.topics or name in INTERNAL_TOPICS or is_hidden(name))


def _by_id(
    broker: Broker,
    request: Request,
    body: MetadataRequest,
    asked: list[MetadataRequestTopic],
) -> MetadataResponse:
    """Answer for ids; as in Kafka, a request with ids has no names."""
    ids = list(dict.fromkeys(each.topic_id for each in asked if each.topic_id != NO_TOPIC_ID))
    if request.api_version < IDS_SINCE or not ids:
        return MetadataResponse(
            error_code=ErrorCode.INVALID_REQUEST,
            topics=[
                MetadataResponseTopic(
                    error_code=ErrorCode.INVALID_REQUEST,
                    name=each.name or "",
                    topic_id=each.topic_id,
                )
                for each in asked
            ],
        )
    response = _response(broker, body)
    for topic_id in ids:
        topic = broker.registry.topics_by_id.get(topic_id)
        if topic is not None:
            response.topics.append(_topic(broker, topic, body))
        else:
            response.topics.append(
                MetadataResponseTopic(
                    error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id
                )
            )
    return response


def _response(broker: Broker, body: MetadataRequest) -> MetadataResponse:
    response = MetadataResponse(
        brokers=[
            MetadataResponseBroker(node_id=node_id, host=at.host, port=at.port, rack=at.rack)
            for node_id, at in sorted(broker.members.items())
        ],
        cluster_id=broker.cluster_id,
        controller_id=broker.node_id,
    )
    if body.include_cluster_authorized_operations:
        response.cluster_authorized_operations = CLUSTER_OPERATIONS
    return response


def _topic(broker: Broker, topic: Topic, body: MetadataRequest) -> MetadataResponseTopic:
    answer = MetadataResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[_partition(broker, topic, index) for index in range(topic.partition_count)],
    )
    if body.include_topic_authorized_operations:
        answer.topic_authorized_operations = TOPIC_OPERATIONS
    return answer


def _partition(broker: Broker, topic: Topic, index: int) -> MetadataResponsePartition:
    owner = broker.owner(topic, index)
    there = broker.members
    replicas, in_sync = list(owner.replicas), list(owner.in_sync)
    if owner.node_id == NOBODY:
        return MetadataResponsePartition(
            error_code=ErrorCode.LEADER_NOT_AVAILABLE,
            partition_index=index,
            leader_id=NOBODY,
            replica_nodes=replicas,
            offline_replicas=[node_id for node_id in replicas if node_id not in there],
        )
    return MetadataResponsePartition(
        partition_index=index,
        leader_id=owner.node_id,
        leader_epoch=owner.leader_epoch,
        replica_nodes=replicas,
        isr_nodes=in_sync,
        offline_replicas=[node_id for node_id in replicas if node_id not in there],
    )


HANDLER = Handler(key=3, versions=(0, 13), request=MetadataRequest, handle=handle)
