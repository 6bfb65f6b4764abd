"""The node as a machine: events in, effects out; no clock, socket, thread or dice inside.

It holds the logs directly (appends and reads are synchronous calls that the page cache answers);
everything else that touches the world is an effect, carried out by the driver in order.
"""

from __future__ import annotations

import functools
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never
from uuid import UUID

from mesh.broker.api import Answer, CloseConnectionError, Request, Session
from mesh.broker.broker import Address, Broker, Identity
from mesh.broker.groups import Groups, LogRound, RunAll
from mesh.broker.handlers import HANDLERS, RELAYED, refuse_version
from mesh.broker.partition import Partition, log_config
from mesh.broker.purgatory import Parked
from mesh.broker.stored_promises import from_stored
from mesh.links import Asked, Hello, LedChanged, Marked, Reachable, Replied, Said, Silent, Welcome
from mesh.links import Event as LinkEvent
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import ANSWERS_PENDING_MAX, CHECKPOINT_MS
from mesh.model.names import OFFSETS_TOPIC, REGISTRY_TOPIC
from mesh.model.types import NodeId, Now, TopicId, TopicPartition
from mesh.node.compactor import Compact, Compactor
from mesh.node.introductions import Introductions
from mesh.node.members import MemberSeen, placement_nodes
from mesh.node.meter import VERSION_BITS, Meter
from mesh.node.mover import Mover
from mesh.node.store import Store
from mesh.registry import (
    MESH_SHARD,
    SHARD_COUNT,
    BrokerConfigChanged,
    Change,
    ConfigChanged,
    FeatureSet,
    NodeIdClaimed,
    PartitionsAdded,
    ProducerIdsClaimed,
    Registry,
    Topic,
    TopicCreated,
    TopicDeleted,
    plan_founding,
)
from mesh.replication import Promise, Replica, first_promise, learner_promise
from mesh.replication import events as ev
from mesh.replication import standing as st
from mesh.replication.follower import Follower
from mesh.replication.leader import Leader
from mesh.wire import Message, Part, WireError, decode, encode_response, read_request_header
from storage.config import LogConfig
from storage.errors import DamagedLog, WrongTopicId
from storage.journal import JournalTicket
from storage.log import Log

log = logging.getLogger("mesh.node")


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send these pieces to a connection, after all that was sent to it before."""

    connection: Connection
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class HangUp:
    """Effect: close a connection and log why, in one line."""

    connection: Connection
    cause: str


@dataclass(frozen=True, slots=True)
class Sync:
    """Effect: bring a round to the disk in threads, then call `Node.synced` with it."""

    round: LogRound
    journal: JournalTicket | None
    """To be run when all tickets of the round have; DiskFull is no error, but to be told."""
    after: Callable[[], None] | None
    """What to run in a thread once all tickets have."""


@dataclass(frozen=True, slots=True)
class WriteJournal:
    """Effect: run this ticket in a thread, then call `Node.journaled` with it.

    It may go on at once with a round of the logs. On a full disk it is to be run again later.
    """

    ticket: JournalTicket


@dataclass(frozen=True, slots=True)
class Work:
    """Effect: run this blocking piece of disk work in a thread, then call `Node.worked`."""

    run: Callable[[], None]
    in_log: bool
    """Whether it works in the directory of a partition that is in use."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Effect: send one frame, in pieces, over our link to a node."""

    node_id: NodeId
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Effect: stop at once: this disk is an old one, and must not take part any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class WantLinks:
    """Effect: keep a link to each of these nodes and to no other; by id, the peer address."""

    addresses: Mapping[NodeId, str]


Effect: TypeAlias = Send | HangUp | Sync | WriteJournal | Work | Compact | Tell | WantLinks | GiveUp

SWEEP_MS = 2_000
"""Between looks at which replicas are in sync."""
SETTLING_MS_MAX = 10_000
"""How long a node that stops waits for others to take its leaderships over."""


class _Answer:
    """A place in the order of a connection's answers."""

    __slots__ = (
        "api_key",
        "begun_ns",
        "connection",
        "correlation_id",
        "parked",
        "parts",
        "version",
    )

    def __init__(
        self,
        connection: Connection,
        api_key: int,
        version: int,
        correlation_id: int,
        begun_ns: int,
    ) -> None:
        self.connection = connection
        self.api_key = api_key
        self.begun_ns = begun_ns
        self.version = version
        self.correlation_id = correlation_id
        self.parts: list[Part] | None = None
        self.parked: Parked | None = None


class Connection:
    """A client connection as the core sees it: answers leave in the order of the requests."""

    __slots__ = ("answers", "closed", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.answers: deque[_Answer] = deque()
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether so many answers are outstanding that nothing more should be read."""
        return len(self.answers) >= ANSWERS_PENDING_MAX


class Node:
    """Composes the machines of one node."""

    def __init__(
        self,
        identity: Identity,
        config: BrokerConfig,
        registry: Registry,
        shards: Sequence[Partition],
        groups: Groups,
        store: Store,
        introductions: Introductions,
    ) -> None:
        """Around a registry that is replayed from `shards`; then call `open_partitions`."""
        self.broker = Broker(
            identity,
            config,
            registry,
            shards,
            groups,
            log_directory=store.directory,
            disk_bytes=store.disk_bytes,
            changed=self._carry_out,
        )
        self._store = store
        self.introductions = introductions
        self._effects: list[Effect] = []
        self._ready: dict[Connection, None] = {}
        self._round_running = False
        self._works_in_logs = 0
        self._house_at_ms = 0
        self._recovery_due = False
        self._checkpoint_due = False
        self._session_count = 0
        self.meter = Meter()
        self._compactor = Compactor(self.meter)
        self.links = groups.links
        self._beats = False
        """Whether there are links at all."""
        self._sweep_at_ms = 0
        self._members: tuple[MemberSeen, ...] = ()
        self.mover = Mover(groups.me, self.links.is_there)
        self._known_leaders: dict[Partition, None] = {}
        self._founding_due = True
        self._marks_due: tuple[tuple[str, st.Mark], ...] | None = None
        self._marks_work: Work | None = None
        self.broker.relay.apis = RELAYED
        groups.take_in = self._take_in
        registry.choose = self._choose

    def open_partitions(self, now: Now) -> None:
        """Open the log of every partition that the registry knows; blocks."""
        self._configure()
        _warn_of_unused(self.broker.config.unused_names)
        for topic in self.broker.registry.topics.values():
            self._open_partitions(topic, 0, now)

    def begin(self, now: Now) -> list[Effect]:
        """The node is about to serve: sync what opening it appended, begin the housekeeping."""
        if not self._members:
            self._see_members((self._alone(),), now)
        self._keep_house(now)
        self._compact(now)
        return self._settle(now)

    # Events

    def connected(self, peer: str) -> Connection:
        """A client connected."""
        self._session_count += 1
        return Connection(Session(self._session_count, peer))

    def closed(self, connection: Connection) -> None:
        """A connection is gone; nothing more is sent to it and its waiters are dropped."""
        connection.closed = True
        for answer in connection.answers:
            if answer.parked is not None:
                answer.parked.abandon()
        connection.answers.clear()

    def frames(
        self, connection: Connection, frames: Sequence[memoryview], now: Now
    ) -> list[Effect]:
        """Requests arrived; the frames need to stay valid only during this call."""
        for frame in frames:
            if connection.closed:
                break
            try:
                self._handle(connection, frame, now)
            except (WireError, CloseConnectionError) as error:
                self._flush(connection)
                self._hang_up(connection, str(error))
        return self._settle(now)

    def synced(self, sync: Sync, now: Now) -> list[Effect]:
        """A sync round is on disk; if its journal's ticket is not (a full disk), that goes on."""
        self._round_running = False
        groups = self.broker.groups
        groups.finish_log_round(sync.round, now.monotonic_ms)
        if sync.journal is not None:
            if sync.journal.is_done:
                groups.finish_journal_round(sync.journal, now.monotonic_ms)
            else:
                self._effects.append(WriteJournal(sync.journal))
        return self._settle(now)

    def journaled(self, ticket: JournalTicket, now: Now) -> list[Effect]:
        """A round of the promise journal is on disk."""
        self.broker.groups.finish_journal_round(ticket, now.monotonic_ms)
        return self._settle(now)

    def worked(self, work: Work, now: Now) -> list[Effect]:
        """A piece of disk work is done."""
        self._works_in_logs -= work.in_log
        if work is self._marks_work:
            self._marks_work = None
            self._write_marks()
        return self._settle(now)

    def compacted(self, effect: Compact, now: Now) -> list[Effect]:
        """A step of a compaction is done; what it made is put in place."""
        if (following := self._compactor.stepped(effect, now)) is not None:
            self._effects.append(following)
        return self._settle(now)

    def woken(self, now: Now) -> list[Effect]:
        """The instant that `wake_at_ms` named has come."""
        self.broker.deadlines.fire(now)
        self.broker.groups.tick(now.monotonic_ms)
        self.broker.coordinators.tick(now)
        self.broker.relay.tick(now)
        if self._beats and self.links.wake_at_ms <= now.monotonic_ms:
            self._link_events(self.links.tick(now.monotonic_ms), now)
            self._stand(self.introductions.tick(now.monotonic_ms), now)
        if self._beats and self._sweep_at_ms <= now.monotonic_ms:
            self.broker.groups.sweep(self.broker.config.replica_lag_ms_max, now.monotonic_ms)
            self._sweep_at_ms = now.monotonic_ms + SWEEP_MS
        self._move(now)
        if self._house_at_ms <= now.monotonic_ms:
            self._keep_house(now)
        if self._compactor.wake_at_ms <= now.monotonic_ms:
            self._compact(now)
        return self._settle(now)

    # Other nodes

    def members_seen(self, members: Sequence[MemberSeen], now: Now) -> list[Effect]:
        """Take what gossip believes of the members, this node and dead ones among them."""
        self._see_members(members, now)
        return self._settle(now)

    def _see_members(self, members: Sequence[MemberSeen], now: Now) -> None:
        before, self._members = self._members, tuple(sorted(members))
        me = self.broker.node_id
        serving = {
            one.node_id: Address(one.host, one.port, one.rack)
            for one in self._members
            if one.is_live and one.port
        }
        own = self.broker.members[me]
        self.broker.members = {me: own, **serving}
        directories = {one.node_id: one.directory_id for one in self._members}
        addresses = {one.node_id: one.peer for one in self._members if one.node_id != me}
        if addresses != {one.node_id: one.peer for one in before if one.node_id != me}:
            for node_id in {one.node_id for one in before} - directories.keys():
                self._link_events(self.links.forget(node_id), now)
            self._effects.append(WantLinks(addresses))
            self._beats = self._beats or bool(addresses)
        self._place(now)

    def _place(self, now: Now) -> None:
        """Have the members, as placement sees them, known where it matters."""
        replace_ms = self.broker.config.replica_replace_ms
        nodes = placement_nodes(self._members, now.monotonic_ms, replace_ms)
        holders = {node.node_id for node in nodes}
        directories = {
            one.node_id: one.directory_id for one in self._members if one.node_id in holders
        }
        self.broker.registry.members = directories
        draining = frozenset(one.node_id for one in self._members if one.draining)
        self.mover.members(nodes, directories, draining, now.monotonic_ms)
        self._want_partitions(now)

    def _want_partitions(self, now: Now) -> None:
        count = len(self.mover.nodes)
        shards = 5 if count >= 5 else 3
        wanted = {TopicPartition(REGISTRY_TOPIC, index): shards for index in range(SHARD_COUNT)}
        for topic in self.broker.registry.topics.values():
            for index in range(topic.partition_count):
                wanted[TopicPartition(topic.name, index)] = topic.replicas_wanted
        self.mover.partitions(wanted, now.monotonic_ms)

    def _alone(self) -> MemberSeen:
        broker = self.broker
        return MemberSeen(
            broker.node_id, broker.directory_id, "", broker.host, broker.port, broker.rack, "", 100
        )

    def _choose(
        self, topic: str, indexes: Sequence[int], count: int
    ) -> Sequence[tuple[NodeId, ...]]:
        return self.mover.choose(topic, indexes, count)

    def answer_hello(self, hello: Hello, now: Now) -> tuple[Welcome | str, list[Effect]]:
        """A node opens a link to us: return the answer; if it is a welcome, the link is open.

        Then the one that it opened before is over.
        """
        answer = self.introductions.answer(hello, self.broker.registry.node_ids)
        if isinstance(answer, str):
            return answer, []
        self._link_events(self.links.lost(hello.node_id), now)
        self.broker.groups.met(hello.node_id, str(UUID(bytes=hello.directory_id)))
        self.links.accepted(hello.node_id, now.monotonic_ms)
        return answer, self._settle(now)

    def welcomed(self, welcome: Welcome, now: Now) -> list[Effect]:
        """A node let our link in."""
        self.broker.groups.met(welcome.node_id, str(UUID(bytes=welcome.directory_id)))
        self._stand(self.introductions.welcomed(welcome, now.monotonic_ms), now)
        self._link_events(self.links.opened(welcome.node_id), now)
        return self._settle(now)

    def _stand(self, effects: Sequence[st.Effect], now: Now) -> None:
        for effect in effects:
            match effect:
                case st.Remember(marks):
                    self._marks_due = marks
                    self._write_marks()
                case st.Admit():
                    self.broker.groups.admit(now.monotonic_ms)
                case st.GiveUpDirectory(found, known):
                    reason = (
                        f"this data directory is an older copy of itself: it holds round "
                        f"{found.round} of start {found.start}, and another member heard of round "
                        f"{known.round} of start {known.start}"
                    )
                    self._effects.append(GiveUp(reason))
                case st.Answer():
                    pass  # It is part of the welcome.
                case _:
                    assert_never(effect)

    def _write_marks(self) -> None:
        """Have what was heard of other journals written down: one write at a time."""
        if self._marks_work is None and self._marks_due is not None:
            write = functools.partial(self._store.write_marks, self._marks_due)
            self._marks_due, self._marks_work = None, Work(write, in_log=False)
            self._effects.append(self._marks_work)

    def link_closed(self, node_id: NodeId, now: Now) -> list[Effect]:
        """Our link to a node is gone."""
        self.links.closed(node_id)
        self.broker.relay.lost(node_id, now)
        return self._settle(now)

    def link_lost(self, node_id: NodeId, now: Now) -> list[Effect]:
        """A node's link to us is gone."""
        self._link_events(self.links.lost(node_id), now)
        return self._settle(now)

    def link_frames(self, node_id: NodeId, frames: Sequence[memoryview], now: Now) -> list[Effect]:
        """Frames came over a node's link to us; they need to stay valid only during this call.

        Raises:
            BadFrameError: one of them is none; those before it were heard.
        """
        for frame in frames:
            self._link_events(self.links.received(node_id, frame, now.monotonic_ms), now)
        return self._settle(now)

    def _link_events(self, events: Sequence[LinkEvent], now: Now) -> None:
        broker, groups, now_ms = self.broker, self.broker.groups, now.monotonic_ms
        for event in events:
            match event:
                case Said(node_id, words):
                    groups.hear(node_id, words, now_ms)
                case LedChanged(node_id, changes):
                    groups.hear_leads(node_id, changes, now_ms)
                case Reachable(node_id):
                    groups.reachable(node_id, now_ms)
                case Silent(node_id, heard_at_ms, closed):
                    groups.silent(node_id, heard_at_ms, now_ms, closed=closed)
                    broker.relay.lost(node_id, now)
                case Asked(node_id, ask):
                    broker.relay.asked(node_id, ask, now)
                case Replied(_, reply):
                    broker.relay.replied(reply, now)
                case Marked(node_id, mark):
                    directory_id = groups.directories[node_id]
                    self._stand(self.introductions.heard(directory_id, mark, now_ms), now)
                case _:
                    assert_never(event)

    def _move(self, now: Now) -> None:
        """Have leaders take their next steps towards what the placement desires."""
        groups = self.broker.groups
        for partition, command in self.mover.step(now.monotonic_ms):
            groups.feed(partition, command, now.monotonic_ms)
            groups.publish(partition)

    def claim_node_id(
        self, directory_id: str, wanted: NodeId | None, now: Now
    ) -> tuple[NodeId | None, list[Effect]]:
        """Return the id that a directory has, durably; None while that is being written down.

        Args:
            directory_id: UUID as text.
            wanted: the id that it would have; None: whichever comes next.
            now: both clocks.

        Raises:
            KafkaError: the registry takes no claim now, or the wanted id was given before.
        """
        registry = self.broker.registry
        given = registry.node_ids.get(directory_id)
        pending = registry.tentative.node_ids
        if given is None and directory_id not in pending:
            if wanted in pending.values():
                raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION, f"id {wanted} is taken")
            self.broker.propose_anywhere(registry.plan_node_id(directory_id, wanted), now)
        return given, self._settle(now)

    def hand_over(self, now: Now) -> list[Effect]:
        """The node is to stop: let others lead what it leads, as far as they can."""
        groups = self.broker.groups
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
        shards = self.broker.registry_shards
        for shard in self.broker.shards:
            role = shard.group.role
            if isinstance(role, Leader):
                if not shards.is_loaded(shard):
                    return False
            elif not isinstance(role, Follower) or not role.is_following:
                return False
        return True

    @property
    def holds_nothing(self) -> bool:
        """Whether this node could leave: no partition has a replica here, or needs its vote."""
        me = self.broker.groups.me
        for partition in self.broker.groups.by_id.values():
            promise = partition.group.holding.promise
            if me in promise.config.voters:
                return False
            if partition not in self.broker.registry_shards and not promise.tombstone:
                return False
        return True

    @property
    def is_handing_over(self) -> bool:
        """Whether something is led here that another node could lead."""
        for partition in self.broker.groups.by_id.values():
            role = partition.group.role
            if isinstance(role, Leader) and role.handing_to is not None:
                return True
        return False

    def drain(self, now: Now) -> list[Effect]:
        """The node is to stop: answer what waits for bytes; what waits for its sync gets it."""
        self._compactor.stop()
        self.broker.stop_waiting(now)
        return self._settle(now)

    def close(self, boot_id: bytes, run: RunAll) -> None:
        """Close all logs and the journal, with everything on the disk. Blocks.

        Args:
            boot_id: as at the start.
            run: runs blocking calls, in any order or at once.

        Raises:
            DiskError, SyncFailed: the end was no clean one; the next start recovers.
        """
        broker = self.broker
        partitions = [*broker.shards, *broker.partitions.values()]
        self._checkpoint()
        self._store.close(
            run, lambda: broker.groups.close(partitions, boot_id), clean=not broker.damaged
        )

    @property
    def is_syncing(self) -> bool:
        """Whether a round of the logs or of the journal is under way."""
        return self._round_running or self.broker.groups.journal.is_under_way

    @property
    def wake_at_ms(self) -> int:
        """Monotonic instant at which to call `woken`; it may change with every event."""
        at_ms = min(self._house_at_ms, self._compactor.wake_at_ms)
        broker = self.broker
        for next_ms in (
            broker.deadlines.next_ms(),
            broker.groups.wake_at_ms,
            broker.coordinators.wake_at_ms,
            broker.relay.wake_at_ms,
            self.mover.wake_at_ms,
            self.links.wake_at_ms if self._beats else None,
            self._sweep_at_ms if self._beats else None,
        ):
            if next_ms is not None and next_ms < at_ms:
                at_ms = next_ms
        return at_ms

    # Inside

    def _handle(self, connection: Connection, frame: memoryview, now: Now) -> None:
        header, position = read_request_header(frame)
        meter, version = self.meter, header.api_version
        request = Request(connection.session, header.api_key, version, header.client_id, now)
        result: Answer
        if (handler := HANDLERS.get(header.api_key)) is None or not handler.serves(version):
            meter.refused += 1
            # Raises for all but ApiVersions, which is answered in a form that all can read.
            result, version = refuse_version(request), 0
        else:
            asked = header.api_key << VERSION_BITS | version
            meter.by_version[asked] = meter.by_version.get(asked, 0) + 1
            body = decode(handler.request, frame, position, version)
            if (relayed := RELAYED.get(header.api_key)) is not None:
                result = self.broker.relay.handle(relayed[0], handler, request, body)
            else:
                result = handler.handle(self.broker, request, body)
        if result is None:
            return
        answer = _Answer(connection, header.api_key, version, header.correlation_id, meter.begun_ns)
        connection.answers.append(answer)
        if isinstance(result, Message):
            self._finish(answer, result)
        else:
            answer.parked = self.broker.park(result, functools.partial(self._finish, answer))

    def _finish(self, answer: _Answer, response: Message) -> None:
        connection = answer.connection
        self.meter.count_errors(response)
        try:
            answer.parts = encode_response(response, answer.version, answer.correlation_id)
        except WireError as error:  # It echoes what this version has no room for.
            self._hang_up(connection, str(error))
        else:
            self._ready[connection] = None

    def _settle(self, now: Now) -> list[Effect]:
        """Let everything follow from the event, and hand over the effects."""
        quiet = not self._round_running and not self._works_in_logs
        self.broker.settle(now, disk_is_quiet=quiet)
        if self.broker.groups.changes and quiet:
            self._change_logs()
        self._note_leaders(now)
        for connection in self._ready:
            self._flush(connection)
        self._ready.clear()
        if not self._round_running:
            self._begin_round(now)
        if (ticket := self.broker.groups.begin_journal_round()) is not None:
            self._effects.append(WriteJournal(ticket))
        if self._beats:
            self._effects += [Tell(node_id, parts) for node_id, parts in self.links.flush()]
        effects, self._effects = self._effects, []
        return effects

    def _change_logs(self) -> None:
        """Take away from logs what their groups want, now that no thread works on them."""
        groups = self.broker.groups
        changes, groups.changes = groups.changes, {}
        for partition, change in changes.items():
            kept = partition.log
            match change:
                case ev.Cut(end_offset):
                    kept.truncate(max(end_offset, kept.log_start_offset))
                case ev.Empty(log_start_offset):
                    kept.restart(log_start_offset)
                    partition.high_watermark = max(partition.high_watermark, log_start_offset)
                case ev.Delete():
                    remove = self._store.delete_log(kept)
                    self._effects.append(Work(remove, in_log=False))
                    made = self._store.new_log(
                        kept.topic, kept.partition, kept.topic_id, kept.config
                    )
                    partition.replace_log(made)
            groups.changed(partition)

    def _note_leaders(self, now: Now) -> None:
        """See which partitions began to be led here, or are led no more."""
        known, mover = self._known_leaders, self.mover
        for partition in self.broker.started_leading:
            known[partition] = None
            mover.led(partition, now.monotonic_ms)
        self.broker.started_leading.clear()
        for partition in [one for one in known if not one.leads]:
            del known[partition]
            mover.ended(partition)
        shard = self.broker.shards[MESH_SHARD]
        if shard in known and self._founding_due and self.broker.registry_shards.is_loaded(shard):
            self._founding_due = False
            if (founding := plan_founding(self.broker.registry)).records:
                self.broker.propose(founding, now)
                self.broker.groups.settle(now.monotonic_ms)

    def _flush(self, connection: Connection) -> None:
        """Send every answer that no unfinished one stands before."""
        answers = connection.answers
        parts: list[Part] = []
        while answers and (ready := answers[0].parts) is not None:
            answer = answers.popleft()
            parts += ready
            self.meter.left.append((answer.api_key, answer.begun_ns))
        if parts and not connection.closed:
            self._effects.append(Send(connection, parts))

    def _hang_up(self, connection: Connection, cause: str) -> None:
        self.closed(connection)
        self._effects.append(HangUp(connection, cause))

    def _begin_round(self, now: Now) -> None:
        """One round at a time; checkpoints belong to one, so that they never race with it.

        Recovery points move with a round that takes indexes; the next one writes them down.
        """
        broker, groups = self.broker, self.broker.groups
        heavy = self._recovery_due or (broker.fsync and broker.recovery_is_heavy)
        unsynced = groups.has_changed or (broker.fsync and groups.has_unsynced)
        if not (heavy or self._checkpoint_due or unsynced):
            return
        heaviest = broker.heaviest() if heavy else ()
        tickets = groups.begin_log_round(heaviest, now.monotonic_ms)
        after = self._checkpoint() if self._checkpoint_due else None
        if not tickets and after is None and not heavy:
            return
        self._checkpoint_due = heavy
        self._recovery_due = False
        self._round_running = True
        self._effects.append(Sync(tickets, groups.begin_journal_round(tickets), after))

    def _checkpoint(self) -> Callable[[], None]:
        self._store.high_watermarks = {
            (shard.topic, shard.index): shard.high_watermark for shard in self.broker.shards
        }
        return self._store.checkpoint()

    # What committed records of the registry ask for

    def _carry_out(self, change: Change, now: Now) -> None:
        self.meter.tape.note(change, now.wall_ms)
        match change:
            case TopicCreated(topic):
                self._open_partitions(topic, 0, now)
                self._want_partitions(now)
                self.broker.coordinators.topics_changed()
            case PartitionsAdded(topic, first_index):
                self._open_partitions(topic, first_index, now)
                self._want_partitions(now)
                self.broker.coordinators.topics_changed()
            case TopicDeleted(topic):
                self.broker.coordinators.topics_changed(topic.topic_id)
                for index in range(topic.partition_count):
                    self._drop_partition(topic, index, now)
                self._want_partitions(now)
            case ConfigChanged(topic):
                self._configure_topic(topic)
            case BrokerConfigChanged():
                known = self.broker.config.unused_names
                self._configure()
                fresh = [name for name in self.broker.config.unused_names if name not in known]
                _warn_of_unused(fresh)
                for topic in self.broker.registry.topics.values():
                    self._configure_topic(topic)
            case FeatureSet():
                self.broker.registry.check_fitness()
            case ProducerIdsClaimed() | NodeIdClaimed():
                pass  # The registry itself keeps these.
            case _:
                assert_never(change)

    def _open_partitions(self, topic: Topic, first_index: int, now: Now) -> None:
        for index in range(first_index, topic.partition_count):
            promise = self._promise(topic, index)
            if promise is not None:  # Or others hold it.
                self._open_partition(topic, index, promise, now)

    def _open_partition(
        self, topic: Topic, index: int, promise: Promise, now: Now
    ) -> Partition | None:
        broker = self.broker
        config = TopicConfig.resolve(broker.config, topic.configs)
        logs = log_config(config, broker.config)
        try:
            opened = self._open_log(topic, index, promise, logs)
        except WrongTopicId as error:
            # Its name is a newer topic's by now, of which the registry hears in a moment.
            log.warning("%s-%d is not opened: %s", topic.name, index, error)
            return None
        except DamagedLog as error:
            # It is not led, and nothing of it is touched; everything else is served.
            broker.damaged[topic.name, index] = str(error)
            log.error("%s-%d is not served: %s", topic.name, index, error)
            self.meter.tape.add(now.wall_ms, "damaged", f"{topic.name}-{index}: {error}")
            return None
        partition = Partition(topic.name, topic.topic_id, index, opened, config, broker.node_id)
        broker.partitions[topic.name, index] = partition
        broker.groups.add(partition, promise, now.monotonic_ms)
        return partition

    def _take_in(self, group: tuple[TopicId, int], now_ms: int) -> Partition | None:
        """Begin to copy a partition that its leader wants to be here, if its topic is known."""
        topic_id, index = group
        topic = self.broker.registry.topics_by_id.get(topic_id)
        if topic is None or not 0 <= index < topic.partition_count:
            return None
        if (topic.name, index) in self.broker.damaged:
            return None
        return self._open_partition(topic, index, learner_promise(), Now(now_ms, 0))

    def _open_log(self, topic: Topic, index: int, promise: Promise, config: LogConfig) -> Log:
        start = promise.log_start_offset
        opened = self._store.open_log(
            topic.name,
            index,
            topic.topic_id,
            config,
            # What begins anew where its leader's log does was promised before the disk had it.
            synced_end=0 if promise.synced_end <= start else promise.synced_end,
            log_start_offset=start,
        )
        if opened.log_end_offset < start:
            opened.restart(start)
        if promise.leader_epoch < opened.leader_epochs.latest:
            self._store.let_go(opened)
            reason = "the promise journal does not know of its leaders, so the log is not ours"
            raise DamagedLog(opened.directory, opened.log_start_offset, 0, reason)
        return opened

    def _promise(self, topic: Topic, index: int) -> Promise | None:
        """Return what this node promised in a group; of a new one, how it begins."""
        groups = self.broker.groups
        held = groups.journal.promises.get((topic.topic_id, index))
        if held is not None:
            return from_stored(held)
        voters = tuple(Replica(*voter) for voter in topic.voters(index))
        return first_promise(groups.me, voters, None)

    def _drop_partition(self, topic: Topic, index: int, now: Now) -> None:
        partition = self.broker.partitions.pop((topic.name, index), None)
        self.broker.groups.owners.forget((topic.topic_id, index))
        if partition is None:
            if self.broker.damaged.pop((topic.name, index), None) is not None:
                remove = self._store.discard(topic.name, index, topic.topic_id)
                self._effects.append(Work(remove, in_log=False))
                self.broker.groups.journal.remove((topic.topic_id, index))
            return
        partition.gone = True
        if topic.name == OFFSETS_TOPIC:
            self.broker.coordinators.advanced(partition, now)
        remove = self._store.delete_log(partition.log)
        self._effects.append(Work(remove, in_log=False))
        self.broker.groups.remove(partition)
        self.broker.poll(partition, now)

    def _configure(self) -> None:
        """Put the settings that the registry holds for this node in force."""
        broker = self.broker
        configs = broker.registry.broker_configs
        own = configs.get(str(broker.node_id), {})
        broker.config = broker.config.with_dynamic(configs.get("", {}), own)

    def _configure_topic(self, topic: Topic) -> None:
        config = TopicConfig.resolve(self.broker.config, topic.configs)
        for index in range(topic.partition_count):
            partition = self.broker.partitions.get((topic.name, index))
            if partition is not None:
                partition.configure(config, self.broker.config)

    # Housekeeping

    def _keep_house(self, now: Now) -> None:
        """Drop what retention and expiry say, note how far logs are synced, and come again."""
        broker = self.broker
        for partition in broker.partitions.values():
            for remove in self._store.retain(partition.log, now.wall_ms, partition.high_watermark):
                self._effects.append(Work(remove, in_log=True))
                self._works_in_logs += 1
            if partition.leads and partition.log.log_start_offset > partition.promised_start:
                # So that the journal, and with it every follower, knows where the log begins.
                trim = ev.Trim(partition.log.log_start_offset)
                broker.groups.feed(partition, trim, now.monotonic_ms)
        self._recovery_due = True
        pause_ms = min(CHECKPOINT_MS, broker.config.retention_check_ms)
        self._house_at_ms = now.monotonic_ms + pause_ms

    def _compact(self, now: Now) -> None:
        """Begin to compact the log that is due most, if there is one."""
        broker = self.broker
        found = self._compactor.look(broker.partitions.values(), broker.config, now)
        if found is not None:
            self._effects.append(found)


def _warn_of_unused(names: Sequence[str]) -> None:
    if names:
        told = ", ".join(names)
        log.warning("set, but it changes nothing here (docs/config.md says why): %s", told)
