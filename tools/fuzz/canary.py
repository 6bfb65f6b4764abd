"""The client that behaves: it sees that it is served, and that what was acknowledged stays."""

from __future__ import annotations

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse
from mesh.wire.schemas.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from mesh.wire.schemas.metadata import MetadataRequest, MetadataResponse
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from storage.records import Record, batches, build_batch, crc_matches, read_records
from tools.bench.connection import BenchConnection
from tools.fuzz.draw import MARKERS, PARTITIONS, TOPICS

TOPIC = "canary-of-mesh-fuzz"
"""No frame names it, and no mutation of one comes near it."""
CONFIGS = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "max.message.bytes": "1048576",
    "min.insync.replicas": "1",
}
"""Its own, so that settings of the whole node, which frames do change, mean nothing to it."""
DELETED_AT_ONCE = 500


class UnwellError(Exception):
    """The node does not serve as it must; the text says what was seen."""


def create_canary() -> CreateTopicsRequest:
    """Return the request that makes the topic."""
    configs = [CreatableTopicConfig(name=name, value=value) for name, value in CONFIGS.items()]
    topic = CreatableTopic(name=TOPIC, num_partitions=1, replication_factor=1, configs=configs)
    return CreateTopicsRequest(topics=[topic], timeout_ms=30_000)


class Canary:
    """What was acknowledged so far, and the topics that the frames name."""

    def __init__(self, address: Address, *, node_is_ours: bool = True) -> None:
        """Make the topic on a node at `address`, where it must not be yet.

        Args:
            address: of the node.
            node_is_ours: whether all other topics on it may go.

        Raises:
            UnwellError: the node refuses.
            OSError: it does not answer.
        """
        self._address = address
        self._node_is_ours = node_is_ours
        self.values: list[bytes] = []
        with self._connect() as connection:
            (result,) = connection.call(create_canary(), 5, CreateTopicsResponse).topics
        if result.error_code:
            raise UnwellError(f"the canary topic: {ErrorCode(result.error_code).name}")

    def _connect(self) -> BenchConnection:
        return BenchConnection(self._address)

    def breathe(self) -> None:
        """Do on a fresh connection what every client does; compare all that is there.

        Raises:
            UnwellError: an answer is wrong, or something that was acknowledged changed.
            OSError: the node did not answer, or closed the connection.
        """
        with self._connect() as connection:
            versions = connection.call(ApiVersionsRequest(), 0, ApiVersionsResponse)
            if versions.error_code:
                raise UnwellError(f"ApiVersions is answered with {versions.error_code}")
            told = connection.call(MetadataRequest(topics=None), 9, MetadataResponse)
            if TOPIC not in {topic.name for topic in told.topics}:
                raise UnwellError("Metadata does not name the canary topic")
            self._produce(connection)
            found = self._fetch(connection)
        if found != self.values:
            raise UnwellError(_difference(self.values, found))

    def _produce(self, connection: BenchConnection) -> None:
        value = b"canary %d" % len(self.values)
        batch = build_batch([Record(0, 1_700_000_000_000, None, value)])
        data = PartitionProduceData(index=0, records=batch)
        request = ProduceRequest(
            acks=-1,
            timeout_ms=30_000,
            topic_data=[TopicProduceData(name=TOPIC, partition_data=[data])],
        )
        answer = connection.call(request, 9, ProduceResponse)
        result = answer.responses[0].partition_responses[0]
        if result.error_code or result.base_offset != len(self.values):
            name = ErrorCode(result.error_code).name
            raise UnwellError(
                f"a record for offset {len(self.values)} got {name}, offset {result.base_offset}"
            )
        self.values.append(value)

    def _fetch(self, connection: BenchConnection) -> list[bytes]:
        values: list[bytes] = []
        while len(values) < len(self.values):
            wanted = FetchPartition(
                partition=0, fetch_offset=len(values), partition_max_bytes=1 << 20
            )
            request = FetchRequest(
                max_wait_ms=0,
                min_bytes=0,
                max_bytes=1 << 20,
                topics=[FetchTopic(topic=TOPIC, partitions=[wanted])],
            )
            answer = connection.call(request, 12, FetchResponse)
            result = answer.responses[0].partitions[0]
            if result.error_code:
                raise UnwellError(f"a fetch of the canary got {ErrorCode(result.error_code).name}")
            records = result.records
            assert isinstance(records, bytes | memoryview)
            before = len(values)
            for batch in batches(records):
                if not crc_matches(batch):
                    raise UnwellError(f"the canary's batch at offset {len(values)} has a wrong CRC")
                values += [record.value or b"" for record in read_records(batch)]
            if len(values) == before:
                raise UnwellError(f"nothing is at the canary's offset {before}")
        return values

    def _may_go(self, name: str) -> bool:
        return name != TOPIC and (self._node_is_ours or name in TOPICS)

    def renew_topics(self) -> dict[bytes, bytes]:
        """Delete every topic that frames made; make anew those that they name.

        Returns: by marker the topic's id.

        Raises:
            UnwellError: the node refuses.
            OSError: as `breathe`.
        """
        with self._connect() as connection:
            told = connection.call(MetadataRequest(topics=None), 9, MetadataResponse)
            names = [t.name for t in told.topics if t.name and self._may_go(t.name)]
            for at in range(0, len(names), DELETED_AT_ONCE):
                request = DeleteTopicsRequest(
                    topic_names=names[at : at + DELETED_AT_ONCE], timeout_ms=30_000
                )
                for gone in connection.call(request, 4, DeleteTopicsResponse).responses:
                    if gone.error_code:
                        name = ErrorCode(gone.error_code).name
                        raise UnwellError(f"a topic cannot be deleted: {name}")
            wanted = [
                CreatableTopic(name=name, num_partitions=PARTITIONS, replication_factor=1)
                for name in TOPICS
            ]
            made = connection.call(
                CreateTopicsRequest(topics=wanted, timeout_ms=30_000), 7, CreateTopicsResponse
            )
            if any(topic.error_code for topic in made.topics):
                raise UnwellError("the topics that frames name cannot be made")
            ids = {topic.name: topic.topic_id for topic in made.topics}
        return {marker: ids[name] for marker, name in zip(MARKERS, TOPICS, strict=True)}


def _difference(acknowledged: list[bytes], found: list[bytes]) -> str:
    for offset, (before, now) in enumerate(zip(acknowledged, found, strict=False)):
        if before != now:
            return f"the acknowledged record at offset {offset} of the canary changed"
    return f"of {len(acknowledged)} acknowledged records of the canary {len(found)} are there"
