"""Short forms of the requests that cases are made of."""

from __future__ import annotations

from mesh.wire.schemas.fetch import FetchPartition, FetchRequest, FetchTopic
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.interop.differential.talk import Outcome, SetupError, Talk

UNKNOWN_ID = bytes(range(16, 32))
"""A topic id that no broker ever gave."""


def topic_id(talk: Talk, topic: str) -> bytes:
    """Return the id of a topic, or UNKNOWN_ID if the broker has none of that name."""
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False
    )
    answer = talk.connection.ask(request, 12)
    if not isinstance(answer, MetadataResponse):
        raise SetupError(f"Metadata was answered with {answer}")
    return bytes(answer.topics[0].topic_id) if answer.topics[0].error_code == 0 else UNKNOWN_ID


def produce(
    talk: Talk,
    topic: str,
    *batches: bytes | None,
    acks: int = -1,
    timeout_ms: int = 15_000,
    transactional_id: str | None = None,
    first_partition: int = 0,
) -> ProduceRequest:
    """Return a Produce of one batch to each partition, from first_partition on."""
    data = [
        PartitionProduceData(index=first_partition + place, records=records)
        for place, records in enumerate(batches)
    ]
    found = topic_id(talk, topic) if talk.version >= 13 else bytes(16)
    named = TopicProduceData(name=topic, topic_id=found, partition_data=data)
    return ProduceRequest(
        transactional_id=transactional_id, acks=acks, timeout_ms=timeout_ms, topic_data=[named]
    )


def fill(talk: Talk, topic: str, *batches: bytes, partition: int = 0) -> None:
    """Append batches to a partition, one request each; nothing is recorded.

    Raises:
        SetupError: the broker refuses one.
    """
    for records in batches:
        data = [PartitionProduceData(index=partition, records=records)]
        request = ProduceRequest(
            acks=-1,
            timeout_ms=15_000,
            topic_data=[TopicProduceData(name=topic, partition_data=data)],
        )
        answer = talk.connection.ask(request, 9)
        if not isinstance(answer, ProduceResponse):
            raise SetupError(f"a batch was answered with {answer}")
        if answer.responses[0].partition_responses[0].error_code != 0:
            raise SetupError(f"a batch was refused: {answer}")


def fetch(
    talk: Talk,
    topic: str,
    *offsets: int,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 26,
    partition_max_bytes: int = 1 << 20,
    isolation_level: int = 0,
    current_leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
) -> FetchRequest:
    """Return a sessionless Fetch of partitions 0, 1, … from these offsets."""
    wanted = [
        FetchPartition(
            partition=place,
            current_leader_epoch=current_leader_epoch,
            fetch_offset=offset,
            last_fetched_epoch=last_fetched_epoch,
            partition_max_bytes=partition_max_bytes,
        )
        for place, offset in enumerate(offsets)
    ]
    found = topic_id(talk, topic) if talk.version >= 13 else bytes(16)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        topics=[FetchTopic(topic=topic, topic_id=found, partitions=wanted)],
    )


def list_offsets(
    topic: str, *timestamps: int, isolation_level: int = 0, current_leader_epoch: int = -1
) -> ListOffsetsRequest:
    """Return a ListOffsets that asks partition 0, 1, … for these timestamps."""
    wanted = [
        ListOffsetsPartition(
            partition_index=place, timestamp=timestamp, current_leader_epoch=current_leader_epoch
        )
        for place, timestamp in enumerate(timestamps)
    ]
    return ListOffsetsRequest(
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[ListOffsetsTopic(name=topic, partitions=wanted)],
    )


def look(talk: Talk, topic: str, *offsets: int) -> None:
    """Fetch what lies in partitions 0, 1, … and record it, always with the same version."""
    request = fetch(talk, topic, *offsets)
    if talk.ask(request, version=12, label="look") is Outcome.CLOSED:
        raise SetupError("the broker hung up on a Fetch")
