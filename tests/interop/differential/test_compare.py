"""The comparison itself: it sees what differs, and does not see what may."""

from __future__ import annotations

from mesh.wire.schemas.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from mesh.wire.schemas.metadata import (
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from storage.records import crc_matches, read_batch_header, read_records
from tests.interop.differential.batches import GZIP, LZ4, SNAPPY, T0, ZSTD, Record, batch
from tests.interop.differential.compare import ABSENT, Flat, Masks, differing, flatten
from tests.interop.differential.talk import Answer, Outcome
from tests.interop.node import OTHER_NODE_IDS


def flat(answer: Answer, *, topic: str = "t") -> Flat:
    """Return an answer as the harness compares it."""
    return flatten(answer, Masks({topic: "topic"}))


def metadata(
    *, topic: str = "t", port: int = 9092, topic_id: bytes = b"1" * 16, partitions: int = 1
) -> MetadataResponse:
    """Return the answer of a broker that has one topic."""
    return MetadataResponse(
        brokers=[MetadataResponseBroker(node_id=1, host="127.0.0.1", port=port)],
        cluster_id=f"cluster at {port}",
        topics=[
            MetadataResponseTopic(
                name=topic,
                topic_id=topic_id,
                partitions=[
                    MetadataResponsePartition(partition_index=index) for index in range(partitions)
                ],
            )
        ],
    )


def fetched(records: bytes) -> FetchResponse:
    """Return the answer to a Fetch of one partition."""
    data = PartitionData(partition_index=0, records=records)
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[data])])


def test_what_differs_by_nature_is_not_seen() -> None:
    """Ids, ports and a topic's real name are no difference."""
    theirs = flat(metadata(topic="a"), topic="a")
    ours = flat(metadata(topic="b", port=1, topic_id=b"2" * 16), topic="b")
    assert list(differing(theirs, ours)) == []


def test_a_mesh_stands_for_one_broker() -> None:
    """Where others of ours lead or hold what Kafka's one broker does is no difference."""
    other, another = OTHER_NODE_IDS[0], OTHER_NODE_IDS[1]
    one, mesh = metadata(), metadata()
    one.topics[0].partitions[0].leader_id, mesh.topics[0].partitions[0].leader_id = 1, other
    one.topics[0].partitions[0].replica_nodes = [1]
    mesh.topics[0].partitions[0].replica_nodes = [other, 1, another]
    mesh.brokers.append(MetadataResponseBroker(node_id=other, host="127.0.0.1", port=1))
    assert list(differing(flat(one), flat(mesh))) == []


def test_nodes_that_are_none_of_ours_are_seen() -> None:
    """So is a leader that is nobody, a replica too many, and one that is missing."""
    one, odd = metadata(), metadata()
    one.topics[0].partitions[0].leader_id, odd.topics[0].partitions[0].leader_id = 1, -1
    one.topics[0].partitions[0].replica_nodes = [1]
    odd.topics[0].partitions[0].replica_nodes = [OTHER_NODE_IDS[0], 77]
    odd.topics[0].partitions[0].isr_nodes = [1]
    odd.brokers.append(MetadataResponseBroker(node_id=77, host="127.0.0.1", port=1))
    assert len(list(differing(flat(one), flat(odd)))) == 4


def test_an_id_that_is_none_is_seen() -> None:
    """No id is something else than some id."""
    seen = list(differing(flat(metadata()), flat(metadata(topic_id=bytes(16)))))
    assert seen == [("topics/topic/topic_id", "topic_id 1", "none")]


def test_what_only_one_sends_is_seen_once() -> None:
    """A whole element that is missing is one difference, not one for each of its fields."""
    seen = list(differing(flat(metadata(partitions=2)), flat(metadata())))
    assert seen == [("topics/topic/partitions/1", "present", ABSENT)]


def test_the_order_of_a_list_with_keys_is_not_seen() -> None:
    """Brokers promise no order of topics or partitions."""
    turned = metadata(partitions=3)
    turned.topics[0].partitions.reverse()
    assert list(differing(flat(metadata(partitions=3)), flat(turned))) == []


def test_a_hang_up_is_seen() -> None:
    """A closed connection is an answer that differs from every other."""
    assert ("outcome", ABSENT, "connection closed") in differing(
        flat(metadata()), flat(Outcome.CLOSED)
    )


def test_batches_are_compared_by_field() -> None:
    """One byte of a record, or a checksum, is enough to differ; the checksum's value is not."""
    good, other = fetched(batch(b"a")), fetched(batch(b"b"))
    place = "responses/topic/partitions/0/records/0"
    assert [path for path, _, _ in differing(flat(good), flat(other))] == [f"{place}/payload"]
    seen = list(differing(flat(good), flat(fetched(batch(b"a", crc=1)))))
    assert seen == [(f"{place}/crc_right", True, False)]


def test_a_batch_that_is_cut_off_is_seen() -> None:
    """Half a batch at the end is named as such."""
    whole = batch(b"a")
    place = "responses/topic/partitions/0/records/1"
    assert flat(fetched(whole + whole[:60]))[f"{place}/cut_off"] is True
    seen = list(differing(flat(fetched(whole + whole[:60])), flat(fetched(whole))))
    assert seen == [(place, "present", ABSENT)]


def test_the_batches_built_here_are_right() -> None:
    """Unless told to lie, they hold what was asked for, in every codec."""
    for codec in (0, GZIP, SNAPPY, LZ4, ZSTD):
        records = Record(b"v", b"k", ((b"h", None),)), Record(None, timestamp_delta=70_000)
        built = memoryview(bytearray(batch(*records, codec=codec)))
        assert crc_matches(built)
        assert read_batch_header(built).max_timestamp == T0 + 70_000
        first, second = read_records(built)
        assert (first.key, first.value, first.timestamp_ms) == (b"k", b"v", T0)
        assert (second.key, second.value, second.offset) == (None, None, 1)
