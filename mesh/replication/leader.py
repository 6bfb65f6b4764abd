"""A replica that leads: it feeds the others, counts what they hold, and changes the voters."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from mesh.replication.events import Committed, Lead, LossPossible, NotYet, Trimmed
from mesh.replication.holding import Holding
from mesh.replication.limits import APPEND_BYTES_MAX, APPENDS_UNANSWERED_MAX
from mesh.replication.messages import Append, Campaign, Held, Leave, Left, Mismatch
from mesh.replication.quorum import is_quorum, quorum_end
from mesh.replication.state import (
    NO_EPOCH,
    NO_OFFSET,
    Config,
    ConfigId,
    Entry,
    Promise,
    Replica,
)
from storage.types import LeaderEpoch, Offset

NO_CONFIG = ConfigId(NO_EPOCH, -1)


@dataclass(slots=True)
class Progress:
    """How far one other replica is, in one session: from being taken in to being dismissed."""

    session: int
    next_offset: Offset
    """What it is sent next."""
    log_end: Offset = NO_OFFSET
    """Where it agrees with us, on disk or not; steers what is sent."""
    counted_end: Offset = NO_OFFSET
    """Where it has what counts for a commit."""
    config_id: ConfigId = NO_CONFIG
    """Largest that it has installed."""
    log_start_offset: Offset = NO_OFFSET
    sure_end: Offset = NO_OFFSET
    """An unsure one counts again once it agrees up to here."""
    unsure: int = 0
    """Since which start of its node it is unsure; 0 if it never said so in this session."""
    unanswered: int = 0
    told_watermark: Offset = NO_OFFSET
    """How much is committed, by what it was sent last."""
    owed: bool = False
    """Whether it is to be told that as soon as it has answered enough."""


@dataclass(slots=True, kw_only=True)
class Leader:
    """Leads in one epoch; nothing of it outlives the epoch or the process."""

    holding: Holding
    leader_epoch: LeaderEpoch
    epoch_start: Offset
    """Our log end when we won: all that we inherited lies below."""
    installed: bool = False
    """Whether that we lead is in the journal; until then nobody is told."""
    others: dict[Replica, Progress] = field(default_factory=dict)
    """Voters but us, and learners."""
    leaving: dict[Replica, Leave] = field(default_factory=dict)
    """Who was ordered to leave; it counts no more, and is not taken in before it answered."""
    dismissed: set[Replica] = field(default_factory=set)
    """Who is to be ordered so as soon as that is safe."""
    strays: set[Replica] = field(default_factory=set)
    """Who has a state of the partition and is fed by nobody; placement says what becomes of it."""
    sessions: int = 0
    handing_to: Replica | None = None
    """While set we take no writes."""
    unsure: tuple[Replica, ...] = ()
    """Voters that could not be trusted when we were elected as a last resort."""
    held_up: bool = False
    """Whether somebody was not sent what it lacks, for all may be sent only so much a second."""
    told: bool = False
    """Whether `handing_to` was told to campaign."""

    def start(self, log_start_offset: Offset) -> None:
        """Take over after an election won: the log is ours, and so is the config."""
        holding = self.holding
        config = holding.promise.config._replace(config_epoch=self.leader_epoch)
        holding.persist(
            log_epoch=self.leader_epoch,
            config=config,
            # Retention may have gone further here than at the leader before; that was committed.
            log_start_offset=max(
                log_start_offset,
                holding.promise.log_start_offset,
                holding.log.log_start_offset,
            ),
            unsure=False,
        )
        self._take_in(config.voters)

    def on_persisted(self) -> None:
        """Begin to serve once our leadership is durable; later, count our own end."""
        holding = self.holding
        if not self.installed and holding.journaled.log_epoch == self.leader_epoch:
            self.installed = True
            if self.unsure:
                lost = LossPossible(self.leader_epoch, self.epoch_start, self.unsure)
                holding.effects.append(lost)
            holding.effects.append(Lead(self.leader_epoch, self.epoch_start))
            self.feed_all()
        self._advance()

    def on_synced(self) -> None:
        """Have the journal say what is on disk; it counts when that is durable."""
        holding = self.holding
        holding.sync()  # Meanwhile; the journal's round does not hold up the log's next one.
        holding.persist(synced_end=max(holding.promise.synced_end, holding.synced))

    def foresee_synced(self, end_offset: Offset) -> Promise | None:
        """Return what we shall promise once the sync under way has reached `end_offset`."""
        holding = self.holding
        if holding.syncing is None:
            return None
        synced = max(holding.synced, min(end_offset, holding.syncing))
        if synced <= holding.promise.synced_end:
            return None
        return holding.promise._replace(synced_end=synced)

    @property
    def takes_writes(self) -> bool:
        """Whether clients' batches may be appended to the log now, in our epoch."""
        return self.installed and self.handing_to is None

    def on_appended(self) -> None:
        """Have what was appended synced, and send it on at once."""
        holding = self.holding
        holding.sync()
        read: dict[Offset, tuple[Entry, ...]] = {}
        for replica, progress in self.others.items():
            if progress.next_offset < holding.log_end:
                self._feed(replica, progress, read)
        if holding.memory:
            self._advance()

    def on_held(self, sender: Replica, held: Held) -> None:
        """Note how far a replica is."""
        progress = self._progress(sender, held.session, held.unsure)
        if progress is None:
            return
        if max(held.log_end, held.counted_end) > self.holding.log_end:
            return  # Nobody agrees with us on more than we have.
        progress.log_end = max(progress.log_end, held.log_end)
        progress.config_id = max(progress.config_id, held.config_id)
        progress.log_start_offset = max(progress.log_start_offset, held.log_start_offset)
        if not held.unsure:
            progress.counted_end = max(progress.counted_end, held.counted_end)
        self._feed_rest(sender, progress)
        self._advance()

    def on_mismatch(self, sender: Replica, mismatch: Mismatch) -> None:
        """Go back to where our logs may agree."""
        progress = self._progress(sender, mismatch.session, mismatch.unsure)
        if progress is None:
            return
        log = self.holding.log
        _, end = log.end_of(mismatch.epoch)
        progress.next_offset = max(min(end, mismatch.end_offset), log.log_start_offset)
        progress.unanswered = 0
        self._feed(sender, progress)

    def on_astray(self, sender: Replica) -> None:
        """See to a replica that is fed by nobody: fed it is, adopted, or ordered to leave."""
        if not self.installed:
            return
        progress = self.others.get(sender)
        if progress is not None:
            self._probe(sender, progress)  # It campaigned in vain; here it is as far as it was.
        elif sender not in self.leaving:
            self.strays.add(sender)

    def on_left(self, sender: Replica, left: Left) -> None:
        """Forget a replica that gave up its log."""
        order = self.leaving.get(sender)
        if order is not None and order.session == left.session:
            del self.leaving[sender]

    def feed_all(self, answering: Collection[Replica] = ()) -> None:
        """Send everyone what it lacks, or ask where it is; answers may have been lost.

        Args:
            answering: who need not be sent again what it was sent: its answers are coming.
        """
        for replica, progress in self.others.items():
            if replica in answering:
                self._feed_rest(replica, progress)
            elif not self._is_up_to_date(progress):
                progress.unanswered = 0
                if progress.log_end != NO_OFFSET:
                    progress.next_offset = progress.log_end
                self._feed(replica, progress)
        config = self.holding.promise.config
        for replica, order in self.leaving.items():
            if order.config.id < config.id and self.settled:
                # It may know this one already, and refuses orders that come with an older one.
                self.leaving[replica] = replace(order, config=config)
            self.holding.send(replica, self.leaving[replica])
        self._order_to_leave()

    def announce(self) -> None:
        """Tell how much is committed to everyone whom no append has told."""
        for replica, progress in self.others.items():
            if progress.told_watermark < self.holding.high_watermark:
                progress.owed = True
                self._feed(replica, progress)

    def is_waiting(self, replica: Replica) -> bool:
        """Whether a replica lacks something, or owes an answer."""
        progress = self.others.get(replica)
        return replica in self.leaving or (
            progress is not None and not self._is_up_to_date(progress)
        )

    @property
    def is_unanswered(self) -> bool:
        """Whether somebody was sent what it has not answered."""
        return any(progress.unanswered for progress in self.others.values())

    def probe(self, node_id: int) -> None:
        """Ask the replica of this node anew how far it is: what no disk had may be gone."""
        for replica, progress in self.others.items():
            if replica.node_id == node_id:
                self._probe(replica, progress)

    def adopt(self, learners: tuple[Replica, ...]) -> None:
        """Copy the log to these; whoever else is no voter shall leave."""
        voters = self.holding.promise.config.voters
        wanted = {replica for replica in (*voters, *learners) if replica not in self.leaving}
        self.dismissed |= (self.others.keys() | self.strays) - wanted - set(voters)
        self.strays.clear()
        self.dismissed -= wanted
        self._take_in(sorted(wanted))
        self._order_to_leave()

    def reconfigure(self, voters: tuple[Replica, ...]) -> None:
        """Change who votes, by one, if nothing that is committed can be lost by it."""
        config = self.holding.promise.config
        obstacle = self._obstacle(config, voters)
        if obstacle:
            self.holding.effects.append(NotYet(obstacle))
            return
        changed = Config(self.leader_epoch, config.config_version + 1, voters)
        self.holding.persist(config=changed)
        self.feed_all()
        self._advance()

    def hand_over(self, target: Replica) -> None:
        """Take no more writes, and let the target campaign once it has all that we have."""
        if target != self.holding.me and target in self.holding.promise.config.voters:
            self.handing_to, self.told = target, False
            self._tell()

    @property
    def successor(self) -> Replica | None:
        """The voter that has most of what counts; None while nobody counts."""
        voters = self.holding.promise.config.voters
        ends = {r: self.others[r].counted_end for r in voters if r in self.others}
        best = max(ends, key=lambda voter: ends[voter], default=None)
        return best if best is not None and ends[best] != NO_OFFSET else None

    def take_back(self) -> None:
        """Take writes again: the target did not win in time."""
        self.handing_to, self.told = None, False

    def trim(self, log_start_offset: Offset) -> None:
        """Let the log begin later; answered by Trimmed once a quorum has that durably."""
        holding = self.holding
        start = min(log_start_offset, holding.high_watermark)
        holding.persist(log_start_offset=max(start, holding.promise.log_start_offset))
        self.feed_all()

    @property
    def settled(self) -> bool:
        """Whether a majority of the voters has, in this epoch, the config and all committed.

        Until then an older config, or a voter without a committed record, could still decide.
        """
        return self.config_settled and self.log_settled

    @property
    def config_settled(self) -> bool:
        """Whether a majority of the voters has installed our config in this epoch."""
        config = self.holding.promise.config
        installed = {r for r, other in self.others.items() if other.config_id >= config.id}
        if self.holding.journaled.config.id >= config.id:
            installed.add(self.holding.me)
        return is_quorum(config, installed)

    @property
    def log_settled(self) -> bool:
        """Whether a majority of them holds all committed, and all up to our start."""
        needed = max(self.holding.high_watermark, self.epoch_start)
        return quorum_end(self.holding.promise.config, self._ends()) >= needed

    def _obstacle(self, config: Config, voters: tuple[Replica, ...]) -> str:
        """Return why the voters may not become these now; empty if they may."""
        changed = set(voters) ^ set(config.voters)
        if len(changed) != 1 or len(set(voters)) != len(voters):
            return "one voter is added or removed at a time"
        if self.holding.me not in voters:
            return "a leader does not remove itself; it hands over first"
        (replica,) = changed
        progress = self.others.get(replica)
        if replica in voters and (
            progress is None or progress.counted_end < self.holding.high_watermark
        ):
            return "a new voter is first a learner that has caught up"
        return "" if self.settled else "a majority has not yet the config and all committed"

    def _progress(self, sender: Replica, session: int, unsure: int) -> Progress | None:
        """Return the progress that a message of this session speaks of, if it counts."""
        progress = self.others.get(sender)
        if progress is None or not self.installed or session != progress.session:
            return None
        if unsure > progress.unsure:
            # First heard of since it went down, perhaps once more. It may have lost what it told
            # us before; it counts again when it has all that we have now.
            self.sessions += 1
            end = self.holding.log_end
            self.others[sender] = Progress(self.sessions, end, sure_end=end, unsure=unsure)
            self._feed(sender, self.others[sender])
            return None
        progress.unanswered = max(0, progress.unanswered - 1)
        return progress

    def _ends(self) -> dict[Replica, Offset]:
        """Return what counts of every replica; our own end counts by the same rule."""
        ends = {replica: progress.counted_end for replica, progress in self.others.items()}
        ends[self.holding.me] = self._own_end()
        return ends

    def _own_end(self) -> Offset:
        """Return what of our own log counts."""
        holding = self.holding
        if holding.journaled.log_epoch != self.leader_epoch or holding.damaged:
            return NO_OFFSET
        return holding.log_end if holding.memory else holding.journaled.synced_end

    def _advance(self) -> None:
        """Commit what a majority holds, and do what waited for that."""
        holding = self.holding
        if not self.installed:
            return
        config = holding.promise.config
        # Alone, our own end decides; that is the hot path of many a node.
        end = quorum_end(config, self._ends()) if self.others else self._own_end()
        # What we inherited commits only whole: until a majority holds all of it, a log without
        # it could still win.
        if end >= self.epoch_start and end > holding.high_watermark:
            holding.high_watermark = end
            holding.effects.append(Committed(end))
        if holding.promise.log_start_offset > holding.log.log_start_offset:
            starts = {r: progress.log_start_offset for r, progress in self.others.items()}
            starts[holding.me] = holding.journaled.log_start_offset
            start = quorum_end(config, starts)
            if start > holding.log.log_start_offset:
                holding.effects.append(Trimmed(start))
        self._order_to_leave()
        self._tell()

    def _tell(self) -> None:
        """Tell the successor to campaign once it has everything and all is committed."""
        target, holding = self.handing_to, self.holding
        if target is None or self.told:
            return
        progress = self.others.get(target)
        end = holding.log_end
        if progress and progress.counted_end == end and holding.high_watermark == end:
            self.told = True
            holding.send(target, Campaign(self.leader_epoch))

    def _order_to_leave(self) -> None:
        """Order the dismissed to leave, if neither their vote nor their log is needed any more."""
        if not self.installed or not self.dismissed or not self.settled:
            return
        config = self.holding.promise.config
        for replica in sorted(self.dismissed):
            assert replica not in config.voters
            progress = self.others.pop(replica, None)
            if progress is None:
                self.sessions += 1
            session = progress.session if progress else self.sessions
            order = Leave(self.leader_epoch, session, config)
            self.leaving[replica] = order
            self.holding.send(replica, order)
        self.dismissed.clear()

    def _take_in(self, replicas: tuple[Replica, ...] | list[Replica]) -> None:
        new = [r for r in replicas if r != self.holding.me and r not in self.others]
        self.sessions += bool(new)
        for replica in new:
            self.others[replica] = Progress(self.sessions, self.holding.log_end)
            if self.installed:
                self._feed(replica, self.others[replica])

    def _probe(self, replica: Replica, progress: Progress) -> None:
        progress.log_end, progress.unanswered = NO_OFFSET, 0
        progress.next_offset = self.holding.log_end
        self._feed(replica, progress)

    def _is_up_to_date(self, progress: Progress) -> bool:
        promise = self.holding.promise
        return (
            progress.counted_end == progress.log_end == self.holding.log_end
            and progress.config_id == promise.config.id
            and progress.log_start_offset >= promise.log_start_offset
        )

    def _feed_rest(self, replica: Replica, progress: Progress) -> None:
        if progress.owed or progress.next_offset < self.holding.log_end:
            self._feed(replica, progress)

    def _feed(
        self,
        replica: Replica,
        progress: Progress,
        read: dict[Offset, tuple[Entry, ...]] | None = None,
    ) -> None:
        """Send what comes next, if any, without waiting for the answers to what was sent.

        Args:
            replica: to whom.
            progress: how far it is.
            read: what was read just now for others, by where it begins.
        """
        holding, log = self.holding, self.holding.log
        if progress.unanswered >= APPENDS_UNANSWERED_MAX:
            return
        if holding.is_open is not None and not holding.is_open(replica.node_id):
            return  # To read for it, and charge others for that, is no help; LinkOpened asks anew.
        base = max(progress.next_offset, log.log_start_offset)
        if base == log.log_start_offset:
            base = log.first_offset
        behind = holding.catch_up if base < holding.high_watermark else None
        bytes_max = APPEND_BYTES_MAX
        if behind is not None:
            if not behind.has_any:
                self.held_up = True
                return
            bytes_max = min(bytes_max, behind.burst)
        entries = None if read is None else read.get(base)
        if entries is None:
            entries = log.read(base, bytes_max)
            if read is not None:
                read[base] = entries
        if not entries and base < holding.log_end:
            holding.unreadable = log.rotten_offset
            return  # What is there cannot be read; to say so at once, again and again, is no help.
        if behind is not None:
            behind.take(sum(entry.bytes for entry in entries))
        progress.unanswered += 1
        progress.owed, progress.told_watermark = False, holding.high_watermark
        progress.next_offset = base + sum(entry.size for entry in entries)
        append = Append(
            self.leader_epoch,
            progress.session,
            holding.promise.config,
            self.epoch_start,
            base,
            log.epoch_at(base - 1) if base > log.log_start_offset else NO_EPOCH,
            entries,
            holding.high_watermark,
            holding.promise.log_start_offset,
            progress.sure_end,
            progress.unsure,
        )
        holding.send(replica, append)
