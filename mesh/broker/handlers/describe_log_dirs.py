"""DescribeLogDirs (key 35): the node's one directory, its disk, and what each partition takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)
from storage.disk import DiskError

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.partition import Partition


def handle(
    broker: Broker, request: Request, body: DescribeLogDirsRequest
) -> DescribeLogDirsResponse:
    """Describe all partitions, or those that are asked for and here; others are left out.

    The registry's own topic is hidden here as it is in Metadata.
    """
    result = DescribeLogDirsResult(log_dir=broker.log_directory)
    try:
        result.total_bytes, result.usable_bytes = broker.disk_bytes()
    except DiskError:
        result.error_code = ErrorCode.KAFKA_STORAGE_ERROR
        return DescribeLogDirsResponse(results=[result])
    topics: dict[str, DescribeLogDirsTopic] = {}
    for partition in _chosen(broker, body):
        topic = topics.setdefault(partition.topic, DescribeLogDirsTopic(name=partition.topic))
        topic.partitions.append(_describe(partition))
    result.topics = list(topics.values())
    return DescribeLogDirsResponse(results=[result])


def _chosen(broker: Broker, body: DescribeLogDirsRequest) -> Iterator[Partition]:
    if body.topics is None:
        yield from broker.partitions.values()
        return
    keys = dict.fromkeys(
        (topic.topic, index) for topic in body.topics for index in topic.partitions
    )
    for name, index in keys:
        partition = broker.partition(name, index)
        if partition is not None:
            yield partition


def _describe(partition: Partition) -> DescribeLogDirsPartition:
    return DescribeLogDirsPartition(
        partition_index=partition.index,
        partition_size=partition.log.size_bytes,
        # How far a log that catches up is behind what is committed.
        offset_lag=max(partition.high_watermark - partition.log.log_end_offset, 0),
    )


HANDLER = Handler(key=35, versions=(1, 5), request=DescribeLogDirsRequest, handle=handle)
