"""DescribeCluster, DescribeTopicPartitions and InitProducerId."""

from __future__ import annotations

from mesh.wire.schemas.describe_cluster import DescribeClusterRequest
from mesh.wire.schemas.describe_topic_partitions import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest
from tests.interop.differential.cases import case, surprise
from tests.interop.differential.talk import Talk


@case(DescribeClusterRequest)
def cluster(talk: Talk) -> None:
    """The nodes, and what this client may do"""
    talk.ask(DescribeClusterRequest())
    talk.ask(DescribeClusterRequest(include_cluster_authorized_operations=True))


@case(DescribeClusterRequest, versions=(1, 2))
def cluster_endpoints(talk: Talk) -> None:
    """Endpoints of controllers, and of a kind that does not exist"""
    for kind in (2, 3, 0):
        talk.ask(DescribeClusterRequest(endpoint_type=kind), label=f"endpoint type {kind}")


@case(DescribeClusterRequest, versions=(2, 2))
def cluster_fenced(talk: Talk) -> None:
    """Fenced nodes are asked for, and there are none"""
    talk.ask(DescribeClusterRequest(include_fenced_brokers=True))


def partitions(
    *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None
) -> DescribeTopicPartitionsRequest:
    """Return a DescribeTopicPartitions request."""
    after = None if cursor is None else Cursor(topic_name=cursor[0], partition_index=cursor[1])
    return DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=after,
    )


@case(DescribeTopicPartitionsRequest)
def partitions_described(talk: Talk) -> None:
    """Topics by name, known, unknown, invalid and twice"""
    one, two = talk.topic("one", partitions=3), talk.topic("two")
    talk.ask(partitions(one, two))
    talk.ask(partitions(two, one, one), label="twice")
    talk.ask(partitions(one, talk.name(), "a/b"), label="unknown")


@case(DescribeTopicPartitionsRequest)
def partitions_limited(talk: Talk) -> None:
    """A limit on the partitions of an answer, and a cursor to go on from"""
    one, two = talk.topic("one", partitions=3), talk.topic("two", partitions=3)
    for limit in (1, 3, 4, 6, 7, 0, -1):
        talk.ask(partitions(one, two, limit=limit), label=f"limit {limit}")
    for name, index in ((one, 0), (one, 2), (one, 3), (two, 1), (talk.name("p"), 0), (one, -1)):
        talk.ask(partitions(one, two, cursor=(name, index)), label=f"from {index}")
    talk.ask(partitions(one, two, cursor=(talk.name("zz"), 0)), label="from beyond")


@case(InitProducerIdRequest)
def producer_ids(talk: Talk) -> None:
    """Ids without a transaction: each another, epoch 0"""
    for _ in range(2):
        talk.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000))
    talk.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=-1))


@case(InitProducerIdRequest)
def producer_ids_empty_transaction(talk: Talk) -> None:
    """An empty transactional id is none"""
    talk.ask(InitProducerIdRequest(transactional_id="", transaction_timeout_ms=60_000))


@case(InitProducerIdRequest, versions=(3, 5))
def producer_ids_renewed(talk: Talk) -> None:
    """An id without a transaction, asked for with an id and an epoch in hand"""
    for producer_id, epoch in ((5, 3), (-1, 3), (5, -1), (-2, -2)):
        request = InitProducerIdRequest(
            transactional_id=None,
            transaction_timeout_ms=60_000,
            producer_id=producer_id,
            producer_epoch=epoch,
        )
        talk.ask(request, label=f"id {producer_id} epoch {epoch}")


surprise(
    DescribeClusterRequest,
    """Controllers' endpoints asked of a broker are MISMATCHED_ENDPOINT_TYPE (114); a type that
    does not exist is UNSUPPORTED_ENDPOINT_TYPE (115).""",
)
surprise(
    DescribeTopicPartitionsRequest,
    """A limit of zero or less is taken as 1.""",
)
surprise(
    DescribeTopicPartitionsRequest,
    """The topics are answered in the order of their names, each once.""",
)
surprise(
    DescribeTopicPartitionsRequest,
    """A cursor that names a topic which is not in the request is INVALID_REQUEST (42) for
    every topic of it, unless topics after it remain.""",
)
surprise(
    DescribeTopicPartitionsRequest,
    """Unknown topics carry authorized operations as if they existed.""",
)
surprise(
    InitProducerIdRequest,
    """Just after a start the answer is COORDINATOR_LOAD_IN_PROGRESS (14) until the first block
    of ids is there.""",
)
surprise(
    InitProducerIdRequest,
    """A producer id and an epoch without a transactional id are ignored if both are given, and
    refused (42) if only one is.""",
)
