"""Random worlds of whole nodes under load: each seed drops classes of faults and draws the rest."""

from __future__ import annotations

import random
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.replication import Replica
from mesh.replication.quorum import is_quorum
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from simulations.broker_invariants import BrokerInvariants
from simulations.cluster import Cluster, Delays, VirtualNode
from simulations.workload import Committer, Producer, Reader, Wire, log_of

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.model.types import NodeId
    from storage.promises import GroupId

CLASSES = (
    "kill",
    "crash",
    "crash_in_event",
    "torn_write",
    "failed_sync",
    "split",
    "one_way",
    "isolate",
    "pause",
    "slow_disk",
    "slow_net",
    "break_link",
    "restart_all",
    "hand_over",
    "join",
    "lose_disk",
    "wipe_disk",
    "drain",
    "topics",
)
"""Faults that a seed has, or has not, each with even chance."""
TOPIC = "t"
PARTITIONS = 3
FAULTS_S = (5, 5, 5, 5, 20)
"""For how long faults strike; a seed draws one. Most of what goes wrong does so within seconds."""
REST_S_MAX = 30
QUIET_S_MAX = 2
FINAL_RECORDS = 5
"""So many more records each producer must get through once all is healed."""


@dataclass(frozen=True, slots=True)
class BrokerOutcome:
    """What came of one run."""

    seed: int
    nodes: int
    classes: tuple[str, ...]
    violations: tuple[str, ...]
    trace_hash: str
    virtual_s: float
    real_s: float
    events: int
    acked: int
    """Records that producers were told are written."""
    read: int
    commits: int
    """Offsets that a group was told are committed, one after the other."""
    leader_changes: int
    struck: dict[str, int] = field(default_factory=dict)
    """How often each class of faults struck."""

    @property
    def verdict(self) -> str:
        """`ok`, or `violated`."""
        return "violated" if self.violations else "ok"

    @property
    def counts(self) -> bool:
        """Whether it was a world worth counting (simulation.md, safety in simulation)."""
        return self.leader_changes >= 3 and self.acked >= 1_000


class _Story:
    """One world: its nodes, clients and faults."""

    def __init__(self, seed: int, nodes: int | None, classes: tuple[str, ...] | None) -> None:
        self.rng = random.Random(seed)
        drawn = tuple(one for one in CLASSES if self.rng.random() < 0.5)
        self.classes = drawn if classes is None else classes
        self.nodes = nodes or self.rng.choice((3, 3, 5))
        # Short enough for a node to be replaced in vain, or long enough to come back in time.
        self.replace_ms = self.rng.choice((3_000, 600_000))
        # Fifty coordinators, as by default, cost most of a run and find little.
        config = {
            "offsets.topic.num.partitions": self.rng.choice(("3", "3", "3", "50")),
            "min.insync.replicas": self.rng.choice(("1", "2")),
            "replica.replace.after.ms": str(self.replace_ms),
        }
        self.cluster = Cluster(seed, config=config)
        self.invariants = BrokerInvariants()
        self.cluster.watchers.append(self.invariants.look)
        self.struck: Counter[str] = Counter()
        self.producers: list[Producer] = []
        self.readers: list[Reader] = []
        self.committer: Committer | None = None
        self.violations: list[str] = []

    # The story

    def play(self) -> None:
        """Grow a mesh, load it, strike it, heal it, and look at what is left."""
        cluster = self.cluster
        if not self.grow():
            return
        self.producers = [Producer(cluster, TOPIC, i, 1_000 + i) for i in range(PARTITIONS)]
        self.readers = [Reader(cluster, TOPIC, i) for i in range(PARTITIONS)]
        self.committer = Committer(cluster, TOPIC)
        cluster.run_ms(500)
        end_ms = cluster.now.monotonic_ms + self.rng.choice(FAULTS_S) * 1000
        while cluster.now.monotonic_ms < end_ms:
            if self.classes:
                self._strike(self.rng.choice(self.classes))
            cluster.run_ms(self.rng.randrange(20, 1_500))
            if self.rng.random() < 0.6:
                self._mend()
            cluster.run_ms(self.rng.randrange(0, 800))
            cluster.depart()
            cluster.membership_changed()  # Somebody may be dead for long enough.
        self._heal()
        self._end()

    def grow(self) -> bool:
        """Bring all nodes together, and make the topic; say whether that went well."""
        cluster = self.cluster
        cluster.add(1)
        cluster.run_ms(300)
        for node_id in range(2, self.nodes + 1):
            cluster.add(node_id)
            cluster.run_ms(200)
        if not cluster.until(self._is_grown, 20_000):
            self.violations.append("the mesh does not come together")
        elif not self._create():
            self.violations.append("no topic can be made")
        return not self.violations

    def _is_grown(self) -> bool:
        for virtual in self.cluster.nodes.values():
            if virtual.node is None or not virtual.node.neighbours.is_caught_up:
                return False
        leader = self.cluster.nodes[1]
        assert leader.node is not None, "nothing has struck yet"
        return all(len(shard.replicas) >= 3 for shard in leader.node.broker.shards)

    def _create(self) -> bool:
        wanted = CreatableTopic(name=TOPIC, num_partitions=PARTITIONS, replication_factor=3)
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=2_500)
        answers: list[CreateTopicsResponse | None] = []
        for _ in range(5):
            answers.clear()
            wire = Wire(self.cluster)
            wire.ask(self._any().node_id, request, CreateTopicsResponse, 7, answers.append)
            self.cluster.until(lambda: bool(answers), 5_000)
            if answers and answers[0] is not None and answers[0].topics[0].error_code in (0, 36):
                return True
            self.cluster.run_ms(500)
        return False

    # Faults

    def _any(self) -> VirtualNode:
        return self.cluster.nodes[self.rng.choice(sorted(self.cluster.nodes))]

    def _strike(self, what: str) -> None:
        cluster, node = self.cluster, self._any()
        others = [one for one in sorted(cluster.nodes) if one != node.node_id]
        match what:
            case "kill" | "crash" if node.is_up:
                node.stop(crash=what == "crash")
            case "crash_in_event" if node.is_up:
                node.crash_in = self.rng.randrange(40)
            case "torn_write" if node.is_up:
                node.disk.crash_after = self.rng.randrange(30)
            case "failed_sync" if node.is_up:
                node.disk.syncs_fail = True
            case "split":
                half = set(self.rng.sample(sorted(cluster.nodes), len(cluster.nodes) // 2))
                for one in half:
                    for other in cluster.nodes.keys() - half:
                        cluster.cut(one, other)
                        cluster.cut(other, one)
            case "one_way":
                cluster.cut(node.node_id, self.rng.choice(others))
            case "isolate":
                for other in others:
                    cluster.cut(node.node_id, other)
                    cluster.cut(other, node.node_id)
            case "pause" if node.is_up:
                node.pause()
            case "slow_disk":
                cluster.delays.sync = cluster.delays.journal = (1_000, 80_000)
            case "slow_net":
                cluster.delays.frame = (1_000, 60_000)
            case "break_link":
                cluster.break_link(node.node_id, self.rng.choice(others))
            case "restart_all":
                for each in cluster.nodes.values():
                    if each.is_up:
                        each.stop(crash=self.rng.random() < 0.5)
                for each in self.rng.sample(list(cluster.nodes.values()), len(cluster.nodes)):
                    cluster.run_ms(self.rng.randrange(200))
                    if not each.is_up:
                        each.start()
            case "hand_over" if node.node is not None:
                happened = node.node.neighbours
                node.happen(lambda: node.carry_out(happened.hand_over(cluster.now)))
            case "lose_disk" | "wipe_disk":
                lost = self._one_to_lose()
                if lost is None:
                    return
                # With an empty disk the same machine is another member.
                cluster.lose(lost, told=what == "lose_disk")
                cluster.add(cluster.new_id)
            case "drain" if node.is_up and self._may_join and node.node_id != 1:
                if node.node_id not in cluster.draining:
                    cluster.add(cluster.new_id)
                    cluster.drain(node.node_id)
            case "topics":
                self._change_topics()
            case "join" if self._may_join:
                cluster.add(cluster.new_id)
            case _:
                return
        self.struck[what] += 1

    @property
    def _may_join(self) -> bool:
        return len(self.cluster.nodes) < self.nodes + 2 and self.cluster.nodes[1].is_up

    def _one_to_lose(self) -> NodeId | None:
        """Mend all, and wait a while for a node whose disk may go for good."""
        self._heal()
        nodes = self.rng.sample(list(self.cluster.nodes.values()), len(self.cluster.nodes))
        found: list[NodeId] = []

        def is_found() -> bool:
            found.extend(node.node_id for node in nodes if self._may_lose(node))
            return bool(found)

        self.cluster.until(is_found, QUIET_S_MAX * 1000, 50)
        return found[0] if found else None

    def _may_lose(self, node: VirtualNode) -> bool:
        """Whether a disk may go for good: only while all others are well and need nothing of it.

        By every config that anybody holds, the others must be a majority that has all committed.
        Nor may anything be growing: from one voter to three it goes by two, and both are needed.
        """
        cluster = self.cluster
        nodes = cluster.nodes.values()
        if not all(one.is_up and not one.paused for one in nodes):
            return False
        if node.node_id == 1 or cluster.is_split:
            return False  # The founder gives its place in this world to whoever joins.
        held: dict[GroupId, dict[Replica, Partition]] = {}
        for one in nodes:
            assert one.node is not None, "it is up"
            neighbours = one.node.neighbours
            if neighbours.lacking_voters or not neighbours.is_caught_up:
                return False  # Before it follows the registry it has not opened all that it holds.
            groups = one.node.broker.groups
            for group, partition in groups.by_id.items():
                held.setdefault(group, {})[groups.me] = partition
        lost = node.node
        assert lost is not None, "it is up"
        me = lost.broker.groups.me
        for group, replicas in held.items():
            end = self.invariants.committed_end(group)
            whole = {
                replica
                for replica, partition in replicas.items()
                if replica != me and partition.log.synced_end >= end
            }
            for partition in replicas.values():
                promise = partition.group.holding.promise
                if not promise.tombstone and not is_quorum(promise.config, whole):
                    return False
        return True

    def _change_topics(self) -> None:
        """Make a topic and delete it, through any nodes, whether they answer or not."""
        wire = Wire(self.cluster)
        name = self.rng.choice(("u", "v"))
        if self.rng.random() < 0.5:
            wanted = CreatableTopic(name=name, num_partitions=2, replication_factor=-1)
            create = CreateTopicsRequest(topics=[wanted], timeout_ms=1_000)
            wire.ask(self._any().node_id, create, CreateTopicsResponse, 7, _nobody)
        else:
            delete = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=1_000)
            wire.ask(self._any().node_id, delete, DeleteTopicsResponse, 6, _nobody)

    def _mend(self) -> None:
        """Take back some of what was done."""
        cluster = self.cluster
        if self.rng.random() < 0.7:
            cluster.heal()
        if self.rng.random() < 0.5:
            cluster.delays.sync, cluster.delays.journal = Delays().sync, Delays().journal
            cluster.delays.frame = Delays().frame
        for node in cluster.nodes.values():
            if node.paused and self.rng.random() < 0.7:
                node.resume()
            if not node.is_up and self.rng.random() < 0.7:
                node.start()

    def _heal(self) -> None:
        cluster = self.cluster
        cluster.heal()
        defaults = Delays()
        cluster.delays.sync, cluster.delays.journal = defaults.sync, defaults.journal
        cluster.delays.frame = defaults.frame
        for node in cluster.nodes.values():
            node.crash_in = node.disk.crash_after = None
            node.disk.syncs_fail = False
            if node.paused:
                node.resume()
            if not node.is_up:
                node.start()

    # What must be so at the end

    def _end(self) -> None:
        cluster = self.cluster
        before = [len(producer.acked) for producer in self.producers]

        def goes_on() -> bool:
            return all(
                len(producer.acked) >= count + FINAL_RECORDS
                for producer, count in zip(self.producers, before, strict=True)
            )

        if not cluster.until(goes_on, REST_S_MAX * 1000, 50):
            for producer, count in zip(self.producers, before, strict=True):
                if len(producer.acked) < count + FINAL_RECORDS:
                    self.violations.append(
                        f"{TOPIC}-{producer.index} takes nothing after all is healed"
                    )
        for producer in self.producers:
            producer.stopped = True
            self.violations += producer.faults
        if self.committer is not None:
            self.committer.stopped = True
            self.violations += self.committer.faults
        if not cluster.until(self._is_settled, REST_S_MAX * 1000, 100):
            self.violations += self._unsettled()
        cluster.run_ms(3_000)
        for producer, reader in zip(self.producers, self.readers, strict=True):
            reader.stopped = True
            self.violations += reader.faults
            self._look_at_end(producer, reader)

    def _is_settled(self) -> bool:
        self.cluster.depart()
        self.cluster.membership_changed()
        return not self._unsettled()

    def _unsettled(self) -> list[str]:
        """Return what of membership, registry and placement has not come to rest."""
        cluster, found = self.cluster, []
        # Who was wiped keeps its place for as long as it might come back, and others wait for it.
        expected = self.replace_ms > REST_S_MAX * 1000 and cluster.gone.keys() - cluster.left
        if cluster.draining and not expected:
            found.append(f"nodes {sorted(cluster.draining)} do not get rid of what they hold")
        known = None
        for virtual in cluster.nodes.values():
            assert virtual.node is not None, "all is healed"
            broker, neighbours = virtual.node.broker, virtual.node.neighbours
            if not neighbours.is_caught_up:
                found.append(f"node {virtual.node_id} does not follow the registry")
            if (count := neighbours.lacking_voters) and not expected:
                found.append(f"at node {virtual.node_id} {count} partitions lack voters")
            topics = dict(broker.registry.topics)
            if known is not None and topics != known:
                found.append(f"node {virtual.node_id} knows other topics than node 1")
            known = topics if known is None else known
        return found

    def _look_at_end(self, producer: Producer, reader: Reader) -> None:
        index = producer.index
        leaders = []
        for virtual in self.cluster.nodes.values():
            if virtual.node is None:
                continue
            partition = virtual.node.broker.partitions.get((TOPIC, index))
            if partition is not None and partition.leads:
                leaders.append((virtual, partition))
        if len(leaders) != 1:
            self.violations.append(f"{TOPIC}-{index} has {len(leaders)} leaders at the end")
            return
        virtual, partition = leaders[0]
        log = log_of(virtual, TOPIC, index, partition.high_watermark)
        for told in producer.acked:
            if log.get(told.offset) != told.value:
                found = log.get(told.offset)
                self.violations.append(
                    f"{TOPIC}-{index}: {told.value!r} was acknowledged at {told.offset}, where "
                    f"there is {found!r}"
                )
        if len(set(log.values())) != len(log):
            self.violations.append(f"{TOPIC}-{index} holds a record twice")
        for offset, value in reader.seen.items():
            if log.get(offset) != value:
                self.violations.append(f"{TOPIC}-{index}: {value!r} was read at {offset}, no more")
        unread = len(producer.acked) - len(reader.seen)
        if unread > 0:
            self.violations.append(f"{TOPIC}-{index}: {unread} records are not read at the end")


def a_mesh_at_rest(seed: int, nodes: int) -> Cluster:
    """Return so many nodes that have come together, with a topic `TOPIC`, held to what must hold.

    Raises:
        AssertionError: they do not.
    """
    story = _Story(seed, nodes, ())
    assert story.grow(), story.violations
    return story.cluster


def _nobody(answer: object) -> None:
    """Nobody waits for this."""
    del answer


def run(
    seed: int, nodes: int | None = None, classes: tuple[str, ...] | None = None
) -> BrokerOutcome:
    """Play one seed.

    Args:
        seed: decides everything that the rest does not.
        nodes: at first; None: three or five, as the seed draws.
        classes: of faults; None: as the seed draws.
    """
    begun = time.perf_counter()
    story = _Story(seed, nodes, classes)
    try:
        story.play()
    except Exception as error:  # noqa: BLE001 - a node ended by itself, or did not start
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        story.violations.append(f"the world ended at {place}: {type(error).__name__}: {error}")
    world = story.cluster.world
    return BrokerOutcome(
        seed,
        story.nodes,
        story.classes,
        tuple(story.invariants.violations + story.violations)[:20],
        world.trace_hash,
        world.now_us / 1e6,
        time.perf_counter() - begun,
        world.events,
        sum(len(producer.acked) for producer in story.producers),
        sum(len(reader.seen) for reader in story.readers),
        0 if story.committer is None else story.committer.acked,
        story.invariants.leader_changes,
        dict(story.struck),
    )
