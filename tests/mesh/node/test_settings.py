"""Every setting that is said to change something here does so, and a dynamic one at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crc32c import crc32c

from mesh.broker.resources import ResourceType
from mesh.model.config import BROKER_SETTINGS, TOPIC_SETTINGS
from mesh.model.errors import ErrorCode
from mesh.model.setting import Setting
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from mesh.wire.schemas.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from mesh.wire.schemas.produce import PartitionProduceResponse, ProduceResponse
from storage.compression import Codec
from storage.records import Record, batches, build_batch, read_batch_header
from tests.mesh.node.peer import WALL_MS, Peer, a_batch, a_fetch, a_produce, records_of

MIB = 1 << 20
DAY_MS = 86_400_000


def alter(peer: Peer, kind: ResourceType, name: str, **configs: str | int) -> None:
    """Set configs at runtime; underscores stand for dots."""
    changes = [
        AlterableConfig(name=key.replace("_", "."), config_operation=0, value=str(value))
        for key, value in configs.items()
    ]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=changes)
    request = IncrementalAlterConfigsRequest(resources=[resource])
    [result] = peer.ask(request, IncrementalAlterConfigsResponse).responses
    assert (result.error_code, result.error_message) == (0, None)


def alter_topic(peer: Peer, **configs: str | int) -> None:
    """Set configs of the topic `t`."""
    alter(peer, ResourceType.TOPIC, "t", **configs)


@pytest.fixture
def peer() -> Peer:
    """A node with the topic `t`."""
    return a_peer()


def a_peer(**config: str | int) -> Peer:
    """A node with the topic `t` and these configs given at its start."""
    peer = Peer(config={name.replace("_", "."): str(value) for name, value in config.items()})
    peer.create("t")
    return peer


def send(peer: Peer, batch: bytes) -> PartitionProduceResponse:
    answer = peer.ask(a_produce("t", batch=batch), ProduceResponse, version=12)
    return answer.responses[0].partition_responses[0]


def code(peer: Peer, batch: bytes) -> int:
    return send(peer, batch).error_code


def stamped(timestamp_ms: int) -> bytes:
    return bytes(build_batch([Record(0, timestamp_ms, None, b"x")]))


def stored(peer: Peer) -> list[bytes]:
    """The batches of the log, as they are on disk."""
    log = peer.node.broker.partitions["t", 0].log
    found: list[bytes] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:  # A read ends with its segment.
        for piece in log.read(offset, 64 * MIB, log.log_end_offset):
            found += map(bytes, batches(piece.read()))
        offset = read_batch_header(found[-1]).last_offset + 1
    return found


def fill(peer: Peer, count: int) -> None:
    """Append so many batches of half a MiB."""
    for _ in range(count):
        assert code(peer, a_batch(bytes(MIB // 2))) == 0


def log_start(peer: Peer) -> int:
    return peer.node.broker.partitions["t", 0].log.log_start_offset


def segment_count(peer: Peer) -> int:
    names = peer.disk.list_directory("/n1/data/t-0")
    return sum(name.endswith(".log") for name in names)


# Settings of topics


def test_cleanup_policy(peer: Peer) -> None:
    """compact asks for keys, and ends what delete does with old records."""
    alter_topic(peer, segment_bytes=MIB, retention_bytes=MIB, cleanup_policy="compact")
    alter_topic(peer, min_cleanable_dirty_ratio=1)  # What compact does is another test's.
    assert code(peer, a_batch(b"no key")) == ErrorCode.INVALID_RECORD
    alter_topic(peer, cleanup_policy="delete")
    fill(peer, 8)
    alter_topic(peer, cleanup_policy="compact")
    peer.pass_time(120_000)
    assert log_start(peer) == 0
    alter_topic(peer, cleanup_policy="delete,compact")
    peer.pass_time(120_000)
    assert log_start(peer) > 0


@pytest.mark.parametrize(
    ("name", "codec"), [("gzip", Codec.GZIP), ("lz4", Codec.LZ4), ("zstd", Codec.ZSTD)]
)
def test_compression_levels(name: str, codec: Codec) -> None:
    """A codec's level changes how small a batch gets; a batch that has the codec stays as sent."""
    text = b"".join(b"%d little words " % number for number in range(4000))
    sizes = []
    for level in {"gzip": (1, 9), "lz4": (9, 12), "zstd": (1, 19)}[name]:
        peer = a_peer()
        alter_topic(peer, compression_type=name, **{f"compression_{name}_level": level})
        assert code(peer, a_batch(text)) == 0
        [batch] = stored(peer)
        assert read_batch_header(batch).codec == codec
        assert peer.fetch_values("t") == [text]
        sizes.append(len(batch))
        as_sent = bytes(build_batch([Record(0, WALL_MS, None, text)], codec=codec))
        assert code(peer, as_sent) == 0
        assert stored(peer)[1][61:] == as_sent[61:]
    assert sizes[0] > sizes[1]


def test_compression_type(peer: Peer) -> None:
    """Batches get the codec of their topic, from the next one on; producer leaves them alone."""
    codecs = []
    packed = bytes(build_batch([Record(0, WALL_MS, b"k", b"v" * 500)], codec=Codec.LZ4))
    for name in ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"):
        alter_topic(peer, compression_type=name)
        assert code(peer, packed) == 0
        codecs.append(read_batch_header(stored(peer)[-1]).codec)
    assert codecs == [Codec.LZ4, *sorted(Codec), Codec.LZ4]
    assert peer.fetch_values("t") == [b"v" * 500] * 7


def test_compression_type_cannot_make_a_batch_too_large(peer: Peer) -> None:
    """What max.message.bytes forbids is not taken unpacked either."""
    alter_topic(peer, compression_type="uncompressed", max_message_bytes=5_000)
    packed = bytes(build_batch([Record(0, WALL_MS, None, bytes(50_000))], codec=Codec.ZSTD))
    assert len(packed) < 5_000
    assert code(peer, packed) == ErrorCode.MESSAGE_TOO_LARGE
    alter_topic(peer, compression_type="gzip")
    assert code(peer, packed) == 0


def test_compression_type_stores_what_is_too_much_as_it_was_sent(peer: Peer) -> None:
    """A small batch that unpacks to very much holds up nobody, and stays readable."""
    alter_topic(peer, compression_type="gzip")
    packed = bytes(build_batch([Record(0, WALL_MS, None, bytes(20 * MIB))], codec=Codec.ZSTD))
    assert code(peer, packed) == 0
    assert read_batch_header(stored(peer)[0]).codec == Codec.ZSTD


def test_compression_type_tells_damage(peer: Peer) -> None:
    """A batch whose records cannot be unpacked is refused where they must be."""
    packed = bytearray(build_batch([Record(0, WALL_MS, None, b"v" * 500)]))
    packed[22] |= Codec.ZSTD
    packed[17:21] = crc32c(bytes(packed[21:])).to_bytes(4, "big")
    alter_topic(peer, compression_type="gzip")
    assert code(peer, bytes(packed)) == ErrorCode.CORRUPT_MESSAGE


def test_index_interval_bytes() -> None:
    """More bytes between entries mean fewer entries, from the next segment on."""
    sizes = []
    for interval in (100, 100_000):
        peer = a_peer()
        alter_topic(peer, index_interval_bytes=interval, segment_bytes=MIB)
        fill(peer, 3)  # The setting is a segment's from its beginning.
        for _ in range(200):
            assert code(peer, a_batch(bytes(1_000))) == 0
        fill(peer, 2)
        names = sorted(peer.disk.list_directory("/n1/data/t-0"))
        indexes = [name for name in names if name.endswith(".index")]
        paths = [f"/n1/data/t-0/{name}" for name in indexes[:-1]]
        sizes.append(max(len(peer.disk.read_file(path)) for path in paths))
    assert sizes[0] > 10 * sizes[1]


def test_max_message_bytes(peer: Peer) -> None:
    """A batch above the bound is refused; once that is raised, it is taken."""
    alter_topic(peer, max_message_bytes=500)
    assert code(peer, a_batch(bytes(600))) == ErrorCode.MESSAGE_TOO_LARGE
    alter_topic(peer, max_message_bytes=700)
    assert code(peer, a_batch(bytes(600))) == 0


def test_message_timestamp_after_max_ms(peer: Peer) -> None:
    """How far ahead a timestamp may lie."""
    ahead = stamped(WALL_MS + 2 * DAY_MS)
    assert code(peer, ahead) == ErrorCode.INVALID_TIMESTAMP
    alter_topic(peer, message_timestamp_after_max_ms=3 * DAY_MS)
    assert code(peer, ahead) == 0


def test_message_timestamp_before_max_ms(peer: Peer) -> None:
    """How far behind a timestamp may lie."""
    behind = stamped(WALL_MS - 2 * DAY_MS)
    assert code(peer, behind) == 0
    alter_topic(peer, message_timestamp_before_max_ms=DAY_MS)
    assert code(peer, behind) == ErrorCode.INVALID_TIMESTAMP


def test_message_timestamp_type(peer: Peer) -> None:
    """LogAppendTime stamps the batch and says so in the answer."""
    assert send(peer, stamped(5)).log_append_time_ms == -1
    alter_topic(peer, message_timestamp_type="LogAppendTime")
    assert send(peer, stamped(5)).log_append_time_ms == peer.now.wall_ms
    assert read_batch_header(stored(peer)[1]).max_timestamp == peer.now.wall_ms


def test_retention_bytes(peer: Peer) -> None:
    """Whole segments go until no more than the bound is left above the newest."""
    alter_topic(peer, segment_bytes=MIB)
    fill(peer, 8)
    peer.pass_time(120_000)
    assert log_start(peer) == 0
    alter_topic(peer, retention_bytes=2 * MIB)
    peer.pass_time(120_000)
    assert 0 < log_start(peer) < 8


def test_retention_ms(peer: Peer) -> None:
    """Segments go by the age of their newest record."""
    fill(peer, 2)
    peer.pass_time(DAY_MS)
    assert log_start(peer) == 0
    alter_topic(peer, retention_ms=DAY_MS // 2)
    peer.pass_time(120_000)
    assert log_start(peer) == 2


def test_segment_bytes(peer: Peer) -> None:
    """The next append that would exceed the bound begins a new segment."""
    fill(peer, 4)
    assert segment_count(peer) == 1
    alter_topic(peer, segment_bytes=MIB)
    fill(peer, 4)
    assert segment_count(peer) > 2


def test_segment_ms(peer: Peer) -> None:
    """A segment ends by the age of its first record."""
    assert code(peer, stamped(WALL_MS)) == 0
    assert code(peer, stamped(WALL_MS + 60_000)) == 0
    assert segment_count(peer) == 1
    alter_topic(peer, segment_ms=60_000)
    assert code(peer, stamped(WALL_MS + 60_001)) == 0
    assert segment_count(peer) == 2


# Settings of nodes that are not just the default of a topic's


def create(peer: Peer, name: str) -> int:
    """Make a topic with the node's own number of partitions; return the number."""
    wanted = CreatableTopic(name=name, num_partitions=-1, replication_factor=-1)
    request = CreateTopicsRequest(topics=[wanted], timeout_ms=1_000)
    [result] = peer.ask(request, CreateTopicsResponse).topics
    assert result.error_code == 0
    return result.num_partitions


def test_num_partitions() -> None:
    """A topic that is made without a number has the node's."""
    assert create(a_peer(), "u") == 1
    assert create(a_peer(num_partitions=7), "u") == 7


def test_auto_create_topics_enable() -> None:
    """Asking for a topic makes it, unless the node says no."""
    wanted = MetadataRequest(
        topics=[MetadataRequestTopic(name="u")], allow_auto_topic_creation=True
    )
    codes = [
        a_peer(auto_create_topics_enable=value).ask(wanted, MetadataResponse).topics[0].error_code
        for value in ("true", "false")
    ]
    assert codes == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_delete_topic_enable() -> None:
    """Topics go when they are deleted, unless the node says no."""
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000)
    codes = [
        a_peer(delete_topic_enable=value).ask(request, DeleteTopicsResponse).responses[0].error_code
        for value in ("true", "false")
    ]
    assert codes == [0, ErrorCode.TOPIC_DELETION_DISABLED]


def test_fetch_max_bytes() -> None:
    """An answer is no larger than the node allows, but for its first batch."""
    sizes = []
    for bound in (1024, 57_671_680):
        peer = a_peer(fetch_max_bytes=bound)
        for _ in range(10):
            assert code(peer, a_batch(bytes(600))) == 0
        answer = peer.ask(a_fetch("t", max_wait_ms=0), FetchResponse, version=12)
        records = records_of(answer.responses[0].partitions[0].records)
        sizes.append(sum(len(record.value or b"") for record in records))
    assert sizes[0] <= 1024 < sizes[1]


def test_max_request_partition_size_limit() -> None:
    """DescribeTopicPartitions answers so many partitions and a cursor for the rest."""
    for bound, count in ((2, 2), (2000, 5)):
        peer = a_peer(max_request_partition_size_limit=bound)
        peer.create("wide", 5)
        request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name="wide")])
        answer = peer.ask(request, DescribeTopicPartitionsResponse)
        assert len(answer.topics[0].partitions) == count
        assert (answer.next_cursor is None) == (count == 5)


def test_producer_id_expiration_ms(peer: Peer) -> None:
    """A silent producer is forgotten, so that its duplicate is a new record."""
    batch = a_batch(b"once", producer_id=7, producer_epoch=0, base_sequence=0)
    for expected in (0, 0):
        assert send(peer, batch).base_offset == expected
    peer.pass_time(3_600_000)
    assert send(peer, batch).base_offset == 0
    alter(peer, ResourceType.BROKER, "", producer_id_expiration_ms=60_000)
    peer.pass_time(180_000)
    assert send(peer, batch).base_offset == 1


def test_log_retention_check_interval_ms() -> None:
    """How long after its time a segment goes at the latest."""
    starts = []
    for interval in (1_000, 300_000):
        peer = a_peer(log_retention_check_interval_ms=interval)
        alter_topic(peer, retention_ms=10_000)
        fill(peer, 1)
        peer.pass_time(15_000)
        starts.append(log_start(peer))
    assert starts == [1, 0]


def other_value(row: Setting) -> str:
    """Return a value that is good, and not the default."""
    if row.choices:
        return next(choice for choice in row.choices if choice != row.default)
    if row.at_most is not None and row.at_most < 100:
        return str(int(row.at_most))
    return str(max(int(row.at_least or 0), 1) * 2)


DEFAULTS = {
    synonym.name: (row, synonym.scale)
    for row in TOPIC_SETTINGS.values()
    if row.unused is None
    for synonym in row.synonyms
}
"""Settings of nodes that stand in for those of topics."""


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_of_topics_is_in_force_for_them(name: str) -> None:
    """A topic that does not set it follows the node: at once if that is dynamic, or from a start.

    What each does then is what the tests of topics' own settings show.
    """
    row, scale = DEFAULTS[name]
    value = other_value(BROKER_SETTINGS[name])
    peer = Peer(config={} if BROKER_SETTINGS[name].dynamic else {name: value})
    peer.create("t")
    if BROKER_SETTINGS[name].dynamic:
        alter(peer, ResourceType.BROKER, "", **{name: value})
    wanted = row.parse(value)
    if isinstance(wanted, int) and scale != 1:
        wanted *= scale
    assert getattr(peer.node.broker.partitions["t", 0].config, row.attribute) == wanted


TOPICS: dict[str, Callable[..., None]] = {
    "cleanup.policy": test_cleanup_policy,
    "compression.gzip.level": test_compression_levels,
    "compression.lz4.level": test_compression_levels,
    "compression.type": test_compression_type,
    "compression.zstd.level": test_compression_levels,
    "index.interval.bytes": test_index_interval_bytes,
    "max.message.bytes": test_max_message_bytes,
    "message.timestamp.after.max.ms": test_message_timestamp_after_max_ms,
    "message.timestamp.before.max.ms": test_message_timestamp_before_max_ms,
    "message.timestamp.type": test_message_timestamp_type,
    "retention.bytes": test_retention_bytes,
    "retention.ms": test_retention_ms,
    "segment.bytes": test_segment_bytes,
    "segment.ms": test_segment_ms,
}
NODES: dict[str, Callable[..., None]] = {
    "auto.create.topics.enable": test_auto_create_topics_enable,
    "delete.topic.enable": test_delete_topic_enable,
    "fetch.max.bytes": test_fetch_max_bytes,
    "log.retention.check.interval.ms": test_log_retention_check_interval_ms,
    "max.request.partition.size.limit": test_max_request_partition_size_limit,
    "num.partitions": test_num_partitions,
    "producer.id.expiration.ms": test_producer_id_expiration_ms,
}
CONNECTIONS = {
    "connections.max.idle.ms",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "queued.max.request.bytes",
    "socket.request.max.bytes",
}
"""Shown in test_driver_settings.py: the driver alone knows connections."""
GROUPS = {
    "group.consumer.assignment.interval.ms",
    "group.consumer.assignors",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.max.heartbeat.interval.ms",
    "group.consumer.max.session.timeout.ms",
    "group.consumer.max.size",
    "group.consumer.migration.policy",
    "group.consumer.min.heartbeat.interval.ms",
    "group.consumer.min.session.timeout.ms",
    "group.consumer.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "offset.metadata.max.bytes",
    "offsets.commit.timeout.ms",
    "offsets.retention.check.interval.ms",
    "offsets.retention.minutes",
    "offsets.topic.num.partitions",
    "offsets.topic.segment.bytes",
}
"""Shown in tests/mesh/groups and in tests/mesh/broker/test_group_offsets.py."""


REPLICATION = {
    "default.replication.factor",
    "replica.lag.time.max.ms",
    "replica.replace.after.ms",
    "replication.throttled.rate",
}
REPLICATION_OF_TOPICS = {"min.insync.replicas"}
"""Shown in test_replicas.py."""
COMPACTION_OF_TOPICS = {
    "delete.retention.ms",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
}
COMPACTION = {
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.enable",
    "log.cleaner.io.max.bytes.per.second",
}
"""Shown in test_compaction.py."""


def test_no_setting_claims_an_effect_that_nothing_shows() -> None:
    """What is not declared as changing nothing here stands in one of the tables above."""
    assert {row.name for row in TOPIC_SETTINGS.values() if row.unused is None} == {
        *TOPICS,
        *COMPACTION_OF_TOPICS,
        *REPLICATION_OF_TOPICS,
    }
    effective = {
        row.name for row in BROKER_SETTINGS.values() if row.unused is None and not row.fact
    }
    assert effective == {*NODES, *CONNECTIONS, *DEFAULTS, *GROUPS, *COMPACTION, *REPLICATION}
