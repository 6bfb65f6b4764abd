"""Rows through three nodes: clients write, a group reads along, and leaders are killed.

Every few seconds the leader of the partition that took most rows ends as `kill -9` ends it, and is
started again on its data and its ports. Afterwards each row stands there once, those of a key in
order, and the group has missed none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.interop.flights.ledger import DifferenceError, Ledger, compare
from tests.interop.flights.producer import PARTITION_COUNT, create_topic
from tests.interop.flights.readers import READERS
from tests.interop.flights.reading import Reading
from tests.interop.flights.rows import Row
from tests.interop.flights.write_confluent import QUIET
from tests.interop.flights.writers import WRITERS, Pause, Writer, shares
from tests.interop.members.brokers import SESSION_MS, SETTINGS
from tests.interop.members.member import Config
from tests.interop.node import MeshNode, MeshNodes, mesh_nodes_processes

NODE_COUNT = 3
PROGRESS_WAIT_S = 60
LOOK_PAUSE_S = 0.05
ASK_WAIT_S = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What one flight is like."""

    topic: str
    writers: Sequence[str]
    """Names in WRITERS; each gets its share of the keys."""
    members: Sequence[str]
    """Clients of the group's members; names in `members.clients.CLIENTS`."""
    protocol: str
    kill_count: int
    kill_every_s: float = 5.0
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Landing:
    """What came of a flight."""

    ledger: Ledger
    kill_count: int
    taken_s: float
    repeated_count: int
    anomalies: list[str]
    notes: list[str]


@contextmanager
def three_nodes() -> Iterator[MeshNodes]:
    """Run three nodes whose groups have short time-outs, as those of `../members` have."""
    options = [word for name, value in SETTINGS.items() for word in ("-o", f"{name}={value}")]
    with mesh_nodes_processes(NODE_COUNT, *options) as nodes:
        yield nodes


class _Killer:
    """Kills the leader of the busiest partition, time and again."""

    def __init__(self, nodes: MeshNodes, ledger: Ledger, say: Callable[[str], None]) -> None:
        self.count = 0
        self._nodes = nodes
        self._ledger = ledger
        self._say = say
        self._ends = ledger.ends()
        self._recovers_since: float | None = None
        self._killed = ""
        self._began_at = time.monotonic()

    def begin(self) -> None:
        """Tell times from now on."""
        self._began_at = time.monotonic()

    def busiest(self) -> int:
        """Return the partition with most rows since the last kill."""
        ends = self._ledger.ends()
        grown = [end - before for end, before in zip(ends, self._ends, strict=True)]
        self._ends = ends
        return max(range(len(grown)), key=grown.__getitem__)

    def leader(self, partition: int) -> MeshNode | None:
        """Return the node that leads it, or None if nobody is said to."""
        admin = AdminClient({"bootstrap.servers": self._nodes.bootstrap}, logger=QUIET)
        topic = self._ledger.topic
        told = admin.list_topics(topic, timeout=ASK_WAIT_S)
        address = told.brokers.get(told.topics[topic].partitions[partition].leader)
        if address is None:
            return None
        return next(node for node in self._nodes.nodes if node.port == address.port)

    def look(self) -> bool:
        """Whether all is well again since the last kill."""
        if self._recovers_since is not None and self._nodes.is_well():
            took_s = time.monotonic() - self._recovers_since
            self._say(f"{self._killed}, all well after {took_s:.1f} s")
            self._recovers_since = None
        return self._recovers_since is None

    def kill(self) -> None:
        """Kill, and start again."""
        partition = self.busiest()
        node = self.leader(partition)
        if node is None:
            return
        self._recovers_since = time.monotonic()
        node.kill()
        node.restart()
        self.count += 1
        took_s = time.monotonic() - self._recovers_since
        self._killed = (
            f"kill -9   at {self._recovers_since - self._began_at:.1f} s node"
            f" {self._nodes.nodes.index(node) + 1}, leader of {self._ledger.topic}-{partition}:"
            f" it answered after {took_s:.1f} s"
        )

    def describe(self) -> str:
        """Say what the nodes find amiss."""
        return str([self._nodes.reasons(node) for node in self._nodes.nodes])


class _Flight:
    """One run, from its first row to the judgement."""

    def __init__(
        self, nodes: MeshNodes, plan: Plan, rows: Sequence[Row], say: Callable[[str], None]
    ) -> None:
        self.nodes = nodes
        self.plan = plan
        self.say = say
        self.ledger = Ledger(plan.topic, PARTITION_COUNT, rows)
        self.killer = _Killer(nodes, self.ledger, say)
        self.writers: list[Writer] = []
        self.group: Reading | None = None
        self.began_at = time.monotonic()

    def fly(self) -> Landing:
        plan = self.plan
        create_topic(self.nodes.bootstrap, plan.topic, configs=plan.configs, replication_factor=3)
        config = Config(
            bootstrap=self.nodes.bootstrap,
            topic=plan.topic,
            group=plan.topic,
            name="",
            protocol=plan.protocol,
            session_ms=SESSION_MS,
            turn_rows=1000,
            turn_ms=5,
        )
        with ExitStack() as stack:
            group = Reading(plan.members, config, PARTITION_COUNT)
            self.group = group
            stack.callback(group.close)
            lock = threading.Lock()
            parts = shares(self.ledger.rows, len(plan.writers))
            for name, part in zip(plan.writers, parts, strict=True):
                writer = Writer(WRITERS[name], self.nodes.bootstrap, self.ledger, part, lock)
                stack.callback(writer.close)
                self.writers.append(writer)
            self.began_at = time.monotonic()
            self.killer.begin()
            group.begin()
            for writer in self.writers:
                writer.feed(plan.kill_every_s * (plan.kill_count + 0.5))
            self._go_on()
            taken_s = time.monotonic() - self.began_at
            self._land(group)
            return Landing(
                self.ledger,
                self.killer.count,
                taken_s,
                group.repeated_count,
                group.anomalies(self.ledger, group.committed()),
                self._notes(group),
            )

    def _go_on(self) -> None:
        """Kill until all is written, and often enough."""
        killed_at = time.monotonic()
        while not (self._written() and self.killer.count >= self.plan.kill_count):
            # One at a time: who kills the second of three nodes takes the majority away.
            well = self.killer.look()
            if well and time.monotonic() > killed_at + self.plan.kill_every_s:
                self.killer.kill()
                killed_at = self._progress_at = time.monotonic()
            self._wait("written")

    def _written(self) -> bool:
        return all(writer.done for writer in self.writers)

    def _land(self, group: Reading) -> None:
        """Wait until the group has read and committed all, and has left; check the log itself."""
        self.ledger.check()
        while group.seen_count < self.ledger.acknowledged_count:
            self._wait("read by the group")
        ends = {partition: end for partition, end in enumerate(self.ledger.ends()) if end > 0}
        while group.committed() != ends:
            self._wait("committed by the group")
        group.stop()
        while not group.ended:
            self._wait("left by the group")
        while not self.killer.look():
            self._wait("well")
        check_ends(self.nodes.bootstrap, self.ledger)

    _progress: tuple[int, int] = (0, 0)
    _progress_at: float = 0.0

    def _wait(self, what: str) -> None:
        """Look a moment later.

        Raises:
            DifferenceError: a client failed, or nothing moves for PROGRESS_WAIT_S.
        """
        assert self.group is not None
        wrong = [writer.wrong for writer in self.writers] + [self.group.wrong]
        for words in filter(None, wrong):
            raise DifferenceError(f"{self.plan.topic}: {words}\n{self._describe()}")
        progress = (self.ledger.acknowledged_count, self.group.seen_count)
        if progress != self._progress:
            self._progress, self._progress_at = progress, time.monotonic()
        if time.monotonic() > max(self._progress_at, self.began_at) + PROGRESS_WAIT_S:
            raise DifferenceError(f"{self.plan.topic} is not {what}:\n{self._describe()}")
        self.group.pause(LOOK_PAUSE_S)

    def _describe(self) -> str:
        assert self.group is not None
        counts = f"{self.ledger.acknowledged_count} of {len(self.ledger.rows)} rows acknowledged"
        return "\n".join(
            [
                f"{counts}, {self.group.seen_count} read by the group",
                *self._notes(self.group),
                self.killer.describe(),
                *(str(events[-4:]) for events in self.group.histories.values()),
            ]
        )

    def _notes(self, group: Reading) -> list[str]:
        notes = [
            f"{writer.client.name} wrote {writer.acknowledged_count:,} rows ({writer.client.codec})"
            f", {self._waited(writer.longest)}"
            for writer in self.writers
        ]
        refusals = group.refusals
        longest = max(group.longest, key=lambda pause: pause.length_s)
        read = f"the group read {group.seen_count:,} rows, {self._waited(longest)}"
        return [*notes, f"{read}; {len(refusals)} commits refused", *sorted(set(refusals))]

    def _waited(self, pause: Pause) -> str:
        until_s = pause.ended_at - self.began_at
        return f"waited at most {pause.length_s:.1f} s ({pause.what}, until {until_s:.1f} s)"


def check_ends(bootstrap: str, ledger: Ledger) -> None:
    """Check that each partition ends where the last acknowledged row stands.

    Raises:
        DifferenceError: it does not: there are records that nobody was told of.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"}, logger=QUIET)
    try:
        for partition, end in enumerate(ledger.ends()):
            place = TopicPartition(ledger.topic, partition)
            found = consumer.get_watermark_offsets(place, timeout=ASK_WAIT_S)
            if found != (0, end):
                raise DifferenceError(f"{ledger.topic}-{partition} is {found}, not {(0, end)}")
    finally:
        consumer.close()


def fly(
    nodes: MeshNodes,
    plan: Plan,
    rows: Sequence[Row],
    readers: Sequence[str],
    say: Callable[[str], None] = print,
) -> Landing:
    """Do one flight, and have clients read all of it from its first row.

    Raises:
        DifferenceError: a row is missing, twice, out of order or another; a client failed; the
            group missed a row or was told of a commit that went back; nothing moved for a minute.
    """
    landing = _Flight(nodes, plan, rows, say).fly()
    for note in landing.notes:
        say(f"          {note}")
    say(
        f"flown     {plan.topic:<20} {len(rows):>9,} rows in {landing.taken_s:6.2f} s through"
        f" {landing.kill_count} kills; {landing.repeated_count:,} processed again by the group"
    )
    if landing.anomalies:
        raise DifferenceError("\n".join([f"{plan.topic}:", *landing.anomalies[:20]]))
    ends = {plan.topic: landing.ledger.ends()}
    for name in readers:
        began_at = time.monotonic()
        count = compare({plan.topic: landing.ledger}, READERS[name].read(nodes.bootstrap, ends))
        taken_s = time.monotonic() - began_at
        say(
            f"read      {name:<20} {count:>9,} rows in {taken_s:6.2f} s: every byte as acknowledged"
        )
    return landing
