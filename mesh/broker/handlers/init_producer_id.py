"""InitProducerId (key 22): ids for idempotent producers, from blocks claimed in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

CLAIM_MS_MAX = 5_000
"""A claim that is not committed by then is answered with a retriable error."""


def handle(
    broker: Broker, request: Request, body: InitProducerIdRequest
) -> InitProducerIdResponse | AfterCommit:
    """Hand out the next id of our block; claim another block when it is used up."""
    if body.transactional_id is not None:
        # The answer has no room for a text. This code is fatal for a producer, and is what
        # Kafka says where a client may not use transactions, as nobody may here so far.
        return _refused(
            ErrorCode.INVALID_REQUEST
            if body.transactional_id == ""
            else ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        )
    if (body.producer_id == -1) != (body.producer_epoch == -1):
        return _refused(ErrorCode.INVALID_REQUEST)  # Both or neither (KIP-360).
    producer_id = broker.registry.take_producer_id()
    if producer_id is not None:
        return InitProducerIdResponse(producer_id=producer_id)

    def finish(committed: bool, now: Now) -> InitProducerIdResponse:
        found = broker.registry.take_producer_id() if committed else None
        if found is None:
            return _refused(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return InitProducerIdResponse(producer_id=found)

    try:
        wait = broker.claim_producer_ids(request.now)
    except KafkaError as error:
        return _refused(error.code)

    def claimed() -> bool:
        return wait[1] > 0 or broker.registry.has_producer_ids

    return AfterCommit([wait], request.now.monotonic_ms + CLAIM_MS_MAX, finish, claimed)


def _refused(code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)


HANDLER = Handler(key=22, versions=(0, 5), request=InitProducerIdRequest, handle=handle)
