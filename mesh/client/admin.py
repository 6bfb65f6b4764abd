"""What a cluster is told to do to its topics, and asked about them. trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from mesh.client.assignment import AtTime
from mesh.client.client import Client, now
from mesh.client.cluster import TopicState
from mesh.client.codes import RETRIABLE, code_of
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, TopicPartition
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
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
from mesh.wire.schemas.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from storage.types import Offset, TimestampMs

TOPIC_RESOURCE = 2
SET, DELETE = 0, 1
"""Operations of IncrementalAlterConfigs."""


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One configuration of a topic."""

    name: str
    value: str | None
    """None: not set, or kept secret."""
    source: int
    """Kafka's number, see mesh.model.setting.Source; a broker may know more of them."""


@dataclass(frozen=True, slots=True)
class OffsetAndTime:
    """Answer to a look-up; both are -1 where there is no such record."""

    offset: Offset
    timestamp_ms: TimestampMs


def _check(code: int, message: str | None) -> None:
    if code:
        raise KafkaError(code_of(code), message)


async def create_topic(
    client: Client,
    name: str,
    *,
    partitions: int = -1,
    replication_factor: int = -1,
    configs: Mapping[str, str] | None = None,
    validate_only: bool = False,
) -> None:
    """Create a topic and return once the client knows a leader for each of its partitions.

    -1 leaves a number to the cluster. Raises KafkaError with the cluster's code and text.
    """
    entries = [CreatableTopicConfig(name=k, value=v) for k, v in (configs or {}).items()]
    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        configs=entries,
    )
    request = CreateTopicsRequest(
        topics=[topic], timeout_ms=client.settings.request_ms_max, validate_only=validate_only
    )
    # Not repeated: after a lost answer "already exists" would look like a failure.
    response = await client.request(
        request, CreateTopicsResponse, node=_controller(client), repeat=False
    )
    for result in response.topics:
        _check(result.error_code, result.error_message)
    if not validate_only:
        missing = f"topic {name} was created, but it still has partitions without a leader"
        await _until(client, name, _led, missing)


async def _until(
    client: Client, name: str, shows: Callable[[TopicState | None], bool], otherwise: str
) -> None:
    """Wait until a node shows a change; the one that answered may know it before the others."""
    deadline_ms = now().monotonic_ms + client.settings.request_ms_max
    attempt = 0
    while now().monotonic_ms < deadline_ms:
        await client.refresh([name])
        if shows(client.cluster.topics.get(name)):
            return
        await trio.sleep(client.settings.backoff_ms(attempt, client.chance) / 1000)
        attempt += 1
    raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, otherwise)


def _led(state: TopicState | None, count: int = 1) -> bool:
    """Whether there are so many partitions, and each has a leader."""
    if state is None or len(state.partitions) < count:
        return False
    return all(part.leader >= 0 for part in state.partitions.values())


async def delete_topic(client: Client, name: str) -> None:
    """Delete a topic with all its records and return once it is gone.

    Raises KafkaError with the cluster's code.
    """
    await client.refresh([name])
    before = client.cluster.topic_id(name)
    request = DeleteTopicsRequest(
        topic_names=[name],
        topics=[DeleteTopicState(name=name)],
        timeout_ms=client.settings.request_ms_max,
    )
    response = await client.request(
        request, DeleteTopicsResponse, node=_controller(client), repeat=False
    )
    for result in response.responses:
        _check(result.error_code, result.error_message or f"topic {name}")

    def gone(state: TopicState | None) -> bool:
        return state is None or state.id != before  # Somebody may have made it again.

    await _until(client, name, gone, f"topic {name} was deleted, but it is still shown")


async def create_partitions(
    client: Client, name: str, count: int, *, validate_only: bool = False
) -> None:
    """Give a topic more partitions, `count` in all, and return once each has a leader.

    Raises KafkaError with the cluster's code.
    """
    topic = CreatePartitionsTopic(name=name, count=count, assignments=None)
    request = CreatePartitionsRequest(
        topics=[topic], timeout_ms=client.settings.request_ms_max, validate_only=validate_only
    )
    response = await client.request(
        request, CreatePartitionsResponse, node=_controller(client), repeat=False
    )
    for result in response.results:
        _check(result.error_code, result.error_message)
    if not validate_only:
        missing = f"topic {name} was altered, but it still has partitions without a leader"
        await _until(client, name, lambda state: _led(state, count), missing)


async def describe_topic_configs(client: Client, name: str) -> list[ConfigEntry]:
    """Return every configuration of a topic, by name. Raises KafkaError."""
    resource = DescribeConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=name, configuration_keys=None
    )
    request = DescribeConfigsRequest(resources=[resource])
    response = await client.request(request, DescribeConfigsResponse)
    entries: list[ConfigEntry] = []
    for result in response.results:
        _check(result.error_code, result.error_message)
        entries += [ConfigEntry(c.name, c.value, c.config_source) for c in result.configs]
    return sorted(entries, key=lambda entry: entry.name)


async def alter_topic_configs(
    client: Client,
    name: str,
    *,
    values: Mapping[str, str] | None = None,
    deletes: Iterable[str] = (),
    validate_only: bool = False,
) -> None:
    """Set some configurations of a topic and give others back to the default. Raises KafkaError.

    Another node than the one that answered may show the old values for a moment.
    """
    changes = [
        AlterableConfig(name=key, config_operation=SET, value=value)
        for key, value in (values or {}).items()
    ]
    changes += [AlterableConfig(name=key, config_operation=DELETE, value=None) for key in deletes]
    resource = AlterConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=name, configs=changes
    )
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    response = await client.request(
        request, IncrementalAlterConfigsResponse, node=_controller(client)
    )
    for result in response.responses:
        _check(result.error_code, result.error_message)


async def list_offsets(
    client: Client, partitions: Sequence[TopicPartition], place: AtTime
) -> dict[TopicPartition, OffsetAndTime]:
    """Return the offset of a place in each partition, from the leaders.

    Raises:
        KafkaError: a partition gives a lasting error, or a passing one for too long.
    """
    found: dict[TopicPartition, OffsetAndTime] = {}
    deadline_ms = now().monotonic_ms + client.settings.request_ms_max
    attempt = 0
    while missing := [partition for partition in partitions if partition not in found]:
        failure = KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, str(missing[0]))
        for node, led in _by_leader(client, missing).items():
            answers = await _ask_leader(client, node, led, place)
            for partition, (code, answer) in answers.items():
                if code is ErrorCode.NONE:
                    found[partition] = answer
                elif code in RETRIABLE:
                    failure = KafkaError(code, str(partition))
                else:
                    raise KafkaError(code, str(partition))
        if len(found) < len(partitions):
            pause = client.settings.backoff_ms(attempt, client.chance)
            if now().monotonic_ms + pause >= deadline_ms:
                raise failure
            attempt += 1
            await trio.sleep(pause / 1000)
            await client.refresh(sorted({partition.topic for partition in missing}))
    return found


def _by_leader(
    client: Client, partitions: Iterable[TopicPartition]
) -> dict[NodeId, list[TopicPartition]]:
    led: dict[NodeId, list[TopicPartition]] = {}
    for partition in partitions:
        leader = client.cluster.leader(partition)
        if leader is not None:
            led.setdefault(leader, []).append(partition)
    return led


async def _ask_leader(
    client: Client, node: NodeId, partitions: Iterable[TopicPartition], place: AtTime
) -> dict[TopicPartition, tuple[ErrorCode, OffsetAndTime]]:
    topics: dict[str, ListOffsetsTopic] = {}
    for name, index in partitions:
        topic = topics.setdefault(name, ListOffsetsTopic(name=name))
        topic.partitions.append(
            ListOffsetsPartition(partition_index=index, timestamp=place.timestamp_ms)
        )
    request = ListOffsetsRequest(
        replica_id=-1,
        topics=list(topics.values()),
        timeout_ms=client.settings.request_ms_max * 3 // 4,
    )
    response = await client.request(request, ListOffsetsResponse, node=node)
    return {
        TopicPartition(topic.name, item.partition_index): (
            code_of(item.error_code),
            OffsetAndTime(item.offset, item.timestamp),
        )
        for topic in response.topics
        for item in topic.partitions
    }


def _controller(client: Client) -> NodeId | None:
    """Where changes go: before KRaft only the controller took them; others relay today."""
    controller = client.cluster.controller_id
    return controller if controller in client.cluster.brokers else None
