"""A blocking connection for what happens between rounds: topics come and go, versions are told."""

import socket
import time
from collections.abc import Sequence
from typing import TypeVar

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire import Message, encode_request, read_response, response_class
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from mesh.wire.schemas.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from mesh.wire.schemas.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
)
from tools.bench.frames import CLIENT_ID, joined
from tools.bench.generator import BenchError, connect

R = TypeVar("R", bound=Message)

CREATE_VERSION, DELETE_VERSION, METADATA_VERSION, LIST_OFFSETS_VERSION = 5, 4, 9, 6
"""Versions that every broker of the last years speaks; nothing newer is needed here."""
FIND_COORDINATOR_VERSION, OFFSET_FETCH_VERSION, LOG_DIRS_VERSION = 4, 8, 2
LEADER_WAIT_S = 60.0
COORDINATORS_WAIT_S = 60.0
OFFSETS_TOPIC = "__consumer_offsets"
_NOT_YET = {
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
}


class BenchConnection:
    """Sends one request and waits for its answer."""

    def __init__(self, address: Address) -> None:
        """Connect.

        Raises:
            OSError: nobody listens.
        """
        self._address = address
        self._socket = connect(address)
        self._sent = 0

    def __enter__(self) -> "BenchConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, request: Message, version: int, answer: type[R]) -> R:
        """Return the answer to a request.

        Raises:
            OSError: the connection was closed instead.
            mesh.wire.WireError: the answer cannot be read.
        """
        assert response_class(request.API_KEY) is answer
        self._sent += 1
        self._socket.sendall(joined(encode_request(request, version, self._sent, CLIENT_ID)))
        frame = self._receive(int.from_bytes(self._receive(4), "big"))
        correlation_id, message = read_response(answer, frame, version)
        if correlation_id != self._sent:
            raise BenchError(f"request {self._sent} got the answer of {correlation_id}")
        return message

    def _receive(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            piece = self._socket.recv(count - len(received), socket.MSG_WAITALL)
            if not piece:
                raise ConnectionResetError("the broker closed the connection")
            received += piece
        return bytes(received)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        """Create a topic and wait until every partition is served.

        Raises:
            BenchError: the broker refuses, or no leader shows up in time.
        """
        wanted = CreatableTopic(
            name=topic,
            num_partitions=partitions,
            replication_factor=-1,
            configs=[CreatableTopicConfig(name=n, value=v) for n, v in configs.items()],
        )
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=30_000)
        for result in self.call(request, CREATE_VERSION, CreateTopicsResponse).topics:
            if result.error_code:
                raise BenchError(f"cannot create {topic}: {ErrorCode(result.error_code).name}")
        deadline = time.monotonic() + LEADER_WAIT_S
        while self._served(topic, partitions) < partitions:
            if time.monotonic() > deadline:
                raise BenchError(f"{topic} is not served after {LEADER_WAIT_S:.0f} s")
            time.sleep(0.02)

    def _served(self, topic: str, partitions: int) -> int:
        """Return how many partitions answer; a leader may be named a moment before it does."""
        leaders, _ = self.leaders_of(topic)
        served = 0
        for address in dict.fromkeys(leaders.values()):
            indexes = [index for index in range(partitions) if leaders.get(index) == address]
            if address.port == self._address.port:
                served += self._answering(topic, indexes)
            else:
                with BenchConnection(address) as other:
                    served += other._answering(topic, indexes)
        return served

    def _answering(self, topic: str, indexes: Sequence[int]) -> int:
        wanted = [ListOffsetsPartition(partition_index=index, timestamp=-1) for index in indexes]
        request = ListOffsetsRequest(
            replica_id=-1, topics=[ListOffsetsTopic(name=topic, partitions=wanted)]
        )
        told = self.call(request, LIST_OFFSETS_VERSION, ListOffsetsResponse)
        return sum(not p.error_code for t in told.topics for p in t.partitions)

    def leaders_of(self, topic: str) -> tuple[dict[int, Address], list[int]]:
        """Return where the leader of each partition is, and the ports of all brokers."""
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False
        )
        told = self.call(request, METADATA_VERSION, MetadataResponse)
        brokers = {broker.node_id: Address(broker.host, broker.port) for broker in told.brokers}
        leaders = {
            partition.partition_index: brokers[partition.leader_id]
            for found in told.topics
            for partition in found.partitions
            if partition.leader_id in brokers
        }
        return leaders, [address.port for address in brokers.values()]

    def leaders(self, topic: str, *, auto_create: bool = False) -> int:
        """Return how many partitions of a topic have a leader."""
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=auto_create
        )
        told = self.call(request, METADATA_VERSION, MetadataResponse)
        return sum(not p.error_code and p.leader_id >= 0 for t in told.topics for p in t.partitions)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic; its bytes go when the broker sees fit.

        Raises:
            BenchError: the broker refuses.
        """
        request = DeleteTopicsRequest(topic_names=[topic], timeout_ms=30_000)
        for result in self.call(request, DELETE_VERSION, DeleteTopicsResponse).responses:
            if result.error_code:
                raise BenchError(f"cannot delete {topic}: {ErrorCode(result.error_code).name}")

    # Groups

    def wait_for_coordinators(self, group_ids: Sequence[str]) -> None:
        """Return once the coordinator of each group answers.

        Raises:
            BenchError: one of them does not, in `COORDINATORS_WAIT_S`.
        """
        deadline = time.monotonic() + COORDINATORS_WAIT_S
        while not (self.found(group_ids) and self.loaded(group_ids)):
            if time.monotonic() > deadline:
                raise BenchError(f"a coordinator does not answer in {COORDINATORS_WAIT_S:.0f} s")
            time.sleep(0.02)

    def found(self, group_ids: Sequence[str]) -> bool:
        """Say whether each group has a coordinator; the first to ask has the topic made."""
        request = FindCoordinatorRequest(coordinator_keys=list(group_ids))
        told = self.call(request, FIND_COORDINATOR_VERSION, FindCoordinatorResponse)
        return not _refused({found.error_code for found in told.coordinators})

    def loaded(self, group_ids: Sequence[str]) -> bool:
        """Say whether each group's offsets can be read."""
        wanted = [OffsetFetchRequestGroup(group_id=group_id, topics=[]) for group_id in group_ids]
        request = OffsetFetchRequest(groups=wanted)
        told = self.call(request, OFFSET_FETCH_VERSION, OffsetFetchResponse)
        return not _refused({group.error_code for group in told.groups})

    def topic_bytes(self, topic: str) -> int:
        """Return how much disk a topic takes on this broker."""
        request = DescribeLogDirsRequest(topics=None)
        told = self.call(request, LOG_DIRS_VERSION, DescribeLogDirsResponse)
        return sum(
            partition.partition_size
            for directory in told.results
            for found in directory.topics
            if found.name == topic
            for partition in found.partitions
        )


def _refused(codes: set[int]) -> bool:
    """Say whether there is an error that goes by itself.

    Raises:
        BenchError: one that does not.
    """
    for code in codes - _NOT_YET - {ErrorCode.NONE}:
        raise BenchError(f"no coordinator: {ErrorCode(code).name}")
    return bool(codes - {ErrorCode.NONE})
