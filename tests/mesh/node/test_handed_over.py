"""What clients see of a hand-over: one refusal, which names the heir, or none at all."""

from __future__ import annotations

import pytest

from mesh.broker.handed_over import HELD_MS_MAX
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.produce import ProduceResponse
from simulations.cluster import Cluster, VirtualNode
from simulations.workload import Wire
from tests.mesh.node.test_replicas import (
    WAIT_MS,
    a_mesh,
    a_record,
    core,
    create,
    leader_of,
    produce,
)


@pytest.fixture
def cluster() -> Cluster:
    made = a_mesh()
    assert create(made) == 0
    assert produce(made, leader_of(made).node_id, b"w") == 0
    made.run_ms(200)  # Somebody has all of it, and may lead.
    return made


def hand_over(cluster: Cluster, leader: VirtualNode) -> None:
    neighbours = core(cluster, leader.node_id).neighbours
    leader.happen(lambda: leader.carry_out(neighbours.hand_over(cluster.now)))


def asked(cluster: Cluster, leader: VirtualNode, acks: int = -1) -> list[ProduceResponse | None]:
    """Have a client of the leader write one record; its answer comes to stand in the list."""
    answers: list[ProduceResponse | None] = []
    Wire(cluster).ask(leader.node_id, a_record(b"x", acks), ProduceResponse, 10, answers.append)
    return answers


@pytest.mark.parametrize("acks", [-1, 1])
def test_who_writes_meanwhile_is_told_of_the_heir(cluster: Cluster, acks: int) -> None:
    """The refusal waits for the heir's name; whoever goes there with it is not refused again."""
    leader = leader_of(cluster)
    answers = asked(cluster, leader, acks)
    hand_over(cluster, leader)
    partition = core(cluster, leader.node_id).broker.partition("t", 0)
    assert (partition.leads, partition.takes_writes) == (True, False)
    assert cluster.until(lambda: bool(answers), HELD_MS_MAX, step_ms=1)
    assert answers[0] is not None
    result = answers[0].responses[0].partition_responses[0]
    assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert result.current_leader is not None
    heir = result.current_leader.leader_id
    assert heir != leader.node_id
    assert [node.node_id for node in answers[0].node_endpoints] == [heir]
    assert produce(cluster, heir, b"y") == 0
    assert not partition.parked


def test_a_hand_over_that_takes_long_is_not_waited_for(cluster: Cluster) -> None:
    """The heir is cut off: the client is refused soon, and can write here once that is over."""
    leader = leader_of(cluster)
    for other in set(cluster.nodes) - {leader.node_id}:
        cluster.cut(leader.node_id, other)
    answers = asked(cluster, leader)
    hand_over(cluster, leader)
    cluster.run_ms(HELD_MS_MAX // 2)
    assert answers == []
    assert cluster.until(lambda: bool(answers), HELD_MS_MAX)
    assert answers[0] is not None
    result = answers[0].responses[0].partition_responses[0]
    assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    cluster.heal()
    assert cluster.until(lambda: produce(cluster, leader_of(cluster).node_id, b"y") == 0, WAIT_MS)
