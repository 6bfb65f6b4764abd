"""ConsumerGroupDescribe (key 69): members of groups by KIP-848, what they have and are to have."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from mesh.broker.api import Handler, Request
from mesh.broker.handlers.describe_groups import GROUP_OPERATIONS
from mesh.model.errors import ErrorCode
from mesh.registry import GROUP_FEATURE
from mesh.wire.schemas.consumer_group_describe import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Gathered
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message, Struct


def handle(
    broker: Broker, request: Request, body: ConsumerGroupDescribeRequest
) -> Message | Gathered:
    """Ask each group's coordinator, once for each name."""
    group_ids = list(dict.fromkeys(body.group_ids))
    if not broker.registry.features.levels.get(GROUP_FEATURE):
        code = ErrorCode.UNSUPPORTED_VERSION
        return ConsumerGroupDescribeResponse(groups=[_refused(each, code) for each in group_ids])
    may = body.include_authorized_operations
    parts = [
        (group_id, body, partial(_describe, group_id, may), partial(_refused, group_id))
        for group_id in group_ids
    ]

    def make(found: list[Struct]) -> ConsumerGroupDescribeResponse:
        return ConsumerGroupDescribeResponse(groups=cast("list[DescribedGroup]", found))

    return broker.coordinators.ask_each(request, parts, make)


def _describe(group_id: str, may: bool, coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    described = coordinator.consumer.describe(group_id, turn)
    if may and described.error_code == 0:
        described.authorized_operations = GROUP_OPERATIONS
    turn.reply(ask, described, group_id)


def _refused(group_id: str, code: ErrorCode) -> DescribedGroup:
    return DescribedGroup(group_id=group_id, error_code=code)


HANDLER = Handler(key=69, versions=(0, 1), request=ConsumerGroupDescribeRequest, handle=handle)
