"""A few replicas that do what a script says, and a transcript of what they did."""

from __future__ import annotations

from collections.abc import Iterable

from mesh.replication import events as ev
from mesh.replication.leader import Leader
from mesh.replication.messages import Message
from mesh.replication.state import Entry, Replica, first_promise, learner_promise
from tests.mesh.replication.explore import History, elect, judge
from tests.mesh.replication.model_node import ModelLog, Node


def brief(replica: Replica | None) -> str:
    return "nobody" if replica is None else replica.directory_id


class Story:
    """Nodes a, b, c …; what they send waits until the script delivers it, again and again."""

    def __init__(self, names: str = "abc", voters: str = "abc") -> None:
        self.voters = tuple(Replica("abcdefg".index(name) + 1, name) for name in voters)
        self.nodes: dict[str, Node] = {}
        self.sent: list[tuple[Replica, Replica, Message]] = []
        self.lines: list[str] = []
        self.history = History()
        self.broken = ""
        self.said: dict[str, str] = {}
        for name in names:
            me = Replica("abcdefg".index(name) + 1, name)
            self.nodes[name] = Node(me, first_promise(me, self.voters, None), ModelLog())

    def do(self, name: str, event: ev.Event, *, later: bool = False) -> None:
        """Feed an event and carry out all that follows, syncs among it unless `later`."""
        self.nodes[name].feed(event)
        self._run(name, later=later)

    def campaign(self, name: str, *, later: bool = False) -> None:
        self.lines.append(f"{name} campaigns")
        elect(self.nodes[name])
        self._run(name, later=later)

    def write(self, name: str, data: str, *, later: bool = False) -> None:
        self.lines.append(f"{name} is given {data}")
        if not self.nodes[name].write(data):
            self.lines.append(f"    {name}: takes no writes")
        self._run(name, later=later)

    def deliver(self, sender: str, to: str, *, later: bool = False) -> None:
        """Deliver all that waits between two, in order."""
        waiting = [item for item in self.sent if brief(item[0]) == sender and brief(item[1]) == to]
        self.sent = [item for item in self.sent if item not in waiting]
        for _, _, message in waiting:
            self.hear(sender, to, message, later=later)

    def hear(self, sender: str, to: str, message: Message, *, later: bool = False) -> None:
        self.lines.append(f"{to} hears from {sender}: {message}")
        if self.nodes[to].group is not None:
            self.do(to, ev.Received(self.nodes[sender].me, message), later=later)

    def talk(self, names: Iterable[str], rounds: int = 12) -> None:
        """Let these speak with each other until all is said."""
        for _ in range(rounds):
            for sender in names:
                for to in names:
                    if sender != to:
                        self.deliver(sender, to)

    def lose(self) -> None:
        """Lose all that waits."""
        self.lines.append("what was sent is lost")
        self.sent.clear()

    def crash(self, name: str) -> None:
        self.lines.append(f"{name} crashes, and what was not synced is lost")
        node = self.nodes[name]
        node.crash(node.log.durable)
        self.say(name)

    def repeat(self, name: str) -> None:
        self.do(name, ev.Tick())

    def say(self, name: str) -> None:
        """Write down what a replica is and has."""
        node = self.nodes[name]
        group = node.group
        if group is None:
            return
        promise = group.holding.promise
        epochs = " ".join(f"{entry.data}@{entry.leader_epoch}" for entry in node.log.entries)
        role = type(group.role).__name__.lower()
        voters = "".join(brief(voter) for voter in promise.config.voters)
        line = (
            f"    {name}: {role} in {promise.leader_epoch}, log of {promise.log_epoch} [{epochs}], "
            f"synced to {promise.synced_end}, committed to {group.high_watermark}, voters {voters}"
            + (", tombstone" if promise.tombstone else "")
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

    def leads(self, name: str) -> bool:
        group = self.nodes[name].group
        return group is not None and isinstance(group.role, Leader) and group.role.installed

    def _run(self, name: str, *, later: bool) -> None:
        node = self.nodes[name]
        while True:
            for effect in node.run(slow=False):
                self._note(name, effect)
            if node.queue:
                self.lines.append(f"    {name}: {node.queue[0]}")
                node.step()
            elif node.log.syncing is not None and not later:
                node.finish_sync()
            else:
                break
        self.say(name)

    def _note(self, name: str, effect: ev.Effect) -> None:
        node = self.nodes[name]
        if isinstance(effect, ev.Send):
            self.sent.append((node.me, effect.to, effect.message))
            return
        self.lines.append(f"    {name}: {effect}")
        if self.broken:
            return
        judged = judge(self.history, effect, node.me.node_id, self.log(name))
        if isinstance(judged, str):
            self.broken = judged
            self.lines.append(f"    BROKEN: {judged}")
        else:
            self.history = judged
