"""What is wrong whoever is asked: nodes that neither lead nor coordinate say it all the same."""

from __future__ import annotations

from typing import TypeVar

import pytest

from mesh.model.errors import ErrorCode
from mesh.model.types import NodeId
from mesh.wire import Message
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
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
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from simulations.cluster import Cluster
from simulations.workload import Wire

R = TypeVar("R", bound=Message)

NODES = (1, 2, 3)
NAMES = [f"topic-{number}" for number in range(16)]
"""So many that every node leads some of their shards, and none leads all."""
BLANK = " "


@pytest.fixture
def cluster() -> Cluster:
    """Three nodes."""
    made = Cluster(1)
    for node_id in NODES:
        made.add(node_id)
        made.run_ms(300)
    made.run_ms(3_000)
    return made


def ask(cluster: Cluster, node_id: NodeId, body: Message, kind: type[R], version: int) -> R:
    """Return a node's answer."""
    answers: list[R | None] = []
    Wire(cluster).ask(node_id, body, kind, version, answers.append)
    assert cluster.until(lambda: bool(answers), 10_000)
    assert answers[0] is not None
    return answers[0]


@pytest.mark.parametrize("node_id", NODES)
def test_without_time_nothing_is_done_at_any_node(cluster: Cluster, node_id: NodeId) -> None:
    """Every topic is REQUEST_TIMED_OUT without a text, wherever its shard is led."""
    topics = [CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in NAMES]
    create = CreateTopicsRequest(topics=topics, timeout_ms=-1)
    made = ask(cluster, node_id, create, CreateTopicsResponse, 7).topics
    late = {(ErrorCode.REQUEST_TIMED_OUT, None)}
    assert {(each.error_code, each.error_message) for each in made} == late
    create.timeout_ms = 2_000
    made = ask(cluster, node_id, create, CreateTopicsResponse, 7).topics
    assert {each.error_code for each in made} == {0}
    grow = CreatePartitionsRequest(
        topics=[CreatePartitionsTopic(name=name, count=2, assignments=None) for name in NAMES],
        timeout_ms=0,
    )
    grown = ask(cluster, node_id, grow, CreatePartitionsResponse, 3).results
    assert {(each.error_code, each.error_message) for each in grown} == late
    delete = DeleteTopicsRequest(
        topics=[DeleteTopicState(name=name) for name in NAMES], timeout_ms=-1
    )
    gone = ask(cluster, node_id, delete, DeleteTopicsResponse, 6).responses
    assert {(each.error_code, each.error_message) for each in gone} == late


def test_a_blank_group_is_refused_by_every_node(cluster: Cluster) -> None:
    """INVALID_REQUEST comes before NOT_COORDINATOR, which only some group's name could cure."""
    find = FindCoordinatorRequest(key=BLANK)
    assert cluster.until(
        lambda: ask(cluster, 1, find, FindCoordinatorResponse, 1).error_code == 0, 10_000
    )
    for node_id in NODES:
        beat = ConsumerGroupHeartbeatRequest(group_id=BLANK, member_id="m")
        told = ask(cluster, node_id, beat, ConsumerGroupHeartbeatResponse, 1)
        assert told.error_code == ErrorCode.INVALID_REQUEST
