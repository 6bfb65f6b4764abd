"""What the client knows of the cluster: brokers, topics, leaders. Pure; fed by answers.

A leader epoch never goes back here: an answer of a node that lags behind is overruled by what a
newer one said (KIP-951 hints included), unless the topic has a new id.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.client.settings import Address
from mesh.model.errors import ErrorCode
from mesh.model.types import NO_TOPIC_ID, NodeId, TopicId, TopicPartition
from mesh.wire.schemas import fetch, produce
from mesh.wire.schemas.metadata import (
    MetadataResponse,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from storage.types import LeaderEpoch


@dataclass(slots=True)
class PartitionState:
    """One partition as last heard of."""

    leader: NodeId
    """-1: none at the moment."""
    leader_epoch: LeaderEpoch
    replicas: list[NodeId] = field(default_factory=list)
    in_sync: list[NodeId] = field(default_factory=list)
    offline: list[NodeId] = field(default_factory=list)


@dataclass(slots=True)
class TopicState:
    """One topic as last heard of."""

    name: str
    id: TopicId
    internal: bool
    partitions: dict[int, PartitionState]


class Cluster:
    """The client's picture of the cluster; may be stale, never goes back in time."""

    __slots__ = ("_names", "brokers", "cluster_id", "controller_id", "errors", "racks", "topics")

    def __init__(self) -> None:
        self.cluster_id: str | None = None
        self.controller_id: NodeId = -1
        self.brokers: dict[NodeId, Address] = {}
        self.racks: dict[NodeId, str | None] = {}
        self.topics: dict[str, TopicState] = {}
        self.errors: dict[str, ErrorCode] = {}
        """Topics that the newest answer about them gave an error for."""
        self._names: dict[TopicId, str] = {}

    def apply(self, response: MetadataResponse, *, all_topics: bool) -> None:
        """Take in an answer; with all_topics, what it does not name is gone."""
        self.cluster_id = response.cluster_id or self.cluster_id
        self.controller_id = response.controller_id
        self.brokers = {
            broker.node_id: Address(broker.host, broker.port) for broker in response.brokers
        }
        self.racks = {broker.node_id: broker.rack for broker in response.brokers}
        if all_topics:
            named = {topic.name for topic in response.topics}
            for name in [name for name in self.topics if name not in named]:
                self._forget(name)
            self.errors.clear()
        for topic in response.topics:
            self._apply_topic(topic)

    def hint(
        self,
        partition: TopicPartition,
        leader: fetch.LeaderIdAndEpoch | produce.LeaderIdAndEpoch | None,
    ) -> bool:
        """Take a leader named by an error answer (KIP-951); return whether that was news."""
        state = self.partition(partition)
        if state is None or leader is None or leader.leader_id < 0:
            return False
        if leader.leader_epoch <= state.leader_epoch:
            return False
        state.leader, state.leader_epoch = leader.leader_id, leader.leader_epoch
        return True

    def endpoint(self, node: NodeId, address: Address) -> None:
        """Take the address that came with a hint."""
        self.brokers[node] = address

    def partition(self, partition: TopicPartition) -> PartitionState | None:
        """Return what is known of the partition."""
        topic = self.topics.get(partition.topic)
        return topic.partitions.get(partition.partition) if topic is not None else None

    def leader(self, partition: TopicPartition) -> NodeId | None:
        """Return the leader whose address is known, or None."""
        state = self.partition(partition)
        return state.leader if state is not None and state.leader in self.brokers else None

    def partition_count(self, topic: str) -> int:
        """Return how many partitions the topic has; 0 if it is not known."""
        state = self.topics.get(topic)
        return len(state.partitions) if state is not None else 0

    def topic_id(self, topic: str) -> TopicId:
        """Return the topic's id, or NO_TOPIC_ID."""
        state = self.topics.get(topic)
        return state.id if state is not None else NO_TOPIC_ID

    def name_of(self, name: str, topic_id: TopicId) -> str:
        """Return the name of a topic in an answer, which new versions give by its id only."""
        return name or self._names.get(topic_id, "")

    def _apply_topic(self, answer: MetadataResponseTopic) -> None:
        name = answer.name or self._names.get(answer.topic_id, "")
        if answer.error_code:
            self.errors[name] = ErrorCode(answer.error_code)
            # Only these two say that it is gone; others (no leader, not authorised) may pass.
            if self.errors[name] in (
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                ErrorCode.UNKNOWN_TOPIC_ID,
            ):
                self._forget(name)
            return
        self.errors.pop(name, None)
        before = self.topics.get(name)
        if before is not None and before.id != answer.topic_id:
            self._forget(name)
            before = None
        known = before.partitions if before is not None else {}
        partitions = {
            item.partition_index: self._newer(known.get(item.partition_index), item)
            for item in sorted(answer.partitions, key=lambda item: item.partition_index)
        }
        self.topics[name] = TopicState(name, answer.topic_id, answer.is_internal, partitions)
        if answer.topic_id != NO_TOPIC_ID:
            self._names[answer.topic_id] = name

    @staticmethod
    def _newer(known: PartitionState | None, answer: MetadataResponsePartition) -> PartitionState:
        state = PartitionState(
            answer.leader_id,
            answer.leader_epoch,
            list(answer.replica_nodes),
            list(answer.isr_nodes),
            list(answer.offline_replicas),
        )
        # Versions before 7 give no epoch (-1): then the newest answer is all there is to go by.
        if known is not None and 0 <= answer.leader_epoch < known.leader_epoch:
            state.leader, state.leader_epoch = known.leader, known.leader_epoch
        return state

    def _forget(self, name: str) -> None:
        state = self.topics.pop(name, None)
        if state is not None:
            self._names.pop(state.id, None)
