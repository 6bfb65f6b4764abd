"""Groups that change from the classic protocol to KIP-848 and back, as their members do.

The first member that sends a heartbeat of the new kind makes a classic group of consumers a new
one; its classic members are served on as such (classic_members.py). When only they are left, the
group is classic again. As with Kafka, group.consumer.migration.policy says which of it may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.groups import classic_group, consumer_image
from mesh.groups import consumer_records as records
from mesh.groups.assignors import HashOrder, text_hash
from mesh.groups.classic_group import CONSUMER, ClassicGroup
from mesh.groups.classic_rebalance import record_bytes
from mesh.groups.consumer_image import ConsumerGroup, Member
from mesh.groups.consumer_protocol import (
    assignment_bytes,
    assignment_untrusted,
    by_id,
    subscription_untrusted,
)
from mesh.groups.subscriptions import Counts
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import GROUP_RECORD_BYTES_MAX
from mesh.wire import WireError
from mesh.wire.stored.groups import ClassicMemberMetadata, ClassicProtocol, GroupMetadataKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Turn

UPGRADES = ("upgrade", "bidirectional")
DOWNGRADES = ("downgrade", "bidirectional")


class Migration:
    """Of the groups of one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """See `to_consumer` and `to_classic`."""
        self._coordinator = coordinator
        self._image = coordinator.image

    # From classic to new

    def to_consumer(self, group_id: str, turn: Turn) -> tuple[ConsumerGroup, list[records.Item]]:
        """Return what a classic group is as one by KIP-848, and the records that make it so.

        Nothing is written; see `converted`. One without members is just forgotten.

        Raises:
            KafkaError: GROUP_ID_NOT_FOUND, as Kafka says it where that cannot be.
        """
        items: list[records.Item] = []
        if self._image.groups[group_id].classic is not None:
            items.append((GroupMetadataKey(group=group_id), None))
        classic = self._coordinator.classic.group(group_id)
        if classic is None or not classic.members:
            return ConsumerGroup(), items
        fault = None
        if turn.config.consumer_migration not in UPGRADES:
            fault = "online upgrade is disabled"
        elif classic.protocol_type != CONSUMER:
            fault = "the group does not use the consumer embedded protocol"
        elif len(classic.members) > turn.config.consumer_size_max:
            fault = "the group size exceeds the consumer group maximum size"
        if fault is None:
            try:
                group, made = _upgraded(classic, turn)
            except WireError:
                fault = "the embedded consumer protocol is malformed"
            except _CustomAssignorError:
                fault = (
                    "an unsupported custom assignor is in use. Please refer to the documentation "
                    "or switch to a default assignor before re-attempting the upgrade"
                )
            else:
                return group, items + made
        raise KafkaError(
            ErrorCode.GROUP_ID_NOT_FOUND,
            f"Cannot upgrade classic group {group_id} to consumer group because {fault}.",
        )

    def converted(self, group_id: str, turn: Turn) -> None:
        """What `to_consumer` returned is written: whoever waits in the classic group asks again."""
        self._coordinator.classic.release(group_id, turn)

    # From new to classic

    def to_classic(self, group_id: str, leaving: Collection[Member], turn: Turn) -> bool:
        """Make a group a classic one if only classic members stay; return whether it is one."""
        group = self._image.groups[group_id].consumer
        assert group is not None, "it has members"
        gone = {member.member_id for member in leaving}
        staying = [
            group.members[member_id] for member_id in group.in_order() if member_id not in gone
        ]
        if not staying or any(member.classic is None for member in staying):
            return False
        return self._downgrade(group_id, group, staying, turn, rebalance=True)

    def may_downgrade(self, group: ConsumerGroup, replaced: Member, turn: Turn) -> bool:
        """Whether a group is classic once a classic member is in the place of this one."""
        return (
            replaced.classic is None
            and group.classic_count == len(group.members) - 1
            and turn.config.consumer_migration in DOWNGRADES
            and len(group.members) <= turn.config.group_size_max
        )

    def downgrade(self, group_id: str, turn: Turn, *, rebalance: bool) -> bool:
        """Make a group of classic members a classic one; `rebalance` has all join again."""
        group = self._image.groups[group_id].consumer
        assert group is not None, "it has members"
        staying = [group.members[member_id] for member_id in group.in_order()]
        return self._downgrade(group_id, group, staying, turn, rebalance=rebalance)

    def _downgrade(
        self,
        group_id: str,
        group: ConsumerGroup,
        staying: list[Member],
        turn: Turn,
        *,
        rebalance: bool,
    ) -> bool:
        config = turn.config
        if config.consumer_migration not in DOWNGRADES or len(staying) > config.group_size_max:
            return False
        classic = ClassicGroup(group_id, None)
        classic.generation = group.group_epoch
        classic.since_ms = turn.now.wall_ms
        for member in staying:
            classic.add(_classic(member), CONSUMER)
        classic.protocol = classic.elect_protocol()
        classic.state = classic_group.State.STABLE
        classic.topics = classic.read_topics()
        for each in classic.members.values():
            target = group.targets.get(each.member_id, {})
            metadata = each.protocols[classic.protocol]
            each.assignment = assignment_bytes(target, turn.topics, metadata)
        value = classic.stored(
            {each.member_id: each.assignment for each in classic.members.values()}
        )
        if record_bytes(value) > GROUP_RECORD_BYTES_MAX:
            return False  # It could not be stored, so it stays what it is.
        self._coordinator.consumer.delete(group_id, turn)
        turn.write(GroupMetadataKey(group=group_id), value)
        self._coordinator.classic.adopt(classic, turn, rebalance=rebalance)
        return True


class _CustomAssignorError(Exception):
    """An assignment holds what only its assignor understands."""


def _upgraded(classic: ClassicGroup, turn: Turn) -> tuple[ConsumerGroup, list[records.Item]]:
    """Return what a classic group is as one by KIP-848, and records that say it.

    Raises:
        WireError: what its members say of themselves cannot be read.
        _CustomAssignorError: it would be lost.
    """
    members = {
        member_id: _upgraded_member(classic.members[member_id], classic, turn)
        for member_id in HashOrder(text_hash, classic.members)
    }
    group: ConsumerGroup | None = None
    for key, value in _records(classic, members, turn):
        group = consumer_image.replay(group, key, value)
    assert group is not None
    # Written in the order of Kafka's table; the next computation goes by it.
    ordered = {member_id: members[member_id] for member_id in group.in_order()}
    return group, _records(classic, ordered, turn)


def _records(classic: ClassicGroup, members: dict[str, Member], turn: Turn) -> list[records.Item]:
    epoch, group_id = classic.generation, classic.group_id
    group = ConsumerGroup()
    for member in members.values():
        group.put_member(member)
    metadata_hash = Counts.of(group).hash(turn.topics)
    return [
        *(records.described(group_id, member) for member in members.values()),
        records.epoch(group_id, epoch, metadata_hash),
        *(
            records.target(
                group_id,
                member_id,
                {topic_id: list(each) for topic_id, each in member.assigned.items()},
            )
            for member_id, member in members.items()
        ),
        records.target_epoch(group_id, epoch, 0),
        *(records.current(group_id, member) for member in members.values()),
    ]


def _upgraded_member(member: classic_group.Member, classic: ClassicGroup, turn: Turn) -> Member:
    assignment = assignment_untrusted(member.assignment)
    if assignment.user_data:
        raise _CustomAssignorError
    metadata = member.protocols.get(classic.protocol or "")
    if metadata is None:
        # All join again just now, and this one no longer speaks what was agreed before.
        metadata = next(iter(member.protocols.values()))
    subscription = subscription_untrusted(metadata)
    return Member(
        member_id=member.member_id,
        member_epoch=classic.generation,
        previous_epoch=classic.generation,
        instance_id=member.instance_id,
        rack_id=subscription.rack_id or None,
        rebalance_ms=member.rebalance_ms,
        client_id=member.client_id,
        client_host=member.client_host,
        names=frozenset(subscription.topics),
        assigned={
            topic.topic_id: dict.fromkeys(topic.partitions, classic.generation)
            for topic in by_id(assignment.assigned_partitions, turn.topics)
        },
        classic=ClassicMemberMetadata(
            session_timeout_ms=member.session_ms,
            supported_protocols=[
                ClassicProtocol(name=name, metadata=each) for name, each in member.protocols.items()
            ],
        ),
    )


def _classic(member: Member) -> classic_group.Member:
    assert member.classic is not None, "only classic members stay"
    client = (member.client_id, member.client_host)
    classic = classic_group.Member(member.member_id, member.instance_id, client)
    classic.asks_for(
        {each.name: each.metadata for each in member.classic.supported_protocols},
        member.classic.session_timeout_ms,
        member.rebalance_ms,
    )
    return classic
