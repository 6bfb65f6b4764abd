"""A few replicas that do what a script says, and a transcript of what they did."""

from __future__ import annotations

from collections.abc import Iterable

from mesh.replication import events as ev
from mesh.replication.leader import Leader
from mesh.replication.messages import Message
from mesh.replication.state import Entry, Replica, first_promise, learner_promise
from storage.types import Offset
from tests.mesh.replication import words
from tests.mesh.replication.actions import elect
from tests.mesh.replication.invariants import History, judge
from tests.mesh.replication.model_node import NOW_MS, ModelLog, Node
from tests.mesh.replication.words import name as name_of

BEAT_MS = 50
"""Between two heartbeats of a link; all of an untimed story happens at one instant."""


class SmallAppends(ModelLog):
    """A log of which an append takes one entry at a time."""

    def read(self, base_offset: Offset, bytes_max: int) -> tuple[Entry, ...]:
        return super().read(base_offset, bytes_max)[:1]


class TimedNode(Node):
    """A node for which time passes: nothing is due before its time."""

    __slots__ = ()

    def forget_time(self) -> None:
        pass


class Story:
    """Nodes a, b, c …; what they send waits until the script delivers it, again and again.

    What is broken first is remembered: an invariant of the exploration, or one of two that only a
    script can show, for they speak of disks (`crash`, `_count_copies`).
    """

    def __init__(
        self,
        names: str = "abc",
        voters: str = "abc",
        *,
        memory: bool = False,
        one_by_one: bool = False,
        timed: bool = False,
    ) -> None:
        self.voters = tuple(Replica("abcdefg".index(name) + 1, name) for name in voters)
        self.nodes: dict[str, Node] = {}
        self.sent: list[tuple[Replica, Replica, Message]] = []
        self.lines: list[str] = []
        self.history = History()
        self.broken = ""
        self.said: dict[str, str] = {}
        self.now_ms = NOW_MS
        self.rotten: set[str] = set()
        self.slow: set[str] = set()
        """Whose journal and files take their time: each effect of theirs waits for `carry_on`."""
        for name in names:
            me = Replica("abcdefg".index(name) + 1, name)
            log = SmallAppends() if one_by_one else ModelLog()
            kind = TimedNode if timed else Node
            self.nodes[name] = kind(me, first_promise(me, self.voters, None), log, memory=memory)

    def do(self, name: str, event: ev.Event, *, later: bool = False) -> None:
        """Feed an event and carry out all that follows, syncs among it unless `later`."""
        self.nodes[name].feed(event, self.now_ms)
        self._run(name, later=later)

    def wait(self, ms: int, names: str) -> None:
        """Let time pass; links with heartbeats are open between these, and only these."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms += BEAT_MS
            before = len(self.lines)
            for name, node in self.nodes.items():
                wake_at_ms = node.group.wake_at_ms if node.group is not None else None
                if wake_at_ms is not None and wake_at_ms <= self.now_ms:
                    self.do(name, ev.Tick())
            for sender in names:
                for to in names:
                    if sender != to:
                        self._beat(sender, to)
            self.talk(names)
            for sender_me, to_me, message in self.sent:
                what = f"{name_of(sender_me)} -> {name_of(to_me)}: {words.message(message)}"
                self.lines.append(f"{what} (lost)")
            self.sent.clear()
            if len(self.lines) > before:
                self.lines.insert(before, f"after {self.now_ms} ms")

    def _beat(self, sender: str, to: str) -> None:
        self.do(to, ev.Reached(self.me(sender).node_id))
        group = self.nodes[sender].group
        if group is not None and self.leads(sender):
            self.do(to, ev.LeaderNamed(self.me(sender), group.leader_epoch))

    def campaign(self, name: str, *, later: bool = False) -> None:
        self.lines.append(f"{name} campaigns")
        elect(self.nodes[name])
        self._run(name, later=later)

    def write(self, name: str, data: str, *, later: bool = False) -> None:
        self.lines.append(f"{name} is given {data}")
        if not self.nodes[name].write(data):
            self.lines.append(f"    {name} takes no writes")
        self._run(name, later=later)

    def order(self, name: str, event: ev.Event, *, later: bool = False) -> None:
        """Give a command that the transcript names."""
        self.lines.append(f"{name} is told: {words.command(event)}")
        self.do(name, event, later=later)

    def begin(self, text: str) -> None:
        """Tell what happened so far in one line, and what everybody has."""
        self.lines, self.said = [text], {}
        for name in self.nodes:
            self.say(name)

    def note(self, text: str) -> None:
        """Say to the reader what comes, and by which rule."""
        self.lines.append(f"-- {text}")

    def deliver(self, sender: str, to: str, *, later: bool = False) -> None:
        """Deliver all that waits between two, in order."""
        waiting = [
            item for item in self.sent if name_of(item[0]) == sender and name_of(item[1]) == to
        ]
        self.sent = [item for item in self.sent if item not in waiting]
        for _, _, message in waiting:
            self.hear(sender, to, message, later=later)

    def hear(self, sender: str, to: str, message: Message, *, later: bool = False) -> None:
        self.lines.append(f"{sender} -> {to}: {words.message(message)}")
        if self.nodes[to].group is not None:
            self.do(to, ev.Received(self.nodes[sender].me, message), later=later)

    def waiting(self, kind: type[Message], to: str) -> Message:
        """Return what was last sent of a kind and is not delivered yet."""
        return next(
            m for _, r, m in reversed(self.sent) if name_of(r) == to and isinstance(m, kind)
        )

    def talk(self, names: Iterable[str], rounds: int = 12, *, later: bool = False) -> None:
        """Let these speak with each other until all is said."""
        for _ in range(rounds):
            for sender in names:
                for to in names:
                    if sender != to:
                        self.deliver(sender, to, later=later)

    def lose(self, kind: type[Message] | None = None) -> None:
        """Lose all that waits, or all of a kind."""
        what = "what was sent" if kind is None else f"every {kind.__name__}"
        self.lines.append(f"{what} is lost")
        self.sent = [one for one in self.sent if kind is not None and not isinstance(one[2], kind)]

    def crash(self, name: str) -> None:
        """Lose the process and what was not synced. The journal must not speak of what is lost."""
        self.lines.append(f"{name} crashes, and what was not synced is lost")
        node = self.nodes[name]
        lost = node.journal is not None and node.journal.synced_end > node.log.durable
        if lost and name not in self.rotten:
            self._break(f"the journal of {name} speaks of more than its disk holds")
        node.crash(node.log.durable)
        self.say(name)

    def rot(self, name: str, end: Offset) -> None:
        """Restart with a bad record at `end`: recovery leaves what is below."""
        self.lines.append(f"{name} restarts, its record at {end} is unreadable")
        node = self.nodes[name]
        self.rotten.add(name)
        node.log.cut(end)
        node.start()
        self.say(name)

    def power_loss(self, name: str) -> None:
        """Lose the machine in memory mode: what was acknowledged from the page cache is gone."""
        self.lines.append(f"{name} loses its machine, and is unsure from now on")
        node = self.nodes[name]
        node.lose_machine(node.log.durable)
        self.say(name)

    def sync(self, name: str) -> None:
        """End a sync that was left under way."""
        self.lines.append(f"{name} has synced")
        self.nodes[name].finish_sync()
        self._run(name, later=False)

    def carry_on(self, name: str) -> None:
        """Carry out the one effect that a slow node waits for."""
        self._step(name)
        self._run(name, later=False)

    def repeat(self, name: str) -> None:
        self.do(name, ev.Tick())

    def say(self, name: str) -> None:
        """Write down what a replica is and has."""
        node = self.nodes[name]
        group = node.group
        if group is None:
            return
        holding, promise = group.holding, group.holding.promise
        role = type(group.role).__name__.lower()
        states = (
            (node.log.log_start_offset > 0, f"log from {node.log.log_start_offset}"),
            (promise.tombstone, "tombstone"),
            (holding.damaged, "damaged"),
            (promise.unsure, "unsure"),
        )
        standing = words.standing(role, promise, holding.journaled.synced_end, self.log(name))
        line = f"    {name} is {standing}, knows {group.high_watermark} committed" + "".join(
            f", {text}" for so, text in states if so
        )
        if self.said.get(name) != line:
            self.said[name] = line
            self.lines.append(line)

    def join(self, name: str) -> None:
        """Give a replica the state with which a learner begins."""
        node = self.nodes[name]
        node.journal = node.journal or learner_promise()
        node.start()

    def wipe(self, name: str) -> None:
        """Return with an empty disk, hence with another directory."""
        self.lines.append(f"{name} returns with an empty disk, as {name}'")
        me = Replica(self.nodes.pop(name).me.node_id, f"{name}'")
        self.nodes[f"{name}'"] = Node(me, first_promise(me, self.voters, None), ModelLog())

    def me(self, name: str) -> Replica:
        return self.nodes[name].me

    def log(self, name: str) -> tuple[Entry, ...]:
        return tuple(self.nodes[name].log.entries)

    def whole_log(self, name: str) -> tuple[Entry, ...]:
        """Return the log with what was deleted from its start, which was committed."""
        start = self.nodes[name].log.log_start_offset
        return (*self._committed()[:start], *self.log(name))

    def committed_at(self, name: str) -> Offset:
        """Return how much a replica knows to be committed."""
        group = self.nodes[name].group
        return 0 if group is None else group.high_watermark

    def leads(self, name: str) -> bool:
        group = self.nodes[name].group
        return group is not None and isinstance(group.role, Leader) and group.role.installed

    def _run(self, name: str, *, later: bool) -> None:
        node, slow = self.nodes[name], name in self.slow
        while True:
            for effect in node.run(slow=True):
                self._note(name, effect)
            if node.queue and not slow:
                self._step(name)
            elif node.log.syncing is not None and not later:
                node.finish_sync()
            else:
                break
        self.say(name)

    def _step(self, name: str) -> None:
        node, effect = self.nodes[name], self.nodes[name].queue[0]
        said = words.effect(effect)
        if isinstance(effect, ev.Persist):
            said = words.journal(node.journal, effect.promise)
        self.lines.append(f"    {name} {said}")
        node.step()
        if isinstance(effect, ev.Delete):
            self._count_copies(name)

    def _count_copies(self, deleted: str) -> None:
        """See what is committed on a majority of the newest leader's voters still."""
        leaders = [node for name, node in self.nodes.items() if self.leads(name)]
        committed = self._committed()
        if not leaders:
            return
        newest = max(leaders, key=lambda node: node.group.leader_epoch if node.group else -1)
        assert newest.group is not None
        voters = newest.group.holding.promise.config.voters
        having = sum(
            node.me in voters and self.whole_log(name)[: len(committed)] == committed
            for name, node in self.nodes.items()
            if node.memory or node.log.durable >= len(committed)
        )
        if 2 * having <= len(voters):
            self._break(f"{deleted} deleted what only {having} of {len(voters)} voters still hold")

    def _note(self, name: str, effect: ev.Effect) -> None:
        node = self.nodes[name]
        if isinstance(effect, ev.Send):
            self.sent.append((node.me, effect.to, effect.message))
            return
        self.lines.append(f"    {name} {words.effect(effect)}")
        if isinstance(effect, ev.Trimmed):
            log = node.log
            del log.entries[: effect.log_start_offset - log.start]
            log.start = max(log.start, effect.log_start_offset)
        if self.broken:
            return
        judged = judge(self.history, effect, node.me.node_id, self.whole_log(name))
        if isinstance(judged, str):
            self._break(judged)
        else:
            self.history = judged

    def _committed(self) -> tuple[Entry, ...]:
        return max((log for _, log in self.history.committed), key=len, default=())

    def _break(self, invariant: str) -> None:
        if not self.broken:
            self.broken = invariant
            self.lines.append(f"    BROKEN: {invariant}")
