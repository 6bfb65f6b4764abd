"""DeleteGroups (key 42): groups without members go, with all that they have committed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Gathered
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message, Struct


def handle(broker: Broker, request: Request, body: DeleteGroupsRequest) -> Message | Gathered:
    """Ask each group's coordinator; each gets its own answer, once that is committed."""
    parts = [
        (
            group_id,
            body,
            partial(_delete, group_id),
            partial(_refused, group_id),
        )
        for group_id in dict.fromkeys(body.groups_names)
    ]

    def make(found: list[Struct]) -> DeleteGroupsResponse:
        return DeleteGroupsResponse(results=cast("list[DeletableGroupResult]", found))

    return broker.coordinators.ask_each(request, parts, make)


def _delete(group_id: str, coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.delete_group(ask, turn, group_id)


def _refused(group_id: str, code: ErrorCode) -> DeletableGroupResult:
    return DeletableGroupResult(group_id=group_id, error_code=code)


HANDLER = Handler(key=42, versions=(0, 2), request=DeleteGroupsRequest, handle=handle)
