"""Metadata and elections: who has lost a leader is told of the next one; nobody waits long."""

from __future__ import annotations

import pytest

from mesh.broker.awaited import HELD_MS_MAX, LOOK_MS, RECENT_MS
from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from simulations.cluster import Cluster
from simulations.workload import Wire
from tests.mesh.node.test_replicas import a_mesh, create, leader_of, produce

Answers = list[MetadataResponse | None]


@pytest.fixture
def cluster() -> Cluster:
    made = a_mesh()
    assert create(made) == 0
    assert produce(made, leader_of(made).node_id, b"x") == 0
    made.run_ms(1_000)
    return made


def asked(cluster: Cluster, node_id: NodeId) -> Answers:
    """Have a client ask a node who leads the topic; the answer comes to stand in the list."""
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=False
    )
    answers: Answers = []
    Wire(cluster).ask(node_id, request, MetadataResponse, 12, answers.append)
    return answers


def told(answers: Answers) -> tuple[int, NodeId]:
    """Return the error and the leader of the partition."""
    assert answers[0] is not None
    partition = answers[0].topics[0].partitions[0]
    return partition.error_code, partition.leader_id


@pytest.mark.parametrize("before_ms", [0, LOOK_MS - 2], ids=["as it dies", "just before"])
def test_who_has_lost_a_leader_is_told_of_the_next_one(cluster: Cluster, before_ms: int) -> None:
    """An answer that would name the dead one, or nobody, waits until the election is over."""
    dead = leader_of(cluster)
    other = next(one for one in cluster.nodes if one != dead.node_id)
    answers = asked(cluster, other)
    cluster.run_ms(before_ms)
    dead.stop(crash=False)
    assert cluster.until(lambda: bool(answers), HELD_MS_MAX + 10, step_ms=1)
    assert told(answers) == (0, leader_of(cluster).node_id)
    assert leader_of(cluster) is not dead
    for node in cluster.nodes.values():
        assert node.node is None or not any(shard.parked for shard in node.node.broker.shards)


def test_a_partition_without_a_leader_for_long_holds_nobody_up(cluster: Cluster) -> None:
    """The answer comes after a look, and says that there is none; at first it waits in vain."""
    leader = leader_of(cluster)
    alone = next(one for one in cluster.nodes if one != leader.node_id)
    for node in list(cluster.nodes.values()):
        if node.node_id != alone:
            node.stop(crash=False)
    answers = asked(cluster, alone)
    cluster.run_ms(HELD_MS_MAX - 10)
    assert answers == []
    cluster.run_ms(20)
    assert told(answers) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)
    cluster.run_ms(RECENT_MS)
    answers = asked(cluster, alone)
    cluster.run_ms(LOOK_MS + 2)
    assert told(answers) == (ErrorCode.LEADER_NOT_AVAILABLE, -1)


def test_what_is_led_here_is_told_at_once(cluster: Cluster) -> None:
    """Nobody but this node would know better."""
    leader = leader_of(cluster)
    answers = asked(cluster, leader.node_id)
    cluster.run_ms(LOOK_MS - 2)
    assert told(answers) == (0, leader.node_id)
