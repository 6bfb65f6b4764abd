"""Whole nodes in the virtual world: what once went wrong between them."""

from __future__ import annotations

from typing import TypeVar

from mesh.broker.partition import Partition
from mesh.model.types import NodeId
from mesh.wire import Message
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
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

    def create(self, **configs: str) -> None:
        rows = [CreatableTopicConfig(name=n.replace("_", "."), value=v) for n, v in configs.items()]
        topic = CreatableTopic(name=TOPIC, num_partitions=1, replication_factor=3, configs=rows)
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
