"""What the records say so far: one image, made by replaying records in the order of their log.

Replay decides. A record that no longer applies changes nothing and yields the error; so every
node that replays the same records holds the same image, whoever wrote them and when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import collision_key
from mesh.model.types import NodeId, TopicId
from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DeleteTopic,
    Record,
)
from mesh.registry.topic import Topic
from storage.types import Offset

PRODUCER_ID_BLOCK = 1_000
"""Producer ids in a block: a node that starts wastes fewer than this of the 2**63."""


@dataclass(frozen=True, slots=True)
class TopicCreated:
    """A topic exists now."""

    topic: Topic


@dataclass(frozen=True, slots=True)
class TopicDeleted:
    """A topic is gone; what it was."""

    topic: Topic


@dataclass(frozen=True, slots=True)
class PartitionsAdded:
    """A topic has more partitions now: those from `first_index` on are new."""

    topic: Topic
    first_index: int


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """A topic's own values are others now."""

    topic: Topic


@dataclass(frozen=True, slots=True)
class BrokerConfigChanged:
    """What is set at runtime for a node, or with an empty id for all, is other now."""

    node: str
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProducerIdsClaimed:
    """A node's start has a block of producer ids, never given before or again."""

    node_id: NodeId
    start: int
    first_id: int
    count: int


@dataclass(frozen=True, slots=True)
class NodeIdClaimed:
    """A data directory has a node id."""

    directory_id: str
    node_id: NodeId


Change: TypeAlias = (
    TopicCreated
    | TopicDeleted
    | PartitionsAdded
    | ConfigChanged
    | BrokerConfigChanged
    | ProducerIdsClaimed
    | NodeIdClaimed
)


class Image:
    """Topics, configs and claims after some records."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[TopicId, Topic] = {}
        self.broker_configs: dict[str, Mapping[str, str]] = {}
        """By node id as text; the empty one holds what is set for all."""
        self.node_ids: dict[str, NodeId] = {}
        """By directory id."""
        self._names: dict[str, str] = {}
        """Name by collision key."""

    def colliding(self, name: str) -> str | None:
        """Return the topic whose name collides with this one and is not this one."""
        other = self._names.get(collision_key(name))
        return None if other == name else other

    def replay(self, offset: Offset, record: Record) -> Change:
        """Apply the record at `offset` of its shard.

        Raises:
            KafkaError: it does not apply; nothing is changed.
        """
        match record:
            case CreateTopic(topic):
                return self._create(topic)
            case DeleteTopic(name, topic_id):
                topic = self._find(name, topic_id)
                del self.topics[name], self.topics_by_id[topic_id]
                del self._names[collision_key(name)]
                return TopicDeleted(topic)
            case AddPartitions(name, topic_id, first_index, replicas):
                topic = self._find(name, topic_id)
                if topic.partition_count != first_index:
                    text = f"Topic already has {topic.partition_count} partition(s)."
                    raise KafkaError(ErrorCode.INVALID_PARTITIONS, text)
                topic = dataclasses.replace(topic, replicas=topic.replicas + replicas)
                return PartitionsAdded(self._put(topic), first_index)
            case AlterTopicConfig(name, topic_id, changes):
                topic = self._find(name, topic_id)
                configs = merged(topic.configs, changes)
                return ConfigChanged(self._put(dataclasses.replace(topic, configs=configs)))
            case AlterBrokerConfig(node, changes):
                configs = merged(self.broker_configs.get(node, {}), changes)
                self.broker_configs[node] = configs
                return BrokerConfigChanged(node, configs)
            case ClaimProducerIds(node_id, start):
                first_id = offset * PRODUCER_ID_BLOCK
                return ProducerIdsClaimed(node_id, start, first_id, PRODUCER_ID_BLOCK)
            case ClaimNodeId(directory_id, node_id):
                return self._claim(directory_id, node_id)
            case _:
                assert_never(record)

    def _create(self, topic: Topic) -> Change:
        if topic.name in self.topics:
            text = f"Topic '{topic.name}' already exists."
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, text)
        if (other := self.colliding(topic.name)) is not None:
            text = f"Topic '{topic.name}' collides with existing topic: {other}"
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, text)
        if topic.topic_id in self.topics_by_id:
            text = "The topic id is taken."
            raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID, text)
        self._names[collision_key(topic.name)] = topic.name
        return TopicCreated(self._put(topic))

    def _claim(self, directory_id: str, wanted: NodeId | None) -> Change:
        if (held := self.node_ids.get(directory_id)) is not None:
            return NodeIdClaimed(directory_id, held)
        given = self.node_ids.values()
        node_id = max(given, default=0) + 1 if wanted is None else wanted
        if node_id in given:
            text = f"Node id {node_id} belongs to another data directory."
            raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION, text)
        self.node_ids[directory_id] = node_id
        return NodeIdClaimed(directory_id, node_id)

    def _find(self, name: str, topic_id: TopicId) -> Topic:
        topic = self.topics.get(name)
        if topic is None or topic.topic_id != topic_id:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return topic

    def _put(self, topic: Topic) -> Topic:
        self.topics[topic.name] = self.topics_by_id[topic.topic_id] = topic
        return topic


def merged(configs: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return `configs` after `changes`, in which None takes a value away."""
    after = {**configs, **changes}
    return {name: value for name, value in after.items() if value is not None}
