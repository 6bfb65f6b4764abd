"""Groups of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup and their answers.

As Kafka's broker does, soft state stays in memory: a record is written when a group begins, when
the leader assigns, when a static member comes back under another id, and when nobody is left.
Groups of KIP-848 never come here: the coordinator looks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from mesh.groups.classic_group import CONSUMER, ClassicGroup, Member, State
from mesh.groups.classic_rebalance import NEWCOMER_MS, Rebalances, join_refused
from mesh.groups.records import is_storable
from mesh.model.errors import ErrorCode
from mesh.model.limits import (
    GROUP_METADATA_BYTES_MAX,
    GROUP_PENDING_MAX,
    GROUP_PROTOCOLS_MAX,
    MEMBER_ID_PREFIX_MAX,
)
from mesh.wire.schemas.describe_groups import DescribedGroup
from mesh.wire.schemas.heartbeat import HeartbeatRequest, HeartbeatResponse
from mesh.wire.schemas.join_group import JoinGroupRequest, JoinGroupResponse
from mesh.wire.schemas.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)
from mesh.wire.schemas.sync_group import SyncGroupRequest, SyncGroupResponse
from mesh.wire.stored.groups import GroupMetadataKey, GroupMetadataValue

if TYPE_CHECKING:
    from mesh.groups.classic_group import Protocols
    from mesh.groups.coordinator import Coordinator
    from mesh.groups.turn import Ask, Rng, Turn
    from mesh.wire.schemas.offset_commit import OffsetCommitRequest

# First versions of requests that say something more.
_JOIN_REBALANCE_TIMEOUT = 1
_JOIN_MEMBER_ID_REQUIRED = 4
_JOIN_SKIP_ASSIGNMENT = 9
_SYNC_PROTOCOL = 5
_LEAVE_SEVERAL = 3
_COMMIT_GROUP_ID_NOT_FOUND = 9
_DESCRIBE_GROUP_ID_NOT_FOUND = 6


class ClassicStatistics(NamedTuple):
    """How many there are, for metrics."""

    members: int
    groups: int
    """With members, or with ids that may become members."""
    rebalances: int
    """Generations that came to be since this coordinator began."""


class ClassicGroups:
    """The classic groups of one coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        """Without live groups: see `begin`."""
        self._image = coordinator.image
        self._rebalances = Rebalances(coordinator)
        self._groups = self._rebalances.groups

    def begin(self, turn: Turn) -> None:
        """The log is replayed: groups are as last written, and sessions run from now."""
        now_ms = turn.now.monotonic_ms
        for group_id, known in list(self._image.groups.items()):
            if known.classic is None or not known.classic.members:
                continue
            group = self._groups[group_id] = ClassicGroup(group_id, known.classic)
            group.load(known.classic)
            self._rebalances.members_count += len(group.members)
            for member in group.members.values():
                self._rebalances.keep_alive(group, member, now_ms, member.session_ms)
            if len(group.members) > turn.config.group_size_max:
                self._rebalances.prepare(group, turn)

    # Groups that change their protocol

    def release(self, group_id: str, turn: Turn) -> None:
        """The group is one by KIP-848 now: whoever waits for something is to ask again."""
        group = self._groups.pop(group_id, None)
        if group is not None:
            self._rebalances.dissolve(group, turn)

    def adopt(self, group: ClassicGroup, turn: Turn, *, rebalance: bool) -> None:
        """A group by KIP-848 is this one now, and that is written.

        Args:
            group: stable.
            turn: that it happens in.
            rebalance: whether its members are to join again.
        """
        self._groups[group.group_id] = group
        self._rebalances.members_count += len(group.members)
        for member in group.members.values():
            now_ms = turn.now.monotonic_ms
            self._rebalances.keep_alive(group, member, now_ms, member.session_ms)
        if rebalance:
            self._rebalances.prepare(group, turn)

    # JoinGroup

    def join(self, ask: Ask, turn: Turn) -> None:
        """Let a member in, or let it join again; the answer may wait for the other members."""
        request = ask.body
        assert isinstance(request, JoinGroupRequest)
        config = turn.config
        code = None
        if not request.group_id:
            code = ErrorCode.INVALID_GROUP_ID
        elif not (
            config.group_session_ms_min <= request.session_timeout_ms <= config.group_session_ms_max
        ):
            code = ErrorCode.INVALID_SESSION_TIMEOUT
        elif not is_storable(request.group_instance_id or ""):
            code = ErrorCode.INVALID_REQUEST
        if code is not None:
            self._refuse_join(ask, code, turn)
            return
        group = self._groups.get(request.group_id)
        if group is None:
            known = self._image.groups.get(request.group_id)
            if known is None and request.member_id:
                self._refuse_join(ask, ErrorCode.UNKNOWN_MEMBER_ID, turn)
                return
            group = ClassicGroup(request.group_id, None if known is None else known.classic)
        self._join(group, ask, request, turn)

    def _join(self, group: ClassicGroup, ask: Ask, request: JoinGroupRequest, turn: Turn) -> None:
        protocols = {one.name: one.metadata for one in reversed(request.protocols)}
        protocols = {one.name: protocols[one.name] for one in request.protocols}
        if not self._has_room(group, request.member_id, turn):
            self._forget(group, request.member_id, turn)
            code = ErrorCode.GROUP_MAX_SIZE_REACHED
            turn.reply(ask, join_refused(ask.version, code, ""), group.group_id)
        elif (
            len(protocols) > GROUP_PROTOCOLS_MAX
            or not all(map(is_storable, (request.protocol_type, *protocols)))
            or not group.can_speak(request.protocol_type, protocols)
        ):
            self._refuse_join(ask, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, turn)
        elif _bytes_of(protocols) + group.metadata_bytes > GROUP_METADATA_BYTES_MAX:
            self._refuse_join(ask, ErrorCode.GROUP_MAX_SIZE_REACHED, turn)
        elif request.member_id:
            self._join_again(group, ask, request, protocols, turn)
        else:
            self._join_anew(group, ask, request, protocols, turn)

    def _has_room(self, group: ClassicGroup, member_id: str, turn: Turn) -> bool:
        """Whether a member may join; in a rebalance the last ones to come may be too many."""
        size_max = turn.config.group_size_max
        member = group.members.get(member_id)
        match group.state:
            case State.EMPTY:
                return len(group.pending) < GROUP_PENDING_MAX or member_id in group.pending
            case State.PREPARING:
                waits = member is not None and member.join is not None
                fits = group.waiting < size_max
            case _:
                waits, fits = member is not None, len(group.members) < size_max
        return waits or (fits and (bool(member_id) or len(group.pending) < GROUP_PENDING_MAX))

    def _forget(self, group: ClassicGroup, member_id: str, turn: Turn) -> None:
        """Who finds no room any more is not waited for either."""
        if member_id in group.pending:
            self._rebalances.forget_promise(group, member_id, turn)
        elif (member := group.members.get(member_id)) is not None:
            self._rebalances.expel(group, member, turn)
            self._rebalances.complete_if_whole(group, turn)

    def _join_anew(
        self,
        group: ClassicGroup,
        ask: Ask,
        request: JoinGroupRequest,
        protocols: Protocols,
        turn: Turn,
    ) -> None:
        instance_id = request.group_instance_id
        member_id = make_member_id(ask.client_id if instance_id is None else instance_id, turn.rng)
        if group.group_id not in self._groups:
            self._groups[group.group_id] = group
            if self._stored(group.group_id) is None:
                # So that others, too, see a group; it ends as an empty one does.
                group.since_ms = turn.now.wall_ms
                turn.write(GroupMetadataKey(group=group.group_id), group.stored({}))
        if instance_id is not None:
            old = group.static_member(instance_id)
            if old is not None:
                self._replace(group, old, member_id, ask, protocols, turn)
                return
        elif ask.version >= _JOIN_MEMBER_ID_REQUIRED:
            self._rebalances.promise(group, member_id, request.session_timeout_ms, turn)
            response = join_refused(ask.version, ErrorCode.MEMBER_ID_REQUIRED, member_id)
            turn.reply(ask, response, group.group_id)
            return
        self._admit(group, member_id, ask, protocols, turn)

    def _admit(
        self, group: ClassicGroup, member_id: str, ask: Ask, protocols: Protocols, turn: Turn
    ) -> None:
        request = ask.body
        assert isinstance(request, JoinGroupRequest)
        member = Member(member_id, request.group_instance_id, (ask.client_id, ask.client_host))
        member.asks_for(protocols, request.session_timeout_ms, rebalance_ms_of(ask, request))
        member.is_new = True
        group.newcomers = True
        self._rebalances.admit(group, member, request.protocol_type)
        self._rebalances.park_join(group, member, ask, turn)
        self._rebalances.keep_alive(group, member, turn.now.monotonic_ms, NEWCOMER_MS)
        self._rebalance(group, turn)

    def _rebalance(self, group: ClassicGroup, turn: Turn) -> None:
        if group.state is State.PREPARING:
            self._rebalances.complete_if_whole(group, turn)
        else:
            self._rebalances.prepare(group, turn)

    def _replace(
        self,
        group: ClassicGroup,
        old: Member,
        member_id: str,
        ask: Ask,
        protocols: Protocols,
        turn: Turn,
    ) -> None:
        """A static member is back without its id: it takes the place of what it was before."""
        request = ask.body
        assert isinstance(request, JoinGroupRequest)
        old_leader = group.leader
        self._rebalances.fence(group, old, turn)
        member = group.replace(old, member_id)
        session_ms = request.session_timeout_ms
        group.update(member, protocols, session_ms, rebalance_ms_of(ask, request))
        self._rebalances.keep_alive(group, member, turn.now.monotonic_ms, session_ms)
        if group.state is not State.STABLE or group.elect_protocol() != group.protocol:
            self._rebalances.park_join(group, member, ask, turn)
            # What the leader is about to assign, it would assign to the old id.
            self._rebalance(group, turn)
            return
        assignments = {one.member_id: one.assignment for one in group.members.values()}
        if not self._rebalances.store(group, assignments, turn):
            self._rebalances.park_join(group, member, ask, turn)
            self._rebalance(group, turn)
            return
        # Of an old version, its client would assign anew if it were told that it leads.
        tells = ask.version >= _JOIN_SKIP_ASSIGNMENT
        leads = tells and group.leader == member_id
        response = JoinGroupResponse(
            generation_id=group.generation,
            protocol_type=group.protocol_type,
            protocol_name=group.protocol,
            leader=(group.leader if tells else old_leader) or "",
            skip_assignment=leads,
            member_id=member_id,
            members=group.metadata() if leads else [],
        )
        turn.reply(ask, response, group.group_id)

    def _join_again(
        self,
        group: ClassicGroup,
        ask: Ask,
        request: JoinGroupRequest,
        protocols: Protocols,
        turn: Turn,
    ) -> None:
        member_id = request.member_id
        if member_id in group.pending:
            if request.group_instance_id is not None:
                # Such a member cannot be: Kafka's broker fails over it, too.
                code = ErrorCode.UNKNOWN_SERVER_ERROR
                turn.reply(ask, join_refused(ask.version, code, ""), group.group_id)
                return
            group.pending.pop(member_id).cancel()
            self._admit(group, member_id, ask, protocols, turn)
            return
        wrong = check_member(group, member_id, request.group_instance_id)
        if wrong is not None:
            self._refuse_join(ask, wrong, turn)
            return
        member = group.members[member_id]
        same = list(member.protocols.items()) == list(protocols.items())
        is_leader = group.leader == member_id
        # A follower may not have had its answer; a leader knows why it wants another generation.
        if same and (
            group.state is State.COMPLETING or (group.state is State.STABLE and not is_leader)
        ):
            self._rebalances.answer_join(group, member, ask, turn)
            return
        session_ms, rebalance_ms = request.session_timeout_ms, rebalance_ms_of(ask, request)
        group.update(member, protocols, session_ms, rebalance_ms)
        self._rebalances.park_join(group, member, ask, turn)
        self._rebalance(group, turn)

    def _refuse_join(self, ask: Ask, code: ErrorCode, turn: Turn) -> None:
        request = ask.body
        assert isinstance(request, JoinGroupRequest)
        turn.reply(ask, join_refused(ask.version, code, request.member_id), request.group_id)

    # SyncGroup

    def sync(self, ask: Ask, turn: Turn) -> None:
        """Take the leader's assignment, or keep a member until it is there."""
        request = ask.body
        assert isinstance(request, SyncGroupRequest)
        group = self._groups.get(request.group_id)
        code = _check_sync(group, request, ask.version)
        if code is not None or group is None:
            turn.reply(ask, SyncGroupResponse(error_code=code or 0), request.group_id)
            return
        member = group.members[request.member_id]
        if group.state is State.STABLE:
            self._rebalances.synced(group, member)
            self._rebalances.answer_sync(group, member, ask, turn)
            return
        self._rebalances.park_sync(group, member, ask, turn)
        self._rebalances.synced(group, member)
        if group.leader == member.member_id:
            assignments = {one.member_id: one.assignment for one in request.assignments}
            self._rebalances.assign(group, assignments, turn)

    # Heartbeat

    def heartbeat(self, ask: Ask, turn: Turn) -> None:
        """Note that a member lives, and tell it whether it is to join again."""
        request = ask.body
        assert isinstance(request, HeartbeatRequest)
        group = self._groups.get(request.group_id)
        code = _check_heartbeat(group, request)
        if code is None and group is not None:
            member = group.members[request.member_id]
            now_ms = turn.now.monotonic_ms
            self._rebalances.keep_alive(group, member, now_ms, member.session_ms)
            if group.state is State.PREPARING:
                code = ErrorCode.REBALANCE_IN_PROGRESS
        turn.reply(ask, HeartbeatResponse(error_code=code or 0), request.group_id)

    # LeaveGroup

    def leave(self, ask: Ask, turn: Turn) -> None:
        """Let members go at once; by instance id alone, as an administrator does, too."""
        request = ask.body
        assert isinstance(request, LeaveGroupRequest)
        if not request.group_id:
            code = ErrorCode.INVALID_GROUP_ID
            turn.reply(ask, LeaveGroupResponse(error_code=code), request.group_id)
            return
        identities = request.members
        if ask.version < _LEAVE_SEVERAL:
            identities = [MemberIdentity(member_id=request.member_id)]
        group = self._groups.get(request.group_id)
        answers = []
        has_lost = False
        for identity in identities:
            code, was_member = self._leave(group, identity, turn)
            has_lost = has_lost or was_member
            answers.append(
                MemberResponse(
                    member_id=identity.member_id,
                    group_instance_id=identity.group_instance_id,
                    error_code=code,
                )
            )
        if group is not None and has_lost:
            self._rebalances.missing_member(group, turn)
        response = LeaveGroupResponse(members=answers)
        if ask.version < _LEAVE_SEVERAL:
            response = LeaveGroupResponse(error_code=answers[0].error_code)
        turn.reply(ask, response, request.group_id)

    def _leave(
        self, group: ClassicGroup | None, identity: MemberIdentity, turn: Turn
    ) -> tuple[ErrorCode, bool]:
        """Return what one member is answered, and whether the others are to rebalance."""
        member_id, instance_id = identity.member_id, identity.group_instance_id
        if group is None:
            return ErrorCode.UNKNOWN_MEMBER_ID, False
        if not member_id:
            static = None if instance_id is None else group.static_member(instance_id)
            if static is None:
                return ErrorCode.UNKNOWN_MEMBER_ID, False
            self._rebalances.expel(group, static, turn)
            return ErrorCode.NONE, True
        if member_id in group.pending:
            self._rebalances.forget_promise(group, member_id, turn)
            return ErrorCode.NONE, False
        code = check_member(group, member_id, instance_id)
        if code is not None:
            return code, False
        self._rebalances.expel(group, group.members[member_id], turn)
        return ErrorCode.NONE, True

    # OffsetCommit

    def check_commit(
        self,
        group_id: str,
        body: OffsetCommitRequest,
        turn: Turn,
        version: int = _COMMIT_GROUP_ID_NOT_FOUND,
    ) -> ErrorCode | None:
        """Return why a commit is refused; None lets it pass, and keeps the member alive."""
        generation, member_id = body.generation_id_or_member_epoch, body.member_id
        group = self._groups.get(group_id)
        if group is None or group.state is State.EMPTY:
            if generation < 0:
                return None
            if group_id in self._image.groups:
                return ErrorCode.UNKNOWN_MEMBER_ID
            is_new = version >= _COMMIT_GROUP_ID_NOT_FOUND
            return ErrorCode.GROUP_ID_NOT_FOUND if is_new else ErrorCode.ILLEGAL_GENERATION
        code = check_member(group, member_id, body.group_instance_id)
        if code is not None:
            return code
        if generation != group.generation:
            return ErrorCode.ILLEGAL_GENERATION
        if group.state is State.COMPLETING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        member = group.members[member_id]
        self._rebalances.keep_alive(group, member, turn.now.monotonic_ms, member.session_ms)
        return None

    # What is said of groups

    def describe(self, group_id: str, turn: Turn, version: int) -> DescribedGroup:
        """Describe a group; one that is not there is a dead one, before version 6 no error."""
        group = self._groups.get(group_id)
        state = self.state_of(group_id)
        described = DescribedGroup(
            group_id=group_id, group_state=state, protocol_type=self.protocol_type_of(group_id)
        )
        if state is State.DEAD and version >= _DESCRIBE_GROUP_ID_NOT_FOUND:
            described.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            described.error_message = f"Group {group_id} not found."
        if group is not None:
            described.members = group.described()
            if state is State.STABLE:
                described.protocol_data = group.protocol or ""
        return described

    def state_of(self, group_id: str) -> State:
        """Return what a group is doing; DEAD if there is none."""
        group = self._groups.get(group_id)
        if group is not None:
            return group.state
        return State.EMPTY if group_id in self._image.groups else State.DEAD

    def protocol_type_of(self, group_id: str) -> str:
        """Return what its members are ("consumer", "connect", …); empty if it had none."""
        group = self._groups.get(group_id)
        if group is not None:
            return group.protocol_type or ""
        stored = self._stored(group_id)
        return "" if stored is None else stored.protocol_type

    def is_empty(self, group_id: str) -> bool:
        """Whether it has no members, so that it may be deleted."""
        return self.state_of(group_id) is State.EMPTY

    def member_count(self, group_id: str) -> int:
        """Return how many members it has."""
        group = self._groups.get(group_id)
        return 0 if group is None else len(group.members)

    def subscribed_topics(self, group_id: str) -> frozenset[str] | None:
        """Return what its consumers subscribe to; None if nobody can tell."""
        group = self._groups.get(group_id)
        return frozenset() if group is None else group.topics

    def is_subscribed(self, group_id: str, topic: str) -> bool:
        """Whether consumers of it read a topic, as far as anybody can tell."""
        group = self._groups.get(group_id)
        if group is None:
            return False
        if group.topics is None:
            return group.protocol_type == CONSUMER
        return topic in group.topics

    def check_offset_delete(self, group_id: str) -> ErrorCode | None:
        """Return why no offset of a group may be deleted; `is_subscribed` says which may not."""
        match self.state_of(group_id):
            case State.DEAD:
                return ErrorCode.GROUP_ID_NOT_FOUND
            case State.EMPTY:
                return None
        if self.protocol_type_of(group_id) == CONSUMER:
            return None
        return ErrorCode.NON_EMPTY_GROUP

    def idle_since_ms(self, group_id: str, topic: str, commit_ms: int) -> int | None:
        """Return since when nobody needs an offset; None while somebody may.

        Args:
            group_id: of a group that is there.
            topic: whose offset was committed.
            commit_ms: when, by the wall clock, as everything here.
        """
        if not self.protocol_type_of(group_id):
            return commit_ms  # It never had members, so only a commit shows that it lives.
        group = self._groups.get(group_id)
        state = self.state_of(group_id)
        if state is State.EMPTY:
            stored = self._stored(group_id)
            since_ms = -1 if stored is None else stored.current_state_timestamp
            return commit_ms if since_ms == -1 else since_ms
        knows = group is not None and group.topics is not None
        if state is State.STABLE and knows and not self.is_subscribed(group_id, topic):
            return commit_ms
        return None

    def delete(self, group_id: str, turn: Turn) -> None:
        """Write that a group is no more. It must be empty; its offsets are not looked at."""
        assert self.state_of(group_id) in (State.EMPTY, State.DEAD), "it has members"
        group = self._groups.pop(group_id, None)
        if group is not None:
            for alarm in group.pending.values():
                alarm.cancel()
        if self._stored(group_id) is not None:
            turn.write(GroupMetadataKey(group=group_id), None)

    def _stored(self, group_id: str) -> GroupMetadataValue | None:
        known = self._image.groups.get(group_id)
        return None if known is None else known.classic

    def group(self, group_id: str) -> ClassicGroup | None:
        """Return the soft state of a group with members; None if what is written says it all."""
        return self._groups.get(group_id)

    def statistics(self) -> ClassicStatistics:
        """Return how many there are."""
        rebalances = self._rebalances
        return ClassicStatistics(
            rebalances.members_count, len(self._groups), rebalances.rebalances_count
        )


def make_member_id(prefix: str, rng: Rng) -> str:
    """Return a new member id: whoever reads it sees whose it is."""
    return f"{prefix[:MEMBER_ID_PREFIX_MAX]}-{UUID(int=rng.getrandbits(128), version=4)}"


def check_member(group: ClassicGroup, member_id: str, instance_id: str | None) -> ErrorCode | None:
    """Return why somebody does not speak for a member; None if it does."""
    if instance_id is not None:
        known = group.instances.get(instance_id)
        if known is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if known != member_id:
            return ErrorCode.FENCED_INSTANCE_ID
    return None if member_id in group.members else ErrorCode.UNKNOWN_MEMBER_ID


def _check_heartbeat(group: ClassicGroup | None, request: HeartbeatRequest) -> ErrorCode | None:
    if not request.group_id:
        return ErrorCode.INVALID_GROUP_ID
    if group is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    code = check_member(group, request.member_id, request.group_instance_id)
    if code is None and request.generation_id != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    return code


def _check_sync(
    group: ClassicGroup | None, request: SyncGroupRequest, version: int
) -> ErrorCode | None:
    wanted = (request.protocol_type, request.protocol_name)
    if version >= _SYNC_PROTOCOL and None in wanted:
        return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    if not request.group_id:
        return ErrorCode.INVALID_GROUP_ID
    if group is None:
        return ErrorCode.UNKNOWN_MEMBER_ID
    code = check_member(group, request.member_id, request.group_instance_id)
    if code is not None:
        return code
    if request.generation_id != group.generation:
        return ErrorCode.ILLEGAL_GENERATION
    for asked, agreed in zip(wanted, (group.protocol_type, group.protocol), strict=True):
        if asked is not None and agreed is not None and asked != agreed:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    if group.state is State.PREPARING:
        return ErrorCode.REBALANCE_IN_PROGRESS
    return None


def rebalance_ms_of(ask: Ask, request: JoinGroupRequest) -> int:
    """Return how long a member lets others wait for it; at first that was its session."""
    if ask.version < _JOIN_REBALANCE_TIMEOUT:
        return request.session_timeout_ms
    return request.rebalance_timeout_ms


def _bytes_of(protocols: Protocols) -> int:
    return sum(len(name) + len(metadata) for name, metadata in protocols.items())
