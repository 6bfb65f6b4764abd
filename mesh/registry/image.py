"""What the records say so far: one image, made by replaying records in the order of their log.

Replay decides. A record that no longer applies changes nothing and yields the error; so every
node that replays the same records holds the same image, whoever wrote them and when.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, assert_never

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import collision_key
from mesh.model.types import NodeId, ReplicaId, TopicId
from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    AssignReplicas,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DeleteTopic,
    Record,
    SetFeature,
)
from mesh.registry.topic import Placement, Topic
from storage.types import Offset

PRODUCER_ID_BLOCK = 1_000
"""Producer ids in a block: a node that starts wastes fewer than this of the 2**63."""


NODE_ID_MAX = 2**31 - 1
"""Largest that an int32 can say."""


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
class ReplicasAssigned:
    """A partition of a topic is to be on other nodes."""

    topic: Topic
    index: int


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


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A feature is finalized at a level now, or with level 0 at none."""

    name: str
    level: int


class Features(NamedTuple):
    """What the mesh agreed that every member must be able to do."""

    epoch: Offset
    """Of the record that changed the levels last, so it only rises, alike on all nodes; -1
    before the first."""
    levels: Mapping[str, int]
    """By name; never changed in place."""
    lowered: frozenset[str] = frozenset()
    """Features that somebody brought to level 0: no start raises them again by itself."""


Change: TypeAlias = (
    TopicCreated
    | TopicDeleted
    | PartitionsAdded
    | ReplicasAssigned
    | ConfigChanged
    | BrokerConfigChanged
    | ProducerIdsClaimed
    | NodeIdClaimed
    | FeatureSet
)


DELETED_MAX = 100_000


class Image:
    """Topics, configs and claims after some records."""

    def __init__(self, own: ReplicaId) -> None:
        """One after none; `own` is the node that keeps it."""
        self._own = own
        self.topics: dict[str, Topic] = {}
        self.topics_by_id: dict[TopicId, Topic] = {}
        self.deleted: dict[TopicId, None] = {}
        """Topics that are gone, as long as anything may still speak of them; the oldest first."""
        self.broker_configs: dict[str, Mapping[str, str]] = {}
        """By node id as text; the empty one holds what is set for all."""
        self.node_ids: dict[str, NodeId] = {}
        """By directory id."""
        self.features = Features(-1, {})
        self._directories: dict[NodeId, str] = {}
        """By node id that was claimed."""
        self._names: dict[str, str] = {}
        """Name by collision key."""

    def copy(self) -> Image:
        """Return one that holds the same, and changes by itself."""
        other = Image(self._own)
        for name, value in vars(self).items():
            # What the dictionaries hold is never changed in place.
            setattr(other, name, dict(value) if isinstance(value, dict) else value)
        return other

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
            case CreateTopic():
                return self._create(record)
            case DeleteTopic(name, topic_id):
                topic = self._find(name, topic_id)
                del self.topics[name], self.topics_by_id[topic_id]
                del self._names[collision_key(name)]
                self.deleted[topic_id] = None
                if len(self.deleted) > DELETED_MAX:
                    del self.deleted[next(iter(self.deleted))]
                return TopicDeleted(topic)
            case AddPartitions(name, topic_id, first_index, placement):
                topic = self._find(name, topic_id)
                if topic.partition_count != first_index:
                    text = f"Topic already has {topic.partition_count} partition(s)."
                    raise KafkaError(ErrorCode.INVALID_PARTITIONS, text)
                placement = self._complete(placement)
                topic = dataclasses.replace(
                    topic,
                    replicas=topic.replicas + placement.replicas,
                    placements=(*topic.placements, placement),
                )
                return PartitionsAdded(self._put(topic), first_index)
            case AssignReplicas(name, topic_id, index, nodes):
                topic = self._find(name, topic_id)
                if index >= topic.partition_count:
                    raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                assigned = {at: where for at, where in topic.assigned.items() if at != index}
                assigned |= {index: nodes} if nodes else {}
                topic = self._put(dataclasses.replace(topic, assigned=assigned))
                return ReplicasAssigned(topic, index)
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
            case SetFeature(name, level, may_lower):
                return self._set_feature(offset, name, level, may_lower)
            case _:
                assert_never(record)

    def directory_of(self, node_id: NodeId) -> str:
        """Return the directory id of a node; empty if none is known."""
        if node_id == self._own.node_id:
            return self._own.directory_id
        return self._directories.get(node_id, "")

    def holder_of(self, node_id: NodeId) -> str | None:
        """Return the directory that claimed this node id."""
        return self._directories.get(node_id)

    def _create(self, record: CreateTopic) -> Change:
        name, topic_id = record.name, record.topic_id
        self.check_free(name)
        if topic_id in self.topics_by_id:
            text = "The topic id is taken."
            raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID, text)
        self._names[collision_key(name)] = name
        placement = self._complete(record.placement)
        return TopicCreated(self._put(made(record, placement)))

    def check_free(self, name: str) -> None:
        """Refuse a name that a topic has, or one that it collides with.

        Raises:
            KafkaError: TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION.
        """
        if name in self.topics:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if (other := self.colliding(name)) is not None:
            text = f"Topic '{name}' collides with existing topic: {other}"
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, text)

    def _complete(self, placement: Placement) -> Placement:
        """Name the directories that a record of format 1 left out; see README, Not obvious."""
        if placement.directories:
            return placement
        nodes = {node for nodes in placement.replicas for node in nodes}
        directories = {node: self.directory_of(node) for node in sorted(nodes)}
        return dataclasses.replace(placement, directories=directories)

    def _set_feature(self, offset: Offset, name: str, level: int, may_lower: bool) -> Change:
        levels = self.features.levels
        current = levels.get(name, 0)
        if level < current and not may_lower:
            text = f"Feature {name} is at level {current}; nobody asked to lower it to {level}."
            raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION, text)
        if level != current:
            after = {key: value for key, value in levels.items() if key != name}
            after |= {name: level} if level else {}
            lowered = self.features.lowered - {name} if level else self.features.lowered | {name}
            self.features = Features(offset, after, lowered)
        return FeatureSet(name, level)

    def _claim(self, directory_id: str, wanted: NodeId | None) -> Change:
        if (held := self.node_ids.get(directory_id)) is not None:
            return NodeIdClaimed(directory_id, held)
        node_id = self._next_node_id() if wanted is None else wanted
        if node_id in self._directories:
            text = f"Node id {node_id} belongs to another data directory."
            raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION, text)
        self.node_ids[directory_id] = node_id
        self._directories[node_id] = directory_id
        return NodeIdClaimed(directory_id, node_id)

    def _next_node_id(self) -> NodeId:
        """Return one above all that were ever given; once those are used up, the first gap."""
        following = max(self._directories, default=0) + 1
        if following <= NODE_ID_MAX:
            return following
        return next(node_id for node_id in itertools.count(1) if node_id not in self._directories)

    def _find(self, name: str, topic_id: TopicId) -> Topic:
        topic = self.topics.get(name)
        if topic is None or topic.topic_id != topic_id:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return topic

    def _put(self, topic: Topic) -> Topic:
        self.topics[topic.name] = self.topics_by_id[topic.topic_id] = topic
        return topic


def made(record: CreateTopic, placement: Placement) -> Topic:
    """Return the topic that a record makes, with a placement that names directories."""
    return Topic(
        record.name,
        record.topic_id,
        placement.replicas,
        (placement,),
        record.replicas_wanted,
        record.configs,
    )


def merged(configs: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return `configs` after `changes`, in which None takes a value away."""
    after = {**configs, **changes}
    return {name: value for name, value in after.items() if value is not None}
