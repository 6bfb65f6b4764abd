"""The partition groups of one node, and the rounds in which all of them reach the disk together.

Each partition's `Group` decides; here its effects are carried out in their order, without doing
any input or output: messages go to the links, syncs of logs are gathered into one round, promises
into one round of the journal, and whoever drives the node runs each in a thread and gives it back;
one of each kind at a time. Where something grows, its log's sync is over before the journal speaks
of it, mostly in the second half of the same round; where it shrinks, the machine puts the promise
first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mesh.broker.alarms import Alarms
from mesh.broker.campaigns import Campaigns
from mesh.broker.confirming import Confirming
from mesh.broker.early import Early
from mesh.broker.owners import Owners
from mesh.broker.replica_words import (
    ASTRAY,
    CONFIRM,
    CONFIRMED,
    FOR_NEWCOMERS,
    HELD,
    BadWordError,
    from_word_untrusted,
    numbers_untrusted,
    to_word,
)
from mesh.broker.stored_promises import Storing, group_id
from mesh.broker.ties import tie, untie
from mesh.links import Led, Links, Mark, Word
from mesh.model.names import REGISTRY_TOPIC_ID
from mesh.replication import Group, Promise, Replica
from mesh.replication import events as ev
from mesh.replication.budget import Budget
from mesh.replication.candidate import Candidate
from mesh.replication.leader import Leader
from storage.journal import Journal, JournalTicket
from storage.sync import SyncTicket

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.model.types import NodeId
    from mesh.replication.patience import Rng
    from storage.promises import GroupId
    from storage.types import Offset

LogRound: TypeAlias = "list[tuple[Partition, SyncTicket]]"
RunAll: TypeAlias = Callable[[Sequence[Callable[[], None]]], None]
"""Runs blocking calls that do not mind each other, in any order or at once."""

Change: TypeAlias = ev.Cut | ev.Empty | ev.Delete
"""What takes something away from a log, on the word of another node's leader."""

CATCH_UP_BYTES_S = 50 << 20
"""Until the node's settings say otherwise: `replication.throttled.rate`."""
TELL_MS = 100
"""After so long the other replicas are told how much is committed, if no append told them."""
RECHECK_MS = 600
"""After so long without a node leaders look whether a majority is left."""

_APPENDED = ev.Appended()
_TICK = ev.Tick()


class Groups:
    """Feeds the groups of one node, and keeps what of their effects waits for the disk."""

    def __init__(
        self,
        me: Replica,
        journal: Journal,
        rng: Rng,
        *,
        fsync: bool,
        links: Links | None = None,
        admitted: bool = True,
    ) -> None:
        """Without any partition.

        Args:
            me: this node with its data directory.
            journal: what it promised.
            rng: dice for waiting times.
            fsync: whether acknowledged means on disk (`--durability disk`).
            links: to other nodes; None: there are none.
            admitted: whether this node may take part; until `admit` no group votes.
        """
        self.me, self.journal, self.fsync = me, journal, fsync
        self.links = Links(me.node_id, lambda: Mark(0, 0)) if links is None else links
        self.owners = Owners()
        self.catch_up = Budget(CATCH_UP_BYTES_S)
        self.confirming = Confirming(self.links.say, me)
        self.admitted = admitted
        self.by_id: dict[GroupId, Partition] = {}
        """Every partition that this node holds, the registry's among them."""
        self.directories: dict[NodeId, str] = {me.node_id: me.directory_id}
        """Data directory of each node that a link was made with."""
        self.take_in: Callable[[GroupId, int], Partition | None] = lambda group, now_ms: None
        """Makes the first state of a group that a leader wants to copy to this node, if it may."""
        self.desired: Callable[[Partition], Sequence[NodeId]] = lambda partition: ()
        """The nodes that should hold a partition, the one that should lead first."""
        self.advanced: dict[Partition, None] = {}
        """Partitions of which something changed that requests may wait for."""
        self.rots: list[tuple[Partition, Offset]] = []  # Found since somebody took note of it.
        self.leaderless: dict[Partition, None] = {}  # Nobody is known to lead it.
        self.strayed: dict[Partition, None] = {}  # A replica asked whether it is to be one.
        self.ended: dict[Partition, None] = {}
        """What ended to be led here since somebody took note of it."""
        self.led: dict[Partition, None] = {}
        self.named: dict[GroupId, None] = {}
        """What began to be led here, and elsewhere, since somebody took note of it."""
        self.changes: dict[Partition, Change] = {}
        """Logs from which something is to be taken away, as soon as no round is under way."""
        self.losses: list[tuple[Partition, Offset]] = []
        """Partitions elected as a last resort, with their ends: more may have been acknowledged."""
        self.elections_count = self.bad_words = 0  # Leaderships begun; messages that were none.
        self.appended_bytes = self.unsynced_bytes = 0  # Since a heavy round; since any.
        self._rng = rng
        self._appended: dict[Partition, None] = {}
        self._unsynced: dict[Partition, None] = {}
        self._syncing: dict[Partition, None] = {}
        """Logs whose group asked for a sync: that no round has taken yet, that one has."""
        self._changed: dict[Partition, None] = {}
        self._changing: dict[Partition, None] = {}
        self._promising: dict[Partition, None] = {}
        """Partitions at the head of whose queue stands a promise that no round has taken yet."""
        self._in_journal: list[tuple[Partition, Promise]] = []
        self._foreseen: list[tuple[Partition, Promise]] = []
        """Promises that the journal's round under way holds before their groups made them."""
        self._to_stored = Storing(me)
        self._start = journal.round
        """Every start writes a round before it has groups, so this number rises with each."""
        self._ticks, self._tells = Alarms(), Alarms()
        self._rechecks: list[tuple[int, NodeId]] = []
        self._campaigns = Campaigns()
        self._early = Early()

    # Partitions

    def add(
        self, partition: Partition, promise: Promise, now_ms: int, high_watermark: Offset = 0
    ) -> None:
        """Begin to run a partition's group with what the journal, or the registry, says of it.

        Args:
            partition: as it was opened.
            promise: of its group.
            now_ms: monotonic clock.
            high_watermark: what was known to be committed before, as far as the log reaches.
        """
        partition.group = Group(
            self.me,
            promise,
            partition.view,
            rng=self._rng,
            now_ms=now_ms,
            memory=not self.fsync,
            start=self._start,
            admitted=self.admitted,
            hearing=self.links,
        )
        partition.group.holding.is_open = self.links.is_open
        known = min(high_watermark, partition.log.log_end_offset)
        partition.group.holding.high_watermark = max(partition.group.high_watermark, known)
        if partition.topic_id != REGISTRY_TOPIC_ID:
            partition.group.holding.catch_up = self.catch_up
        partition.high_watermark = max(partition.high_watermark, known)
        group = group_id(partition)
        self.by_id[group] = partition
        self.leaderless[partition] = None
        tie(partition, self.links)
        self._name_known(partition, now_ms)
        self.feed(partition, _TICK, now_ms)
        for sender, word in self._early.take(group, now_ms):
            self._receive(partition, sender, word, now_ms)

    def remove(self, partition: Partition) -> None:
        """The partition's topic id is gone for good, and its promises with it."""
        for waiting in (
            self.advanced,
            self.leaderless,
            self.strayed,
            self.led,
            self._appended,
            self._unsynced,
            self._syncing,
            self._changed,
            self._changing,
            self._promising,
        ):
            waiting.pop(partition, None)
        self._campaigns.forget(partition)
        self.changes.pop(partition, None)
        partition.waiting.clear()
        self._ticks.forget(partition)
        self._tells.forget(partition)
        partition.stop_leading()
        self.ended[partition] = None
        untie(partition, self.links)
        group = group_id(partition)
        self.links.lead(group, None)
        self.by_id.pop(group, None)
        self.owners.forget(group)
        self.journal.remove(group)

    def admit(self, now_ms: int) -> None:
        """Another member has answered this node, or there is none."""
        self.admitted = True
        for partition in list(self.by_id.values()):
            self.feed(partition, ev.Admitted(), now_ms)

    # Events

    def feed(self, partition: Partition, event: ev.Event, now_ms: int) -> None:
        """Give a group an event, and carry out what follows as far as it needs no disk."""
        self.catch_up.refill(now_ms)
        led = partition.leads
        self._take(partition, partition.group.on(event, now_ms), now_ms)
        if led and not partition.leads:
            self._name_known(partition, now_ms)  # Who leads may have been heard before.
        if partition.named_by >= 0 and partition.named_epoch < partition.group.leader_epoch:
            # A later epoch was promised to somebody; should that one not lead, we campaign.
            self._unname(partition)
            self._take(partition, partition.group.on(ev.LeaderUnnamed(now_ms), now_ms), now_ms)
        partition.takes_writes = partition.group.takes_writes
        if not isinstance(partition.group.role, Candidate):
            self._campaigns.ended(partition)
        elif event is _TICK:
            self._campaigns.begun(partition, now_ms)
        self._watch(partition)

    def _take(self, partition: Partition, effects: list[ev.Effect], now_ms: int) -> None:
        for effect in effects:
            if isinstance(effect, ev.AT_ONCE):
                self._do_at_once(partition, effect, now_ms)
            else:
                partition.waiting.append(effect)
                if isinstance(effect, ev.Persist):
                    tie(partition, self.links)
        if partition.waiting:
            self._go_on(partition)

    def appended(self, partition: Partition) -> None:
        """Batches of clients were appended; the group hears of it once for all of an event."""
        self._appended[partition] = None

    def count(self, size: int) -> None:
        """So many bytes were appended to a log."""
        self.appended_bytes += size
        self.unsynced_bytes += size

    def commit(self, partition: Partition, now_ms: int) -> None:
        """Have what was appended committed at once, as far as that needs no disk."""
        if not self.fsync and partition in self._appended:
            del self._appended[partition]
            self._take(partition, partition.group.on(_APPENDED, now_ms), now_ms)
            self._watch(partition)

    def settle(self, now_ms: int) -> None:
        """Tell the groups what was appended in this event."""
        while self._appended:
            appended, self._appended = self._appended, {}
            for partition in appended:
                self._take(partition, partition.group.on(_APPENDED, now_ms), now_ms)
                self._watch(partition)
        while (waiting := self._campaigns.next(now_ms)) is not None:
            if self._is_due(waiting):
                self.feed(waiting, _TICK, now_ms)

    # Other nodes

    def hear(self, node_id: NodeId, words: Iterable[Word], now_ms: int) -> None:
        """Take what the groups of another node say to ours."""
        directory_id = self.directories.get(node_id)
        if directory_id is None:
            return
        sender = Replica(node_id, directory_id)
        for word in words:
            partition = self.by_id.get(word.group)
            if partition is None and word.kind in FOR_NEWCOMERS:
                partition = self.take_in(word.group, now_ms)
            if partition is None:
                self._early.keep(sender, word, now_ms)
            else:
                self._receive(partition, sender, word, now_ms)

    def _receive(self, partition: Partition, sender: Replica, word: Word, now_ms: int) -> None:
        if partition.group.holding.promise.is_blank and word.kind not in FOR_NEWCOMERS:
            return  # It has no state, so it answers nothing; above all it votes for nobody.
        try:
            if word.kind in (CONFIRM, CONFIRMED):
                self._confirm(partition, sender, word)
                return
            message = from_word_untrusted(word)
        except BadWordError:
            self.bad_words += 1
            return
        self.feed(partition, ev.Received(sender, message), now_ms)
        if word.kind == ASTRAY:
            self.strayed[partition] = None
        if partition.parked and (
            # Answers may wait for this very replica, or to hear what a successor has inherited.
            (word.kind == HELD and partition.asks_for_more) or not partition.leads
        ):
            self.advanced[partition] = None
        if word.blobs:
            self.count(sum(map(len, word.blobs)))

    def _confirm(self, partition: Partition, sender: Replica, word: Word) -> None:
        epoch, number = numbers_untrusted(word)
        if word.kind == CONFIRM:
            self.confirming.asked(partition, sender.node_id, epoch, number)
        elif self.confirming.confirmed(partition, sender, epoch, number):
            self.advanced[partition] = None

    def met(self, node_id: NodeId, directory_id: str) -> None:
        """A link with a node was made."""
        self.directories[node_id] = directory_id

    def reachable(self, node_id: NodeId, now_ms: int) -> None:
        """Our link to a node was made anew."""
        opened = ev.LinkOpened(node_id)
        for partition in list(self.by_id.values()):
            if any(other.node_id == node_id for other in partition.other_replicas):
                self.feed(partition, opened, now_ms)
                self.confirming.again(partition, group_id(partition))
            elif partition in self.leaderless:
                self.feed(partition, opened, now_ms)
            else:  # One that was ordered to leave may not have heard of it.
                self._watch(partition)

    def silent(self, node_id: NodeId, heard_at_ms: int, now_ms: int, *, closed: bool) -> None:
        """Nothing comes from a node any more."""
        gone = ev.LinkClosed(node_id)
        for partition in list(self.by_id.values()):
            leader = partition.group.leader
            if any(other.node_id == node_id for other in partition.other_replicas):
                self.feed(partition, _TICK, now_ms)
            elif partition.named_by == node_id or (leader and leader.node_id == node_id):
                self._unname(partition)
                unnamed = gone if closed else ev.LeaderUnnamed(heard_at_ms)
                self.feed(partition, unnamed, now_ms)
        heapq.heappush(self._rechecks, (now_ms + RECHECK_MS, node_id))

    def hear_leads(
        self, node_id: NodeId, changes: Mapping[GroupId, Led | None], now_ms: int
    ) -> None:
        """Take what a node says that it leads, or leads no more."""
        for group in self.owners.hear(node_id, changes, now_ms):
            partition = self.by_id.get(group)
            led = changes[group]
            if led is not None:
                self.named[group] = None
            if partition is None:
                continue
            if led is not None:
                self._name(partition, now_ms)
                if partition.parked:  # Answers may wait to name who leads.
                    self.advanced[partition] = None
            elif partition.named_by == node_id:
                self._unname(partition)
                self.feed(partition, ev.LeaderUnnamed(now_ms), now_ms)

    def _name_known(self, partition: Partition, now_ms: int) -> None:
        group = group_id(partition)
        owner = self.owners.get(group)
        if owner is not None and group in self.links.led_by(owner.node_id):
            self._name(partition, now_ms)

    def _name(self, partition: Partition, now_ms: int) -> None:
        owner = self.owners.get(group_id(partition))
        assert owner is not None, "it was heard of"
        directory_id = self.directories.get(owner.node_id)
        if directory_id is None or partition.leads:
            return
        if owner.leader_epoch < partition.group.leader_epoch:
            return  # Somebody was promised a later epoch, so this leader is on its way out.
        partition.named_by, partition.named_epoch = owner.node_id, owner.leader_epoch
        self.leaderless.pop(partition, None)
        leader = Replica(owner.node_id, directory_id)
        self.feed(partition, ev.LeaderNamed(leader, owner.leader_epoch), now_ms)

    def _unname(self, partition: Partition) -> None:
        partition.named_by = -1
        if not partition.leads:
            self.leaderless[partition] = None

    def replicas(self, partition: Partition) -> tuple[NodeId, ...]:
        """Return the nodes that hold a partition, who should lead first, as clients are told."""
        present = partition.replicas
        first = [one for one in self.desired(partition) if one in present]
        return (*first, *(one for one in present if one not in first))

    def publish(self, partition: Partition) -> None:
        """Have all know what this node leads, and who holds it."""
        tie(partition, self.links)
        if partition.leads:
            version = partition.group.holding.promise.config.config_version
            replicas = self.replicas(partition)
            in_sync = tuple(one for one in partition.in_sync if one in replicas)
            led = Led(partition.leader_epoch, version, replicas, in_sync)
            self.links.lead(group_id(partition), led)
        else:
            self.links.lead(group_id(partition), None)

    # Time

    def _watch(self, partition: Partition) -> None:
        """See to it that a group looks at the time when it has to; never later."""
        if self._is_due(partition) and (at_ms := partition.group.wake_at_ms) is not None:
            self._ticks.set(partition, at_ms)

    def _is_due(self, partition: Partition) -> bool:
        """Whether a group has anything to do by itself."""
        role = partition.group.role
        if isinstance(role, Leader):
            if role.handing_to is not None or not role.installed:
                return True
            is_open = self.links.is_open
            return any(
                is_open(replica.node_id) and role.is_waiting(replica)
                for replica in (*role.others, *role.leaving)
            )
        # Whoever is named as the leader is believed until that ends; if it feeds us.
        if partition.named_by < 0 or isinstance(role, Candidate):
            return True
        return partition.group.neglected_by is not None

    @property
    def wake_at_ms(self) -> int | None:
        """Monotonic instant at which to call `tick`; None while there is nothing to wait for."""
        recheck_ms = self._rechecks[0][0] if self._rechecks else None
        instants = (
            self._ticks.next_ms,
            self._tells.next_ms,
            self._campaigns.wake_at_ms,
            recheck_ms,
        )
        return min((one for one in instants if one is not None), default=None)

    def tick(self, now_ms: int) -> None:
        """Let groups look at the time."""
        for partition in self._ticks.due(now_ms):
            if self._is_due(partition):
                leads = isinstance(partition.group.role, Leader)
                if leads or self._campaigns.may_begin(partition, now_ms):
                    self.feed(partition, _TICK, now_ms)
        for partition in self._tells.due(now_ms):
            if partition.untold_until_ms > now_ms:  # More was committed, by appends that told.
                self._tells.set(partition, partition.untold_until_ms)
            else:
                self.feed(partition, ev.Announce(), now_ms)
        while self._rechecks and self._rechecks[0][0] <= now_ms:
            _, node_id = heapq.heappop(self._rechecks)
            for partition in list(self.by_id.values()):
                if any(other.node_id == node_id for other in partition.other_replicas):
                    self.feed(partition, _TICK, now_ms)

    # Effects

    def _do_at_once(self, partition: Partition, effect: ev.Effect, now_ms: int) -> None:
        match effect:
            case ev.Committed(high_watermark) | ev.Advanced(high_watermark):
                if partition.committed_up_to(high_watermark):
                    self.advanced[partition] = None
                    if isinstance(effect, ev.Committed):
                        self._tell_soon(partition, now_ms)
            case ev.SyncLog():
                self._unsynced[partition] = None
            case ev.Lead(leader_epoch, epoch_start):
                self.elections_count += 1
                self.leaderless.pop(partition, None)
                partition.lead(leader_epoch, epoch_start, now_ms)
                self.publish(partition)
                self.led[partition] = None
                self.advanced[partition] = None
            case ev.FoundRot(base_offset):
                self.rots.append((partition, base_offset))
            case ev.LossPossible(_, log_end):
                self.losses.append((partition, log_end))
            case ev.StepDown():
                self.owners.unled_at_ms = now_ms
                self.leaderless[partition] = None
                partition.stop_leading()
                self.ended[partition] = None
                self.confirming.forget(partition)
                self.publish(partition)
                self.led.pop(partition, None)
                self.advanced[partition] = None
            case _:
                pass  # The answer to a command: whoever gave it looks again.

    def _tell_soon(self, partition: Partition, now_ms: int) -> None:
        """Have the others know what is committed: of the registry at once, others wait for it."""
        at_ms = now_ms + (0 if partition.topic_id == REGISTRY_TOPIC_ID else TELL_MS)
        partition.untold_until_ms = at_ms
        if partition.other_replicas and partition not in self._tells:
            self._tells.set(partition, at_ms)

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
                    partition.in_round = True
                    self.changes[partition] = effect
                    return
                case ev.Trimmed(log_start_offset):
                    end = min(log_start_offset, partition.log.log_end_offset)
                    partition.log.delete_before(end)
                    self.advanced[partition] = None
                case ev.Send(to, message):
                    kind, fields, blobs = to_word(message)
                    word = Word(group_id(partition), kind, fields, blobs)
                    self.links.say(to.node_id, word)
                case _:
                    raise AssertionError(f"{effect} waits for nothing")
            waiting.popleft()

    def changed(self, partition: Partition) -> None:
        """What a group wanted to be taken away from its log is; the next round makes it durable."""
        self._changed[partition] = None

    # Rounds of the logs

    @property
    def has_unsynced(self) -> bool:
        """Whether a round of the logs would have something to do."""
        return bool(self._unsynced)

    @property
    def has_changed(self) -> bool:
        """Whether a round of the logs would bring a cut to the disk, on which a group waits."""
        return bool(self._changed)

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
            changed, self._changed = self._changed, {}
            for partition in {**unsynced, **changed, **heavy}:
                ticket = partition.log.begin_sync(indexes=partition in heavy)
                if ticket is not None:
                    round_.append((partition, ticket))
                    if partition in unsynced:
                        self._syncing[partition] = None
                    if partition in changed:
                        self._changing[partition] = None
                    continue
                if partition in unsynced:
                    self._synced(partition, partition.log.synced_end, now_ms)
                if partition in changed:
                    self._finish_change(partition, now_ms)
            heavy = {}
            if not self._unsynced and not self._changed:
                return round_

    def _synced(self, partition: Partition, end_offset: Offset, now_ms: int) -> None:
        self.feed(partition, ev.Synced(end_offset), now_ms)
        if partition.topic_id == REGISTRY_TOPIC_ID:
            self.advanced[partition] = None  # Its records wait for that, too.

    def _finish_change(self, partition: Partition, now_ms: int) -> None:
        """A cut is durable: the group goes on."""
        partition.in_round = False
        partition.waiting.popleft()
        self.feed(partition, ev.LogChanged(), now_ms)
        self._go_on(partition)

    def finish_log_round(self, round_: LogRound, now_ms: int) -> None:
        """Take note that the tickets of a round have run."""
        for partition, ticket in round_:
            partition.log.finish_sync(ticket)
            if partition in self._syncing:
                del self._syncing[partition]
                self._synced(partition, ticket.end_offset, now_ms)
            if partition in self._changing:
                del self._changing[partition]
                self._finish_change(partition, now_ms)

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
