"""FindCoordinator (key 10): which node coordinates a group; makes the offsets' topic (G45)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.coordinators import partition_of, wait_for_topic
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import OFFSETS_TOPIC
from mesh.model.types import NodeId
from mesh.wire.schemas.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.purgatory import AfterCommit

GROUP, TRANSACTION = 0, 1
KEYS_SINCE = 4
"""From this version on a request has several keys."""
NOBODY, NOWHERE, NO_PORT = -1, "", -1


def handle(
    broker: Broker, request: Request, body: FindCoordinatorRequest
) -> FindCoordinatorResponse | AfterCommit:
    """Name the coordinator of every group, once the topic that keeps them is served."""
    if body.key_type == GROUP:
        try:
            wait = broker.coordinators.make_topic(request.now)
        except KafkaError:
            wait = None
        if wait is not None:
            make = functools.partial(_answer, broker, request.api_version, body)
            return wait_for_topic(broker, wait, request.now, make)
    return _answer(broker, request.api_version, body)


def _answer(broker: Broker, version: int, body: FindCoordinatorRequest) -> FindCoordinatorResponse:
    if version >= KEYS_SINCE:
        found = [_find(broker, body.key_type, key) for key in body.coordinator_keys]
        return FindCoordinatorResponse(coordinators=found)
    one = _find(broker, body.key_type, body.key)
    return FindCoordinatorResponse(
        error_code=one.error_code,
        error_message=one.error_message or "NONE",  # As Kafka says it in these versions.
        node_id=one.node_id,
        host=one.host,
        port=one.port,
    )


def _find(broker: Broker, key_type: int, key: str) -> Coordinator:
    error, text = ErrorCode.NONE, ""
    if key_type == TRANSACTION:
        # Fatal for a producer; what Kafka says where a client may not use transactions.
        error = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        text = "Transactions are not served by this version of Gossamer"
    elif key_type != GROUP:
        error, text = ErrorCode.INVALID_REQUEST, f"{key_type} is no kind of coordinator here"
    node_id = NOBODY if error else _coordinator_of(broker, key)
    at = broker.members.get(node_id)
    if not error and at is None:
        error, text = ErrorCode.COORDINATOR_NOT_AVAILABLE, "The coordinator is not available."
    if at is None:
        return Coordinator(
            key=key,
            node_id=NOBODY,
            host=NOWHERE,
            port=NO_PORT,
            error_code=error,
            error_message=text,
        )
    return Coordinator(key=key, node_id=node_id, host=at.host, port=at.port)


def _coordinator_of(broker: Broker, group_id: str) -> NodeId:
    """Return who leads the partition that keeps a group; NOBODY if that is not known."""
    topic = broker.registry.topics.get(OFFSETS_TOPIC)
    if topic is None:
        return NOBODY
    index = partition_of(group_id, topic.partition_count)
    owner = broker.owner(topic, index)
    if owner.node_id == broker.node_id:
        seatless = broker.coordinators.find(group_id)[1] == ErrorCode.NOT_COORDINATOR
        return NOBODY if seatless else owner.node_id
    return owner.node_id


HANDLER = Handler(key=10, versions=(0, 6), request=FindCoordinatorRequest, handle=handle)
