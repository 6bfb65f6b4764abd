"""Members of a group by KIP-848 that still speak the classic protocol.

To them a member's epoch is the generation. The coordinator assigns, so nobody leads, and a member
is told by its heartbeats to join again whenever there is a step to be made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mesh.groups.classic import rebalance_ms_of
from mesh.groups.classic_group import CONSUMER
from mesh.groups.classic_rebalance import join_refused
from mesh.groups.consumer_change import Change, take_place, unknown_member
from mesh.groups.consumer_checks import check_instance_same
from mesh.groups.consumer_image import Member, MemberState
from mesh.groups.consumer_protocol import assignment_bytes, by_id, subscription_untrusted
from mesh.groups.records import is_storable
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import GROUP_PROTOCOLS_MAX, GROUP_RECORD_BYTES_MAX
from mesh.wire import WireError
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import JoinGroupRequest, JoinGroupResponse
from mesh.wire.schemas.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from mesh.wire.stored.groups import ClassicMemberMetadata, ClassicProtocol

if TYPE_CHECKING:
    from mesh.groups import consumer_records as records
    from mesh.groups.consumer import ConsumerGroups
    from mesh.groups.consumer_image import ConsumerGroup
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Ask, Turn
    from mesh.wire.stored.consumer_protocol import ConsumerProtocolSubscription

_JOIN_MEMBER_ID_REQUIRED = 4
_SYNC_PROTOCOL = 5
_LEAVE_SEVERAL = 3


class ClassicMembers:
    """Of the groups by KIP-848 of one coordinator."""

    def __init__(self, coordinator: Coordinator, consumer: ConsumerGroups) -> None:
        """See the requests; the coordinator gives only those for groups by KIP-848."""
        self._coordinator = coordinator
        self._consumer = consumer

    # JoinGroup

    def join(self, ask: Ask, turn: Turn) -> None:
        """Let a member in, or go a step; a group without members becomes a classic one."""
        body = ask.body
        assert isinstance(body, JoinGroupRequest)
        group = self._group(body.group_id)
        if not group.members and not body.member_id:
            self._consumer.delete(body.group_id, turn)
            self._coordinator.classic.join(ask, turn)
            return
        try:
            response = self._join(ask, body, group, turn)
        except KafkaError as error:
            response = join_refused(ask.version, error.code, "")
        turn.reply(ask, response, body.group_id)

    def _join(
        self, ask: Ask, body: JoinGroupRequest, group: ConsumerGroup, turn: Turn
    ) -> JoinGroupResponse:
        config = turn.config
        shortest, longest = config.group_session_ms_min, config.group_session_ms_max
        if not shortest <= body.session_timeout_ms <= longest:
            return join_refused(ask.version, ErrorCode.INVALID_SESSION_TIMEOUT, body.member_id)
        if not group.members or not is_storable(body.member_id):
            return join_refused(ask.version, ErrorCode.UNKNOWN_MEMBER_ID, body.member_id)
        if not is_storable(body.group_instance_id or ""):
            return join_refused(ask.version, ErrorCode.INVALID_REQUEST, body.member_id)
        protocols = {one.name: one.metadata for one in reversed(body.protocols)}
        protocols = {one.name: protocols[one.name] for one in body.protocols}
        if config.consumer_migration == "disabled" or not _can_speak(group, body, protocols):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if len(group.members) >= config.consumer_size_max and (body.member_id not in group.members):
            raise KafkaError(ErrorCode.GROUP_MAX_SIZE_REACHED)
        is_new = not body.member_id
        member_id = body.member_id or self._consumer.new_id(turn)
        if is_new and body.group_instance_id is None and ask.version >= _JOIN_MEMBER_ID_REQUIRED:
            return join_refused(ask.version, ErrorCode.MEMBER_ID_REQUIRED, member_id)
        try:
            subscription = subscription_untrusted(next(iter(protocols.values())))
        except WireError:
            # So says Kafka's broker, too.
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR) from None
        holder = group.static_member(body.group_instance_id)
        before, items = _member(group, body, member_id, is_new=is_new)
        after = _updated(before, ask, body, protocols, subscription)
        change = Change(body.group_id, group, before, after, turn, subscription.topics)
        change.items += items
        downgrades = holder is not None and self._consumer.migration.may_downgrade(
            group, holder, turn
        )
        after = self._step(change, subscription, downgrades=downgrades)
        self._consumer.write(change.items, turn)
        if items and holder is not None:
            self._consumer.timers.cancel_all(body.group_id, holder.member_id)
        self._consumer.note(change)
        rebalance = group.assignment_epoch < change.group_epoch
        if not downgrades or not self._consumer.migration.downgrade(
            body.group_id, turn, rebalance=rebalance
        ):
            self._consumer.timers.cancel(body.group_id, member_id, "join")
            self._consumer.await_heartbeat(body.group_id, after, turn)
            self._wait(body.group_id, after, "sync", turn)
        return JoinGroupResponse(
            member_id=after.member_id,
            generation_id=after.member_epoch,
            protocol_type=CONSUMER,
            protocol_name=next(iter(protocols)),
        )

    def _step(
        self, change: Change, subscription: ConsumerProtocolSubscription, *, downgrades: bool
    ) -> Member:
        named = change.describe()
        regex_changed, _ = self._consumer.patterns(change)
        changed = named or regex_changed
        self._consumer.bump_if_needed(change, bump=changed)
        if not downgrades:
            change.assign()
        elif change.group.assignment_epoch < change.group_epoch:
            return change.after  # All will join again, and their leader assigns.
        else:
            change.keep_target()
        owned = by_id(subscription.owned_partitions, change.turn.topics)
        return change.reconcile(owned, changed=changed)

    def _wait(self, group_id: str, member: Member, kind: str, turn: Turn) -> None:
        """Fence a member that does not ask for its assignment, or does not join again."""
        timers, member_id, after_ms = self._consumer.timers, member.member_id, member.rebalance_ms
        if kind == "sync":
            timers.set(group_id, member_id, "sync", after_ms, turn)
        else:
            timers.set_if_absent(group_id, member_id, "join", after_ms, turn)

    # SyncGroup

    def sync(self, ask: Ask, turn: Turn) -> None:
        """Tell a member what it has."""
        body = ask.body
        assert isinstance(body, SyncGroupRequest)
        try:
            response = self._sync(ask, body, turn)
        except KafkaError as error:
            response = SyncGroupResponse(error_code=error.code)
        turn.reply(ask, response, body.group_id)

    def _sync(self, ask: Ask, body: SyncGroupRequest, turn: Turn) -> SyncGroupResponse:
        group = self._group(body.group_id)
        wanted = (body.protocol_type, body.protocol_name)
        if ask.version >= _SYNC_PROTOCOL and None in wanted:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        member = self._member(
            group, body.group_id, body.member_id, body.group_instance_id, body.generation_id
        )
        assert member.classic is not None, "it was checked"
        protocol = member.classic.supported_protocols[0]
        for asked, is_so in zip(wanted, (CONSUMER, protocol.name), strict=True):
            if asked is not None and asked != is_so:
                raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.assignment_epoch > member.member_epoch and member.state != MemberState.UNREVOKED:
            self._wait(body.group_id, member, "join", turn)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._consumer.timers.cancel(body.group_id, member.member_id, "sync")
        self._consumer.await_heartbeat(body.group_id, member, turn)
        return SyncGroupResponse(
            protocol_type=body.protocol_type,
            protocol_name=body.protocol_name,
            assignment=assignment_bytes(member.assigned, turn.topics, protocol.metadata),
        )

    # Heartbeat

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Note that a member lives, and tell it whether there is a step to be made."""
        body = ask.body
        assert isinstance(body, HeartbeatRequest)
        group = self._group(body.group_id)
        try:
            member = self._member(
                group, body.group_id, body.member_id, body.group_instance_id, body.generation_id
            )
        except KafkaError as error:
            turn.reply(ask, HeartbeatResponse(error_code=error.code), body.group_id)
            return
        self._consumer.await_heartbeat(body.group_id, member, turn)
        code = ErrorCode.NONE
        if (
            member.member_epoch < group.assignment_epoch
            or member.state == MemberState.UNREVOKED
            or (member.state == MemberState.UNRELEASED and not _must_wait(group, member))
        ):
            code = ErrorCode.REBALANCE_IN_PROGRESS
            self._wait(body.group_id, member, "join", turn)
        turn.reply(ask, HeartbeatResponse(error_code=code), body.group_id)

    # LeaveGroup

    def leave(self, ask: Ask, turn: Turn) -> None:
        """Let members go, of either protocol: this is what administrators ask, too."""
        body = ask.body
        assert isinstance(body, LeaveGroupRequest)
        group = self._group(body.group_id)
        identities = body.members
        if ask.version < _LEAVE_SEVERAL:
            identities = [MemberIdentity(member_id=body.member_id)]
        leaving: dict[str, Member] = {}
        answers = []
        for identity in identities:
            answer = MemberResponse(
                member_id=identity.member_id, group_instance_id=identity.group_instance_id
            )
            answers.append(answer)
            try:
                member = _leaving(group, body.group_id, identity)
            except KafkaError as error:
                answer.error_code = error.code
            else:
                leaving[member.member_id] = member
        self._consumer.fence(body.group_id, group, list(leaving.values()), turn)
        response = LeaveGroupResponse(members=answers)
        if ask.version < _LEAVE_SEVERAL:
            response = LeaveGroupResponse(error_code=answers[0].error_code)
        turn.reply(ask, response, body.group_id)

    # Who is who

    def _group(self, group_id: str) -> ConsumerGroup:
        group = self._consumer.group(group_id)
        assert group is not None, "the coordinator looked"
        return group

    def _member(
        self,
        group: ConsumerGroup,
        group_id: str,
        member_id: str,
        instance_id: str | None,
        generation: int,
    ) -> Member:
        """Return a classic member that speaks for itself, and of the present.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or ILLEGAL_GENERATION.
        """
        if instance_id is None:
            member = group.members.get(member_id)
        else:
            member = group.static_member(instance_id)
            check_instance_same(member, member_id, instance_id)
        if member is None or member.classic is None:
            raise unknown_member(group_id, member_id)
        if member.member_epoch != generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        return member


def _can_speak(group: ConsumerGroup, body: JoinGroupRequest, protocols: dict[str, bytes]) -> bool:
    """Whether all classic members speak one of these protocols, which are a consumer's."""
    if body.protocol_type != CONSUMER or not 0 < len(protocols) <= GROUP_PROTOCOLS_MAX:
        return False
    if not all(map(is_storable, protocols)):
        return False
    if sum(len(name) + len(metadata) for name, metadata in protocols.items()) > (
        GROUP_RECORD_BYTES_MAX
    ):
        return False
    support = dict.fromkeys(protocols, 0)
    count = 0
    for member in group.members.values():
        if member.classic is not None:
            count += 1
            for each in member.classic.supported_protocols:
                if each.name in support:
                    support[each.name] += 1
    return count in support.values()


def _member(
    group: ConsumerGroup, body: JoinGroupRequest, member_id: str, *, is_new: bool
) -> tuple[Member, list[records.Item]]:
    """Return the member as it was, and records that put it into another one's place."""
    instance_id = body.group_instance_id
    holder = group.static_member(instance_id)
    if instance_id is not None and not is_new:
        check_instance_same(holder, member_id, instance_id)
        assert holder is not None, "it was checked"
        return holder, []
    if holder is not None:
        return take_place(body.group_id, group, holder, member_id)
    return group.members.get(member_id, Member(member_id=member_id)), []


def _updated(
    member: Member,
    ask: Ask,
    body: JoinGroupRequest,
    protocols: dict[str, bytes],
    subscription: ConsumerProtocolSubscription,
) -> Member:
    instance_id, rebalance_ms = body.group_instance_id, rebalance_ms_of(ask, body)
    return replace(
        member,
        instance_id=member.instance_id if instance_id is None else instance_id,
        rack_id=subscription.rack_id or member.rack_id,
        rebalance_ms=member.rebalance_ms if rebalance_ms == -1 else rebalance_ms,
        names=frozenset(subscription.topics),
        regex="",
        client_id=ask.client_id,
        client_host=ask.client_host,
        classic=ClassicMemberMetadata(
            session_timeout_ms=body.session_timeout_ms,
            supported_protocols=[
                ClassicProtocol(name=name, metadata=metadata)
                for name, metadata in protocols.items()
            ],
        ),
    )


def _must_wait(group: ConsumerGroup, member: Member) -> bool:
    """Whether somebody still holds a partition that a member is to have."""
    return any(
        partition not in member.assigned.get(topic_id, ())
        and group.owner_epoch(topic_id, partition) != -1
        for topic_id, partitions in group.targets.get(member.member_id, {}).items()
        for partition in partitions
    )


def _leaving(group: ConsumerGroup, group_id: str, identity: MemberIdentity) -> Member:
    instance_id, member_id = identity.group_instance_id, identity.member_id
    if instance_id is None:
        member = group.members.get(member_id)
    else:
        member = group.static_member(instance_id)
        if member is not None and member_id:
            check_instance_same(member, member_id, instance_id)
    if member is None:
        raise unknown_member(group_id, member_id)
    return member
