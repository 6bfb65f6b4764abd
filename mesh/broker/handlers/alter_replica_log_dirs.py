"""AlterReplicaLogDirs (key 34): move partitions to another directory of the same node.

A node has one directory, so a partition is there already or the directory does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.broker.api import Handler, Request
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)

if TYPE_CHECKING:
    from mesh.broker.broker import Broker


def handle(
    broker: Broker, request: Request, body: AlterReplicaLogDirsRequest
) -> AlterReplicaLogDirsResponse:
    """Answer each partition once, for the last directory that names it."""
    wanted = {
        (topic.name, index): directory.path
        for directory in body.dirs
        for topic in directory.topics
        for index in topic.partitions
    }
    topics: dict[str, AlterReplicaLogDirTopicResult] = {}
    for (name, index), path in wanted.items():
        topic = topics.setdefault(name, AlterReplicaLogDirTopicResult(topic_name=name))
        code = ErrorCode.NONE
        if path != broker.log_directory:
            code = ErrorCode.LOG_DIR_NOT_FOUND
        elif broker.partition(name, index) is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        result = AlterReplicaLogDirPartitionResult(partition_index=index, error_code=code)
        topic.partitions.append(result)
    return AlterReplicaLogDirsResponse(results=list(topics.values()))


HANDLER = Handler(key=34, versions=(1, 2), request=AlterReplicaLogDirsRequest, handle=handle)
