"""Groups by KIP-848: a heartbeat is the only request, and the coordinator does the rest.

What a heartbeat changes is decided against the group as it stood before, and written at the end,
so that a refused one changes nothing.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from mesh.groups import consumer_records as records
from mesh.groups.classic_members import ClassicMembers
from mesh.groups.consumer_change import Change, take_place, unknown_member
from mesh.groups.consumer_checks import (
    check_epoch,
    check_heartbeat,
    check_instance_released,
    check_instance_same,
)
from mesh.groups.consumer_describe import describe
from mesh.groups.consumer_image import AWAY, JOIN, LEAVE, ConsumerGroup, Member, MemberState
from mesh.groups.consumer_timers import Timers
from mesh.groups.migrate import Migration
from mesh.groups.patterns import Pattern
from mesh.groups.resolving import Resolving
from mesh.groups.subscriptions import Counts
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NO_TOPIC_ID
from mesh.wire.schemas.consumer_group_describe import DescribedGroup
from mesh.wire.schemas.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    TopicPartitions,
)
from mesh.wire.schemas.describe_groups import DescribedGroup as ClassicDescribed

if TYPE_CHECKING:
    from mesh.groups.consumer_image import Epochs
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Ask, Turn
    from mesh.model.types import TopicId
    from mesh.wire.schemas.offset_commit import OffsetCommitRequest
    from mesh.wire.schemas.offset_fetch import OffsetFetchRequestGroup

REFRESH_MS_MIN = 10_000
"""Patterns are not looked up again sooner, as in Kafka."""
REFRESH_MS = 600_000
"""Patterns are looked up again after so long in any case, as in Kafka."""
NOT_FOUND_SINCE = 6
"""From this version on DescribeGroups has an error for groups that are not there."""
EPOCHS_SINCE = 9
"""From this version on OffsetCommit has a member's epoch."""


class ConsumerGroups:
    """The groups by KIP-848 of one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Of the groups in the coordinator's image."""
        self._coordinator = coordinator
        self._image = coordinator.image
        self.migration = Migration(coordinator)
        self.classic = ClassicMembers(coordinator, self)
        self.timers = Timers(coordinator, self._fence_by_id)
        self._versions: dict[str, tuple[int, int]] = {}
        """By group: the version of the mesh's topics that its metadata hash is known to be right
        for, and the group's epoch at that time."""
        self._resolving: dict[str, Resolving] = {}
        """Groups whose patterns are being looked up."""

    # What the coordinator asks

    def group(self, group_id: str) -> ConsumerGroup | None:
        """Return a group of this kind."""
        group = self._image.groups.get(group_id)
        return None if group is None else group.consumer

    def is_resolving(self, group_id: str) -> bool:
        """Whether names are being held against the patterns of a group."""
        return group_id in self._resolving

    def begin(self, turn: Turn) -> None:
        """All records are replayed: members' time-outs run from now on."""
        for group_id, group in self._image.groups.items():
            if group.consumer is None:
                continue
            for member in group.consumer.members.values():
                self.await_heartbeat(group_id, member, turn)
                if member.state == MemberState.UNREVOKED and member.classic is None:
                    self._await_revocation(group_id, member, turn)

    def delete(self, group_id: str, turn: Turn) -> None:
        """Delete a group of this kind, with its members if there are any; not its offsets."""
        group = self.group(group_id)
        if group is not None:
            for member_id in group.members:
                self.timers.cancel_all(group_id, member_id)
            self._versions.pop(group_id, None)
            self.write(records.group_gone(group_id, group), turn)

    def describe(self, group_id: str, turn: Turn) -> DescribedGroup:
        """Return a group with its members; or why there is none."""
        if not group_id:
            return DescribedGroup(error_code=ErrorCode.INVALID_GROUP_ID)
        group = self.group(group_id)
        if group is not None:
            return describe(group_id, group, turn)
        return DescribedGroup(
            group_id=group_id,
            error_code=ErrorCode.GROUP_ID_NOT_FOUND,
            error_message=self._no_group(group_id),
        )

    def describe_as_classic(self, group_id: str, version: int) -> ClassicDescribed:
        """Return what DescribeGroups says of a group of this kind: that it is no classic one."""
        described = ClassicDescribed(group_id=group_id, group_state="Dead")
        if version >= NOT_FOUND_SINCE:
            described.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            described.error_message = f"Group {group_id} is not a classic group."
        return described

    def _no_group(self, group_id: str) -> str:
        if group_id in self._image.groups:
            return f"Group {group_id} is not a consumer group."
        return f"Group {group_id} not found."

    def check_commit(self, body: OffsetCommitRequest, version: int, turn: Turn) -> ErrorCode | None:
        """Return why a member of such a group may not commit these offsets."""
        group = self.group(body.group_id)
        assert group is not None, "the coordinator asks whoever has the group"
        epoch = body.generation_id_or_member_epoch
        if epoch < 0 and not group.members:
            return None
        member = group.members.get(body.member_id)
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if member.classic is None and version < EPOCHS_SINCE:
            return ErrorCode.UNSUPPORTED_VERSION
        stale = _stale(member)
        if epoch >= member.member_epoch:
            return None if epoch == member.member_epoch else stale
        # A late one: it may speak of what its member has had since then (KIP-1251).
        for wanted in body.topics:
            topic_id = wanted.topic_id
            if topic_id == NO_TOPIC_ID:
                topic = turn.topics.named(wanted.name)
                topic_id = NO_TOPIC_ID if topic is None else topic.topic_id
            for partition in wanted.partitions:
                since = _assigned_since(member, topic_id, partition.partition_index)
                if since is None or epoch < since:
                    return stale
        return None

    def check_fetch(self, body: OffsetFetchRequestGroup) -> ErrorCode | None:
        """Return why a member of such a group may not read offsets."""
        group = self.group(body.group_id)
        assert group is not None, "the coordinator asks whoever has the group"
        if body.member_id is None and body.member_epoch < 0:
            return None
        member = group.members.get(body.member_id or "")
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        return None if body.member_epoch == member.member_epoch else _stale(member)

    # Heartbeats

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Take a member in, let it go, or tell it what it is to have."""
        body = ask.body
        assert isinstance(body, ConsumerGroupHeartbeatRequest)
        try:
            check_heartbeat(body, ask.version, turn.config.consumer_assignors)
            if body.member_epoch in (LEAVE, AWAY):
                response = self._leave(body, turn)
            else:
                response = self._beat(ask, body, turn)
        except KafkaError as error:
            response = ConsumerGroupHeartbeatResponse(
                error_code=error.code, error_message=error.message
            )
        turn.reply(ask, response, body.group_id)

    def _beat(
        self, ask: Ask, body: ConsumerGroupHeartbeatRequest, turn: Turn
    ) -> ConsumerGroupHeartbeatResponse:
        group_id, joins = body.group_id, body.member_epoch == JOIN
        is_other = group_id in self._image.groups and self.group(group_id) is None
        group, made = self._group_to_beat(group_id, turn, joins=joins)
        size_max = turn.config.consumer_size_max
        if len(group.members) >= size_max and body.member_id not in group.members:
            raise KafkaError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The consumer group has reached its maximum capacity of {size_max} members.",
            )
        member_id = body.member_id or self.new_id(turn)
        before, items, replaced = self._member_to_beat(group, member_id, body)
        after = _updated(before, ask, body)
        change = Change(group_id, group, before, after, turn, body.subscribed_topic_names)
        change.items += made + items
        named = change.describe()
        regex_changed, regex_resolved = self.patterns(change)
        changed = named or regex_changed
        self.bump_if_needed(change, bump=named or regex_resolved)
        change.assign()
        after = change.reconcile(body.topic_partitions, changed=changed)
        self.write(change.items, turn)
        if is_other:
            self._converted(group_id, turn)
        if replaced is not None:
            self.timers.cancel_all(group_id, replaced)
        self.note(change)
        if change.has_stepped:
            self._watch_revocation(group_id, after, turn)
        self.await_heartbeat(group_id, after, turn)
        response = ConsumerGroupHeartbeatResponse(
            member_id=member_id,
            member_epoch=after.member_epoch,
            heartbeat_interval_ms=turn.config.consumer_heartbeat_ms,
        )
        is_full = (
            body.rebalance_timeout_ms != -1
            and (body.subscribed_topic_names is not None or body.subscribed_topic_regex is not None)
            and body.topic_partitions is not None
        )
        if joins or is_full or before.assigned != after.assigned:
            response.assignment = to_wire(after.assigned)
        return response

    def _group_to_beat(
        self, group_id: str, turn: Turn, *, joins: bool
    ) -> tuple[ConsumerGroup, list[records.Item]]:
        """Return the group, and records that make it one if it is none yet."""
        group = self.group(group_id)
        if group is not None:
            return group, []
        is_other = group_id in self._image.groups
        if joins:
            return self.migration.to_consumer(group_id, turn) if is_other else (ConsumerGroup(), [])
        if is_other:
            text = f"Group {group_id} is not a consumer group."
        else:
            text = f"Consumer group {group_id} not found."
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, text)

    def _converted(self, group_id: str, turn: Turn) -> None:
        """A classic group is one of these now: wait for its members as it did."""
        self.migration.converted(group_id, turn)
        group = self.group(group_id)
        assert group is not None, "it was just made"
        for member in group.members.values():
            if member.classic is not None:
                self.await_heartbeat(group_id, member, turn)

    def _member_to_beat(
        self, group: ConsumerGroup, member_id: str, body: ConsumerGroupHeartbeatRequest
    ) -> tuple[Member, list[records.Item], str | None]:
        """Return the member as it was, records that put it there, and whom it replaces."""
        if body.instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                if body.member_epoch != JOIN:
                    raise unknown_member(body.group_id, member_id)
                member = Member(member_id=member_id)
            check_epoch(member, body.member_epoch, body.topic_partitions)
            return member, [], None
        holder = group.static_member(body.instance_id)
        if body.member_epoch == JOIN:
            if holder is None:
                return group.members.get(member_id, Member(member_id=member_id)), [], None
            if holder.classic is None:
                check_instance_released(holder, member_id, body.instance_id)
            member, items = take_place(body.group_id, group, holder, member_id)
            return member, items, holder.member_id
        check_instance_same(holder, member_id, body.instance_id)
        assert holder is not None, "it was checked"
        check_epoch(holder, body.member_epoch, body.topic_partitions)
        return holder, [], None

    # Patterns

    def patterns(self, change: Change) -> tuple[bool, bool]:
        """Note a changed pattern, and see whether patterns are to be looked up.

        Returns: whether the member's changed; whether the topics of the new one are known.
        """
        group, turn = change.group, change.turn
        old, new = change.before.regex, change.after.regex
        is_changed = old != new
        is_known = is_needed = False
        if is_changed:
            if old and group.regex_counts.get(old) == 1:
                change.items.append(records.regex(change.group_id, old, None))
            if new:
                if new not in group.regex_counts:
                    Pattern(new)
                    is_needed = True
                else:
                    is_known = new in group.resolved
            else:
                is_known = bool(old)
        if (is_needed or group.regex_counts) and change.group_id not in self._resolving:
            resolved = next(iter(group.resolved.values()), None)
            age_ms = REFRESH_MS + 1 if resolved is None else turn.now.wall_ms - resolved.at_ms
            if age_ms > REFRESH_MS_MIN:
                regexes = Counts.of(group)
                regexes.replace(group, change.before, change.after)
                is_needed = (
                    is_needed
                    or len(regexes.regexes) != len(group.resolved)
                    or age_ms > REFRESH_MS
                    or (resolved is not None and resolved.version != turn.topics.version)
                )
                if is_needed and regexes.regexes:
                    change.to_resolve = list(regexes.regexes)
        return is_changed, is_known

    def note(self, change: Change) -> None:
        """Remember, now that a heartbeat has changed what it does, what no record says."""
        turn, group_id = change.turn, change.group_id
        if change.looked:
            self._versions[group_id] = turn.topics.version, change.group_epoch
        if change.to_resolve:
            self._resolving[group_id] = Resolving(change.to_resolve, turn)
            self._resolve_soon(group_id, turn)

    def _resolve_soon(self, group_id: str, turn: Turn) -> None:
        def resolve(turn: Turn) -> None:
            self._resolve(group_id, turn)

        self._coordinator.set_timer(turn.now.monotonic_ms + 1, resolve)

    def _resolve(self, group_id: str, turn: Turn) -> None:
        """Hold some more names against patterns; after the last, tell the group."""
        resolving, group = self._resolving[group_id], self.group(group_id)
        if group is not None and not resolving.go_on():
            self._resolve_soon(group_id, turn)
            return
        del self._resolving[group_id]
        if group is None:
            return
        items: list[records.Item] = []
        counts = Counts.of(group)
        bump = False
        for regex, found in resolving.found.items():
            if regex not in group.regex_counts:
                continue
            before = group.resolved.get(regex)
            bump = bump or (() if before is None else before.topics) != found.topics
            counts.resolve(before, found)
            items.append(records.regex(group_id, regex, found))
        metadata_hash = counts.hash(turn.topics)
        group_epoch = group.group_epoch
        if bump or metadata_hash != group.metadata_hash:
            group_epoch += 1
            items.append(records.epoch(group_id, group_epoch, metadata_hash))
            self._versions[group_id] = turn.topics.version, group_epoch
        self.write(items, turn)

    # Epochs

    def bump_if_needed(self, change: Change, *, bump: bool) -> None:
        """Raise the group's epoch if somebody subscribes otherwise, or to other topics now."""
        version, epoch = self._versions.get(change.group_id, (-1, 0))
        is_expired = version != change.turn.topics.version or change.group.group_epoch < epoch
        if bump or is_expired:
            change.bump_if_needed(bump=bump)

    # Whoever leaves

    def _leave(
        self, body: ConsumerGroupHeartbeatRequest, turn: Turn
    ) -> ConsumerGroupHeartbeatResponse:
        group_id, member_id = body.group_id, body.member_id
        group = self.group(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, self._no_group(group_id))
        response = ConsumerGroupHeartbeatResponse(
            member_id=member_id, member_epoch=body.member_epoch
        )
        if body.instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                raise unknown_member(group_id, member_id)
        else:
            member = group.static_member(body.instance_id)
            check_instance_same(member, member_id, body.instance_id)
            assert member is not None, "it was checked"
            if body.member_epoch == AWAY:
                self.write([records.current(group_id, _away(member))], turn)
                return response
        self.fence(group_id, group, [member], turn)
        return response

    def fence(self, group_id: str, group: ConsumerGroup, members: list[Member], turn: Turn) -> None:
        """Take members out of their group."""
        if not members or self.migration.to_classic(group_id, members, turn):
            return
        items: list[records.Item] = []
        counts = Counts.of(group)
        for member in members:
            items += records.member_gone(group_id, member.member_id)
            counts.remove(group, member)
            self.timers.cancel_all(group_id, member.member_id)
        items += (
            records.regex(group_id, regex, None)
            for regex in group.regex_counts
            if regex not in counts.regexes
        )
        metadata_hash = counts.hash(turn.topics)
        items.append(records.epoch(group_id, group.group_epoch + 1, metadata_hash))
        self.write(items, turn)

    def _fence_by_id(self, group_id: str, member_id: str, turn: Turn) -> None:
        group = self.group(group_id)
        member = None if group is None else group.members.get(member_id)
        if group is not None and member is not None:
            self.fence(group_id, group, [member], turn)

    def new_id(self, turn: Turn) -> str:
        """Return an id for a member that has none, in the form of Kafka's: 22 characters."""
        text = "-"
        while text.startswith("-"):  # Tools would take it for an option.
            data = UUID(int=turn.rng.getrandbits(128), version=4).bytes
            text = urlsafe_b64encode(data).decode().rstrip("=")
        return text

    # Time

    def await_heartbeat(self, group_id: str, member: Member, turn: Turn) -> None:
        """A member lives: fence it once it is silent for too long."""
        session_ms = turn.config.consumer_session_ms
        if member.classic is not None:
            session_ms = member.classic.session_timeout_ms
        self.timers.set(group_id, member.member_id, "session", session_ms, turn)

    def _watch_revocation(self, group_id: str, member: Member, turn: Turn) -> None:
        if member.state == MemberState.UNREVOKED:
            self._await_revocation(group_id, member, turn)
        else:
            self.timers.cancel(group_id, member.member_id, "rebalance")

    def _await_revocation(self, group_id: str, member: Member, turn: Turn) -> None:
        """Fence a member that keeps for too long what it has to give up."""

        def expire(turn: Turn) -> None:
            group = self.group(group_id)
            now = None if group is None else group.members.get(member.member_id)
            if group is not None and now is not None and now.member_epoch == member.member_epoch:
                self.fence(group_id, group, [now], turn)

        self.timers.set(group_id, member.member_id, "rebalance", member.rebalance_ms, turn, expire)

    def write(self, items: Iterable[records.Item], turn: Turn) -> None:
        """Write what was decided."""
        for key, value in items:
            turn.write(key, value)


def to_wire(assigned: Epochs) -> Assignment:
    """Return partitions as a heartbeat's answer names them."""
    return Assignment(
        topic_partitions=[
            TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in assigned.items()
        ]
    )


def _updated(member: Member, ask: Ask, body: ConsumerGroupHeartbeatRequest) -> Member:
    names, regex = body.subscribed_topic_names, body.subscribed_topic_regex
    rebalance_ms = body.rebalance_timeout_ms
    if (
        names is None
        and regex is None
        and body.rack_id is None
        and body.server_assignor is None
        and member.classic is None
        and rebalance_ms == -1
        and body.instance_id == member.instance_id
        and (ask.client_id, ask.client_host) == (member.client_id, member.client_host)
    ):
        return member  # Nothing new, as in nearly all heartbeats: this takes half the time.
    return replace(
        member,
        instance_id=member.instance_id if body.instance_id is None else body.instance_id,
        rack_id=member.rack_id if body.rack_id is None else body.rack_id,
        rebalance_ms=member.rebalance_ms if rebalance_ms == -1 else rebalance_ms,
        assignor=member.assignor if body.server_assignor is None else body.server_assignor,
        names=member.names if names is None else frozenset(names),
        regex=member.regex if regex is None else regex,
        client_id=ask.client_id,
        client_host=ask.client_host,
        classic=None,
    )


def _away(member: Member) -> Member:
    assigned = {
        topic_id: dict.fromkeys(partitions, 0) for topic_id, partitions in member.assigned.items()
    }
    return replace(member, member_epoch=AWAY, assigned=assigned, revoking={})


def _stale(member: Member) -> ErrorCode:
    if member.classic is None:
        return ErrorCode.STALE_MEMBER_EPOCH
    return ErrorCode.ILLEGAL_GENERATION


def _assigned_since(member: Member, topic_id: TopicId, partition: int) -> int | None:
    for epochs in (member.assigned, member.revoking):
        since = epochs.get(topic_id, {}).get(partition)
        if since is not None:
            return since
    return None
