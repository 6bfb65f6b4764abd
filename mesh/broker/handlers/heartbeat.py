"""Heartbeat (key 12): a member of a classic group lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: HeartbeatRequest) -> Message | Pending:
    """Give it to the group's coordinator."""
    return broker.coordinators.ask(request, body, body.group_id, _heartbeat, _refused)


def _heartbeat(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.heartbeat(ask, turn)


def _refused(code: ErrorCode) -> HeartbeatResponse:
    # It lives for all that is known until all is loaded; a member need not do anything then.
    if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
        code = ErrorCode.NONE
    return HeartbeatResponse(error_code=code)


HANDLER = Handler(key=12, versions=(0, 4), request=HeartbeatRequest, handle=handle)
