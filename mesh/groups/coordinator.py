"""The coordinator of all groups that hash to one partition of `__consumer_offsets`.

It holds the image that the partition's records make, and gives each request to the machine whose
protocol the group speaks. It is made anew, from the log, whenever this node begins to lead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, TypeAlias

from mesh.groups.classic import ClassicGroups
from mesh.groups.consumer import ConsumerGroups
from mesh.groups.image import Image
from mesh.groups.offsets import Offsets, forget
from mesh.groups.timers import Timer, Wheel
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.delete_groups import DeletableGroupResult
from mesh.wire.schemas.heartbeat import HeartbeatRequest
from mesh.wire.schemas.join_group import JoinGroupRequest
from mesh.wire.schemas.leave_group import LeaveGroupRequest
from mesh.wire.schemas.list_groups import ListedGroup
from mesh.wire.schemas.sync_group import SyncGroupRequest

if TYPE_CHECKING:
    from mesh.groups.image import CommittedOffset, Group
    from mesh.groups.turn import Ask, Turn
    from mesh.model.types import TopicId
    from mesh.wire import Struct
    from mesh.wire.schemas.describe_groups import DescribedGroup
    from mesh.wire.schemas.offset_commit import OffsetCommitRequest
    from mesh.wire.schemas.offset_fetch import OffsetFetchRequestGroup
    from storage.types import TimestampMs

CONSUMER = "consumer"
"""The protocol type of a group by KIP-848."""

OnTimer: TypeAlias = "Callable[[Turn], None]"
"""What happens when a timer fires: a call with the turn that it begins."""

_OF_MEMBERS: Final = (JoinGroupRequest, SyncGroupRequest, HeartbeatRequest, LeaveGroupRequest)


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
        self.consumer = ConsumerGroups(self)
        self.offsets = Offsets(self)

    def set_timer(
        self, at_ms: int, call: OnTimer, *, exact: bool = False
    ) -> Timer[tuple[Coordinator, OnTimer]]:
        """Have a call made with a turn once `at_ms` (monotonic) has come; see `Wheel.set`."""
        return self._wheel.set((self, call), at_ms, exact=exact)

    def begin(self, turn: Turn) -> None:
        """All records are replayed: members' time-outs run from now on."""
        self.classic.begin(turn)
        self.consumer.begin(turn)
        self.offsets.begin(turn)

    # What classic members ask. A group by KIP-848 is looked for here, before.

    def join(self, ask: Ask, turn: Turn) -> None:
        """Answer a JoinGroup, perhaps in a later turn."""
        if self._is_consumer(ask.body):
            self.consumer.classic.join(ask, turn)
            return
        self.classic.join(ask, turn)

    def sync(self, ask: Ask, turn: Turn) -> None:
        """Answer a SyncGroup, perhaps in a later turn."""
        if self._is_consumer(ask.body):
            self.consumer.classic.sync(ask, turn)
            return
        self.classic.sync(ask, turn)

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Answer a Heartbeat."""
        if self._is_consumer(ask.body):
            self.consumer.classic.heartbeat(ask, turn)
            return
        self.classic.heartbeat(ask, turn)

    def leave(self, ask: Ask, turn: Turn) -> None:
        """Answer a LeaveGroup."""
        if self._is_consumer(ask.body):
            self.consumer.classic.leave(ask, turn)
            return
        self.classic.leave(ask, turn)

    def _is_consumer(self, body: Struct) -> bool:
        assert isinstance(body, _OF_MEMBERS)
        return self.consumer.group(body.group_id) is not None

    def describe(self, group_id: str, turn: Turn, version: int) -> DescribedGroup:
        """Return a group as DescribeGroups tells it."""
        if self.consumer.group(group_id) is not None:
            return self.consumer.describe_as_classic(group_id, version)
        return self.classic.describe(group_id, turn, version)

    # What administrators ask

    def list(self) -> list[ListedGroup]:
        """Return all groups, as ListGroups says them."""
        return [self._listed(group_id) for group_id in self.image.groups]

    def _listed(self, group_id: str) -> ListedGroup:
        group = self.consumer.group(group_id)
        if group is not None:
            return ListedGroup(
                group_id=group_id,
                protocol_type=CONSUMER,
                group_state=group.state,
                group_type="consumer",
            )
        return ListedGroup(
            group_id=group_id,
            protocol_type=self.classic.protocol_type_of(group_id),
            group_state=self.classic.state_of(group_id),
            group_type="classic",
        )

    def is_empty(self, group_id: str) -> bool:
        """Whether a group is there and has no members."""
        group = self.consumer.group(group_id)
        return self.classic.is_empty(group_id) if group is None else not group.members

    def delete_group(self, ask: Ask, turn: Turn, group_id: str) -> None:
        """Delete a group without members, with all that it has committed."""
        result = DeletableGroupResult(group_id=group_id)
        group = self.image.groups.get(group_id)
        if group is None:
            result.error_code = ErrorCode.GROUP_ID_NOT_FOUND
        elif not self.is_empty(group_id):
            result.error_code = ErrorCode.NON_EMPTY_GROUP
        else:
            forget(group_id, list(group.offsets), turn)
            self.delete_if_empty(group_id, turn)
        turn.reply(ask, result, group_id)

    # What the offsets ask about members

    def check_commit(self, body: OffsetCommitRequest, version: int, turn: Turn) -> ErrorCode | None:
        """Return why these offsets may not be committed."""
        if self.consumer.group(body.group_id) is not None:
            return self.consumer.check_commit(body, version, turn)
        return self.classic.check_commit(body.group_id, body, turn, version)

    def check_fetch(self, body: OffsetFetchRequestGroup, turn: Turn) -> ErrorCode | None:
        """Return why these offsets may not be read."""
        if self.consumer.group(body.group_id) is not None:
            return self.consumer.check_fetch(body)
        return None

    def check_offset_delete(self, group_id: str) -> ErrorCode | None:
        """Return why no offset of a group may be deleted."""
        if not group_id:
            return ErrorCode.INVALID_GROUP_ID
        if self.consumer.group(group_id) is not None:
            return None
        return self.classic.check_offset_delete(group_id)

    def subscribes(self, group_id: str, topic: str) -> bool:
        """Whether a member of a group reads a topic, as far as the coordinator can know."""
        group = self.consumer.group(group_id)
        if group is not None:
            return group.subscribes_to(topic)
        return self.classic.is_subscribed(group_id, topic)

    def idle_since_ms(
        self, group: Group, topic: str, committed: CommittedOffset
    ) -> TimestampMs | None:
        """Return since when nobody needed an offset; None while somebody may."""
        if group.consumer is not None:
            return None if group.consumer.subscribes_to(topic) else committed.commit_ms
        return self.classic.idle_since_ms(group.group_id, topic, committed.commit_ms)

    def delete_if_empty(self, group_id: str, turn: Turn) -> None:
        """Delete what is left of a group, if it has no members."""
        if not self.is_empty(group_id):
            return
        if self.consumer.group(group_id) is not None:
            self.consumer.delete(group_id, turn)
        else:
            self.classic.delete(group_id, turn)

    # What happens to topics

    def topics_deleted(self, topic_ids: Collection[TopicId], turn: Turn) -> None:
        """The deletion of these topics is committed."""
        self.offsets.topics_deleted(topic_ids, turn)
