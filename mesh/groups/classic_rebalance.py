"""How a classic group gets from one generation to the next: join, sync, and time-outs.

EMPTY → PREPARING: the first member came; more may come for group.initial.rebalance.delay.ms.
PREPARING → COMPLETING: everybody has joined, or the rebalance time-out is over; who is not
    there is out, unless it is a static member.
COMPLETING → STABLE: the leader has sent the assignment, which is written.
STABLE, COMPLETING → PREPARING: a member came, went, or changed what it asks for.
PREPARING → EMPTY: nobody is left.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mesh.groups.classic_group import ClassicGroup, Member, State
from mesh.model.errors import ErrorCode
from mesh.model.limits import GROUP_RECORD_BYTES_MAX
from mesh.wire import WireError
from mesh.wire.schemas.join_group import JoinGroupResponse
from mesh.wire.schemas.sync_group import SyncGroupResponse
from mesh.wire.stored.groups import GroupMetadataKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mesh.groups.classic_group import Alarm
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Ask, Turn
    from mesh.wire.stored.groups import GroupMetadataValue

NEWCOMER_MS = 300_000
"""A member that does not know its id yet cannot heartbeat: its JoinGroup waits up to so long
(Kafka's classicGroupNewMemberJoinTimeoutMs)."""

ABSENT_MS_MIN = 1_000
"""How long at least to wait again for static members of which none is there: a client may say that
it has no patience, or less than none, and the node would do nothing else."""

_JOIN_NULL_PROTOCOL = 7
_MEMBER_BYTES = 64
"""Allowed for the numbers and lengths of one member in a record."""


class Rebalances:
    """Moves groups through their phases, and ends members that fell silent."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Without groups."""
        self.groups: dict[str, ClassicGroup] = {}
        """Those with members, or with ids that may become members."""
        self.members_count = 0
        self.rebalances_count = 0
        """Generations that came to be."""
        self._coordinator = coordinator

    # Members

    def admit(self, group: ClassicGroup, member: Member, protocol_type: str) -> None:
        """Take a member into its group."""
        group.add(member, protocol_type)
        self.members_count += 1

    def expel(self, group: ClassicGroup, member: Member, turn: Turn) -> None:
        """Let a member go; if it waits for something, it is told that it is none any more."""
        self.refuse_join(group, member, ErrorCode.UNKNOWN_MEMBER_ID, turn, member_id="")
        self._refuse_sync(group, member, ErrorCode.UNKNOWN_MEMBER_ID, turn)
        group.remove(member)
        self.members_count -= 1

    def dissolve(self, group: ClassicGroup, turn: Turn) -> None:
        """The group is no classic one any more; its members are, elsewhere."""
        for member in group.members.values():
            self.refuse_join(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
            self._refuse_sync(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
            if member.session is not None:
                member.session.cancel()
        for alarm in group.pending.values():
            alarm.cancel()
        if group.alarm is not None:
            group.alarm.cancel()
        self.members_count -= len(group.members)

    def park_join(self, group: ClassicGroup, member: Member, ask: Ask, turn: Turn) -> None:
        """Keep a JoinGroup until all have joined; one that was kept before may try again."""
        self.refuse_join(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
        member.join = ask
        group.waiting += 1

    def park_sync(self, group: ClassicGroup, member: Member, ask: Ask, turn: Turn) -> None:
        """Keep a SyncGroup until the leader's comes; one that was kept before may try again."""
        self._refuse_sync(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
        member.sync = ask

    def keep_alive(self, group: ClassicGroup, member: Member, now_ms: int, for_ms: int) -> None:
        """A member showed that it lives: its session ends at this time at the earliest."""
        at_ms = now_ms + for_ms
        session = member.session
        if session is not None and session.at_ms is not None:
            if session.at_ms <= at_ms:
                session.at_ms = at_ms
                return
            session.cancel()
        over = partial(self._session_over, group.group_id, member.member_id)
        member.session = self._coordinator.set_timer(at_ms, over)

    def _session_over(self, group_id: str, member_id: str, turn: Turn) -> None:
        group = self.groups.get(group_id)
        member = None if group is None else group.members.get(member_id)
        now_ms = turn.now.monotonic_ms
        if group is None or member is None or not _is_due(member.session, now_ms):
            return
        member.session = None
        if member.is_waiting and not member.is_new:
            self.keep_alive(group, member, now_ms, member.session_ms)
            return
        self.expel(group, member, turn)
        self.missing_member(group, turn)

    def missing_member(self, group: ClassicGroup, turn: Turn) -> None:
        """Somebody went: the others share what it had, or need not wait for it any longer."""
        if group.state in (State.STABLE, State.COMPLETING):
            self.prepare(group, turn)
        else:
            self.complete_if_whole(group, turn)

    def promise(self, group: ClassicGroup, member_id: str, session_ms: int, turn: Turn) -> None:
        """A new id is given out: the others wait for who got it, up to a session's time."""
        over = partial(self._promise_over, group.group_id, member_id)
        at_ms = turn.now.monotonic_ms + session_ms
        group.pending[member_id] = self._coordinator.set_timer(at_ms, over)

    def _promise_over(self, group_id: str, member_id: str, turn: Turn) -> None:
        group = self.groups.get(group_id)
        if group is not None and _is_due(group.pending.get(member_id), turn.now.monotonic_ms):
            self.forget_promise(group, member_id, turn)

    def forget_promise(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        """Nobody will join by an id that was given out; nobody need wait for it."""
        group.pending.pop(member_id).cancel()
        self.complete_if_whole(group, turn)
        self.drop_if_empty(group)

    # Phases

    def _enter(self, group: ClassicGroup, state: State, turn: Turn) -> None:
        group.state = state
        group.since_ms = turn.now.wall_ms
        group.phase += 1
        if group.alarm is not None:
            group.alarm.cancel()
            group.alarm = None

    def _set_alarm(self, group: ClassicGroup, after_ms: int, turn: Turn) -> None:
        """Have the phase end after a time, whatever its members do."""
        over = partial(self._phase_over, group.group_id, group.phase)
        at_ms = turn.now.monotonic_ms + after_ms
        group.alarm = self._coordinator.set_timer(at_ms, over)

    def _phase_over(self, group_id: str, phase: int, turn: Turn) -> None:
        group = self.groups.get(group_id)
        now_ms = turn.now.monotonic_ms
        if group is None or group.phase != phase or not _is_due(group.alarm, now_ms):
            return
        group.alarm = None
        if group.state is State.PREPARING:
            self._complete(group, turn)
        else:
            self._syncs_over(group, turn)

    def prepare(self, group: ClassicGroup, turn: Turn) -> None:
        """Begin a rebalance: all members are to join again."""
        for member in group.members.values():
            if group.state is State.COMPLETING:
                member.assignment = b""
            self._refuse_sync(group, member, ErrorCode.REBALANCE_IN_PROGRESS, turn)
        group.syncs_missing.clear()
        is_first = group.state is State.EMPTY
        self._enter(group, State.PREPARING, turn)
        group.is_first = is_first
        if is_first:
            self._delay(group, turn.now.monotonic_ms, turn)
        elif group.is_whole:
            self._complete(group, turn)
        else:
            self._set_alarm(group, group.rebalance_ms, turn)

    def _delay(self, group: ClassicGroup, begun_ms: int, turn: Turn) -> None:
        """Wait for more first members, as long as they come and have patience."""
        delay_ms = turn.config.group_initial_delay_ms
        now_ms = turn.now.monotonic_ms
        if now_ms > begun_ms:
            delay_ms = min(delay_ms, begun_ms + group.rebalance_ms - now_ms)
        group.newcomers = False
        over = partial(self._delay_over, group.group_id, group.phase, begun_ms)
        # Members wait for this one, and a delay of 0 is to be none.
        group.alarm = self._coordinator.set_timer(now_ms + delay_ms, over, exact=True)

    def _delay_over(self, group_id: str, phase: int, begun_ms: int, turn: Turn) -> None:
        group = self.groups.get(group_id)
        now_ms = turn.now.monotonic_ms
        if group is None or group.phase != phase or not _is_due(group.alarm, now_ms):
            return
        group.alarm = None
        if group.newcomers and now_ms < begun_ms + group.rebalance_ms:
            self._delay(group, begun_ms, turn)
        else:
            self._complete(group, turn)

    def complete_if_whole(self, group: ClassicGroup, turn: Turn) -> None:
        """End the join phase if nobody is missing; the first one of a group takes its time."""
        if group.state is State.PREPARING and not group.is_first and group.is_whole:
            self._complete(group, turn)

    def _complete(self, group: ClassicGroup, turn: Turn) -> None:
        """End the join phase: a generation of those who are here, and of all static members."""
        for member in list(group.members.values()):
            if member.join is None and member.instance_id is None:
                self.expel(group, member, turn)
        if group.members and not group.lead_by_one_that_joined():
            # All static, and none is here: their sessions will end, or they will come.
            self._set_alarm(group, max(group.rebalance_ms, ABSENT_MS_MIN), turn)
            return
        group.generation += 1
        if not group.members:
            self._become_empty(group, turn)
            return
        self.rebalances_count += 1
        group.protocol = group.elect_protocol()
        group.topics = group.read_topics()
        self._enter(group, State.COMPLETING, turn)
        group.syncs_missing = set(group.members)
        now_ms = turn.now.monotonic_ms
        for member in group.members.values():
            self._answer_join(group, member, turn)
            self.keep_alive(group, member, now_ms, member.session_ms)
            member.is_new = False
        self._set_alarm(group, group.rebalance_ms, turn)

    def _become_empty(self, group: ClassicGroup, turn: Turn) -> None:
        group.protocol, group.leader, group.topics = None, None, group.read_topics()
        self._enter(group, State.EMPTY, turn)
        turn.write(GroupMetadataKey(group=group.group_id), group.stored({}))
        self.drop_if_empty(group)

    def drop_if_empty(self, group: ClassicGroup) -> None:
        """Nobody is in it, and nobody may come by an id that was given: the image is enough."""
        if group.state is State.EMPTY and not group.pending:
            self.groups.pop(group.group_id, None)

    def _syncs_over(self, group: ClassicGroup, turn: Turn) -> None:
        """Whoever did not sync in time is out."""
        for member_id in sorted(group.syncs_missing):
            self.expel(group, group.members[member_id], turn)
        self.prepare(group, turn)

    def synced(self, group: ClassicGroup, member: Member) -> None:
        """A member sent SyncGroup; once all have, nobody need be waited for."""
        group.syncs_missing.discard(member.member_id)
        self._calm(group)

    def _calm(self, group: ClassicGroup) -> None:
        if group.state is State.STABLE and not group.syncs_missing and group.alarm is not None:
            group.alarm.cancel()
            group.alarm = None

    def assign(self, group: ClassicGroup, assignments: Mapping[str, bytes], turn: Turn) -> None:
        """The leader says who gets what: write it, and answer all who wait for it."""
        if not self.store(group, assignments, turn):
            for member in group.members.values():
                self._refuse_sync(group, member, ErrorCode.UNKNOWN_SERVER_ERROR, turn)
            self.prepare(group, turn)
            return
        # The alarm for members that do not sync goes on: this is no new phase.
        group.state = State.STABLE
        group.since_ms = turn.now.wall_ms
        self._calm(group)
        now_ms = turn.now.monotonic_ms
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
            if member.sync is not None:
                ask, member.sync = member.sync, None
                self.answer_sync(group, member, ask, turn)
                self.keep_alive(group, member, now_ms, member.session_ms)

    def store(self, group: ClassicGroup, assignments: Mapping[str, bytes], turn: Turn) -> bool:
        """Write the record of a generation; False if it would be larger than a record may be."""
        value = group.stored(assignments)
        if record_bytes(value) > GROUP_RECORD_BYTES_MAX:
            return False
        try:
            turn.write(GroupMetadataKey(group=group.group_id), value)
        except WireError:
            return False
        return True

    # Answers

    def _answer_join(self, group: ClassicGroup, member: Member, turn: Turn) -> None:
        if member.join is not None:
            ask, member.join = member.join, None
            group.waiting -= 1
            self.answer_join(group, member, ask, turn)

    def answer_join(
        self,
        group: ClassicGroup,
        member: Member,
        ask: Ask,
        turn: Turn,
    ) -> None:
        """Tell a member of the generation; the leader is told of all members."""
        is_leader = group.leader == member.member_id
        response = JoinGroupResponse(
            generation_id=group.generation,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            leader=group.leader or "",
            member_id=member.member_id,
            members=group.metadata() if is_leader else [],
        )
        turn.reply(ask, response, group.group_id)

    def answer_sync(self, group: ClassicGroup, member: Member, ask: Ask, turn: Turn) -> None:
        """Tell a member what it is assigned in the generation."""
        response = SyncGroupResponse(
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            assignment=member.assignment,
        )
        turn.reply(ask, response, group.group_id)

    def refuse_join(
        self,
        group: ClassicGroup,
        member: Member,
        code: ErrorCode,
        turn: Turn,
        *,
        member_id: str | None = None,
    ) -> None:
        """Answer a member's JoinGroup that waits, if one does, with an error."""
        if member.join is None:
            return
        ask, member.join = member.join, None
        group.waiting -= 1
        told = member.member_id if member_id is None else member_id
        turn.reply(ask, join_refused(ask.version, code, told), group.group_id)

    def _refuse_sync(
        self, group: ClassicGroup, member: Member, code: ErrorCode, turn: Turn
    ) -> None:
        if member.sync is not None:
            ask, member.sync = member.sync, None
            turn.reply(ask, SyncGroupResponse(error_code=code), group.group_id)

    def fence(self, group: ClassicGroup, member: Member, turn: Turn) -> None:
        """Another one has a static member's instance id now: what waits for it is told."""
        fenced = ErrorCode.FENCED_INSTANCE_ID
        self.refuse_join(group, member, fenced, turn)
        self._refuse_sync(group, member, fenced, turn)


def record_bytes(value: GroupMetadataValue) -> int:
    """Return how many bytes the record of a generation takes at most."""
    return sum(
        _MEMBER_BYTES
        + len(one.subscription)
        + len(one.assignment)
        + 4 * (len(one.member_id) + len(one.client_id) + len(one.group_instance_id or ""))
        for one in value.members
    )


def _is_due(alarm: Alarm | None, now_ms: int) -> bool:
    """Whether an alarm has gone off, and was neither moved nor cancelled in the same moment."""
    return alarm is not None and alarm.at_ms is not None and alarm.at_ms <= now_ms


def join_refused(version: int, code: ErrorCode, member_id: str) -> JoinGroupResponse:
    """Return a JoinGroup's answer that only says what is wrong.

    Args:
        version: of the JoinGroup; before version 7 no protocol is an empty one.
        code: what is wrong.
        member_id: as it is told; not in all cases the one that asked.
    """
    protocol = None if version >= _JOIN_NULL_PROTOCOL else ""
    return JoinGroupResponse(error_code=code, member_id=member_id, protocol_name=protocol)
