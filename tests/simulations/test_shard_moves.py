"""Requests about the registry whose shard is led by somebody else before they are answered."""

from __future__ import annotations

import functools

import pytest

from mesh.broker.partition import Partition
from mesh.broker.relay import HUNG_MS, Relay, _ask
from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId
from mesh.registry import MESH_SHARD, NewTopic, shard_of
from mesh.registry.registry import GROUP_FEATURE
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.update_features import (
    FeatureUpdateKey,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from simulations.cluster import Cluster, VirtualNode
from simulations.workload import Wire

NAMES = [f"topic-{number}" for number in range(40)]
NODES = (1, 2, 3, 4)
"""Three of them vote in a shard; the fourth has a copy of it."""
SAFE = 2
"""Upgrade type of Kafka's that may lower a level where that loses nothing."""


class World:
    """Four nodes; what is asked of one shard's leader is cut off from the other voters."""

    def __init__(self, shard: int) -> None:
        self.cluster = Cluster(1)
        for node_id in NODES:
            self.cluster.add(node_id)
            self.cluster.run_ms(300)
        self.cluster.run_ms(3_000)
        self.shard = shard
        self.leader = next(node_id for node_id in NODES if self.at(node_id).leads)
        voters = self.at(self.leader).group.holding.promise.config.voters
        self.others = [one.node_id for one in voters if one.node_id != self.leader]
        [self.outsider] = {*NODES} - {self.leader, *self.others}
        self.end = self.at(self.leader).log.log_end_offset

    def at(self, node_id: NodeId) -> Partition:
        node = self.cluster.nodes[node_id].node
        assert node is not None
        return node.broker.shards[self.shard]

    def cut_off_once(self, inherited: bool, count: int) -> None:
        """Cut the leader off from the others once it has so many more records, or one of them has.

        That is before any of them could say so.
        """
        cluster, holders = self.cluster, self.others if inherited else [self.leader]

        def look(node: VirtualNode) -> None:
            if any(self.at(one).log.log_end_offset >= self.end + count for one in holders):
                cluster.watchers.remove(look)
                for other in self.others:
                    cluster.cut(self.leader, other)
                    cluster.cut(other, self.leader)

        cluster.watchers.append(look)

    def heal_once_replaced(self) -> None:
        cluster = self.cluster
        assert cluster.until(lambda: any(self.at(one).takes_writes for one in self.others), 2_500)
        assert cluster.until(lambda: not self.at(self.leader).leads, 1_000)
        cluster.heal()


@pytest.mark.parametrize("inherited", [True, False], ids=["inherited", "lost"])
@pytest.mark.parametrize("asked_here", [True, False], ids=["at the leader", "elsewhere"])
def test_topics_are_made_whoever_leads_their_shard_then(inherited: bool, asked_here: bool) -> None:
    """What a successor has inherited was granted; what it has not is asked of it again."""
    world = World(shard_of(NAMES[0]))
    wanted = [name for name in NAMES if shard_of(name) == world.shard]
    world.cut_off_once(inherited, len(wanted))
    topics = [CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in wanted]
    answers: list[CreateTopicsResponse | None] = []
    Wire(world.cluster).ask(
        world.leader if asked_here else world.outsider,
        CreateTopicsRequest(topics=topics, timeout_ms=20_000),
        CreateTopicsResponse,
        7,
        answers.append,
    )
    world.heal_once_replaced()
    assert world.cluster.until(lambda: bool(answers), 5_000)
    assert answers[0] is not None
    assert [(each.name, each.error_code) for each in answers[0].topics] == [
        (name, 0) for name in wanted
    ]
    for virtual in world.cluster.nodes.values():
        assert virtual.node is not None
        known = virtual.node.broker.registry.topics
        assert {each.name: each.topic_id for each in answers[0].topics} == {
            name: known[name].topic_id for name in wanted
        }


def test_a_topic_is_granted_to_whoever_asked_for_it_though_its_maker_is_gone() -> None:
    """The answer is lost with a leader; its successor, asked the same, knows whose topic it is."""
    world = World(shard_of(NAMES[0]))
    world.cut_off_once(inherited=True, count=1)
    answers: list[CreateTopicsResponse | None] = []
    topic = CreatableTopic(name=NAMES[0], num_partitions=1, replication_factor=1)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=20_000)
    wire = Wire(world.cluster)
    wire.ask(world.outsider, request, CreateTopicsResponse, 7, answers.append)
    cluster, gone = world.cluster, world.leader
    assert cluster.until(lambda: cluster.is_split, 1_000, step_ms=1)
    cluster.nodes[gone].stop(crash=False)
    cluster.run_ms(2_500)
    wire.ask(world.outsider, request, CreateTopicsResponse, 7, answers.append)
    assert cluster.until(lambda: len(answers) == 2, 5_000)
    assert answers[0] is not None
    assert answers[1] is not None
    granted, refused = answers[0].topics[0], answers[1].topics[0]
    assert (granted.error_code, refused.error_code) == (0, ErrorCode.TOPIC_ALREADY_EXISTS)
    node = cluster.nodes[world.outsider].node
    assert node is not None
    assert node.broker.registry.topics[NAMES[0]].topic_id == granted.topic_id


def test_a_leader_that_is_asked_twice_for_the_same_does_it_once() -> None:
    """The second time it would find it done, and say so before the first answer may leave."""
    world = World(shard_of(NAMES[0]))
    cluster, leader, outsider = world.cluster, world.leader, world.outsider
    topic = CreatableTopic(name=NAMES[0], num_partitions=1, replication_factor=1)
    made: list[CreateTopicsResponse | None] = []
    wire = Wire(cluster)
    create = CreateTopicsRequest(topics=[topic], timeout_ms=20_000)
    wire.ask(outsider, create, CreateTopicsResponse, 7, made.append)
    assert cluster.until(lambda: bool(made), 5_000)
    # Partitions that it is to lead have no leader for a while, so that the answer has to wait.
    cluster.nodes[world.others[0]].pause()
    grown: list[CreatePartitionsResponse | None] = []
    places = [CreatePartitionsAssignment(broker_ids=[world.others[0]])]
    wanted = CreatePartitionsTopic(name=NAMES[0], count=2, assignments=places)
    grow = CreatePartitionsRequest(topics=[wanted], timeout_ms=20_000)
    wire.ask(outsider, grow, CreatePartitionsResponse, 3, grown.append)
    cluster.run_ms(100)
    asking, asked = cluster.nodes[outsider].node, cluster.nodes[leader].node
    assert asking is not None
    assert asked is not None
    [part] = asking.broker.relay._parts.values()
    asked.broker.relay.asked(outsider, _ask(part), cluster.now)
    cluster.run_ms(300)
    assert grown == []
    cluster.nodes[world.others[0]].resume()
    assert cluster.until(lambda: bool(grown), 2_000)
    assert grown[0] is not None
    assert [each.error_code for each in grown[0].results] == [0]
    ends = [shard.log.log_end_offset for shard in asked.broker.shards]
    asked.broker.relay.asked(outsider, _ask(part), cluster.now)
    assert (outsider, part.number) in asked.broker.relay._told
    assert [shard.log.log_end_offset for shard in asked.broker.shards] == ends


def test_who_says_nothing_is_waited_for_before_another_is_asked() -> None:
    """It may only have stood still, and alone knows what it has begun."""
    world = World(shard_of(NAMES[0]))
    cluster = world.cluster
    node = cluster.nodes[world.outsider].node
    assert node is not None
    relay, now = node.broker.relay, cluster.now
    cluster.nodes[world.leader].pause()
    relay.create(NewTopic(name=NAMES[0]), now)
    [part] = relay._parts.values()
    relay.lost(world.leader, now, closed=False)
    assert (part.asked, part.wake_at_ms) == (world.leader, now.monotonic_ms + HUNG_MS)
    relay.lost(world.leader, now, closed=True)
    assert (part.asked, part.wake_at_ms) == (None, now.monotonic_ms)


@pytest.mark.parametrize("inherited", [True, False], ids=["inherited", "lost"])
def test_a_feature_is_lowered_whoever_leads_the_shard_then(inherited: bool) -> None:
    """A request in one piece is asked again in one piece, and is answered for what it did."""
    world = World(MESH_SHARD)
    world.cut_off_once(inherited, 1)
    update = FeatureUpdateKey(feature=GROUP_FEATURE, max_version_level=0, upgrade_type=SAFE)
    answers: list[UpdateFeaturesResponse | None] = []
    Wire(world.cluster).ask(
        world.leader,
        UpdateFeaturesRequest(timeout_ms=20_000, feature_updates=[update]),
        UpdateFeaturesResponse,
        1,
        answers.append,
    )
    world.heal_once_replaced()
    assert world.cluster.until(lambda: bool(answers), 5_000)
    assert answers[0] is not None
    assert answers[0].error_code == 0
    for virtual in world.cluster.nodes.values():
        assert virtual.node is not None
        assert GROUP_FEATURE not in virtual.node.broker.registry.features.levels


def test_an_answer_of_its_own_that_comes_too_late_is_nobodys() -> None:
    """A node gives up what it asked of itself at its deadline; the answer that follows is dropped.

    Found by `mesh simulate brokers`, seed 105892: the node ended of it.
    """
    world = World(shard_of(NAMES[0]))
    cluster, gone = world.cluster, world.leader
    topic = NewTopic(name=NAMES[0], partition_count=1, replication_factor=1)
    relays: dict[NodeId, Relay] = {}
    cluster.nodes[gone].stop(crash=False)
    for other in world.others:  # Nobody can be asked, until one of them leads.
        node = cluster.nodes[other]
        assert node.node is not None
        relays[other] = node.node.broker.relay
        node.happen(functools.partial(relays[other].create, topic, cluster.now))

    def heirs() -> list[NodeId]:
        return [one for one, relay in relays.items() if relay._is_here(world.shard)]

    assert cluster.until(lambda: bool(heirs()), 5_000, step_ms=1)
    cluster.delays.sync = (20_000_000, 20_000_000)  # Nothing is committed before the time is up.
    [heir] = heirs()
    [part] = relays[heir]._parts.values()
    cluster.run_ms(200)
    assert part.asked == heir
    assert cluster.until(lambda: not relays[heir]._parts, 6_000)
    assert part.deadline_ms <= cluster.now.monotonic_ms
    cluster.run_ms(1_000)
    core = cluster.nodes[heir].node
    assert core is not None
    assert core.broker.relay is relays[heir]
    cluster.delays.sync = (200, 2_000)
    assert cluster.until(lambda: NAMES[0] in core.broker.registry.topics, 30_000)
