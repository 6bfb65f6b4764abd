"""OffsetDelete (key 47): forget how far a group has come in some partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: OffsetDeleteRequest) -> Message | Pending:
    """Give it to the group's coordinator, and answer once it is committed."""
    return broker.coordinators.ask(request, body, body.group_id, _delete, _refused)


def _delete(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.offsets.delete(ask, turn)


def _refused(code: ErrorCode) -> OffsetDeleteResponse:
    return OffsetDeleteResponse(error_code=code)


HANDLER = Handler(key=47, versions=(0, 0), request=OffsetDeleteRequest, handle=handle)
