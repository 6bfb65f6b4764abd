"""OffsetCommit (key 8): keep how far a group has come (G44)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.coordinators import Pending
    from mesh.groups import Ask, Coordinator, Turn
    from mesh.wire import Message


def handle(broker: Broker, request: Request, body: OffsetCommitRequest) -> Message | Pending:
    """Give it to the group's coordinator, and answer once it is committed."""

    def refuse(code: ErrorCode) -> OffsetCommitResponse:
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(
                    name=topic.name,
                    topic_id=topic.topic_id,
                    partitions=[
                        OffsetCommitResponsePartition(
                            partition_index=each.partition_index, error_code=code
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in body.topics
            ]
        )

    return broker.coordinators.ask(request, body, body.group_id, _commit, refuse, writes=True)


def _commit(coordinator: Coordinator, ask: Ask, turn: Turn) -> None:
    coordinator.offsets.commit(ask, turn)


HANDLER = Handler(key=8, versions=(2, 10), request=OffsetCommitRequest, handle=handle)
