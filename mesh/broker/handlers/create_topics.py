"""CreateTopics (key 19): each topic is planned and answered by itself, after its commit (G41)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.purgatory import AfterCommit
from mesh.model.config import describe_topic
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import Now
from mesh.registry import NewTopic, Topic, check_partition_total, plan_create_topic
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition
    from storage.types import Offset


def handle(
    broker: Broker, request: Request, body: CreateTopicsRequest
) -> CreateTopicsResponse | AfterCommit:
    """Propose what can be made; with validate_only, only say what would be."""
    response = CreateTopicsResponse()
    waits: list[tuple[Partition, Offset]] = []
    pending: list[tuple[CreatableTopicResult, Topic]] = []
    times = Counter(wanted.name for wanted in body.topics)
    if body.timeout_ms <= 0 and 1 in times.values():
        return _too_late(body)
    fault = _fault_of_all(broker, body)
    for wanted in {wanted.name: wanted for wanted in body.topics}.values():
        result = CreatableTopicResult(name=wanted.name, error_message=None)
        response.topics.append(result)
        try:
            if times[wanted.name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            if fault is not None:
                raise fault
            plan = plan_create_topic(broker.registry, _new_topic(wanted), broker.config)
            assert plan.topic is not None
            if not body.validate_only:
                waits.append(broker.propose(plan, request.now))
                pending.append((result, plan.topic))
        except KafkaError as error:
            _refuse(result, error)
            continue
        _tell(result, plan.topic, broker)
    if not waits:
        return response

    def finish(committed: bool, now: Now) -> CreateTopicsResponse:
        for result, topic in pending:
            there = broker.registry.topics.get(topic.name)
            if there is not None and there.topic_id != topic.topic_id:
                text = f"Topic '{topic.name}' already exists."
                _refuse(result, KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, text))
            elif there is None and not committed:
                _refuse(result, KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The request timed out."))
        return response

    return AfterCommit(waits, request.now.monotonic_ms + body.timeout_ms, finish)


def _too_late(body: CreateTopicsRequest) -> CreateTopicsResponse:
    """Answer a request without time: as in Kafka nothing is looked at, and nothing made."""
    late = ErrorCode.REQUEST_TIMED_OUT
    return CreateTopicsResponse(
        topics=[
            CreatableTopicResult(name=wanted.name, error_code=late, error_message=None)
            for wanted in body.topics
        ]
    )


def _fault_of_all(broker: Broker, body: CreateTopicsRequest) -> KafkaError | None:
    """Return the error that a request for too many partitions gets for each of its topics."""
    default = broker.config.partitions
    counts = (
        len(wanted.assignments)
        or (default if wanted.num_partitions == -1 else wanted.num_partitions)
        for wanted in body.topics
    )
    try:
        check_partition_total(sum(max(count, 0) for count in counts))
    except KafkaError as error:
        return error
    return None


def _new_topic(wanted: CreatableTopic) -> NewTopic:
    return NewTopic(
        name=wanted.name,
        partition_count=wanted.num_partitions,
        replication_factor=wanted.replication_factor,
        assignments=[(each.partition_index, each.broker_ids) for each in wanted.assignments],
        configs=[(each.name, each.value) for each in wanted.configs],
    )


def _tell(result: CreatableTopicResult, topic: Topic, broker: Broker) -> None:
    result.topic_id = topic.topic_id
    result.num_partitions = topic.partition_count
    result.replication_factor = topic.replication_factor
    result.configs = [
        CreatableTopicConfigs(
            name=each.setting.name,
            value=each.value,
            read_only=each.read_only,
            config_source=each.source,
        )
        for each in describe_topic(broker.config, topic.configs)
    ]


def _refuse(result: CreatableTopicResult, error: KafkaError) -> None:
    """Make it the answer that Kafka gives with an error: nothing but the error."""
    refused = CreatableTopicResult(
        name=result.name, error_code=error.code, error_message=error.message
    )
    result.topic_id = refused.topic_id
    result.error_code = refused.error_code
    result.error_message = refused.error_message
    result.num_partitions = refused.num_partitions
    result.replication_factor = refused.replication_factor
    result.configs = refused.configs


HANDLER = Handler(key=19, versions=(2, 7), request=CreateTopicsRequest, handle=handle)
