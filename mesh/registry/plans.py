"""From a request to records: what Kafka checks, in Kafka's order, with Kafka's texts.

A plan is checked against the tentative image, which holds what was appended before; the caller
appends its records and answers when they are committed. Raises KafkaError where Kafka answers so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import xxhash

from mesh.model.config import (
    BROKER_SETTINGS,
    TOPIC_SETTINGS,
    BrokerConfig,
    ConfigError,
    Kind,
    Setting,
    TopicConfig,
    UnknownConfigError,
    check_broker_config,
    check_syncs,
    check_topic_config,
    text_of,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import check_topic_name, is_hidden
from mesh.model.types import NodeId, TopicId
from mesh.registry.image import made, merged
from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    AssignReplicas,
    CreateTopic,
    DeleteTopic,
    Record,
    encode,
)
from mesh.registry.registry import MESH_SHARD, Plan, Registry, shard_of
from mesh.registry.topic import Placement, Topic, voter_count_of

PARTITIONS_PER_REQUEST_MAX = 10_000
"""New partitions that one request may ask for (Kafka's number)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    """What CreateTopics asks for."""

    name: str
    partition_count: int = -1
    """-1 stands for the default of the node."""
    replication_factor: int = -1
    """-1 stands for the default of the node."""
    assignments: Sequence[tuple[int, Sequence[NodeId]]] = ()
    """Partition index and its replicas, where the client chose them."""
    configs: Sequence[tuple[str, str | None]] = field(default=())
    """The last one of a name counts."""


class Operation(IntEnum):
    """What IncrementalAlterConfigs does with a value; the numbers are the protocol's."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


def plan_create_topic(
    registry: Registry, new: NewTopic, config: BrokerConfig, topic_id: TopicId | None = None
) -> Plan:
    """Plan a topic, with an id of `topic_id_of` or one that is drawn.

    Raises:
        KafkaError: as CreateTopics answers for this one topic.
    """
    check_topic_name(new.name)
    if is_hidden(new.name):
        text = f"Creation of internal topic {new.name} is prohibited."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    registry.tentative.check_free(new.name)
    configs = _new_configs(new.configs, config)
    if new.assignments:
        replicas = _chosen_replicas(new, registry.nodes)
    else:
        replicas = _spread_replicas(registry, new, config)
    placement = _placement(registry, replicas)
    by_default = new.replication_factor == -1 and not new.assignments
    wanted = config.replication_factor if by_default else len(replicas[0])
    topic_id = _new_topic_id(registry) if topic_id is None else topic_id
    record = CreateTopic(new.name, topic_id, placement, wanted, configs)
    records: list[Record] = [record]
    if new.assignments:  # Whoever chose wants it to stay so.
        for index, nodes in enumerate(replicas):
            records.append(AssignReplicas(new.name, record.topic_id, index, nodes))
    plan = Plan(shard_of(new.name), [encode(each) for each in records])
    return replace(plan, topic=made(record, placement))


def plan_delete_topic(topic: Topic) -> Plan:
    """Plan the end of a topic, which the caller found in the tentative image."""
    return _plan_topic(DeleteTopic(topic.name, topic.topic_id), topic)


def plan_create_partitions(
    registry: Registry, name: str, count: int, assignments: Sequence[Sequence[NodeId]] | None
) -> Plan:
    """Plan more partitions for a topic: `count` in all, at nodes chosen or (None) not.

    Raises:
        KafkaError: as CreatePartitions answers for this one topic.
    """
    topic = registry.tentative.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    first_index = topic.partition_count
    if count == first_index:
        text = f"Topic already has {count} partition(s)."
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, text)
    if count < first_index:
        text = f"currently has {first_index} partition(s); {count} would not be an increase."
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"The topic {name} {text}")
    check_partition_total(count - first_index)
    nodes = registry.nodes
    if assignments is None:
        factor = min(topic.replicas_wanted, len(nodes))
        replicas = _spread(registry, name, factor, first_index, count, may_grow=True)
    elif len(assignments) != count - first_index:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Attempted to add {count - first_index} additional partition(s), "
            f"but only {len(assignments)} assignment(s) were specified.",
        )
    else:
        factor = topic.replication_factor
        replicas = tuple(check_replicas(chosen, nodes, factor) for chosen in assignments)
    placement = _placement(registry, replicas)
    record = AddPartitions(name, topic.topic_id, first_index, placement)
    return _plan_topic(record, topic)


def plan_assign_replicas(topic: Topic, index: int, nodes: Sequence[NodeId]) -> Plan:
    """Plan where a partition is to be; with no nodes, where placement desires it."""
    return _plan_topic(AssignReplicas(topic.name, topic.topic_id, index, tuple(nodes)), topic)


def check_partition_total(count: int) -> None:
    """Refuse a request for more new partitions than one may ask for.

    Raises:
        KafkaError: POLICY_VIOLATION.
    """
    if count > PARTITIONS_PER_REQUEST_MAX:
        text = "Excessively large number of partitions per request."
        raise KafkaError(ErrorCode.POLICY_VIOLATION, text)


def plan_alter_topic_config(
    registry: Registry,
    name: str,
    operations: Sequence[tuple[str, int, str | None]],
    config: BrokerConfig,
) -> Plan:
    """Plan changes of a topic's own values, each (name, operation, value).

    Raises:
        KafkaError: as IncrementalAlterConfigs answers for this one topic.
    """
    if not name:
        text = "Default topic resources are not allowed."
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    check_topic_name(name)
    topic = registry.tentative.topics.get(name)
    if topic is None:
        text = f"The topic '{name}' does not exist."
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    in_force = TopicConfig.resolve(config, topic.configs)

    def current(row: Setting) -> str | None:
        return text_of(getattr(in_force, row.attribute))

    changes = _changes(operations, TOPIC_SETTINGS, current)
    wanted = merged(topic.configs, changes)
    canonical = _canonical(wanted, config)
    changes = {
        key: canonical.get(key) for key in changes if canonical.get(key) != topic.configs.get(key)
    }
    if not changes:
        return Plan(shard_of(name), [], topic)
    return _plan_topic(AlterTopicConfig(name, topic.topic_id, changes), topic)


def plan_alter_broker_config(
    registry: Registry,
    node: str,
    operations: Sequence[tuple[str, int, str | None]],
    config: BrokerConfig,
) -> Plan:
    """Plan changes of what is set at runtime for a node, or with an empty id for all.

    Raises:
        KafkaError: as IncrementalAlterConfigs answers for this one broker.
    """
    layer = registry.tentative.broker_configs.get(node, {})

    def current(row: Setting) -> str | None:
        return layer.get(row.name) or config.text(row.name)

    changes = _changes(operations, BROKER_SETTINGS, current)
    changes = {name: value for name, value in changes.items() if value != layer.get(name)}
    fixed = sorted(
        name
        for name, value in changes.items()
        if value is not None and name in BROKER_SETTINGS and not BROKER_SETTINGS[name].dynamic
    )
    if fixed:
        text = f"Cannot update these configs dynamically: [{', '.join(fixed)}]"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    known = [BROKER_SETTINGS[name] for name, _, _ in operations if name in BROKER_SETTINGS]
    if not node and (own := sorted(row.name for row in known if row.per_node)):
        text = (
            "Cannot update these configs at default cluster level, broker id must be specified: "
            f"[{', '.join(own)}]"
        )
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    changes = {name: _checked_value(name, value, config) for name, value in changes.items()}
    if node and (common := sorted(row.name for row in known if row.per_mesh)):
        text = f"Broker-level {', '.join(common)} cannot be altered: it is one for all nodes."
        raise KafkaError(ErrorCode.INVALID_CONFIG, text)
    if not changes:
        return Plan(MESH_SHARD, [])
    layers = {**registry.tentative.broker_configs, node: merged(layer, changes)}
    try:
        check_broker_config(config.with_dynamic(layers.get("", {}), layers.get(node, {})))
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from error
    return Plan(MESH_SHARD, [encode(AlterBrokerConfig(node, changes))])


def plan_replace_topic_config(
    registry: Registry,
    name: str,
    configs: Sequence[tuple[str, str | None]],
    config: BrokerConfig,
) -> Plan:
    """Plan that a topic has these values of its own and no others.

    Raises:
        KafkaError: as AlterConfigs answers for this one topic.
    """
    topic = registry.tentative.topics.get(name)
    operations = _replacing({} if topic is None else topic.configs, configs)
    return plan_alter_topic_config(registry, name, operations, config)


def plan_replace_broker_config(
    registry: Registry,
    node: str,
    configs: Sequence[tuple[str, str | None]],
    config: BrokerConfig,
) -> Plan:
    """Plan that these values and no others are set at runtime for a node, or "" for all.

    Raises:
        KafkaError: as AlterConfigs answers for this one broker.
    """
    operations = _replacing(registry.tentative.broker_configs.get(node, {}), configs)
    return plan_alter_broker_config(registry, node, operations, config)


def _replacing(
    own: Mapping[str, str], configs: Sequence[tuple[str, str | None]]
) -> list[tuple[str, int, str | None]]:
    """Return the operations after which `configs` are all that is set."""
    operations = [(name, int(Operation.SET), value) for name, value in configs]
    named = {name for name, _ in configs}
    return operations + [(name, int(Operation.DELETE), None) for name in own if name not in named]


def _checked_value(name: str, value: str | None, config: BrokerConfig) -> str | None:
    """Check a value for a node's setting, and return it as Kafka would show it."""
    if value is None:
        return None
    if name not in BROKER_SETTINGS:
        # Kafka keeps a value that nothing reads; we take none that changes nothing.
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown broker config name: {name}")
    try:
        BROKER_SETTINGS[name].check_taken(value)
        check_syncs(config, name, value)
        return text_of(BROKER_SETTINGS[name].parse(value))
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from error


def _plan_topic(record: Record, topic: Topic) -> Plan:
    return Plan(shard_of(topic.name), [encode(record)], topic)


def _new_configs(configs: Sequence[tuple[str, str | None]], config: BrokerConfig) -> dict[str, str]:
    nulls = [name for name, value in configs if value is None]
    if nulls:
        text = f"Null value not supported for topic configs: {','.join(nulls)}"
        raise KafkaError(ErrorCode.INVALID_CONFIG, text)
    return _canonical({name: value for name, value in configs if value is not None}, config)


def _canonical(configs: Mapping[str, str], config: BrokerConfig) -> dict[str, str]:
    """Check a topic's own values, and return them as Kafka would show them."""
    try:
        in_force = check_topic_config(config, configs)
    except UnknownConfigError as error:
        text = f"Unknown topic config name: {error.name}"
        raise KafkaError(ErrorCode.INVALID_CONFIG, text) from error
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from error
    values = ((name, getattr(in_force, TOPIC_SETTINGS[name].attribute)) for name in configs)
    return {name: text_of(value) or "" for name, value in values}


def _changes(
    operations: Sequence[tuple[str, int, str | None]],
    settings: Mapping[str, Setting],
    current: Callable[[Setting], str | None],
) -> dict[str, str | None]:
    """Return the values that the operations ask for; None takes one away."""
    names = [name for name, _, _ in operations]
    if len(set(names)) < len(names):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    nulls = [name for name, what, value in operations if value is None and what != Operation.DELETE]
    if nulls:
        text = f"Null value not supported for : {','.join(nulls)}"
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    changes: dict[str, str | None] = {}
    for name, what, value in operations:
        match what, value:
            case Operation.DELETE, _:
                changes[name] = None
            case Operation.SET, str():
                changes[name] = value
            case ((Operation.APPEND | Operation.SUBTRACT), str()):
                row = settings.get(name)
                if row is None or row.kind is not Kind.LIST:
                    text = (
                        f"Can't {Operation(what).name} to key {name} because its type is not LIST."
                    )
                    raise KafkaError(ErrorCode.INVALID_CONFIG, text)
                items = [item for item in (current(row) or "").split(",") if item]
                given = value.split(",")
                # Sets, for a request may name millions.
                if what == Operation.APPEND:
                    there = set(items)
                    items += [item for item in given if item not in there]
                else:
                    gone = set(given)
                    items = [item for item in items if item not in gone]
                changes[name] = ",".join(items)
            case _:
                text = f"Unknown operation {what} for {name}."
                raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    return changes


def _chosen_replicas(new: NewTopic, nodes: Sequence[NodeId]) -> tuple[tuple[NodeId, ...], ...]:
    for value, what in (
        (new.replication_factor, "replication factor"),
        (new.partition_count, "numPartitions"),
    ):
        if value != -1:
            text = f"A manual partition assignment was specified, but {what} was not set to -1."
            raise KafkaError(ErrorCode.INVALID_REQUEST, text)
    by_index: dict[int, tuple[NodeId, ...]] = {}
    factor: int | None = None
    for index, replicas in new.assignments:
        if index in by_index:
            text = f"Found multiple manual partition assignments for partition {index}"
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, text)
        by_index[index] = check_replicas(replicas, nodes, factor)
        factor = len(replicas)
    if sorted(by_index) != list(range(len(by_index))):
        text = "partitions should be a consecutive 0-based integer sequence"
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, text)
    return tuple(by_index[index] for index in range(len(by_index)))


def check_replicas(
    replicas: Sequence[NodeId], nodes: Sequence[NodeId], factor: int | None = None
) -> tuple[NodeId, ...]:
    """Return one partition's replicas as a client chose them; `factor` is how many there must be.

    Raises:
        KafkaError: INVALID_REPLICA_ASSIGNMENT.
    """
    fault = None
    if not replicas:
        fault = "an empty replica list."
    elif missing := set(replicas).difference(nodes):
        fault = f"broker {min(missing)}, but no such broker is registered."
    elif repeated := [node for node, times in Counter(replicas).items() if times > 1]:
        fault = f"the broker {min(repeated)} more than once."
    elif factor is not None and factor != len(replicas):
        fault = (
            f"a partition with {len(replicas)} replica(s), but this is not consistent with "
            f"previous partitions, which have {factor} replica(s)."
        )
    if fault is not None:
        text = f"The manual partition assignment includes {fault}"
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, text)
    return tuple(replicas)


def _spread_replicas(
    registry: Registry, new: NewTopic, config: BrokerConfig
) -> tuple[tuple[NodeId, ...], ...]:
    nodes = registry.nodes
    count, factor = new.partition_count, new.replication_factor
    if factor < -1 or factor == 0:
        text = "Replication factor must be larger than 0, or -1 to use the default value."
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, text)
    if count < -1 or count == 0:
        text = "Number of partitions was set to an invalid non-positive value."
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, text)
    if factor == -1:
        factor = min(config.replication_factor, len(nodes))
    if factor > len(nodes):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {factor} time(s): The target replication factor "
            f"of {factor} cannot be reached because only {len(nodes)} broker(s) are registered "
            "or some brokers have all their log directories cordoned.",
        )
    end_index = config.partitions if count == -1 else count
    may_grow = new.replication_factor == -1
    return _spread(registry, new.name, factor, 0, end_index, may_grow=may_grow)


def _spread(
    registry: Registry,
    topic: str,
    factor: int,
    first_index: int,
    end_index: int,
    *,
    may_grow: bool,
) -> tuple[tuple[NodeId, ...], ...]:
    """Give each new partition the nodes that it should have.

    With `may_grow` they may be fewer for now: the rest comes as soon as there are nodes for it.

    Raises:
        KafkaError: fewer nodes can be reached than there are members.
    """
    chosen = tuple(registry.choose(topic, range(first_index, end_index), factor))
    chosen = tuple(nodes[: min(map(len, chosen))] for nodes in chosen)
    short = min((len(nodes) for nodes in chosen), default=factor)
    if short < (1 if may_grow else factor):
        text = f"Only {short} of {len(registry.nodes)} nodes can be reached; {factor} are needed."
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, text)
    return chosen


def _placement(registry: Registry, replicas: tuple[tuple[NodeId, ...], ...]) -> Placement:
    named = sorted({node for nodes in replicas for node in nodes})
    directories = {node: registry.members[node] for node in named}
    return Placement(replicas, voter_count_of(len(replicas[0])), directories)


def topic_id_of(name: str, node_id: NodeId, order: int) -> TopicId:
    """Return the id of a topic that a certain request makes, whoever carries that out.

    Should two leaders be asked one after the other, the second one knows what the first has made.

    Args:
        name: of the topic.
        node_id: of the node that handed the request on.
        order: which of all that this node ever handed on.
    """
    for attempt in itertools.count():
        said = f"{node_id} {order} {attempt} {name}"
        topic_id = xxhash.xxh3_128_digest(said.encode())
        if _is_topic_id(topic_id):
            return topic_id
    raise AssertionError("there is no end of attempts")


def _new_topic_id(registry: Registry) -> TopicId:
    """Draw an id that is free."""
    while True:
        topic_id = registry.rng.getrandbits(128).to_bytes(16)
        if _is_topic_id(topic_id) and topic_id not in registry.tentative.topics_by_id:
            return topic_id


def _is_topic_id(topic_id: TopicId) -> bool:
    """Whether it is not reserved (Kafka: the first 100), and prints without a `-`.

    Base64 begins with `-` for a first byte from 0xF8 to 0xFB; Kafka's tools would read such
    an id as an option.
    """
    return not 0xF8 <= topic_id[0] <= 0xFB and int.from_bytes(topic_id) > 100
