"""Members of a group by KIP-848 that still speak the classic protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.groups.classic_rebalance import join_refused
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.heartbeat import HeartbeatResponse
from mesh.wire.schemas.join_group import JoinGroupRequest
from mesh.wire.schemas.leave_group import LeaveGroupResponse
from mesh.wire.schemas.sync_group import SyncGroupResponse

if TYPE_CHECKING:
    from mesh.groups.consumer import ConsumerGroups
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Ask, Turn


class ClassicMembers:
    """Of the groups by KIP-848 of one coordinator."""

    def __init__(self, coordinator: Coordinator, consumer: ConsumerGroups) -> None:
        """See the requests."""
        self._coordinator = coordinator
        self._consumer = consumer

    def join(self, ask: Ask, turn: Turn) -> None:
        """Answer a JoinGroup; an empty group becomes a classic one by it."""
        body = ask.body
        assert isinstance(body, JoinGroupRequest)
        group = self._consumer.group(body.group_id)
        if group is not None and not group.members:
            self._consumer.delete(body.group_id, turn)
            self._coordinator.classic.join(ask, turn)
            return
        code = ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        turn.reply(ask, join_refused(ask.version, code, body.member_id), body.group_id)

    def sync(self, ask: Ask, turn: Turn) -> None:
        """Answer a SyncGroup."""
        turn.reply(ask, SyncGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID), None)

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Answer a Heartbeat."""
        turn.reply(ask, HeartbeatResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID), None)

    def leave(self, ask: Ask, turn: Turn) -> None:
        """Answer a LeaveGroup."""
        turn.reply(ask, LeaveGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID), None)
