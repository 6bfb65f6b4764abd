"""Answers of other nodes to parts of a request: what one leaves out is an error, not the end."""

from __future__ import annotations

from mesh.broker.handlers import RELAYED
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RequestPartitionData,
    RequestTopicData,
)


def test_what_a_leader_says_nothing_of_is_an_error_of_that_partition() -> None:
    """A peer may answer with anything that can be read; only what it was asked about suffers."""
    asked = [
        RequestTopicData(topic_name=name, partitions=[RequestPartitionData(partition_index=0)])
        for name in ("a", "b")
    ]
    merged = RELAYED[DescribeQuorumRequest.API_KEY][0].merge(
        DescribeQuorumRequest(topics=asked), [DescribeQuorumResponse(), DescribeQuorumResponse()]
    )
    assert isinstance(merged, DescribeQuorumResponse)
    told = [
        (topic.topic_name, one.error_code) for topic in merged.topics for one in topic.partitions
    ]
    assert told == [(name, ErrorCode.UNKNOWN_SERVER_ERROR) for name in ("a", "b")]
