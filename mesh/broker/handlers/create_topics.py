"""CreateTopics (key 19): each topic is planned and answered by itself, after its commit (G41)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.broker.changes import Proposals
from mesh.broker.purgatory import AfterCommit
from mesh.model.config import BrokerConfig, describe_topic
from mesh.model.errors import ErrorCode, KafkaError
from mesh.registry import (
    NewTopic,
    Plan,
    Topic,
    check_partition_total,
    plan_create_topic,
    shard_of,
    topic_id_of,
)
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: CreateTopicsRequest
) -> CreateTopicsResponse | AfterCommit:
    """Propose what can be made; with validate_only, only say what would be."""
    response = CreateTopicsResponse()
    proposals = Proposals(broker, request.now)
    defaults = _configs(broker.config, {})
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
            plan = _plan(broker, request, wanted)
            assert plan.topic is not None
            if not body.validate_only:
                proposals.add(plan)
            _tell(result, plan.topic, broker.config, defaults)
        except KafkaError as error:
            _refuse(result, error)
        proposals.rest(shard_of(wanted.name), functools.partial(_refuse, result))
    return proposals.answer(response, body.timeout_ms)


def _plan(broker: Broker, request: Request, wanted: CreatableTopic) -> Plan:
    """Plan one topic; without records if this very request has made it already.

    A node that hands a request on asks again when a link ends, here or whoever leads then.
    """
    registry, new = broker.registry, _new_topic(wanted)
    if request.asked is None:
        return plan_create_topic(registry, new, broker.config)
    topic_id = topic_id_of(new.name, request.asked, request.order)
    made = registry.tentative.topics.get(new.name)
    if made is not None and made.topic_id == topic_id:
        return Plan(shard_of(new.name), [], made)
    if topic_id in registry.tentative.deleted:  # Made, and deleted since: an id is given once.
        return plan_create_topic(registry, new, broker.config)
    return plan_create_topic(registry, new, broker.config, topic_id)


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


def _tell(
    result: CreatableTopicResult,
    topic: Topic,
    config: BrokerConfig,
    defaults: Mapping[str, CreatableTopicConfigs],
) -> None:
    result.topic_id = topic.topic_id
    result.num_partitions = topic.partition_count
    result.replication_factor = topic.replication_factor
    own = _configs(config, topic.configs, topic.configs) if topic.configs else {}
    result.configs = list({**defaults, **own}.values())


def _configs(
    config: BrokerConfig, values: Mapping[str, str], names: Collection[str] | None = None
) -> dict[str, CreatableTopicConfigs]:
    """Describe the settings of a topic with these values, or those among `names`."""
    return {
        each.setting.name: CreatableTopicConfigs(
            name=each.setting.name,
            value=each.value,
            read_only=each.read_only,
            config_source=each.source,
        )
        for each in describe_topic(config, values, names)
    }


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
