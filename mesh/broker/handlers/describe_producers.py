"""DescribeProducers (key 61): who writes idempotently to a partition, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.names import check_topic_name
from mesh.wire.schemas.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from storage.producers import Producers


def handle(
    broker: Broker, request: Request, body: DescribeProducersRequest
) -> DescribeProducersResponse:
    """Answer every partition by itself, and once.

    Kafka answers it as often as it is named; four bytes of a request would then cost the answer
    all of a partition's producers, PRODUCERS_MAX at worst.
    """
    wanted: dict[str, dict[int, None]] = {}
    for topic in body.topics:
        wanted.setdefault(topic.name, {}).update(dict.fromkeys(topic.partition_indexes))
    return DescribeProducersResponse(
        topics=[
            TopicResponse(name=name, partitions=[_look_up(broker, name, each) for each in indexes])
            for name, indexes in wanted.items()
        ]
    )


def _look_up(broker: Broker, name: str, index: int) -> PartitionResponse:
    result = PartitionResponse(partition_index=index)
    partition = broker.partition(name, index)
    try:
        if partition is None:
            raise _absent(broker, name, index)
    except KafkaError as error:
        result.error_code, result.error_message = error.code, error.message
    else:
        result.active_producers = _tell(partition.log.producers)
    return result


def _absent(broker: Broker, name: str, index: int) -> KafkaError:
    """Return why there is no such partition to ask; Kafka has texts for some of the reasons.

    Raises:
        KafkaError: no topic can have this name.
    """
    check_topic_name(name)
    topic = broker.registry.topics.get(name)
    if topic is None:
        text = "This server does not host this topic-partition."
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, text)
    if not 0 <= index < topic.partition_count:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    text = f"This node does not lead {name}-{index}, or has not opened its log yet."
    return KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, text)


def _tell(producers: Producers) -> list[ProducerState]:
    return [
        ProducerState(
            producer_id=producer_id,
            producer_epoch=state.producer_epoch,
            last_sequence=state.batches[-1].last_sequence,
            last_timestamp=state.batches[-1].timestamp_ms,
            coordinator_epoch=-1,  # None has written a marker: there are no transactions yet.
        )
        for producer_id, state in producers.items()
    ]


HANDLER = Handler(key=61, versions=(0, 0), request=DescribeProducersRequest, handle=handle)
