"""LeaveGroup (key 13): members of a classic group go, or are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.leave_group import LeaveGroupRequest, LeaveGroupResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: LeaveGroupRequest) -> Message | Pending:
    """Give it to the group's coordinator."""
    return broker.coordinators.ask(request, body, body.group_id, _leave, _refused)


def _leave(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.leave(ask, turn)


def _refused(code: ErrorCode) -> LeaveGroupResponse:
    return LeaveGroupResponse(error_code=code)


HANDLER = Handler(key=13, versions=(0, 5), request=LeaveGroupRequest, handle=handle)
