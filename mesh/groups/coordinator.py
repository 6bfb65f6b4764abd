"""The coordinator of all groups that hash to one partition of `__consumer_offsets`.

It holds the image that the partition's records make, and gives each request to the machine whose
protocol the group speaks. It is made anew, from the log, whenever this node begins to lead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeAlias

from mesh.groups.classic import ClassicGroups
from mesh.groups.image import Image
from mesh.groups.offsets import Offsets, forget
from mesh.groups.timers import Timer, Wheel
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.delete_groups import DeletableGroupResult
from mesh.wire.schemas.list_groups import ListedGroup

if TYPE_CHECKING:
    from mesh.groups.image import CommittedOffset, Group
    from mesh.groups.turn import Ask, Turn
    from mesh.model.types import TopicId
    from mesh.wire.schemas.describe_groups import DescribedGroup
    from mesh.wire.schemas.offset_commit import OffsetCommitRequest
    from mesh.wire.schemas.offset_fetch import OffsetFetchRequestGroup
    from storage.types import TimestampMs

OnTimer: TypeAlias = "Callable[[Turn], None]"
"""What happens when a timer fires: a call with the turn that it begins."""


class Coordinator:
    """Coordinates the groups of one partition, from the records that it was given."""

    def __init__(self, wheel: Wheel[tuple[Coordinator, OnTimer]]) -> None:
        """Without groups: `image.replay` every record of the log, then call `begin`.

        Args:
            wheel: the node's; what fires is a call to be made with a turn of this coordinator.
        """
        self.image = Image()
        self._wheel = wheel
        self.classic = ClassicGroups(self)
        self.offsets = Offsets(self)

    def set_timer(self, at_ms: int, call: OnTimer) -> Timer[tuple[Coordinator, OnTimer]]:
        """Have a call made with a turn once `at_ms` (monotonic) has come."""
        return self._wheel.set((self, call), at_ms)

    def begin(self, turn: Turn) -> None:
        """All records are replayed: members' time-outs run from now on."""
        self.classic.begin(turn)
        self.offsets.begin(turn)

    # What classic members ask. A group by KIP-848 is looked for here, before.

    def join(self, ask: Ask, turn: Turn) -> None:
        """Answer a JoinGroup, perhaps in a later turn."""
        self.classic.join(ask, turn)

    def sync(self, ask: Ask, turn: Turn) -> None:
        """Answer a SyncGroup, perhaps in a later turn."""
        self.classic.sync(ask, turn)

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Answer a Heartbeat."""
        self.classic.heartbeat(ask, turn)

    def leave(self, ask: Ask, turn: Turn) -> None:
        """Answer a LeaveGroup."""
        self.classic.leave(ask, turn)

    def describe(self, group_id: str, turn: Turn, version: int) -> DescribedGroup:
        """Return a group as DescribeGroups tells it."""
        return self.classic.describe(group_id, turn, version)

    # What administrators ask

    def list(self) -> list[ListedGroup]:
        """Return all groups, as ListGroups says them."""
        return [
            ListedGroup(
                group_id=group_id,
                protocol_type=self.classic.protocol_type_of(group_id),
                group_state=self.classic.state_of(group_id),
                group_type="classic",
            )
            for group_id in self.image.groups
        ]

    def delete_group(self, ask: Ask, turn: Turn, group_id: str) -> None:
        """Delete a group without members, with all that it has committed."""
        result = DeletableGroupResult(group_id=group_id)
        group = self.image.groups.get(group_id)
        if group is None:
            result.error_code = ErrorCode.GROUP_ID_NOT_FOUND
        elif not self.classic.is_empty(group_id):
            result.error_code = ErrorCode.NON_EMPTY_GROUP
        else:
            forget(group_id, list(group.offsets), turn)
            self.delete_if_empty(group_id, turn)
        turn.reply(ask, result, group_id)

    # What the offsets ask about members

    def check_commit(self, body: OffsetCommitRequest, version: int, turn: Turn) -> ErrorCode | None:
        """Return why these offsets may not be committed."""
        return self.classic.check_commit(body.group_id, body, turn, version)

    def check_fetch(self, body: OffsetFetchRequestGroup, turn: Turn) -> ErrorCode | None:
        """Return why these offsets may not be read."""
        return None

    def check_offset_delete(self, group_id: str) -> ErrorCode | None:
        """Return why no offset of a group may be deleted."""
        if not group_id:
            return ErrorCode.INVALID_GROUP_ID
        return self.classic.check_offset_delete(group_id)

    def subscribes(self, group_id: str, topic: str) -> bool:
        """Whether a member of a group reads a topic, as far as the coordinator can know."""
        return self.classic.is_subscribed(group_id, topic)

    def idle_since_ms(
        self, group: Group, topic: str, committed: CommittedOffset
    ) -> TimestampMs | None:
        """Return since when nobody needed an offset; None while somebody may."""
        return self.classic.idle_since_ms(group.group_id, topic, committed.commit_ms)

    def delete_if_empty(self, group_id: str, turn: Turn) -> None:
        """Delete what is left of a group, if it has no members."""
        if self.classic.is_empty(group_id):
            self.classic.delete(group_id, turn)

    # What happens to topics

    def topics_deleted(self, topic_ids: Collection[TopicId], turn: Turn) -> None:
        """The deletion of these topics is committed."""
        self.offsets.topics_deleted(topic_ids, turn)
