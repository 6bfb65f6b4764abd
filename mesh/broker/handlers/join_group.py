"""JoinGroup (key 11): become or stay a member of a classic group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.groups import join_refused
from mesh.wire.schemas.join_group import JoinGroupRequest, JoinGroupResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.model.errors import ErrorCode
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: JoinGroupRequest) -> Message | Pending:
    """Give it to the group's coordinator, which answers once the others have joined, too."""

    def refuse(code: ErrorCode) -> JoinGroupResponse:
        return join_refused(request.api_version, code, "")

    return broker.coordinators.ask(
        request, body, body.group_id, _join, refuse, may_wait=True, writes=True
    )


def _join(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.join(ask, turn)


HANDLER = Handler(key=11, versions=(0, 9), request=JoinGroupRequest, handle=handle)
