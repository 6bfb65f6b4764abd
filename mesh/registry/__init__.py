"""The registry: topics, configs and claims of the mesh as records plus replay."""

from mesh.registry.image import (
    PRODUCER_ID_BLOCK,
    BrokerConfigChanged,
    Change,
    ConfigChanged,
    NodeIdClaimed,
    PartitionsAdded,
    ProducerIdsClaimed,
    TopicCreated,
    TopicDeleted,
)
from mesh.registry.plans import (
    NewTopic,
    Operation,
    check_partition_total,
    check_replicas,
    plan_alter_broker_config,
    plan_alter_topic_config,
    plan_create_partitions,
    plan_create_topic,
    plan_delete_topic,
    plan_replace_broker_config,
    plan_replace_topic_config,
)
from mesh.registry.records import DamagedRecordError, RecordPair
from mesh.registry.registry import (
    MESH_SHARD,
    SHARD_COUNT,
    Plan,
    Registry,
    Rng,
    shard_of,
)
from mesh.registry.topic import Topic

__all__ = [
    "MESH_SHARD",
    "PRODUCER_ID_BLOCK",
    "SHARD_COUNT",
    "BrokerConfigChanged",
    "Change",
    "ConfigChanged",
    "DamagedRecordError",
    "NewTopic",
    "NodeIdClaimed",
    "Operation",
    "PartitionsAdded",
    "Plan",
    "ProducerIdsClaimed",
    "RecordPair",
    "Registry",
    "Rng",
    "Topic",
    "TopicCreated",
    "TopicDeleted",
    "check_partition_total",
    "check_replicas",
    "plan_alter_broker_config",
    "plan_alter_topic_config",
    "plan_create_partitions",
    "plan_create_topic",
    "plan_delete_topic",
    "plan_replace_broker_config",
    "plan_replace_topic_config",
    "shard_of",
]
