"""ConsumerGroupHeartbeat (key 68): the one request of members of groups by KIP-848 (G47)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
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
    return broker.coordinators.ask(request, body, body.group_id, _heartbeat, _refused)


def _heartbeat(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.consumer.heartbeat(ask, turn)


def _refused(code: ErrorCode) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code)


HANDLER = Handler(key=68, versions=(0, 1), request=ConsumerGroupHeartbeatRequest, handle=handle)
