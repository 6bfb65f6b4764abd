"""Which APIs are handed on to the leaders of the registry's shards, and how (`relay.py`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mesh.broker.handlers.describe_quorum import shard_asked_for
from mesh.broker.relay import Relayed
from mesh.broker.resources import ALTER_MS_MAX, ResourceType, home_of
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import MESH_SHARD, shard_of
from mesh.wire import Message
from mesh.wire.schemas import alter_configs, incremental_alter_configs
from mesh.wire.schemas.alter_partition_reassignments import (
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from mesh.wire.schemas.create_partitions import (
    CreatePartitionsResponse,
    CreatePartitionsTopicResult,
)
from mesh.wire.schemas.create_topics import CreatableTopicResult, CreateTopicsResponse
from mesh.wire.schemas.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RequestTopicData,
    ResponsePartitionData,
    ResponseTopicData,
)
from mesh.wire.schemas.update_features import UpdateFeaturesRequest, UpdateFeaturesResponse

if TYPE_CHECKING:
    from mesh.broker.broker import Broker

HERE = -1
"""In place of a shard: what every node answers by itself."""


def _with(message: Message, name: str, value: list[Any]) -> Message:
    """Return a message that says the same but for one field."""
    other = copy(message)
    setattr(other, name, value)
    return other


def _own_code(result: Any) -> Iterable[int]:
    return (result.error_code,)


def _by_items(
    items: str,
    home: Callable[[Broker, Any], int],
    results: str,
    named: Callable[[Any], Hashable],
    names: Callable[[Any], Iterable[Hashable]],
    refused: Callable[[Any, KafkaError], Any],
    response: type[Message],
    wait_ms: Callable[[Any], int],
    codes: Callable[[Any], Iterable[int]] = _own_code,
) -> Relayed:
    """Return how a request for a list of things is taken apart.

    Args:
        items: name of the list in the request.
        home: the shard that one of them is about.
        results: name of the list in the response.
        named: the name of an item.
        names: all that an item may be called that a result is about.
        refused: the result of an item that could not be asked about.
        response: of the API.
        wait_ms: how long the client of a request waits.
        codes: the error codes in a result.
    """

    def split(broker: Broker, body: Any) -> dict[int, Message]:
        parts: dict[int, list[Any]] = {}
        for item in getattr(body, items):
            parts.setdefault(home(broker, item), []).append(item)
        if len(parts) == 1:
            return dict.fromkeys(parts, body)
        return {shard: _with(body, items, some) for shard, some in parts.items()}

    def merge(body: Any, answers: Sequence[Any]) -> Message:
        # By name, for a request may hold thousands.
        left = dict(enumerate(result for answer in answers for result in getattr(answer, results)))
        places: dict[Hashable, list[int]] = {}
        for place, result in left.items():
            for name in names(result):
                places.setdefault(name, []).append(place)
        ordered = []
        for item in getattr(body, items):
            for place in places.get(named(item), ()):
                if place in left:
                    ordered.append(left.pop(place))
                    break
        return _with(answers[0], results, [*ordered, *left.values()])

    def refuse(body: Any, error: KafkaError) -> Message:
        told = [refused(item, error) for item in getattr(body, items)]
        return response(**{results: told})

    def left_over(body: Any, answer: Any) -> Message | None:
        told = getattr(answer, results)
        lost = {
            name
            for result in told
            if ErrorCode.NOT_CONTROLLER in codes(result)
            for name in names(result)
        }
        if not lost:
            return None
        kept = [result for result in told if ErrorCode.NOT_CONTROLLER not in codes(result)]
        setattr(answer, results, kept)
        return _with(body, items, [item for item in getattr(body, items) if named(item) in lost])

    return Relayed(split, merge, refuse, wait_ms, left_over)


def _shard_of(broker: Broker, item: Any) -> int:
    del broker
    return shard_of(item.name)


def _name(item: Any) -> Hashable:
    return str(item.name)


def _names(result: Any) -> Iterable[Hashable]:
    return (str(result.name),)


def _timeout(body: Any) -> int:
    return int(body.timeout_ms)


def _alter_ms(body: Any) -> int:
    del body
    return ALTER_MS_MAX


def _resource_home(broker: Broker, item: Any) -> int:
    del broker
    kind = item.resource_type
    if kind in (ResourceType.TOPIC, ResourceType.BROKER):
        return home_of(kind, item.resource_name)
    return HERE


def _resource(item: Any) -> Hashable:
    return (item.resource_type, item.resource_name)


def _resources(result: Any) -> Iterable[Hashable]:
    return (_resource(result),)


def _refused_resource(kind: type[Any]) -> Callable[[Any, KafkaError], Any]:
    def refused(item: Any, error: KafkaError) -> Any:
        return kind(
            resource_type=item.resource_type,
            resource_name=item.resource_name,
            error_code=error.code,
            error_message=error.message,
        )

    return refused


def _refused_topic(item: Any, error: KafkaError) -> CreatableTopicResult:
    return CreatableTopicResult(name=item.name, error_code=error.code, error_message=error.message)


def _refused_partitions(item: Any, error: KafkaError) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(
        name=item.name, error_code=error.code, error_message=error.message
    )


def _refused_reassignment(item: Any, error: KafkaError) -> ReassignableTopicResponse:
    return ReassignableTopicResponse(
        name=item.name,
        partitions=[
            ReassignablePartitionResponse(
                partition_index=wish.partition_index,
                error_code=error.code,
                error_message=error.message,
            )
            for wish in item.partitions
        ],
    )


def _codes_of_partitions(result: ReassignableTopicResponse) -> Iterable[int]:
    return (partition.error_code for partition in result.partitions)


def _deletion(by: str) -> Relayed:
    """Return how topics are deleted that are named in the list `by` of the request."""

    def home(broker: Broker, item: Any) -> int:
        if isinstance(item, str):
            return shard_of(item)
        topic = broker.registry.topics_by_id.get(item.topic_id)
        name = item.name if topic is None else topic.name
        return MESH_SHARD if name is None else shard_of(name)

    def named(item: Any) -> Hashable:
        if isinstance(item, str):
            return item
        return bytes(item.topic_id) if item.name is None else str(item.name)

    def names(result: Any) -> Iterable[Hashable]:
        return (result.name, bytes(result.topic_id))

    def refused(item: Any, error: KafkaError) -> DeletableTopicResult:
        state = DeleteTopicState(name=item) if isinstance(item, str) else item
        return DeletableTopicResult(
            name=state.name,
            topic_id=state.topic_id,
            error_code=error.code,
            error_message=error.message,
        )

    return _by_items(by, home, "responses", named, names, refused, DeleteTopicsResponse, _timeout)


_BY_STATE, _BY_NAME = _deletion("topics"), _deletion("topic_names")


def _deletion_of(body: Any) -> Relayed:
    return _BY_STATE if body.topics else _BY_NAME


_DELETE_TOPICS = Relayed(
    split=lambda broker, body: _deletion_of(body).split(broker, body),
    merge=lambda body, answers: _deletion_of(body).merge(body, answers),
    refuse=lambda body, error: _deletion_of(body).refuse(body, error),
    wait_ms=_timeout,
    left_over=lambda body, answer: _deletion_of(body).left_over(body, answer),
)


def _whole(broker: Broker, body: Any) -> dict[int, Message]:
    del broker
    return {MESH_SHARD: body}


def _last(body: Any, answers: Sequence[Message]) -> Message:
    """Return the only answer; if it had to be asked again, the one before says nothing."""
    del body
    return answers[-1]


def _features_left_over(
    body: UpdateFeaturesRequest, answer: UpdateFeaturesResponse
) -> UpdateFeaturesRequest | None:
    return body if answer.error_code == ErrorCode.NOT_CONTROLLER else None


def _refused_features(body: UpdateFeaturesRequest, error: KafkaError) -> UpdateFeaturesResponse:
    del body
    return UpdateFeaturesResponse(error_code=error.code, error_message=error.message)


def _split_quorums(broker: Broker, body: DescribeQuorumRequest) -> dict[int, Message]:
    parts: dict[int, DescribeQuorumRequest] = {}
    for topic in body.topics:
        for partition in topic.partitions:
            shard = shard_asked_for(broker, topic.topic_name, partition.partition_index)
            part = parts.setdefault(HERE if shard is None else shard, DescribeQuorumRequest())
            wanted = RequestTopicData(topic_name=topic.topic_name, partitions=[partition])
            part.topics = [*part.topics, wanted]
    return {**parts} if len(parts) > 1 else dict.fromkeys(parts or (HERE,), body)


def _merge_quorums(
    body: DescribeQuorumRequest, answers: Sequence[DescribeQuorumResponse]
) -> DescribeQuorumResponse:
    if len(answers) == 1:
        return answers[0]
    found = {
        (topic.topic_name, partition.partition_index): partition
        for answer in answers
        for topic in answer.topics
        for partition in topic.partitions
    }
    nodes = {node.node_id: node for answer in answers for node in answer.nodes}
    # Who answered may have left out what it was asked about.
    untold = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "The leader said nothing of it.")
    topics = _refused_quorums(body, untold).topics
    for topic in topics:
        topic.partitions = [
            found.get((topic.topic_name, one.partition_index), one) for one in topic.partitions
        ]
    return DescribeQuorumResponse(topics=topics, nodes=[nodes[each] for each in sorted(nodes)])


def _refused_quorums(body: DescribeQuorumRequest, error: KafkaError) -> DescribeQuorumResponse:
    topics = [
        ResponseTopicData(
            topic_name=topic.topic_name,
            partitions=[
                ResponsePartitionData(
                    partition_index=one.partition_index,
                    error_code=error.code,
                    error_message=error.message,
                )
                for one in topic.partitions
            ],
        )
        for topic in body.topics
    ]
    return DescribeQuorumResponse(topics=topics)


HANDED_ON: Mapping[int, Relayed] = MappingProxyType(
    {
        19: _by_items(
            "topics",
            _shard_of,
            "topics",
            _name,
            _names,
            _refused_topic,
            CreateTopicsResponse,
            _timeout,
        ),
        20: _DELETE_TOPICS,
        37: _by_items(
            "topics",
            _shard_of,
            "results",
            _name,
            _names,
            _refused_partitions,
            CreatePartitionsResponse,
            _timeout,
        ),
        33: _by_items(
            "resources",
            _resource_home,
            "responses",
            _resource,
            _resources,
            _refused_resource(alter_configs.AlterConfigsResourceResponse),
            alter_configs.AlterConfigsResponse,
            _alter_ms,
        ),
        44: _by_items(
            "resources",
            _resource_home,
            "responses",
            _resource,
            _resources,
            _refused_resource(incremental_alter_configs.AlterConfigsResourceResponse),
            incremental_alter_configs.IncrementalAlterConfigsResponse,
            _alter_ms,
        ),
        45: _by_items(
            "topics",
            _shard_of,
            "responses",
            _name,
            _names,
            _refused_reassignment,
            AlterPartitionReassignmentsResponse,
            _timeout,
            _codes_of_partitions,
        ),
        55: Relayed(_split_quorums, _merge_quorums, _refused_quorums, _alter_ms),
        57: Relayed(_whole, _last, _refused_features, _alter_ms, _features_left_over),
    }
)
"""By API key."""
