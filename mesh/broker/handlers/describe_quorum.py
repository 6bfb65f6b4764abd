"""DescribeQuorum (key 55): who votes on a partition, and how far each of them is (KIP-595).

Kafka has one quorum, of the controllers that keep `__cluster_metadata`. Here each partition has
its own, so each can be asked for; the registry's shards, too, under the name of its topic. What
stands under Kafka's name is the shard that holds what belongs to the whole mesh. Only a leader
knows how far the others are: what is asked of a shard is handed on to it (`handed_on.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.model.names import METADATA_TOPIC, REGISTRY_TOPIC
from mesh.model.types import NodeId
from mesh.registry import MESH_SHARD
from mesh.replication.leader import Leader
from mesh.wire.schemas.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    Listener,
    Node,
    ReplicaState,
    ResponsePartitionData,
    ResponseTopicData,
)
from mesh.wire.types import NO_UUID

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition

LISTENER = "PLAINTEXT"


def handle(broker: Broker, request: Request, body: DescribeQuorumRequest) -> DescribeQuorumResponse:
    """Answer every partition by itself, and say where the nodes that were named can be reached."""
    response = DescribeQuorumResponse()
    named: set[NodeId] = set()
    for topic in body.topics:
        answers = ResponseTopicData(topic_name=topic.topic_name)
        response.topics.append(answers)
        for wanted in topic.partitions:
            index = wanted.partition_index
            partition = _find(broker, topic.topic_name, index)
            if partition is None:
                answers.partitions.append(
                    ResponsePartitionData(
                        partition_index=index,
                        error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                        error_message="This server does not host this topic-partition.",
                    )
                )
                continue
            if not partition.leads:
                answers.partitions.append(
                    ResponsePartitionData(
                        partition_index=index,
                        error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER,
                        error_message="This server does not lead this topic-partition.",
                    )
                )
                continue
            answers.partitions.append(_describe(broker, request, partition, index))
            named.update(partition.replicas)
    response.nodes = [_node(broker, node_id) for node_id in sorted(named)]
    return response


def shard_asked_for(broker: Broker, topic: str, index: int) -> int | None:
    """Return which of the registry's shards this names, or None."""
    if topic == METADATA_TOPIC and index == 0:
        return MESH_SHARD
    if topic == REGISTRY_TOPIC and 0 <= index < len(broker.shards):
        return index
    return None


def _find(broker: Broker, topic: str, index: int) -> Partition | None:
    shard = shard_asked_for(broker, topic, index)
    return broker.partition(topic, index) if shard is None else broker.shards[shard]


def _describe(
    broker: Broker, request: Request, partition: Partition, index: int
) -> ResponsePartitionData:
    """Describe a partition that this node leads; who only learns observes."""
    voters = [voter.node_id for voter in partition.group.holding.promise.config.voters]
    states = {
        node_id: _state(broker, request, partition, node_id) for node_id in partition.replicas
    }
    return ResponsePartitionData(
        partition_index=index,
        leader_id=broker.node_id,
        leader_epoch=partition.leader_epoch,
        high_watermark=partition.high_watermark,
        current_voters=[state for node_id, state in states.items() if node_id in voters],
        observers=[state for node_id, state in states.items() if node_id not in voters],
    )


def _state(broker: Broker, request: Request, partition: Partition, node_id: NodeId) -> ReplicaState:
    state = ReplicaState(
        replica_id=node_id, replica_directory_id=_directory_of(broker, node_id), log_end_offset=-1
    )
    if node_id == broker.node_id:
        state.log_end_offset = partition.log.log_end_offset
        # As in Kafka, a leader has just now fetched from itself, and lacks nothing.
        state.last_fetch_timestamp = state.last_caught_up_timestamp = request.now.wall_ms
        return state
    role = partition.group.role
    assert isinstance(role, Leader), "it leads"
    for replica, progress in role.others.items():
        if replica.node_id == node_id:
            state.log_end_offset = progress.log_end
    since_ms = partition.caught_up_at_ms.get(node_id)
    if since_ms is not None:
        at_ms = request.now.wall_ms - (request.now.monotonic_ms - since_ms)
        state.last_fetch_timestamp = state.last_caught_up_timestamp = at_ms
    return state


def _directory_of(broker: Broker, node_id: NodeId) -> bytes:
    """Return the id of a node's data directory."""
    directory_id = broker.registry.members.get(node_id)
    return UUID(directory_id).bytes if directory_id else NO_UUID


def _node(broker: Broker, node_id: NodeId) -> Node:
    at = broker.members.get(node_id)
    if node_id == broker.node_id or at is None:
        host, port = (broker.host, broker.port) if node_id == broker.node_id else ("", 0)
    else:
        host, port = at.host, at.port
    return Node(node_id=node_id, listeners=[Listener(name=LISTENER, host=host, port=port)])


HANDLER = Handler(key=55, versions=(0, 2), request=DescribeQuorumRequest, handle=handle)
