"""ConsumerGroupHeartbeat (key 68): the one request of members of groups by KIP-848 (G47)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.groups import check_heartbeat
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import GROUP_FEATURE
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(
    broker: Broker, request: Request, body: ConsumerGroupHeartbeatRequest
) -> Message | Pending:
    """Give it to the group's coordinator, and answer once what it changed is committed."""
    if not broker.registry.features.levels.get(GROUP_FEATURE):
        return _refused(ErrorCode.UNSUPPORTED_VERSION)

    def refused(code: ErrorCode) -> ConsumerGroupHeartbeatResponse:
        """What is wrong whoever coordinates says so first, as Kafka does at every broker."""
        try:
            check_heartbeat(body, request.api_version, broker.config.consumer_assignors)
        except KafkaError as error:
            return _refused(error.code, error.message)
        return _refused(code)

    return broker.coordinators.ask(request, body, body.group_id, _heartbeat, refused)


def _heartbeat(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.consumer.heartbeat(ask, turn)


def _refused(code: ErrorCode, text: str | None = None) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=text)


HANDLER = Handler(key=68, versions=(0, 1), request=ConsumerGroupHeartbeatRequest, handle=handle)
