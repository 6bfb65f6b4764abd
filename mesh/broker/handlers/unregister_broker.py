"""UnregisterBroker (key 64): a node that is gone for good; a node that lives is not let go so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: UnregisterBrokerRequest
) -> UnregisterBrokerResponse:
    """Refuse: who is unknown cannot be taken out, and the one member that there is lives."""
    number = body.broker_id
    if number not in broker.registry.nodes:
        return UnregisterBrokerResponse(
            error_code=ErrorCode.BROKER_ID_NOT_REGISTERED,
            error_message=f"Broker ID {number} is not currently registered",
        )
    # Kafka takes a live broker out too: it is in no Metadata any more, and its partitions have
    # no leader until it is started again.
    return UnregisterBrokerResponse(
        error_code=ErrorCode.INVALID_REQUEST,
        error_message=f"Node {number} is a living member of this mesh and holds its partitions: "
        "it is not unregistered. Stop it, if it is to serve no more.",
    )


HANDLER = Handler(key=64, versions=(0, 0), request=UnregisterBrokerRequest, handle=handle)
