"""Whole nodes in the virtual world: what once went wrong between them."""

from __future__ import annotations

from typing import TypeVar

import pytest

from mesh.broker.partition import Partition
from mesh.broker.stored_promises import group_id
from mesh.links import Led, Reply
from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId
from mesh.registry import Plan, RecordPair
from mesh.replication import events as ev
from mesh.replication.messages import Held, Leave, VoteRequest
from mesh.replication.state import LogPosition
from mesh.wire import Message
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from simulations.cluster import Cluster
from simulations.workload import PRODUCE, Wire, log_of
from storage.records import Record, build_batch

R = TypeVar("R", bound=Message)

TOPIC = "t"
CHECKPOINT_MS = 61_000


class World:
    """A cluster and one client; the topic has one partition on three nodes."""

    def __init__(self, seed: int = 1) -> None:
        self.cluster = Cluster(seed)
        for node_id in (1, 2, 3):
            self.cluster.add(node_id)
            self.cluster.run_ms(300)
        self.cluster.run_ms(3_000)

    def ask(self, node_id: NodeId, message: Message, kind: type[R], version: int) -> R | None:
        answers: list[R | None] = []
        Wire(self.cluster).ask(node_id, message, kind, version, answers.append)
        assert self.cluster.until(lambda: bool(answers), 10_000)
        return answers[0]

    def create(self, replicas: int = 3, **configs: str) -> None:
        rows = [CreatableTopicConfig(name=n.replace("_", "."), value=v) for n, v in configs.items()]
        topic = CreatableTopic(
            name=TOPIC, num_partitions=1, replication_factor=replicas, configs=rows
        )
        body = CreateTopicsRequest(topics=[topic], timeout_ms=2_000)
        answer = self.ask(1, body, CreateTopicsResponse, 7)
        assert answer is not None
        assert answer.topics[0].error_code == 0

    def delete(self) -> None:
        body = DeleteTopicsRequest(topics=[DeleteTopicState(name=TOPIC)], timeout_ms=2_000)
        answer = self.ask(1, body, DeleteTopicsResponse, 6)
        assert answer is not None
        assert answer.responses[0].error_code == 0

    def partition(self, node_id: NodeId) -> Partition:
        node = self.cluster.nodes[node_id].node
        assert node is not None
        return node.broker.partitions[TOPIC, 0]

    @property
    def leader(self) -> NodeId:
        """Who leads the partition; 0 if nobody does."""
        for node_id, virtual in self.cluster.nodes.items():
            if virtual.node is not None:
                partition = virtual.node.broker.partitions.get((TOPIC, 0))
                if partition is not None and partition.leads:
                    return node_id
        return 0

    @property
    def followers(self) -> list[NodeId]:
        return [node_id for node_id in self.cluster.nodes if node_id != self.leader]

    def produce(self, *values: bytes, key: bytes | None = None) -> int | None:
        """Write one batch with acks=all; return the error, None without an answer."""
        batch = build_batch([Record(0, self.cluster.now.wall_ms, key, value) for value in values])
        data = PartitionProduceData(index=0, records=bytes(batch))
        rows = [TopicProduceData(name=TOPIC, partition_data=[data])]
        body = ProduceRequest(acks=-1, timeout_ms=1_500, topic_data=rows)
        answer = self.ask(self.leader, body, ProduceResponse, PRODUCE)
        return None if answer is None else answer.responses[0].partition_responses[0].error_code

    def kill_all(self) -> None:
        for virtual in self.cluster.nodes.values():
            virtual.stop(crash=False)
        for virtual in self.cluster.nodes.values():
            virtual.start()


def test_a_topic_made_anew_survives_the_end_of_all_processes() -> None:
    """At their start nodes may know its name only from the topic of before, which is deleted."""
    world = World()
    world.create()
    world.cluster.run_ms(CHECKPOINT_MS)  # So much of the registry is known at the next start.
    world.delete()
    world.create()
    assert world.produce(b"precious") == 0
    world.kill_all()
    assert world.cluster.until(lambda: world.leader > 0, 10_000)
    assert world.cluster.until(lambda: world.partition(world.leader).high_watermark == 1, 5_000)
    kept = log_of(world.cluster.nodes[world.leader], TOPIC, 0, 1)
    assert kept == {0: b"precious"}


def test_who_leaves_takes_nobody_along() -> None:
    """Its link says heartbeats for a while after the others have forgotten it."""
    world = World()
    world.cluster.left.add(3)
    world.cluster.membership_changed()
    world.cluster.run_ms(2_000)
    assert all(virtual.is_up for virtual in world.cluster.nodes.values())


def test_a_leader_that_expired_more_than_others_serves() -> None:
    """Each node's retention has its own hours; whoever leads next may have less than others."""
    world = World()
    cluster = world.cluster
    world.create(retention_ms="1000", segment_ms="500")
    for _ in range(3):
        assert world.produce(b"old") == 0
        cluster.run_ms(600)
    cluster.run_ms(2_000)
    before = world.leader
    ahead = world.partition(before).replicas[1]  # It is the first to ask for votes.
    heir = cluster.nodes[ahead].node
    assert heir is not None
    log = world.partition(ahead).log
    heir._keep_house(cluster.now)
    cluster.run_ms(200)
    assert log.log_start_offset == log.log_end_offset == 3
    cluster.nodes[before].stop(crash=False)
    assert cluster.until(lambda: world.leader == ahead, 5_000)
    frames = cluster.frames
    assert world.produce(b"new") == 0
    cluster.run_ms(1_000)
    assert cluster.frames - frames < 300


def test_what_a_start_has_repaired_is_written_down_without_a_batch_more() -> None:
    """A follower that was killed has indexes and a snapshot of producers, as a leader has."""
    world = World()
    world.create(segment_ms="500")
    for _ in range(4):
        assert world.produce(b"one") == 0
        world.cluster.run_ms(600)
    killed = world.cluster.nodes[world.followers[0]]
    killed.stop(crash=False)
    killed.start()
    world.cluster.run_ms(2_000)
    log = world.partition(killed.node_id).log
    assert not world.partition(killed.node_id).leads
    assert log.recovery_point == log.log_end_offset == 4
    assert f"{4:020d}.snapshot" in killed.disk.list_directory(log.directory)


def test_a_log_that_begins_within_a_batch_is_copied() -> None:
    """DeleteRecords may cut a batch; the replica that comes later gets it whole."""
    world = World()
    world.create()
    assert world.produce(*[b"%d" % number for number in range(10)]) == 0
    assert world.produce(b"after") == 0
    topics = [
        DeleteRecordsTopic(
            name=TOPIC, partitions=[DeleteRecordsPartition(partition_index=0, offset=5)]
        )
    ]
    body = DeleteRecordsRequest(topics=topics, timeout_ms=2_000)
    answer = world.ask(world.leader, body, DeleteRecordsResponse, 2)
    assert answer is not None
    assert answer.topics[0].partitions[0].error_code == 0
    gone = world.followers[0]
    world.cluster.add(4)
    world.cluster.run_ms(3_000)
    world.cluster.left.add(gone)
    world.cluster.nodes[gone].stop(crash=False)
    world.cluster.run_ms(10_000)
    copied = world.partition(4).log
    assert (copied.log_start_offset, copied.log_end_offset) == (5, 11)


def test_who_was_away_while_others_compacted_catches_up() -> None:
    """What is left of a log then has batches that stretch over where its own log ends."""
    world = World()
    world.create(cleanup_policy="compact", segment_ms="500", min_cleanable_dirty_ratio="0.01")
    for number in range(6):
        assert world.produce(b"%d" % number, key=b"key") == 0
    world.cluster.run_ms(500)
    away = world.followers[0]
    world.cluster.nodes[away].stop(crash=False)
    world.cluster.run_ms(1_500)
    for _ in range(4):
        assert world.produce(b"later", key=b"key") == 0
        world.cluster.run_ms(700)
    world.cluster.run_ms(130_000)
    leader = world.partition(world.leader).log
    assert leader.log_end_offset == 10
    assert leader.cleaned_end > 6
    world.cluster.nodes[away].start()
    world.cluster.run_ms(3_000)
    assert world.partition(away).log.log_end_offset == 10


def test_who_promised_a_later_epoch_believes_in_no_earlier_leader() -> None:
    """It must campaign, and help others to, if whoever it voted for does not lead."""
    world = World()
    world.create()
    assert world.produce(b"one") == 0
    old = world.leader
    voter, other = world.followers
    virtual = world.cluster.nodes[voter].node
    assert virtual is not None
    groups, partition = virtual.broker.groups, world.partition(voter)
    group = partition.group
    now_ms = world.cluster.now.monotonic_ms
    assert partition.named_by == old
    promise = group.holding.promise
    candidate = next(one for one in promise.config.voters if one.node_id == other)
    position = LogPosition(promise.leader_epoch, 100)
    request = VoteRequest(promise.leader_epoch + 2, promise.config.id, position)
    groups.feed(partition, ev.Received(candidate, request), now_ms)
    assert group.leader_epoch == promise.leader_epoch + 2
    assert partition.named_by < 0
    assert group.patience.named is None
    # What it hears late of an epoch in between names nobody either.
    name = (partition.topic_id, 0)
    led = Led(promise.leader_epoch + 1, 0, (1, 2, 3), (1, 2, 3))
    groups.hear_leads(other, {name: led}, now_ms)
    groups.hear_leads(old, {name: None}, now_ms)
    assert partition.named_by < 0
    assert partition in groups._ticks
    # What was asked for by nobody comes to an end, too.
    assert world.cluster.until(lambda: world.leader > 0 and world.produce(b"two") == 0, 10_000)


def test_what_no_member_says_ends_no_node() -> None:
    """An order to leave with ourselves among the voters, an error that nobody knows, too much."""
    world = World()
    world.create()
    assert world.produce(b"one") == 0
    leader, follower = world.leader, world.followers[0]
    partition = world.partition(follower)
    promise = partition.group.holding.promise
    replicas = {one.node_id: one for one in promise.config.voters}
    order = Leave(promise.leader_epoch, promise.session, promise.config)
    now = world.cluster.now
    node = world.cluster.nodes[follower].node
    assert node is not None
    node.broker.groups.feed(partition, ev.Received(replicas[leader], order), now.monotonic_ms)
    node.broker.relay.propose(Plan(0, [RecordPair(b"k", b"v")]), now)
    first = node.broker.registry.start >> 1
    for number in range(first, first + 5):
        node.broker.relay.replied(Reply(number, 9_999, "", (), b""), now)
    heir = world.cluster.nodes[leader].node
    assert heir is not None
    led = world.partition(leader)
    held = Held(promise.leader_epoch, promise.session, 9, 9, promise.config.id, log_start_offset=0)
    heir.broker.groups.feed(led, ev.Received(replicas[follower], held), now.monotonic_ms)
    assert led.high_watermark == 1
    assert world.produce(b"two") == 0


def test_a_full_disk_does_not_end_a_node_that_follows() -> None:
    """What does not fit is sent again, until there is room."""
    world = World()
    world.create()
    assert world.produce(b"one") == 0
    full = world.followers[0]
    disk = world.cluster.nodes[full].disk
    free, disk.bytes_free = disk.bytes_free, 0
    assert world.produce(bytes(5_000)) == 0
    world.cluster.run_ms(1_000)
    assert world.partition(full).log.log_end_offset == 1
    disk.bytes_free = free
    assert world.cluster.until(lambda: world.partition(full).log.log_end_offset == 2, 3_000)


@pytest.mark.parametrize("replicas", [2, 3])
def test_acknowledged_is_what_min_insync_replicas_hold(replicas: int) -> None:
    """Of two replicas one votes, and its own log is all that a commit takes."""
    world = World()
    world.create(replicas, min_insync_replicas=str(replicas))
    world.cluster.run_ms(3_000)
    leader = world.partition(world.leader)
    assert len(leader.in_sync) == replicas
    assert world.produce(b"one") == 0
    away = next(node_id for node_id in leader.in_sync if node_id != world.leader)
    world.cluster.nodes[away].stop(crash=False)
    assert world.produce(b"two") == ErrorCode.REQUEST_TIMED_OUT
    world.cluster.run_ms(13_000)
    assert world.produce(b"three") == ErrorCode.NOT_ENOUGH_REPLICAS
    world.cluster.nodes[away].start()
    world.cluster.run_ms(5_000)
    assert world.produce(b"four") == 0
    assert world.partition(away).log.log_end_offset == leader.log.log_end_offset == 3


def test_who_led_a_deleted_topic_is_forgotten_by_all() -> None:
    """Also by nodes that held nothing of it."""
    world = World()
    world.create(1)
    world.cluster.run_ms(500)
    name = (world.partition(world.leader).topic_id, 0)
    nodes = [virtual.node for virtual in world.cluster.nodes.values()]
    assert all(
        node is not None
        and (node.broker.groups.owners.get(name) or name in node.broker.groups.by_id)
        for node in nodes
    )
    world.delete()
    world.cluster.run_ms(1_000)
    assert all(node is not None and node.broker.groups.owners.get(name) is None for node in nodes)


@pytest.mark.parametrize("position", [8, 70], ids=["a length", "a record"])
def test_a_leader_whose_log_rots_has_it_from_others_again(position: int) -> None:
    """It finds that when it is to copy its log, hands over, and all have all, without a storm."""
    world = World()
    world.create()
    for _ in range(5):
        assert world.produce(b"one") == 0
    world.cluster.run_ms(300)
    rotten = world.leader
    log = world.partition(rotten).log
    world.cluster.nodes[rotten].disk.flip_bit(f"{log.directory}/{0:020d}.log", position, 6)
    gone = world.followers[0]
    world.cluster.add(4)
    world.cluster.run_ms(3_000)
    world.cluster.lose(gone, told=True)
    world.cluster.run_ms(8_000)
    assert world.leader not in (0, rotten)
    everything = dict.fromkeys(range(5), b"one")
    for node_id in world.cluster.nodes:
        virtual = world.cluster.nodes[node_id]
        if virtual.node is not None and (TOPIC, 0) in virtual.node.broker.partitions:
            assert log_of(virtual, TOPIC, 0, 5) == everything
    frames = world.cluster.frames
    world.cluster.run_ms(1_000)
    assert world.cluster.frames - frames < 500


def test_the_only_voter_keeps_a_log_that_rots() -> None:
    """Nobody else could lead, so what can be read of it is served, and nothing is cut off."""
    world = World()
    world.create(replicas=2)
    for _ in range(5):
        assert world.produce(b"one") == 0
    world.cluster.run_ms(300)
    only = world.leader
    partition = world.partition(only)
    disk = world.cluster.nodes[only].disk
    disk.flip_bit(f"{partition.log.directory}/{0:020d}.log", 70)
    assert world.cluster.until(lambda: bool(partition.other_replicas), 10_000)
    (learner,) = partition.other_replicas
    world.cluster.nodes[learner.node_id].stop(crash=False)
    world.cluster.nodes[learner.node_id].start()
    world.cluster.run_ms(5_000)
    assert world.leader == only
    assert partition.log.log_end_offset == 5


def test_who_steps_down_believes_the_leader_that_it_heard_of_before() -> None:
    """A leader may hear of its successor before it knows that it leads no more; once is enough."""
    world = World()
    world.create()
    partition, other = world.partition(world.leader), world.followers[0]
    node, successor = world.cluster.nodes[world.leader].node, world.cluster.nodes[other].node
    assert node is not None
    assert successor is not None
    led = Led(partition.leader_epoch + 1, 0, (1, 2, 3), (1, 2, 3))
    successor.broker.groups.links.lead(group_id(partition), led)
    world.cluster.run_ms(300)
    groups, now_ms = node.broker.groups, world.cluster.now.monotonic_ms
    assert partition.leads
    groups.feed(partition, ev.Stalled(), now_ms)
    assert (partition.leads, partition.named_by) == (False, other)
