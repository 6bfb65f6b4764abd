"""FindCoordinator (key 10): which node coordinates a group; makes the offsets' topic (G45)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.coordinators import wait_for_topic
from mesh.model.errors import ErrorCode, KafkaError
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
    """Name this node for every group, once the topic that keeps them is served."""
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
    elif broker.coordinators.find(key)[1] == ErrorCode.NOT_COORDINATOR:
        error, text = ErrorCode.COORDINATOR_NOT_AVAILABLE, "The coordinator is not available."
    if error:
        return Coordinator(
            key=key,
            node_id=NOBODY,
            host=NOWHERE,
            port=NO_PORT,
            error_code=error,
            error_message=text,
        )
    return Coordinator(key=key, node_id=broker.node_id, host=broker.host, port=broker.port)


HANDLER = Handler(key=10, versions=(0, 6), request=FindCoordinatorRequest, handle=handle)
