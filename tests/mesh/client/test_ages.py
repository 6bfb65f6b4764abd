"""The age of the first record that waits: of one Fetch, whatever compaction left there."""

from __future__ import annotations

import pytest

from mesh.client import TopicPartition, first_timestamps
from mesh.model.errors import ErrorCode
from mesh.wire import Message
from mesh.wire.schemas.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from storage.records import Record, build_batch
from tests.mesh.client.builders import TOPIC_ID, metadata
from tests.mesh.client.naive_mesh import naive_mesh

END = 100


def batch(*offsets: int) -> bytes:
    """Records whose timestamps are a million more than their offsets."""
    records = [Record(offset, 1_000_000 + offset, None, b"v", []) for offset in offsets]
    return bytes(build_batch(records, base_offset=offsets[0]))


class Logs:
    """Partition → its batches, the base offset of each with its bytes and the offset after it."""

    def __init__(self, logs: dict[int, list[tuple[bytes, int]]]) -> None:
        self.logs = logs
        self.errors: dict[int, ErrorCode] = {}

    def answer(self, node: int, request: Message) -> Message:
        """Be a node."""
        if isinstance(request, ListOffsetsRequest):
            return self._ends(request)
        assert isinstance(request, FetchRequest)
        parts = []
        for topic in request.topics:
            for asked in topic.partitions:
                log = self.logs[asked.partition]
                records = b"".join(data for data, after in log if after > asked.fetch_offset)
                parts.append(
                    PartitionData(
                        partition_index=asked.partition,
                        error_code=self.errors.get(asked.partition, 0),
                        high_watermark=END,
                        last_stable_offset=END,
                        log_start_offset=0,
                        records=records,
                    )
                )
        topics = [FetchableTopicResponse(topic="t", topic_id=TOPIC_ID, partitions=parts)]
        return FetchResponse(responses=topics)

    def _ends(self, request: ListOffsetsRequest) -> Message:
        return ListOffsetsResponse(
            topics=[
                ListOffsetsTopicResponse(
                    name=topic.name,
                    partitions=[
                        ListOffsetsPartitionResponse(
                            partition_index=part.partition_index, offset=END, timestamp=-1
                        )
                        for part in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


async def ages(logs: Logs, wanted: dict[int, int]) -> dict[int, int]:
    """Partition → timestamp of the first record from an offset on."""
    topics = metadata(dict.fromkeys(logs.logs, 1), nodes=())
    places = {TopicPartition("t", index): offset for index, offset in wanted.items()}
    async with naive_mesh(logs.answer, topics=topics) as (client, _):
        await client.refresh(["t"])
        found = await first_timestamps(client, places)
    return {place.partition: timestamp_ms for place, timestamp_ms in found.items()}


async def test_partitions_of_a_leader_are_asked_together() -> None:
    """Each answer is of the record at the offset, in the middle of a batch, too."""
    logs = Logs({0: [(batch(0, 1, 2), 3)], 1: [(batch(0, 1), 2), (batch(2, 3), 4)]})
    assert await ages(logs, {0: 1, 1: 2}) == {0: 1_000_001, 1: 1_000_002}


@pytest.mark.parametrize("offset", [3, 4, 6])
async def test_records_that_compaction_took_are_passed_over(offset: int) -> None:
    """The next one that is kept is the first that the group will read."""
    logs = Logs({0: [(batch(0, 1), 2), (batch(7, 9), 10)]})
    assert await ages(logs, {0: offset}) == {0: 1_000_007}


async def test_a_partition_that_fails_leaves_the_others_known() -> None:
    """Its age stays open."""
    logs = Logs({0: [(batch(0, 1), 2)], 1: [(batch(0, 1), 2)]})
    logs.errors[1] = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert await ages(logs, {0: 1, 1: 0}) == {0: 1_000_001}
