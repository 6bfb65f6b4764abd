"""The node as a machine: events in, effects out; no clock, socket, thread or dice inside.

It holds the logs directly (appends and reads are synchronous calls that the page cache answers);
everything else that touches the world is an effect, carried out by the driver in order.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import assert_never

from mesh.broker.api import Answer, CloseConnectionError, Request, Session
from mesh.broker.broker import Broker, Identity
from mesh.broker.groups import Groups, RunAll
from mesh.broker.handlers import HANDLERS, RELAYED, refuse_version
from mesh.broker.partition import Partition, log_config
from mesh.broker.stored_promises import from_stored
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import CHECKPOINT_MS, UNSYNCED_BYTES_MAX
from mesh.model.names import OFFSETS_TOPIC
from mesh.model.types import NodeId, Now, TopicId
from mesh.node.compactor import Compact, Compactor
from mesh.node.connection import Connection, Place
from mesh.node.effects import Effect, HangUp, Send, Sync, Work, WriteJournal
from mesh.node.introductions import Introductions
from mesh.node.meter import VERSION_BITS, Meter
from mesh.node.neighbours import Neighbours
from mesh.node.replicas import open_replica
from mesh.node.store import Store
from mesh.node.throttle import Throttle
from mesh.registry import (
    BrokerConfigChanged,
    Change,
    ConfigChanged,
    FeatureSet,
    NodeIdClaimed,
    PartitionsAdded,
    ProducerIdsClaimed,
    Registry,
    ReplicasAssigned,
    Topic,
    TopicCreated,
    TopicDeleted,
)
from mesh.replication import Promise, Replica, first_promise, learner_promise
from mesh.replication import events as ev
from mesh.wire import Message, Part, WireError, decode, encode_response, read_request_header
from storage.config import LogConfig
from storage.errors import DamagedLog, WrongTopicId
from storage.journal import JournalTicket
from storage.log import Log

log = logging.getLogger("mesh.node")

PRODUCE, FETCH = 0, 1


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
        self._effects: list[Effect] = []
        self._ready: dict[Connection, None] = {}
        self._round_running = False
        self._works_in_logs = 0
        self._house_at_ms = 0
        self._recovery_due = False
        self._checkpoint_due = False
        self._session_count = 0
        self.meter = Meter()
        self._throttle = Throttle(config.catch_up_bytes_s)
        self._compactor = Compactor(self.meter)
        self.neighbours = Neighbours(
            self.broker,
            store,
            introductions,
            self._effects_append,
            self._settle,
            self.meter.tape.add,
        )
        self.broker.relay.apis = RELAYED
        groups.take_in = self._take_in

    def open_partitions(self, now: Now) -> None:
        """Open the log of every partition that the registry knows; blocks."""
        self._configure()
        _warn_of_unused(self.broker.config.unused_names)
        for topic in self.broker.registry.topics.values():
            self._open_partitions(topic, 0, now)

    def begin(self, now: Now) -> list[Effect]:
        """The node is about to serve: sync what opening it appended, begin the housekeeping."""
        self.neighbours.begin(now)
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
        self.neighbours.worked(work)
        return self._settle(now)

    def compacted(self, effect: Compact, now: Now) -> list[Effect]:
        """A step of a compaction is done; what it made is put in place."""
        if (following := self._compactor.stepped(effect, now)) is not None:
            self._effects.append(following)
        return self._settle(now)

    def woken(self, now: Now) -> list[Effect]:
        """The instant that `wake_at_ms` named has come."""
        self.neighbours.tick(now)  # First: what was heard when, others ask for.
        self.broker.deadlines.fire(now)
        self.broker.groups.tick(now.monotonic_ms)
        self.broker.coordinators.tick(now)
        self.broker.relay.tick(now)
        self._steer_catch_up(now)
        if self._house_at_ms <= now.monotonic_ms:
            self._keep_house(now)
        if self._compactor.wake_at_ms <= now.monotonic_ms:
            self._compact(now)
        return self._settle(now)

    # Other nodes

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
            self.neighbours.wake_at_ms,
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
        answer = Place(connection, header.api_key, version, header.correlation_id, meter.begun_ns)
        connection.answers.append(answer)
        answer.is_felt = header.api_key == PRODUCE
        if isinstance(result, Message):
            if header.api_key == FETCH:
                # Behind another answer it may wait for the records that that one waits for.
                answer.is_felt = len(connection.answers) == 1
            self._finish(answer, result)
        else:
            answer.parked = self.broker.park(result, functools.partial(self._finish, answer))

    def _finish(self, answer: Place, response: Message) -> None:
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
        self.neighbours.note_leaders(now)
        for connection in self._ready:
            self._flush(connection)
        self._ready.clear()
        if not self._round_running:
            self._begin_round(now)
        if (ticket := self.broker.groups.begin_journal_round()) is not None:
            self._effects.append(WriteJournal(ticket))
        self.neighbours.flush()
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

    def _effects_append(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _flush(self, connection: Connection) -> None:
        """Send every answer that no unfinished one stands before."""
        answers = connection.answers
        parts: list[Part] = []
        while answers and (ready := answers[0].parts) is not None:
            answer = answers.popleft()
            parts += ready
            self.meter.left.append((answer.api_key, answer.begun_ns, answer.is_felt))
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
        # Without waiting for the disk, it is still to write behind what comes: a full page cache
        # makes whoever appends wait, and with it the whole node.
        behind = broker.fsync or groups.unsynced_bytes > UNSYNCED_BYTES_MAX
        unsynced = groups.has_changed or (behind and groups.has_unsynced)
        if not (heavy or self._checkpoint_due or unsynced):
            return
        heaviest = broker.heaviest() if heavy else ()
        groups.unsynced_bytes = 0
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
                self.neighbours.want_partitions(now)
                self.broker.coordinators.topics_changed()
            case PartitionsAdded(topic, first_index):
                self._open_partitions(topic, first_index, now)
                self.neighbours.want_partitions(now)
                self.broker.coordinators.topics_changed()
            case TopicDeleted(topic):
                self.broker.coordinators.topics_changed(topic.topic_id)
                for index in range(topic.partition_count):
                    self._drop_partition(topic, index, now)
                self.neighbours.want_partitions(now)
            case ReplicasAssigned():
                self.neighbours.want_partitions(now)
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
        # Others may lead it, and have nothing to write for long.
        self._recovery_due |= opened.repaired_end > opened.recovery_point
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
        key, me = (topic.name, index, topic.topic_id), self.broker.groups.me
        return open_replica(self._store, key, promise, config, me, self.meter.tape)

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
        self._throttle.bytes_per_second = broker.config.catch_up_bytes_s
        broker.groups.catch_up.bytes_per_second = self._throttle.rate

    def _configure_topic(self, topic: Topic) -> None:
        config = TopicConfig.resolve(self.broker.config, topic.configs)
        for index in range(topic.partition_count):
            partition = self.broker.partitions.get((topic.name, index))
            if partition is not None:
                partition.configure(config, self.broker.config)

    # Housekeeping

    def _steer_catch_up(self, now: Now) -> None:
        """Feed replicas that lag as fast as clients do not feel it.

        Needs no timer of its own: whoever has somebody to feed is woken by his links.
        """
        catch_up, before = self.broker.groups.catch_up, self._throttle.rate
        self._throttle.look(self.meter.felt.counts, catch_up.sent_bytes, now.monotonic_ms)
        if (rate := self._throttle.rate) != before:
            catch_up.bytes_per_second = rate
            text = f"replicas that lag are sent {rate:,} bytes a second, not {before:,}"
            self.meter.tape.add(now.wall_ms, "throttled", text)

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
