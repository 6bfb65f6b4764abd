"""The other nodes, as the core sees them: who is a member, links, what is to move where.

Part of the core: no clock, socket or dice. Effects go where the core's go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from mesh.broker.broker import Address, Broker
from mesh.broker.handlers.api_versions import common
from mesh.broker.in_sync import sweep
from mesh.broker.partition import Partition
from mesh.links import (
    Asked,
    Hello,
    LedChanged,
    Marked,
    Reachable,
    Replied,
    Said,
    Silent,
    Welcome,
)
from mesh.links import Event as LinkEvent
from mesh.model.names import REGISTRY_TOPIC
from mesh.model.types import NodeId, Now, TopicPartition
from mesh.node.effects import Effect, GiveUp, Tell, WantLinks, Work
from mesh.node.introductions import Introductions
from mesh.node.members import MemberSeen, placement_nodes
from mesh.node.mover import Mover
from mesh.placement import Node, Placed
from mesh.registry import MESH_SHARD, SHARD_COUNT, plan_founding, voter_count_of
from mesh.replication import events as ev
from mesh.replication import standing as st
from mesh.replication.leader import Leader

if TYPE_CHECKING:
    from mesh.node.store import Store

SWEEP_MS = 2_000
"""Between looks at which replicas are in sync."""
LEAVE_MS_MIN = 2_000
"""For leaders to hear that a node leaves: one that does not know yet may make it a voter."""
STRANGERS_MAX = 16
"""Nodes that are not known here and may have a link to us: as many as join at a time."""


class Neighbours:
    """Of one node."""

    def __init__(
        self,
        broker: Broker,
        store: Store,
        introductions: Introductions,
        emit: Callable[[Effect], None],
        settle: Callable[[Now], list[Effect]],
        note: Callable[[int, str, str], None],
    ) -> None:
        """Knowing nobody.

        Args:
            broker: of the node.
            store: keeps what was heard of other nodes' journals.
            introductions: how links begin.
            emit: adds an effect to those of the event under way.
            settle: lets everything follow from an event, and returns all effects.
            note: puts something on the event tape: wall time, kind, text.
        """
        self._note = note
        self._broker = broker
        self._store = store
        self.introductions = introductions
        self._emit = emit
        self._settle = settle
        self.links = broker.groups.links
        self.mover = Mover(broker.groups.me, self.links.is_there)
        self._has_links = False
        self._sweep_at_ms = 0
        self._members: tuple[MemberSeen, ...] = ()
        self._strangers: set[NodeId] = set()
        """Who has a link to us, and neither gossip nor the registry knew of it."""
        self._leading: dict[Partition, None] = {}
        self._founding_due = True
        self._marks_due: tuple[tuple[str, st.Mark], ...] | None = None
        self._marks_work: Work | None = None
        broker.registry.choose = self.mover.choose
        broker.groups.desired = self.mover.desired_nodes

    def begin(self, now: Now) -> None:
        """The node is about to serve; it may be alone."""
        if not self._members:
            self._see((self._alone(),), now)

    @property
    def wake_at_ms(self) -> int | None:
        """When `tick` is due."""
        at_ms = self.mover.wake_at_ms
        if not self._has_links:
            return at_ms
        due_ms = min(self.links.wake_at_ms, self._sweep_at_ms)
        return due_ms if at_ms is None else min(at_ms, due_ms)

    def tick(self, now: Now) -> None:
        """Its time has come."""
        now_ms = now.monotonic_ms
        if self._has_links:
            if self.links.wake_at_ms <= now_ms:
                self._hear(self.links.tick(now_ms), now)
                self._stand(self.introductions.tick(now_ms), now)
            if self._sweep_at_ms <= now_ms:
                sweep(self._broker.groups, self._broker.config.replica_lag_ms_max, now_ms)
                self._sweep_at_ms = now_ms + SWEEP_MS
        for partition, command in self.mover.step(now_ms):
            self._broker.groups.feed(partition, command, now_ms)
            self._broker.groups.publish(partition)

    def flush(self) -> None:
        """Send what is to be said, at the end of an event."""
        if self._has_links:
            for node_id, parts in self.links.flush():
                self._emit(Tell(node_id, parts))

    def worked(self, work: Work) -> None:
        """A piece of work is done; perhaps it was ours."""
        if work is self._marks_work:
            self._marks_work = None
            self._write_marks()

    # Events

    def members_seen(self, members: Sequence[MemberSeen], now: Now) -> list[Effect]:
        """Take what gossip believes of the members, this node and dead ones among them.

        It is told again and again while one of them is dead: it may be for long enough by now.
        """
        if tuple(sorted(members)) != self._members or self._placement(now) != self.mover.nodes:
            self._see(members, now)
        return self._settle(now)

    def _placement(self, now: Now) -> tuple[Node, ...]:
        replace_ms = self._broker.config.replica_replace_ms
        return tuple(sorted(placement_nodes(self._members, now.monotonic_ms, replace_ms)))

    def _see(self, members: Sequence[MemberSeen], now: Now) -> None:
        before, self._members = self._members, tuple(sorted(members))
        me = self._broker.node_id
        serving = {
            one.node_id: Address(one.host, one.port, one.rack)
            for one in self._members
            if one.is_live and one.port
        }
        own = self._broker.members[me]
        self._broker.members = {me: own, **serving}
        newest = max((one.moves for one in self._members), key=abs, default=0)
        self.mover.pause(now.monotonic_ms, paused=newest > 0)
        tables = [one.serves for one in self._members if one.serves and one.node_id != me]
        self._broker.served_by_all = common(tables) if tables else None
        directories = {one.node_id: one.directory_id for one in self._members}
        addresses = {one.node_id: one.peer for one in self._members if one.node_id != me}
        if addresses != {one.node_id: one.peer for one in before if one.node_id != me}:
            for node_id in {one.node_id for one in before} - directories.keys():
                self._hear(self.links.forget(node_id), now)
            self._emit(WantLinks(addresses))
            self._has_links = self._has_links or bool(addresses)
        dead = [one.node_id for one in self._members if not one.is_live]
        self._hear(self.links.dead(dead), now)
        self._place(now)

    def _place(self, now: Now) -> None:
        """Have the members, as placement sees them, known where it matters."""
        nodes = self._placement(now)
        holders = {node.node_id for node in nodes}
        directories = {
            one.node_id: one.directory_id for one in self._members if one.node_id in holders
        }
        self._broker.registry.members = directories
        draining = frozenset(one.node_id for one in self._members if one.draining)
        everybody = {one.node_id: one.directory_id for one in self._members}
        self.mover.members(nodes, directories, everybody, draining, now.monotonic_ms)
        self.want_partitions(now)

    @property
    def lacking_voters(self) -> int:
        """Partitions held here that have fewer voters than the live members could give them.

        While a mesh grows, some can do without one of theirs only later than they seem to.
        """
        live = sum(
            node.weight > 0 and node.node_id in self._broker.members for node in self.mover.nodes
        )
        topics, found = self._broker.registry.topics, 0
        for partition in self._broker.groups.by_id.values():
            topic, index = topics.get(partition.topic), partition.index
            wanted = self._shard_replicas
            if partition.topic != REGISTRY_TOPIC:
                if topic is None or topic.topic_id != partition.topic_id or index in topic.assigned:
                    continue
                wanted = topic.replicas_wanted
            promise = partition.group.holding.promise
            lacking = 0 < len(promise.config.voters) < voter_count_of(min(wanted, live))
            found += lacking and not promise.tombstone
        return found

    @property
    def _shard_replicas(self) -> int:
        return 5 if len(self.mover.nodes) >= 5 else 3

    def want_partitions(self, now: Now) -> None:
        """Have placement know which partitions there are, and how many replicas each wants."""
        shards = self._shard_replicas
        wanted = {TopicPartition(REGISTRY_TOPIC, index): shards for index in range(SHARD_COUNT)}
        assigned: Placed = {}
        for topic in self._broker.registry.topics.values():
            for index in range(topic.partition_count):
                name = TopicPartition(topic.name, index)
                if index in topic.assigned:
                    assigned[name] = topic.assigned[index]
                else:
                    wanted[name] = topic.replicas_wanted
        self.mover.partitions(wanted, assigned, now.monotonic_ms)

    def _alone(self) -> MemberSeen:
        broker = self._broker
        return MemberSeen(
            broker.node_id, broker.directory_id, "", broker.host, broker.port, broker.rack, "", 100
        )

    def answer_hello(self, hello: Hello, now: Now) -> tuple[Welcome | str, list[Effect]]:
        """A node opens a link to us: return the answer; if it is a welcome, the link is open.

        Then the one that it opened before is over.
        """
        answer = self.introductions.answer(hello, self._broker.registry.node_ids)
        if isinstance(answer, str):
            return answer, []
        if not self._is_known(hello.node_id) and hello.node_id not in self._strangers:
            # A node without heartbeats does not say that it is one no more.
            self._strangers = {one for one in self._strangers if not self._is_known(one)}
            if len(self._strangers) >= STRANGERS_MAX:
                return f"is not known here yet, like {STRANGERS_MAX} others", []
            self._strangers.add(hello.node_id)
        self._hear(self.links.lost(hello.node_id), now)
        self._broker.groups.met(hello.node_id, str(UUID(bytes=hello.directory_id)))
        self.links.accepted(hello.node_id, now.monotonic_ms)
        return answer, self._settle(now)

    def _is_known(self, node_id: NodeId) -> bool:
        """Whether gossip or the registry knows of a node; a new one is heard before either tells.

        There can be no end of those who only say that they are nodes.
        """
        return (
            any(one.node_id == node_id for one in self._members)
            or node_id in self._broker.registry.node_ids.values()
        )

    def welcomed(self, welcome: Welcome, now: Now) -> list[Effect]:
        """A node let our link in."""
        self._broker.groups.met(welcome.node_id, str(UUID(bytes=welcome.directory_id)))
        self._stand(self.introductions.welcomed(welcome, now.monotonic_ms), now)
        self._hear(self.links.opened(welcome.node_id), now)
        return self._settle(now)

    def _stand(self, effects: Sequence[st.Effect], now: Now) -> None:
        for effect in effects:
            match effect:
                case st.Remember(marks):
                    self._marks_due = marks
                    self._write_marks()
                case st.Admit():
                    self._broker.groups.admit(now.monotonic_ms)
                case st.GiveUpDirectory(found, known):
                    reason = (
                        f"this data directory is an older copy of itself: it holds round "
                        f"{found.round} of start {found.start}, and another member heard of round "
                        f"{known.round} of start {known.start}"
                    )
                    self._emit(GiveUp(reason))
                case st.Answer():
                    pass  # It is part of the welcome.
                case _:
                    assert_never(effect)

    def _write_marks(self) -> None:
        """Have what was heard of other journals written down: one write at a time."""
        if self._marks_work is None and self._marks_due is not None:
            write = functools.partial(self._store.write_marks, self._marks_due)
            self._marks_due, self._marks_work = None, Work(write, in_log=False)
            self._emit(self._marks_work)

    def link_closed(self, node_id: NodeId, now: Now) -> list[Effect]:
        """Our link to a node is gone."""
        self.links.closed(node_id)
        self._broker.relay.lost(node_id, now, closed=True)
        return self._settle(now)

    def link_lost(self, node_id: NodeId, now: Now) -> list[Effect]:
        """A node's link to us is gone."""
        if node_id in self._strangers and not self._is_known(node_id):
            self._hear(self.links.forget(node_id), now)
            self._broker.groups.directories.pop(node_id, None)
        else:
            self._hear(self.links.lost(node_id), now)
        self._strangers.discard(node_id)
        return self._settle(now)

    def link_frames(self, node_id: NodeId, frames: Sequence[memoryview], now: Now) -> list[Effect]:
        """Frames came over a node's link to us; they need to stay valid only during this call.

        Raises:
            BadFrameError: one of them is none; those before it were heard.
        """
        for frame in frames:
            self._hear(self.links.received(node_id, frame, now.monotonic_ms), now)
        return self._settle(now)

    def _hear(self, events: Sequence[LinkEvent], now: Now) -> None:
        broker, groups, now_ms = self._broker, self._broker.groups, now.monotonic_ms
        for event in events:
            match event:
                case Said(node_id, words):
                    groups.hear(node_id, words, now_ms)
                case LedChanged(node_id, changes):
                    groups.hear_leads(node_id, changes, now_ms)
                case Reachable(node_id):
                    groups.reachable(node_id, now_ms)
                case Silent(node_id, heard_at_ms, closed):
                    how = "has closed its link" if closed else "says nothing over its link"
                    self._note(now.wall_ms, "link_lost", f"node {node_id} {how}")
                    groups.silent(node_id, heard_at_ms, now_ms, closed=closed)
                    broker.relay.lost(node_id, now, closed=closed)
                case Asked(node_id, ask):
                    broker.relay.asked(node_id, ask, now)
                case Replied(_, reply):
                    broker.relay.replied(reply, now)
                case Marked(node_id, mark):
                    if node_id in self._strangers and not self._is_known(node_id):
                        continue  # It says so again and again; what is told here is written down.
                    self._strangers.discard(node_id)
                    directory_id = groups.directories[node_id]
                    self._stand(self.introductions.heard(directory_id, mark, now_ms), now)
                case _:
                    assert_never(event)

    def stalled(self, now: Now) -> list[Effect]:
        """The disk hangs: others are to lead what they can lead."""
        groups = self._broker.groups
        for partition in list(groups.by_id.values()):
            role = partition.group.role
            if isinstance(role, Leader) and role.installed and role.others:
                groups.feed(partition, ev.Stalled(), now.monotonic_ms)
        return self._settle(now)

    def hand_over(self, now: Now) -> list[Effect]:
        """The node is to stop: let others lead what it leads, as far as they can."""
        groups = self._broker.groups
        for partition in list(groups.by_id.values()):
            role = partition.group.role
            if isinstance(role, Leader) and role.handing_to is None:
                heir = role.successor
                if heir is not None and self.links.is_there(heir.node_id):
                    groups.feed(partition, ev.HandOver(heir), now.monotonic_ms)
        return self._settle(now)

    @property
    def is_caught_up(self) -> bool:
        """Whether this node follows, or leads, every shard of the registry up to now."""
        return self._broker.registry_shards.is_current()

    @property
    def holds_nothing(self) -> bool:
        """Whether this node could leave: no partition has a replica here, or needs its vote.

        Who follows no leader of a shard may be its voter and not know of it yet.
        """
        groups, me = self._broker.groups, self._broker.groups.me
        shards = self._broker.shards
        if not self.is_caught_up or any(shard in groups.leaderless for shard in shards):
            return False
        for partition in groups.by_id.values():
            promise = partition.group.holding.promise
            if me in promise.config.voters:
                return False
            if partition not in self._broker.registry_shards and not promise.tombstone:
                return False
        return True

    @property
    def has_others(self) -> bool:
        """Whether another member can be spoken to."""
        return any(self.links.is_there(node_id) for node_id in self._broker.members)

    @property
    def is_handing_over(self) -> bool:
        """Whether something is led here that another node could lead."""
        return any(one.is_handed_over for one in self._broker.groups.by_id.values())

    def note_leaders(self, now: Now) -> None:
        """See which partitions began to be led here, are led no more, or are asked about."""
        known, mover = self._leading, self.mover
        for partition in self._broker.started_leading:
            known[partition] = None
            mover.led(partition, now.monotonic_ms)
        rots, self._broker.groups.rots = self._broker.groups.rots, []
        for partition, offset in rots:
            text = f"{partition.name} is not as it was written from offset {offset} on: another "
            self._note(now.wall_ms, "damaged", text + "replica is to lead, and it is copied anew")
        for partition in self._broker.groups.strayed:
            mover.look_again(partition, now.monotonic_ms)
        self._broker.groups.strayed.clear()
        gone, self._broker.groups.ended = self._broker.groups.ended, {}
        ended = [one for one in gone if one in known and not one.leads]
        for partition in ended:
            del known[partition]
            mover.ended(partition)
        if self._has_links and (self._broker.started_leading or ended):
            text = f"{len(self._broker.started_leading)} partitions more, {len(ended)} less"
            self._note(now.wall_ms, "leads", text)
        self._broker.started_leading.clear()
        shard = self._broker.shards[MESH_SHARD]
        if shard in known and self._founding_due and self._broker.registry_shards.is_loaded(shard):
            self._founding_due = False
            if (founding := plan_founding(self._broker.registry)).records:
                self._broker.propose(founding, now)
                self._broker.groups.settle(now.monotonic_ms)
