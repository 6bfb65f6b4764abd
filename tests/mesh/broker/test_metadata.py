"""Metadata, DescribeCluster and DescribeTopicPartitions on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.model.types import NO_TOPIC_ID
from mesh.wire.schemas.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from mesh.wire.schemas.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from mesh.wire.schemas.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseTopic,
)
from tests.mesh.node.peer import Peer

UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.fixture
def peer() -> Peer:
    """A node with the topics `a` of one partition and `b` of two."""
    peer = Peer()
    peer.create("a")
    peer.create("b", 2)
    return peer


def metadata(
    peer: Peer, *names: str, version: int = 13, auto_create: bool = False
) -> dict[str | None, MetadataResponseTopic]:
    """Ask for topics by name."""
    request = MetadataRequest(
        topics=[MetadataRequestTopic(name=name) for name in names],
        allow_auto_topic_creation=auto_create,
    )
    answer = peer.ask(request, MetadataResponse, version=version)
    return {topic.name: topic for topic in answer.topics}


@pytest.mark.parametrize("version", range(14))
def test_all_topics_are_told_in_every_version(peer: Peer, version: int) -> None:
    """Null, or in version 0 an empty list, asks for all; the registry's own topic is hidden."""
    request = MetadataRequest(topics=[] if version == 0 else None)
    answer = peer.ask(request, MetadataResponse, version=version)
    assert sorted(topic.name or "" for topic in answer.topics) == ["a", "b"]
    [broker] = answer.brokers
    assert (broker.node_id, broker.host, broker.port) == (1, "127.0.0.1", 9092)
    for topic in answer.topics:
        for partition in topic.partitions:
            assert (partition.error_code, partition.leader_id) == (0, 1)
            assert (partition.replica_nodes, partition.isr_nodes) == ([1], [1])
        assert (topic.topic_id != NO_TOPIC_ID) == (version >= 10)


def test_an_empty_list_asks_for_no_topic(peer: Peer) -> None:
    """From version 1 on, nothing but the brokers is told."""
    assert metadata(peer) == {}


def test_topics_are_made_when_asked_for_and_lead_at_the_first_answer() -> None:
    """With auto-creation the answer comes after the commit and names a leader that serves."""
    peer = Peer(config={"num.partitions": "2"})
    connection = peer.connect()
    request = MetadataRequest(topics=[MetadataRequestTopic(name="new")])
    peer.send(connection, request, request)
    assert peer.answers(connection) == []
    peer.sync()
    for answer in peer.answers(connection):
        assert isinstance(answer, MetadataResponse)
        [topic] = answer.topics
        assert topic.error_code == 0
        assert [partition.leader_id for partition in topic.partitions] == [1, 1]


def test_a_topic_whose_commit_is_slow_has_no_leader_yet() -> None:
    """The answer comes in bounded time, with an error that makes the client ask again."""
    peer = Peer()
    connection = peer.connect()
    peer.send(connection, MetadataRequest(topics=[MetadataRequestTopic(name="new")]))
    peer.pass_time(1_001)
    [answer] = peer.answers(connection)
    assert isinstance(answer, MetadataResponse)
    assert answer.topics[0].error_code == ErrorCode.LEADER_NOT_AVAILABLE
    assert answer.topics[0].partitions == []


def test_what_is_not_there_and_not_to_be_made_is_unknown(peer: Peer) -> None:
    """Forbidden by the client, by the node, or for hidden and internal names: not made."""
    assert metadata(peer, "new")["new"].error_code == UNKNOWN
    hidden = metadata(peer, "__registry", "__consumer_offsets", auto_create=True)
    assert [topic.error_code for topic in hidden.values()] == [UNKNOWN] * 2
    assert hidden["__consumer_offsets"].is_internal
    peer = Peer(config={"auto.create.topics.enable": "false"})
    assert metadata(peer, "new", auto_create=True)["new"].error_code == UNKNOWN
    assert peer.node.broker.registry.topics == {}


def test_bad_names_are_told_and_do_not_hinder_others(peer: Peer) -> None:
    """An invalid or colliding name is answered 17 beside the topic that is there."""
    peer.create("x.y")
    found = metadata(peer, "a", "bad name", "x_y", "", auto_create=True)
    invalid = ErrorCode.INVALID_TOPIC_EXCEPTION
    assert {name: topic.error_code for name, topic in found.items()} == {
        "a": 0,
        "bad name": invalid,
        "x_y": invalid,
        "": invalid,
    }
    assert metadata(peer, "bad name")["bad name"].error_code == invalid


def test_one_request_makes_a_bounded_number_of_topics() -> None:
    """What goes beyond 10,000 new partitions is refused by name, not made."""
    peer = Peer(config={"num.partitions": "4000"})
    found = metadata(peer, "a", "b", "c", auto_create=True)
    assert [topic.error_code for topic in found.values()] == [0, 0, ErrorCode.POLICY_VIOLATION]


def test_topics_are_found_by_id(peer: Peer) -> None:
    """An id gives its topic, an unknown one its error; before version 12 ids alone are refused."""
    topic_id = peer.node.broker.registry.topics["b"].topic_id
    asked = [
        MetadataRequestTopic(topic_id=topic_id, name=None),
        MetadataRequestTopic(topic_id=b"\x07" * 16, name=None),
    ]
    answer = peer.ask(MetadataRequest(topics=asked), MetadataResponse)
    assert [(topic.name, topic.error_code) for topic in answer.topics] == [
        ("b", 0),
        (None, ErrorCode.UNKNOWN_TOPIC_ID),
    ]
    answer = peer.ask(MetadataRequest(topics=asked), MetadataResponse, version=11)
    assert [topic.error_code for topic in answer.topics] == [ErrorCode.INVALID_REQUEST] * 2
    assert answer.brokers == []
    nameless = MetadataRequest(topics=[MetadataRequestTopic(name=None)])
    assert peer.ask(nameless, MetadataResponse).error_code == ErrorCode.INVALID_REQUEST


def test_operations_are_told_only_when_asked_for(peer: Peer) -> None:
    """Without access rules everything is allowed; the bits are those of Kafka 4.3.1."""
    plain = peer.ask(MetadataRequest(topics=None), MetadataResponse, version=10)
    assert {topic.topic_authorized_operations for topic in plain.topics} == {-(2**31)}
    assert plain.cluster_authorized_operations == -(2**31)
    request = MetadataRequest(
        topics=None,
        include_topic_authorized_operations=True,
        include_cluster_authorized_operations=True,
    )
    full = peer.ask(request, MetadataResponse, version=10)
    assert {topic.topic_authorized_operations for topic in full.topics} == {3576}
    assert full.cluster_authorized_operations == 8096


def test_the_cluster_is_this_node_and_has_no_controllers(peer: Peer) -> None:
    """Brokers are told; controllers and unknown endpoints get Kafka's refusals."""
    answer = peer.ask(DescribeClusterRequest(), DescribeClusterResponse)
    told = peer.ask(MetadataRequest(topics=None), MetadataResponse)
    assert (answer.cluster_id, answer.controller_id) == (told.cluster_id, 1)
    assert [(each.broker_id, each.port) for each in answer.brokers] == [(1, 9092)]
    for kind, code in (
        (2, ErrorCode.MISMATCHED_ENDPOINT_TYPE),
        (9, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE),
    ):
        refused = peer.ask(DescribeClusterRequest(endpoint_type=kind), DescribeClusterResponse)
        assert (refused.error_code, refused.brokers, refused.cluster_id) == (code, [], "")


def page(
    peer: Peer, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None
) -> tuple[list[tuple[str | None, int, int]], tuple[str, int] | None]:
    """Return (name, error, partitions) of the topics of one page, and the next cursor."""
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=None if cursor is None else Cursor(topic_name=cursor[0], partition_index=cursor[1]),
    )
    answer = peer.ask(request, DescribeTopicPartitionsResponse)
    topics = [(each.name, each.error_code, len(each.partitions)) for each in answer.topics]
    after = answer.next_cursor
    return topics, None if after is None else (after.topic_name, after.partition_index)


def test_partitions_come_in_pages_that_cover_everything_once(peer: Peer) -> None:
    """Following the cursor gives every partition, whatever the size of a page."""
    for limit in (-1, 1, 2, 3, 9):
        found: list[tuple[str | None, int, int]] = []
        topics, cursor = page(peer, limit=limit)
        found += topics
        while cursor is not None:
            topics, cursor = page(peer, limit=limit, cursor=cursor)
            found += topics
        for name, count in (("a", 1), ("b", 2)):
            assert sum(each[2] for each in found if each[0] == name) == count


def test_pages_begin_and_end_where_kafkas_do(peer: Peer) -> None:
    """A full page points to the next topic's first partition; unknown topics cost nothing."""
    assert page(peer, "b", "a", "b", limit=1) == ([("a", 0, 1)], ("b", 0))
    assert page(peer, "nah", "b", limit=1) == ([("b", 0, 1)], ("b", 1))
    assert page(peer, "b", cursor=("b", 7)) == ([("b", 0, 0)], None)
    assert page(peer, "a", "b", cursor=("a", 1)) == ([("a", 0, 0), ("b", 0, 2)], None)
    assert page(peer, "aa", "b", limit=2) == ([("aa", UNKNOWN, 0), ("b", 0, 2)], None)
    bad = ErrorCode.INVALID_TOPIC_EXCEPTION
    assert page(peer, "x y") == ([("x y", bad, 0)], None)


def test_a_cursor_that_points_nowhere_is_refused(peer: Peer) -> None:
    """A topic that was not asked for, or a negative partition: every topic says so."""
    refused = [("a", ErrorCode.INVALID_REQUEST, 0)]
    assert page(peer, "a", cursor=("b", 0)) == (refused, None)
    assert page(peer, "a", cursor=("a", -1)) == (refused, None)
