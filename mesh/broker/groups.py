"""The partition groups of one node, and the rounds in which all of them reach the disk together.

Each partition's `Group` decides; here its effects are carried out in their order, without doing
any input or output: syncs of logs are gathered into one round, promises into one round of the
journal, and whoever drives the node runs each in a thread and gives it back; one of each kind at
a time. Where something grows, its log's sync is over before the journal speaks of it, mostly in
the second half of the same round; where it shrinks, the machine puts the promise first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from mesh.replication import Config, Group, Promise, Replica
from mesh.replication import events as ev
from storage import promises as stored
from storage.journal import Journal, JournalTicket
from storage.sync import SyncTicket

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.replication.patience import Rng
    from storage.promises import GroupId
    from storage.types import Offset

LogRound: TypeAlias = "list[tuple[Partition, SyncTicket]]"
RunAll: TypeAlias = Callable[[Sequence[Callable[[], None]]], None]
"""Runs blocking calls that do not mind each other, in any order or at once."""

_APPENDED = ev.Appended()
_TICK = ev.Tick()


class Groups:
    """Feeds the groups of one node, and keeps what of their effects waits for the disk."""

    def __init__(self, me: Replica, journal: Journal, rng: Rng, *, fsync: bool) -> None:
        """Without any partition.

        Args:
            me: this node with its data directory.
            journal: what it promised.
            rng: dice for waiting times.
            fsync: whether acknowledged means on disk (`--durability disk`).
        """
        self.me = me
        self.journal = journal
        self.fsync = fsync
        self.advanced: dict[Partition, None] = {}
        """Partitions of which something changed that requests may wait for."""
        self.leaderless: dict[Partition, None] = {}
        """Partitions that nobody is known to lead."""
        self.led: dict[Partition, None] = {}
        """Partitions that began to be led here, since somebody took note of it."""
        self.losses: list[tuple[Partition, Offset]] = []
        """Partitions that were elected without replicas that could be trusted, with their ends:
        what was acknowledged may be missing from there on."""
        self.elections_count = 0
        """Leaderships that began here since the start."""
        self._rng = rng
        self._appended: dict[Partition, None] = {}
        self._unsynced: dict[Partition, None] = {}
        """Logs whose group asked for a sync that no round has taken yet."""
        self._syncing: dict[Partition, None] = {}
        self._promising: dict[Partition, None] = {}
        """Partitions at the head of whose queue stands a promise that no round has taken yet."""
        self._in_journal: list[tuple[Partition, Promise]] = []
        self._foreseen: list[tuple[Partition, Promise]] = []
        """Promises that the journal's round under way holds before their groups made them."""
        self._configs: dict[Config, tuple[stored.Voter, ...]] = {}
        self._own_vote = _voter(me)
        self._start = journal.round
        """Every start writes a round before it has groups, so this number rises with each."""

    # Partitions

    def add(self, partition: Partition, promise: Promise, now_ms: int) -> None:
        """Begin to run a partition's group with what the journal, or the registry, says of it."""
        partition.group = Group(
            self.me,
            promise,
            partition.view,
            rng=self._rng,
            now_ms=now_ms,
            memory=not self.fsync,
            start=self._start,
        )
        self.leaderless[partition] = None
        self.feed(partition, _TICK, now_ms)

    def remove(self, partition: Partition) -> None:
        """The partition's topic id is gone for good, and its promises with it."""
        for waiting in (
            self.advanced,
            self.leaderless,
            self.led,
            self._appended,
            self._unsynced,
            self._syncing,
            self._promising,
        ):
            waiting.pop(partition, None)
        partition.waiting.clear()
        partition.stop_leading()
        self.journal.remove(group_id(partition))

    # Events

    def feed(self, partition: Partition, event: ev.Event, now_ms: int) -> None:
        """Give a group an event, and carry out what follows as far as it needs no disk."""
        self._take(partition, partition.group.on(event, now_ms))
        partition.takes_writes = partition.group.takes_writes

    def _take(self, partition: Partition, effects: list[ev.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ev.AT_ONCE):
                self._do_at_once(partition, effect)
            else:
                partition.waiting.append(effect)
        if partition.waiting:
            self._go_on(partition)

    def appended(self, partition: Partition) -> None:
        """Batches of clients were appended; the group hears of it once for all of an event."""
        self._appended[partition] = None

    def commit(self, partition: Partition, now_ms: int) -> None:
        """Have what was appended committed at once, as far as that needs no disk."""
        if not self.fsync and partition in self._appended:
            del self._appended[partition]
            self._take(partition, partition.group.on(_APPENDED, now_ms))

    def settle(self, now_ms: int) -> None:
        """Tell the groups what was appended in this event."""
        while self._appended:
            appended, self._appended = self._appended, {}
            for partition in appended:
                self._take(partition, partition.group.on(_APPENDED, now_ms))

    @property
    def wake_at_ms(self) -> int | None:
        """Monotonic instant at which to call `tick`; None while every partition has a leader."""
        if not self.leaderless:
            return None
        wakes = (partition.group.wake_at_ms for partition in self.leaderless)
        return min((at_ms for at_ms in wakes if at_ms is not None), default=None)

    def tick(self, now_ms: int) -> None:
        """Let those who wait for a leader look at the time."""
        for partition in list(self.leaderless):
            at_ms = partition.group.wake_at_ms
            if at_ms is not None and at_ms <= now_ms:
                self.feed(partition, _TICK, now_ms)

    # Effects

    def _do_at_once(self, partition: Partition, effect: ev.Effect) -> None:
        match effect:
            case ev.Committed(high_watermark):
                if partition.committed_up_to(high_watermark):
                    self.advanced[partition] = None
            case ev.SyncLog():
                self._unsynced[partition] = None
            case ev.Lead(leader_epoch, epoch_start):
                self.elections_count += 1
                self.leaderless.pop(partition, None)
                partition.lead(leader_epoch, epoch_start)
                self.led[partition] = None
                self.advanced[partition] = None
            case ev.LossPossible(_, log_end):
                self.losses.append((partition, log_end))
            case ev.StepDown():
                self.leaderless[partition] = None
                partition.stop_leading()
                self.advanced[partition] = None
            case _:
                pass  # The answer to a command that nobody here gives yet.

    def _go_on(self, partition: Partition) -> None:
        """Carry out what waits, in order, up to the first effect that must become durable."""
        waiting = partition.waiting
        while waiting and not partition.in_round:
            effect = waiting[0]
            match effect:
                case ev.Persist():
                    self._promising[partition] = None
                    return
                case ev.Cut() | ev.Empty() | ev.Delete():
                    raise AssertionError("a log is cut on the word of another node's leader")
                case ev.Trimmed(log_start_offset):
                    partition.log.delete_before(log_start_offset)
                    self.advanced[partition] = None
                case _:
                    pass  # A message: as long as there is one node, it goes nowhere.
            waiting.popleft()

    # Rounds of the logs

    @property
    def has_unsynced(self) -> bool:
        """Whether a round of the logs would have something to do."""
        return bool(self._unsynced)

    @property
    def unsynced_count(self) -> int:
        """Logs that wait for a round."""
        return len(self._unsynced)

    def begin_log_round(self, heavy: Iterable[Partition] = (), now_ms: int = 0) -> LogRound:
        """Take all logs whose groups asked for a sync into one round.

        Args:
            heavy: logs to be taken along with their indexes, asked for or not.
            now_ms: monotonic clock.
        """
        heavy = dict.fromkeys(heavy)
        round_: LogRound = []
        while True:
            unsynced, self._unsynced = self._unsynced, {}
            for partition in {**unsynced, **heavy}:
                ticket = partition.log.begin_sync(indexes=partition in heavy)
                if ticket is not None:
                    round_.append((partition, ticket))
                    if partition in unsynced:
                        self._syncing[partition] = None
                elif partition in unsynced:
                    self.feed(partition, ev.Synced(partition.log.synced_end), now_ms)
            heavy = {}
            if not self._unsynced:
                return round_

    def finish_log_round(self, round_: LogRound, now_ms: int) -> None:
        """Take note that the tickets of a round have run."""
        for partition, ticket in round_:
            partition.log.finish_sync(ticket)
            if partition in self._syncing:
                del self._syncing[partition]
                self.feed(partition, ev.Synced(ticket.end_offset), now_ms)

    # Rounds of the journal

    def begin_journal_round(self, after: LogRound | None = None) -> JournalTicket | None:
        """Take all promises that wait into one round; None if none does, or one is under way.

        Args:
            after: a round of the logs that has just begun. The journal's ticket must then be run
                behind its tickets, and only if they succeeded; it already says what they reach.
        """
        if self.journal.is_under_way:
            return None
        for partition, log_ticket in after or ():
            # Whoever has promises waiting has them in this round, or keeps their order.
            if partition in self._syncing and not partition.waiting:
                foreseen = partition.group.foresee_synced(log_ticket.end_offset)
                if foreseen is not None:
                    self._foreseen.append((partition, foreseen))
                    self.journal.put(group_id(partition), self._to_stored(foreseen))
        promising, self._promising = self._promising, {}
        for partition in promising:
            promise = self._newest_promise(partition)
            partition.in_round = True
            self._in_journal.append((partition, promise))
            self.journal.put(group_id(partition), self._to_stored(promise))
        return self.journal.begin_round()

    def _newest_promise(self, partition: Partition) -> Promise:
        """Return the last of the promises at the head of a queue; those before it go."""
        waiting = partition.waiting
        while len(waiting) > 1 and isinstance(waiting[1], ev.Persist):
            waiting.popleft()
        head = waiting[0]
        assert isinstance(head, ev.Persist)
        return head.promise

    def finish_journal_round(self, ticket: JournalTicket, now_ms: int) -> None:
        """Take note that a round of the journal is on disk; groups go on from there."""
        self.journal.finish_round(ticket)
        promised, self._in_journal = self._in_journal, []
        foreseen, self._foreseen = self._foreseen, []
        for partition, promise in foreseen:
            # The round of the log was given back first, so its group has made its promise now.
            if partition in self._promising and self._newest_promise(partition) == promise:
                del self._promising[partition]
                partition.waiting.popleft()
                self.feed(partition, ev.Persisted(promise), now_ms)
        for partition, promise in promised:
            if not partition.gone:
                partition.in_round = False
                partition.waiting.popleft()
                self.feed(partition, ev.Persisted(promise), now_ms)

    # Start and end

    def pump(self, run: RunAll, now_ms: int) -> None:
        """Run rounds until nothing waits for one. Blocks: for the start only.

        Raises:
            DiskError, SyncFailed: the node must not start.
        """
        while True:
            round_ = self.begin_log_round(now_ms=now_ms)
            run([ticket.run for _, ticket in round_])
            self.finish_log_round(round_, now_ms)
            ticket = self.begin_journal_round()
            if ticket is not None:
                ticket.run()
                self.finish_journal_round(ticket, now_ms)
            elif not round_:
                return

    def close(self, partitions: Iterable[Partition], boot_id: bytes) -> None:
        """All logs are synced and closed: have the journal say so, as its last round. Blocks.

        Raises:
            DiskError, SyncFailed: it does not say so; the next start recovers.
        """
        for partition in partitions:
            journaled = partition.group.holding.journaled
            if partition.log.synced_end > journaled.synced_end:
                promise = journaled._replace(synced_end=partition.log.synced_end)
                self.journal.put(group_id(partition), self._to_stored(promise))
        self.journal.put_facts(memory=not self.fsync, boot_id=boot_id, clean=True)
        ticket = self.journal.begin_round()
        assert ticket is not None, "the caller has finished all rounds"
        ticket.run()
        self.journal.finish_round(ticket)
        self.journal.close()

    def _to_stored(self, promise: Promise) -> stored.Promise:
        config = promise.config
        voters = self._configs.get(config)
        if voters is None:
            if len(self._configs) >= CONFIGS_MAX:
                self._configs.clear()
            voters = self._configs[config] = tuple(map(_voter, config.voters))
        return to_stored(promise, voters, self._own_vote if promise.voted_for == self.me else None)


CONFIGS_MAX = 10_000
"""Configs whose form in the journal is remembered; each takes some 200 bytes."""


def group_id(partition: Partition) -> GroupId:
    """Return what the journal calls a partition's group."""
    return partition.topic_id, partition.index


def to_stored(
    promise: Promise,
    voters: tuple[stored.Voter, ...] | None = None,
    vote: stored.Voter | None = None,
) -> stored.Promise:
    """Return a promise in the journal's form.

    Args:
        promise: as the machine holds it.
        voters: its config's, if they were turned into that form before.
        vote: who was voted for, likewise.
    """
    config = promise.config
    if vote is None and promise.voted_for is not None:
        vote = _voter(promise.voted_for)
    return stored.Promise(
        promise.leader_epoch,
        promise.session,
        vote,
        promise.log_epoch,
        config.config_epoch,
        config.config_version,
        tuple(map(_voter, config.voters)) if voters is None else voters,
        promise.synced_end,
        promise.log_start_offset,
        promise.tombstone,
        promise.unsure,
    )


def from_stored(promise: stored.Promise) -> Promise:
    """Return a promise of the journal as the machine holds it."""
    voters = tuple(map(_replica, promise.voters))
    voted_for = promise.voted_for
    return Promise(
        promise.leader_epoch,
        promise.session,
        None if voted_for is None else _replica(voted_for),
        promise.log_epoch,
        Config(promise.config_epoch, promise.config_version, voters),
        promise.synced_end,
        promise.log_start_offset,
        promise.tombstone,
        promise.unsure,
    )


def _voter(replica: Replica) -> stored.Voter:
    return replica.node_id, UUID(replica.directory_id).bytes


def _replica(voter: stored.Voter) -> Replica:
    node_id, directory_id = voter
    return Replica(node_id, str(UUID(bytes=directory_id)))
