"""One classic group while it has members: who they are, and what they agree on.

This is the soft state that no record holds. What is decided here needs neither a clock nor an
answer; when things happen is for classic_rebalance.py, what is asked for classic.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from mesh.groups.consumer_protocol import version_untrusted
from mesh.wire import WireError, decode
from mesh.wire.schemas.describe_groups import DescribedGroupMember
from mesh.wire.schemas.join_group import JoinGroupResponseMember
from mesh.wire.stored.consumer_protocol import VERSION_BYTES, ConsumerProtocolTopics
from mesh.wire.stored.groups import GroupMetadataValue, MemberMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mesh.groups.coordinator import Coordinator, OnTimer
    from mesh.groups.timers import Timer
    from mesh.groups.turn import Ask

    Alarm: TypeAlias = Timer[tuple[Coordinator, OnTimer]]

Protocols: TypeAlias = "dict[str, bytes]"
"""A member's metadata by protocol, in the order in which it prefers them."""

CONSUMER: Final = "consumer"
"""The protocol type of consumers: the only one whose metadata is understood here."""


class State(StrEnum):
    """What a classic group is doing, in the words of Kafka's tools."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    """Members are to join again."""
    COMPLETING = "CompletingRebalance"
    """All have joined; the leader is to say who gets what."""
    STABLE = "Stable"
    DEAD = "Dead"
    """There is no such group."""


class Member:
    """One member, from the JoinGroup that let it in."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "instance_id",
        "is_new",
        "join",
        "member_id",
        "protocols",
        "rebalance_ms",
        "session",
        "session_ms",
        "sync",
    )

    def __init__(self, member_id: str, instance_id: str | None, client: tuple[str, str]) -> None:
        """Without protocols and time-outs: see `asks_for`.

        Args:
            member_id: made here, or by the coordinator before.
            instance_id: None for a dynamic member.
            client: id and host of its client.
        """
        self.member_id = member_id
        self.instance_id = instance_id
        self.client_id, self.client_host = client
        self.protocols: Protocols = {}
        self.rebalance_ms = 0
        self.session_ms = 0
        self.assignment = b""
        self.join: Ask | None = None
        """Its JoinGroup, while that waits for the others."""
        self.sync: Ask | None = None
        """Its SyncGroup, while that waits for the leader's."""
        self.is_new = False
        """It does not know its id yet, so it cannot heartbeat."""
        self.session: Alarm | None = None
        """Goes off when it was silent for too long."""

    def asks_for(self, protocols: Protocols, session_ms: int, rebalance_ms: int) -> None:
        """Take what a JoinGroup says of it."""
        self.protocols = protocols
        self.session_ms = session_ms
        self.rebalance_ms = rebalance_ms

    @property
    def is_waiting(self) -> bool:
        """Whether it has asked and not been answered, so that it cannot heartbeat."""
        return self.join is not None or self.sync is not None


class ClassicGroup:
    """Members, the generation they are in, and the protocol they chose."""

    __slots__ = (
        "alarm",
        "generation",
        "group_id",
        "instances",
        "is_first",
        "leader",
        "members",
        "metadata_bytes",
        "newcomers",
        "pending",
        "phase",
        "protocol",
        "protocol_type",
        "since_ms",
        "state",
        "support",
        "syncs_missing",
        "topics",
        "waiting",
    )

    def __init__(self, group_id: str, stored: GroupMetadataValue | None) -> None:
        """Without members: see `load`."""
        self.group_id = group_id
        self.state = State.EMPTY
        self.since_ms = -1 if stored is None else stored.current_state_timestamp
        """When it came into this state, by the wall clock."""
        self.generation = 0 if stored is None else stored.generation
        self.protocol_type = (stored.protocol_type or None) if stored is not None else None
        self.protocol = None if stored is None else stored.protocol
        self.leader: str | None = None
        self.members: dict[str, Member] = {}
        """By member id, oldest first."""
        self.instances: dict[str, str] = {}
        """Member id of each static member by its instance id."""
        self.pending: dict[str, Alarm] = {}
        """Ids that were given and have not joined, with what ends them."""
        self.support: dict[str, int] = {}
        """How many members speak each protocol."""
        self.metadata_bytes = 0
        """Of all members and protocols."""
        self.waiting = 0
        """Members whose JoinGroup waits."""
        self.syncs_missing: set[str] = set()
        """Members of this generation that have not sent SyncGroup."""
        self.topics: frozenset[str] | None = None
        """What consumers subscribe to; None if nobody can tell."""
        self.is_first = False
        """In PREPARING: it was empty before, so it waits a while for more members."""
        self.newcomers = False
        """In PREPARING, first: members came since the delay was last set."""
        self.phase = 0
        """Another number after each change of the state: an alarm of an old one means nothing."""
        self.alarm: Alarm | None = None
        """Ends this phase if members do not."""

    def load(self, stored: GroupMetadataValue) -> None:
        """Take the members of the last generation that was written."""
        for one in stored.members:
            if one.member_id in self.members or one.group_instance_id in self.instances:
                continue  # No coordinator wrote that, but an administrator's client may.
            member = Member(one.member_id, one.group_instance_id, (one.client_id, one.client_host))
            rebalance_ms = one.rebalance_timeout
            member.asks_for(
                {stored.protocol or "": one.subscription},
                one.session_timeout,
                one.session_timeout if rebalance_ms == -1 else rebalance_ms,
            )
            member.assignment = one.assignment
            self.add(member, self.protocol_type)
        self.leader = stored.leader
        if self.leader not in self.members:
            self.leader = next(iter(self.members), None)
        if self.members:
            self.state = State.STABLE
        self.topics = self.read_topics()

    # Members

    def add(self, member: Member, protocol_type: str | None) -> None:
        """Take a member in; the first one leads, and says what type of group it is."""
        if not self.members:
            self.protocol_type = protocol_type
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.instances[member.instance_id] = member.member_id
        self._count(member, 1)
        if self.leader is None:
            self.leader = member.member_id

    def remove(self, member: Member) -> None:
        """Let a member go; if it led, the oldest one does."""
        assert not member.is_waiting, "whoever waits is answered first"
        del self.members[member.member_id]
        if member.instance_id is not None:
            del self.instances[member.instance_id]
        self._count(member, -1)
        if self.leader == member.member_id:
            self.leader = next(iter(self.members), None)
        self.syncs_missing.discard(member.member_id)
        if member.session is not None:
            member.session.cancel()

    def update(
        self, member: Member, protocols: Protocols, session_ms: int, rebalance_ms: int
    ) -> None:
        """Take what a member says of itself when it joins again."""
        self._count(member, -1)
        member.asks_for(protocols, session_ms, rebalance_ms)
        self._count(member, 1)

    def replace(self, old: Member, member_id: str) -> Member:
        """Give a static member another id: whoever still uses the old one is fenced."""
        assert not old.is_waiting, "whoever waits is answered first"
        assert old.instance_id is not None
        new = Member(member_id, old.instance_id, (old.client_id, old.client_host))
        new.asks_for(old.protocols, old.session_ms, old.rebalance_ms)
        new.assignment = old.assignment
        if old.session is not None:
            old.session.cancel()
        # In its place, so that the order of members does not change.
        self.members = {
            (member_id if one is old else one.member_id): (new if one is old else one)
            for one in self.members.values()
        }
        self.instances[old.instance_id] = member_id
        if self.leader == old.member_id:
            self.leader = member_id
        if old.member_id in self.syncs_missing:
            self.syncs_missing.remove(old.member_id)
            self.syncs_missing.add(member_id)
        return new

    def _count(self, member: Member, by: int) -> None:
        for name, metadata in member.protocols.items():
            self.metadata_bytes += by * (len(name) + len(metadata))
            count = self.support.get(name, 0) + by
            if count:
                self.support[name] = count
            else:
                self.support.pop(name, None)

    def static_member(self, instance_id: str) -> Member | None:
        """Return the member that has an instance id."""
        member_id = self.instances.get(instance_id)
        return None if member_id is None else self.members[member_id]

    @property
    def is_whole(self) -> bool:
        """Whether everybody who might join has: no member is missing and no id is out."""
        return self.waiting == len(self.members) and not self.pending

    @property
    def rebalance_ms(self) -> int:
        """How long to wait for members: as long as the most patient of them allows."""
        return max((member.rebalance_ms for member in self.members.values()), default=0)

    def lead_by_one_that_joined(self) -> bool:
        """If the leader did not join, let one lead that did; False if nobody joined."""
        if self.leader is None:
            return False
        if self.members[self.leader].join is None:
            joined = (one.member_id for one in self.members.values() if one.join is not None)
            found = next(joined, None)
            if found is None:
                return False
            self.leader = found
        return True

    # Protocols

    def can_speak(self, protocol_type: str, protocols: Protocols) -> bool:
        """Whether a member of this type, with one of these protocols, fits to the others."""
        if self.state is State.EMPTY:
            return bool(protocol_type and protocols)
        if self.protocol_type != protocol_type:
            return False
        count = len(self.members)
        return any(self.support.get(name, 0) == count for name in protocols)

    def elect_protocol(self) -> str:
        """Return the protocol that most members prefer among those that all of them speak.

        Of two with as many votes, the one that was voted for first, by age of the members.
        """
        count = len(self.members)
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = next(name for name in member.protocols if self.support[name] == count)
            votes[vote] = votes.get(vote, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def read_topics(self) -> frozenset[str] | None:
        """Return the topics that the members' metadata names; None if that cannot be read."""
        if self.protocol_type != CONSUMER:
            return None
        if not self.members:
            return frozenset()
        if self.protocol is None:
            return None
        found: set[str] = set()
        try:
            for member in self.members.values():
                found.update(subscription_untrusted(member.protocols[self.protocol]))
        except ValueError:
            return None
        return frozenset(found)

    # As others see it

    def metadata(self) -> list[JoinGroupResponseMember]:
        """Return what the leader is told of all members."""
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.protocols[self.protocol or ""],
            )
            for member in self.members.values()
        ]

    def described(self) -> list[DescribedGroupMember]:
        """Return the members as DescribeGroups shows them."""
        protocol = self.protocol if self.state is State.STABLE else None
        return [
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=b"" if protocol is None else member.protocols[protocol],
                member_assignment=member.assignment,
            )
            for member in self.members.values()
        ]

    def stored(self, assignments: Mapping[str, bytes]) -> GroupMetadataValue:
        """Return the record of this generation; who is not assigned anything gets nothing."""
        return GroupMetadataValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            current_state_timestamp=self.since_ms,
            members=[
                MemberMetadata(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout=member.rebalance_ms,
                    session_timeout=member.session_ms,
                    subscription=member.protocols[self.protocol or ""],
                    assignment=assignments.get(member.member_id, b""),
                )
                for member in self.members.values()
            ],
        )


def subscription_untrusted(metadata: bytes) -> Sequence[str]:
    """Return the topics in a consumer's metadata; all its versions begin alike.

    Raises:
        ValueError: it is no consumer's metadata.
    """
    try:
        version_untrusted(metadata)
        topics = decode(ConsumerProtocolTopics, metadata, VERSION_BYTES, 0).topics
    except WireError as error:
        raise ValueError(f"this is no consumer's metadata: {error}") from error
    if topics is None:
        raise ValueError("a consumer's metadata has a negative number")
    return topics
