"""DescribeGroups (key 15): states and members of groups."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from mesh.broker.api import Handler, Request
from mesh.wire.schemas.describe_groups import (
    DescribedGroup,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Gathered
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.model.errors import ErrorCode
    from mesh.wire import Message, Struct


def handle(broker: Broker, request: Request, body: DescribeGroupsRequest) -> Message | Gathered:
    """Ask each group's coordinator, once for each name."""
    may = body.include_authorized_operations
    parts = [
        (group_id, body, partial(_describe, group_id, may), partial(_refused, group_id))
        for group_id in dict.fromkeys(body.groups)
    ]

    def make(found: list[Struct]) -> DescribeGroupsResponse:
        return DescribeGroupsResponse(groups=cast("list[DescribedGroup]", found))

    return broker.coordinators.ask_each(request, parts, make)


GROUP_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))
"""Read, delete, describe, both for configs: all, as without ACLs."""


def _describe(group_id: str, may: bool, coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    described = coordinator.describe(group_id, turn, ask.version)
    if may and described.error_code == 0:
        described.authorized_operations = GROUP_OPERATIONS
    turn.reply(ask, described, group_id)


def _refused(group_id: str, code: ErrorCode) -> DescribedGroup:
    return DescribedGroup(group_id=group_id, error_code=code)


HANDLER = Handler(key=15, versions=(0, 6), request=DescribeGroupsRequest, handle=handle)
