"""SyncGroup (key 14): the leader of a classic group assigns, the others are assigned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: SyncGroupRequest) -> Message | Pending:
    """Give it to the group's coordinator, which answers once the leader has assigned."""
    return broker.coordinators.ask(
        request, body, body.group_id, _sync, _refused, may_wait=True, writes=True
    )


def _sync(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.sync(ask, turn)


def _refused(code: ErrorCode) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=code)


HANDLER = Handler(key=14, versions=(0, 5), request=SyncGroupRequest, handle=handle)
