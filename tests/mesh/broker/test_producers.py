"""DescribeProducers on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    TopicRequest,
)
from mesh.wire.schemas.produce import ProduceResponse
from tests.mesh.node.peer import WALL_MS, Peer, a_batch, a_produce

UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.fixture
def peer() -> Peer:
    """A node with the topic `t`, to which two producers wrote."""
    peer = Peer()
    peer.create("t")
    for producer_id, producer_epoch, base_sequence in ((7, 0, 0), (8, 3, 41), (7, 0, 2)):
        batch = a_batch(
            b"a",
            b"b",
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
        )
        answer = peer.ask(a_produce("t", batch=batch), ProduceResponse, version=9)
        assert answer.responses[0].partition_responses[0].error_code == 0
    return peer


def describe(peer: Peer, name: str, *indexes: int) -> list[PartitionResponse]:
    """Ask for partitions of one topic."""
    request = DescribeProducersRequest(
        topics=[TopicRequest(name=name, partition_indexes=list(indexes))]
    )
    [topic] = peer.ask(request, DescribeProducersResponse).topics
    assert topic.name == name
    assert [each.partition_index for each in topic.partitions] == list(indexes)
    return topic.partitions


def test_who_wrote_is_told_with_epoch_and_last_sequence(peer: Peer) -> None:
    """Without transactions there is no coordinator's epoch and no open transaction."""
    [partition] = describe(peer, "t", 0)
    assert (partition.error_code, partition.error_message) == (0, None)
    assert [
        (each.producer_id, each.producer_epoch, each.last_sequence, each.last_timestamp)
        for each in partition.active_producers
    ] == [(7, 0, 3, WALL_MS), (8, 3, 42, WALL_MS)]
    assert {
        (each.coordinator_epoch, each.current_txn_start_offset)
        for each in partition.active_producers
    } == {(-1, -1)}


def test_they_are_known_after_a_crash_too(peer: Peer) -> None:
    """The log's batches tell the same."""
    before = describe(peer, "t", 0)
    peer.disk.crash()
    assert describe(Peer(disk=peer.disk), "t", 0) == before


@pytest.mark.parametrize(
    ("name", "index", "code", "text"),
    [
        ("nah", 0, UNKNOWN, "This server does not host this topic-partition."),
        ("__registry", 0, UNKNOWN, "This server does not host this topic-partition."),
        ("t", 1, UNKNOWN, None),
        ("t", -1, UNKNOWN, None),
        (
            "",
            0,
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
    ],
)
def test_what_is_not_there_is_told_in_kafkas_words(
    peer: Peer, name: str, index: int, code: int, text: str | None
) -> None:
    """An unknown topic has a text, an unknown partition of a known one has none."""
    [partition] = describe(peer, name, index)
    assert (partition.error_code, partition.error_message) == (code, text)
    assert partition.active_producers == []


def test_a_partition_that_is_not_open_is_led_by_nobody(peer: Peer) -> None:
    """The registry knows it, the node does not serve it: the client is to ask again."""
    del peer.node.broker.partitions["t", 0]
    [partition] = describe(peer, "t", 0)
    assert partition.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_partition_is_answered_once_however_often_it_is_named(peer: Peer) -> None:
    """Or a small request could make an answer that fills the memory."""
    many = TopicRequest(name="t", partition_indexes=[0] * 50_000)
    request = DescribeProducersRequest(topics=[many, many])
    [topic] = peer.ask(request, DescribeProducersResponse).topics
    assert [each.partition_index for each in topic.partitions] == [0]
    assert len(topic.partitions[0].active_producers) == 2
