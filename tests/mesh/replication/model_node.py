"""One real replica with a disk that forgets at a crash what was not synced."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import NamedTuple

from mesh.replication import events as ev
from mesh.replication.group import Group
from mesh.replication.leader import Leader
from mesh.replication.messages import Append, Message
from mesh.replication.patience import Patience
from mesh.replication.standing import (
    NO_MARK,
    Admit,
    Answer,
    Answered,
    GiveUpDirectory,
    Heard,
    LinkMade,
    Mark,
    Standing,
)
from mesh.replication.state import (
    NO_EPOCH,
    Entry,
    Promise,
    Replica,
    first_promise,
    learner_promise,
)
from storage.types import LeaderEpoch, Offset
from tests.mesh.replication.invariants import regress, unfounded, unwarranted

NEVER_MS, NOW_MS = 1 << 60, 0


class NoDice:
    """Chance plays no part where everything is tried."""

    def randrange(self, stop: int, /) -> int:
        return 0


@dataclass(slots=True)
class ModelLog:
    """Entries of one offset each; what is below `durable` survives a crash for certain."""

    start: Offset = 0
    entries: list[Entry] = field(default_factory=list)
    durable: Offset = 0
    syncing: Offset | None = None
    """Up to where a sync under way reaches, as the disk sees it."""

    @property
    def rotten_offset(self) -> Offset | None:
        return None

    @property
    def log_start_offset(self) -> Offset:
        return self.start

    @property
    def first_offset(self) -> Offset:
        return self.start

    @property
    def log_end_offset(self) -> Offset:
        return self.start + len(self.entries)

    def epoch_at(self, offset: Offset) -> LeaderEpoch:
        inside = self.start <= offset < self.log_end_offset
        return self.entries[offset - self.start].leader_epoch if inside else NO_EPOCH

    def end_of(self, leader_epoch: LeaderEpoch) -> tuple[LeaderEpoch, Offset]:
        older = [entry.leader_epoch for entry in self.entries if entry.leader_epoch <= leader_epoch]
        return (older[-1] if older else NO_EPOCH), self.start + len(older)

    def read(self, base_offset: Offset, bytes_max: int) -> tuple[Entry, ...]:
        return tuple(self.entries[base_offset - self.start :])

    def append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            assert not self.entries or self.entries[-1].leader_epoch <= entry.leader_epoch
            assert entry.size == 1
            self.entries.append(entry)

    def cut(self, end_offset: Offset) -> None:
        del self.entries[end_offset - self.start :]
        self.durable = min(self.durable, end_offset)
        if self.syncing is not None:
            self.syncing = min(self.syncing, end_offset)

    def empty(self, start: Offset) -> None:
        self.start, self.entries, self.durable, self.syncing = start, [], start, None


FIRST = Mark(1, 0)
"""What the disk of a node holds at first, as far as it matters."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A heartbeat: it brings nothing but its sender's mark."""


@dataclass(frozen=True, slots=True)
class Unnoticed:
    """A node takes part with an old disk, and nobody knows."""


LinkWord = LinkMade | Answered | Frame | Unnoticed


class Snapshot(NamedTuple):
    """A copy of a disk."""

    journal: Promise | None
    start: Offset
    entries: tuple[Entry, ...]


class Node:
    """The machine, its journal, its log, and the effects that wait for their turn."""

    __slots__ = (
        "at_once",
        "claims",
        "fault",
        "group",
        "journal",
        "links",
        "log",
        "me",
        "memory",
        "queue",
        "snapshot",
        "standing",
        "starts",
        "written",
    )

    def __init__(
        self, me: Replica, journal: Promise | None, log: ModelLog, *, memory: bool = False
    ) -> None:
        self.me, self.journal, self.log, self.memory = me, journal, log, memory
        self.queue: list[ev.Effect] = []
        self.at_once: list[ev.Effect] = []
        """What was reported and is for others to see; it does not wait in the queue."""
        self.group: Group | None = None
        self.starts = 1
        """As far as they matter: those after which it may lack what it acknowledged."""
        self.standing: Standing | None = None
        """Only where disks may be old ones."""
        self.snapshot: Snapshot | None = None
        self.links: list[tuple[Replica | None, LinkWord]] = []
        """What links themselves say; to None: to all others."""
        self.claims = False
        """Whether that counts."""
        self.written = 0
        """How often it wrote; no disk holds that, so that it can tell the same entry twice."""
        self.fault = ""
        """What it took back, or said without having it on disk."""
        self.start()

    def start(self, group_class: type[Group] = Group) -> None:
        """Begin anew with what is on disk."""
        self.queue, self.at_once, self.log.syncing = [], [], None
        if self.journal is not None:
            self.group = group_class(
                self.me,
                self.journal,
                self.log,
                rng=NoDice(),
                now_ms=NOW_MS,
                memory=self.memory,
                start=self.starts,
                admitted=self.standing is None or self.standing.admitted,
            )
            self.forget_time()

    def forget_time(self) -> None:
        """Everything that depends on time may happen at any time."""
        if self.group is not None:
            self.group.patience = patience = Patience(rng=NoDice())
            if isinstance(self.group.role, Leader):
                patience.lead(NOW_MS, self.group.role.others)

    def crash(self, kept: Offset) -> None:
        """Lose the process, and of the log what is above `kept`."""
        assert kept >= self.log.durable
        self.log.cut(kept)
        self.start()

    def lose_machine(self, kept: Offset) -> None:
        """Lose the machine in memory mode: what was acknowledged from the page cache is gone.

        The node finds that out as it starts, and writes it down before anything else.
        """
        self.starts += 1
        if self.journal is not None and not self.journal.tombstone:
            self.journal = self.journal._replace(unsure=True)
        self.crash(kept)

    def feed(self, event: ev.Event, now_ms: int = NOW_MS) -> None:
        """Put an event in, and what comes out behind what still waits."""
        assert self.group is not None
        for effect in self.group.on(event, now_ms):
            if isinstance(effect, ev.SyncLog):
                self.log.syncing = self.log.log_end_offset
            elif isinstance(effect, ev.AT_ONCE):
                self.at_once.append(effect)
            # What is sent may be delivered again and again, so sending it twice adds nothing.
            elif not (isinstance(effect, ev.Send) and effect in self.queue):
                self.queue.append(effect)
        self.forget_time()

    def write(self, data: object) -> bool:
        """Append a client's batch as the broker does; say whether it was taken."""
        assert self.group is not None
        if not self.group.takes_writes:
            return False
        self.log.append((Entry(self.group.leader_epoch, 1, data),))
        self.written += 1
        self.feed(ev.Appended())
        return True

    def watch_disk(self, others: tuple[Replica, ...]) -> None:
        """Have what the node decides for all its groups, as a member that all others know."""
        known = dict.fromkeys([other.directory_id for other in others], FIRST)
        self.standing = Standing(found=NO_MARK, mark=FIRST, known=known, admitted=True)

    def take_snapshot(self) -> None:
        """Have the disk copied as it is now; its journal goes on from there."""
        assert self.standing is not None
        kept = tuple(self.log.entries[: self.log.durable - self.log.start])
        self.snapshot = Snapshot(self.journal, self.log.start, kept)

    def restore(self) -> None:
        """Return with the snapshot in the place of the disk."""
        assert self.standing is not None
        assert self.snapshot is not None
        self.journal, start, entries = self.snapshot
        self.snapshot = None
        self.log.empty(start)
        self.log.append(entries)
        self.log.durable = self.log.log_end_offset
        self.standing = Standing(found=FIRST, mark=Mark(FIRST.start + 1, 0))
        self.start()
        self.links.append((None, LinkMade(self.me.directory_id)))

    def hear_link(self, sender: Replica, word: LinkWord) -> None:
        """Take what a link says by itself: about disks."""
        if self.standing is None or isinstance(word, Frame | Unnoticed):
            return
        for effect in self.standing.on(word, NOW_MS):
            match effect:
                case Answer(_, mark):
                    self.links.append((sender, Answered(mark)))
                case Admit():
                    self.links.append((self.me, Unnoticed()))
                case GiveUpDirectory():
                    self.standing = None
                    self.wipe()

    def hear(self, sender: Replica, message: Message | LinkWord, mark: Mark | None = None) -> None:
        """Take a message; a leader's makes the state of a replica that has none."""
        if isinstance(message, LinkWord):
            self.hear_link(sender, message)
        if mark is not None and self.standing is not None and self.standing.admitted:
            self.standing.on(Heard(sender.directory_id, mark), NOW_MS)
        is_deaf = self.standing is not None and not self.standing.admitted
        if isinstance(message, LinkWord) or is_deaf:
            return  # Before it was answered over a link, nothing else comes over it.
        if self.group is None and isinstance(message, Append):
            self.journal = learner_promise()
            self.start()
        if self.group is not None:
            self.feed(ev.Received(sender, message))

    def run(self, *, slow: bool, persists: int = -1) -> Iterator[ev.Effect]:
        """Carry out effects up to the first that takes its time, and yield those for others.

        Args:
            slow: whether writing to the journal takes time, too.
            persists: after so many writes to the journal, stop before the next; -1: do not.
        """
        while True:
            while self.at_once:
                effect = self.at_once.pop(0)
                if isinstance(effect, ev.LossPossible):
                    assert self.group is not None
                    voters = self.group.holding.promise.config.voters
                    self.fault = self.fault or unwarranted(effect, voters)
                yield effect
            if not self.queue:
                return
            effect = self.queue[0]
            if isinstance(effect, ev.Cut | ev.Empty | ev.Delete):
                return
            if isinstance(effect, ev.Persist):
                if slow or persists == 0:
                    return
                persists -= 1
                self.step()
                continue
            del self.queue[0]
            if isinstance(effect, ev.Send):
                assert self.journal is not None
                self.fault = self.fault or unfounded(
                    effect, self.journal, self.log.durable, memory=self.memory
                )
            yield effect

    def step(self) -> None:
        """Carry out the effect at the head, which takes its time."""
        effect = self.queue.pop(0)
        match effect:
            case ev.Persist(promise):
                assert self.journal is not None
                self.fault = self.fault or regress(self.journal, promise)
                self.journal = promise
                if self.snapshot is not None and self.standing is not None:
                    # Only this counts of all rounds: whether one came after the snapshot.
                    self.standing.mark = Mark(self.standing.mark.start, 1)
                self.feed(ev.Persisted(promise))
            case ev.Cut(end_offset):
                self.log.cut(end_offset)
                self.feed(ev.LogChanged())
            case ev.Empty(log_start_offset):
                self.log.empty(log_start_offset)
                self.feed(ev.LogChanged())
            case ev.Delete():
                self.log.empty(0)
                self.feed(ev.LogChanged())
            case _:
                raise AssertionError(effect)

    def finish_sync(self) -> None:
        """End the sync under way."""
        assert self.log.syncing is not None
        end = self.log.syncing
        self.log.durable = max(self.log.durable, end)
        self.log.syncing = None
        self.feed(ev.Synced(end))

    def recreate(self, voters: tuple[Replica, ...]) -> None:
        """Make the group's first state from the registry's record, where that is allowed."""
        promise = first_promise(self.me, voters, self.journal)
        if promise is not None:
            self.journal = promise
            self.start()

    def wipe(self) -> None:
        """Return with an empty disk, hence with another directory."""
        self.me = Replica(self.me.node_id, self.me.directory_id + "'")
        self.journal, self.group, self.queue, self.at_once = None, None, [], []
        self.log.empty(0)


SOFT = {"patience", "unanswered", "effects"}
"""What is left out of a state: time, and a window that small bounds never fill."""


def freeze(value: object) -> Hashable:
    """Return a hashable picture of a state; equal pictures behave alike."""
    if value is None or isinstance(value, int | str | bytes | Enum):
        return value
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple([freeze(item) for item in value])
    if isinstance(value, tuple):
        return value
    if isinstance(value, list):
        return tuple([freeze(item) for item in value])
    if isinstance(value, dict):
        return tuple(sorted((key, freeze(item)) for key, item in value.items()))
    if isinstance(value, set):
        return tuple(sorted(value))
    if is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Hashable):
            return value
        names = [f.name for f in fields(value) if f.name not in SOFT and f.name != "holding"]
        kind: Hashable = type(value).__name__
        return (kind, *[freeze(getattr(value, name)) for name in names])
    raise AssertionError(type(value))


def picture(node: Node) -> Hashable:
    """Return all of a node that counts."""
    group = node.group
    machine = None if group is None else (freeze(group.holding), freeze(group.role))
    rest = (freeze(node.standing), node.snapshot, node.written if node.claims else 0)
    queue: list[Hashable] = []
    for effect in node.queue:
        # The order in which messages leave does not matter to a net that has none.
        if isinstance(effect, ev.Send) and queue and isinstance(queue[-1], frozenset):
            queue[-1] |= {effect}
        else:
            queue.append(frozenset({effect}) if isinstance(effect, ev.Send) else effect)
    return node.journal, freeze(node.log), tuple(queue), machine, node.starts, node.memory, *rest


def dump(node: Node) -> bytes:
    return pickle.dumps(node, pickle.HIGHEST_PROTOCOL)


def load(data: bytes) -> Node:
    node = pickle.loads(data)
    assert isinstance(node, Node)
    return node


class Packet(NamedTuple):
    """What was sent."""

    sender: Replica
    to: Replica
    message: Message | LinkWord
    mark: Mark | None
    """What the frame says of its sender's journal, where disks may be old ones."""
