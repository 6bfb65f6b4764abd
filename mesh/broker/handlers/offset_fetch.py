"""OffsetFetch (key 9): how far groups have come; one before version 8, then several (G44)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponseTopic,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Gathered
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message, Struct

GROUPS_SINCE = 8
ERROR_SINCE = 2
"""From this version on there is one error code for all; before, each partition has it."""


def handle(broker: Broker, request: Request, body: OffsetFetchRequest) -> Message | Gathered:
    """Ask every group's coordinator; what it says is committed before it leaves."""
    groups = body.groups
    if request.api_version < GROUPS_SINCE:
        groups = [_as_one_of_several(body)]
    parts = [
        (group.group_id, group, _fetch, functools.partial(_refused, group)) for group in groups
    ]

    def make(found: list[Struct]) -> OffsetFetchResponse:
        answers = cast("list[OffsetFetchResponseGroup]", found)
        if request.api_version >= GROUPS_SINCE:
            return OffsetFetchResponse(groups=answers)
        return _as_the_only_one(answers[0], groups[0], request.api_version)

    return broker.coordinators.ask_each(request, parts, make)


def _fetch(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.offsets.fetch(ask, turn)


def _refused(group: OffsetFetchRequestGroup, code: ErrorCode) -> OffsetFetchResponseGroup:
    return OffsetFetchResponseGroup(group_id=group.group_id, error_code=code)


def _as_one_of_several(body: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = body.topics
    if topics is None:
        return OffsetFetchRequestGroup(group_id=body.group_id, topics=None)
    return OffsetFetchRequestGroup(
        group_id=body.group_id,
        topics=[
            OffsetFetchRequestTopics(name=each.name, partition_indexes=each.partition_indexes)
            for each in topics
        ],
    )


def _as_the_only_one(
    found: OffsetFetchResponseGroup, asked: OffsetFetchRequestGroup, version: int
) -> OffsetFetchResponse:
    response = OffsetFetchResponse(error_code=found.error_code)
    if found.error_code and version < ERROR_SINCE:
        response.topics = [
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=index, committed_offset=-1, error_code=found.error_code
                    )
                    for index in topic.partition_indexes
                ],
            )
            for topic in asked.topics or ()
        ]
        return response
    response.topics = [
        OffsetFetchResponseTopic(
            name=topic.name,
            partitions=[
                OffsetFetchResponsePartition(
                    partition_index=each.partition_index,
                    committed_offset=each.committed_offset,
                    committed_leader_epoch=each.committed_leader_epoch,
                    metadata=each.metadata,
                    error_code=each.error_code,
                )
                for each in topic.partitions
            ],
        )
        for topic in found.topics
    ]
    return response


HANDLER = Handler(key=9, versions=(1, 10), request=OffsetFetchRequest, handle=handle)
