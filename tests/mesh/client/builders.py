"""Builders for tests of the client's machines: what a test does not say has a plain default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mesh.client.cluster import Cluster
from mesh.model.types import NO_TOPIC_ID, Now
from mesh.wire.schemas.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)

TOPIC_ID = bytes(range(16))


def at(monotonic_ms: int) -> Now:
    """Both clocks, the wall's a million milliseconds ahead."""
    return Now(monotonic_ms, monotonic_ms + 1_000_000)


def metadata(
    leaders: Mapping[int, int],
    *,
    topic: str = "t",
    epochs: Mapping[int, int] | None = None,
    nodes: Iterable[int] = (1, 2, 3),
    topic_id: bytes = TOPIC_ID,
    error: int = 0,
) -> MetadataResponse:
    """An answer about one topic: partition → leader."""
    partitions = [
        MetadataResponsePartition(
            partition_index=index, leader_id=leader, leader_epoch=(epochs or {}).get(index, 0)
        )
        for index, leader in leaders.items()
    ]
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=n, host=f"node{n}", port=9000 + n) for n in nodes],
        cluster_id="cluster",
        controller_id=1,
        topics=[
            MetadataResponseTopic(
                name=topic,
                topic_id=NO_TOPIC_ID if error else topic_id,
                partitions=[] if error else partitions,
                error_code=error,
            )
        ],
    )


def a_cluster(leaders: Mapping[int, int] | None = None) -> Cluster:
    """Three nodes and topic t, whose one partition node 1 leads."""
    cluster = Cluster()
    cluster.apply(metadata(leaders or {0: 1}), all_topics=False)
    return cluster
