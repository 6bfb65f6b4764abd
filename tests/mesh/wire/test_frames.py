"""Whole frames: headers, correlation ids, and records that nobody copies."""

import io
import struct

import pytest
from kio.schema.request_header.v1.header import RequestHeader as KioHeader1
from kio.schema.request_header.v2.header import RequestHeader as KioHeader2
from kio.serial import entity_writer
from kio.static.primitive import i16, i32

from mesh.wire import (
    EMPTY_RECORDS,
    Message,
    Part,
    Parts,
    RequestHeader,
    WireError,
    decode,
    encode_request,
    encode_response,
    read_request_header,
    read_response,
)
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.delete_topics import DeleteTopicsRequest
from mesh.wire.schemas.fetch import (
    FetchableTopicResponse,
    FetchResponse,
    LeaderIdAndEpoch,
    PartitionData,
)
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from mesh.wire.schemas.sasl_handshake import SaslHandshakeRequest


def joined(parts: list[Part]) -> bytes:
    for part in parts:
        assert isinstance(part, bytes | bytearray | memoryview)
    return b"".join(parts)  # type: ignore[arg-type]


def a_fetch_response(*records: bytes | Parts) -> FetchResponse:
    partitions = [PartitionData(partition_index=n, records=r) for n, r in enumerate(records)]
    return FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=partitions)])


def a_produce_request(records: bytes | None) -> ProduceRequest:
    partition = PartitionProduceData(index=1, records=records)
    return ProduceRequest(topic_data=[TopicProduceData(name="t", partition_data=[partition])])


@pytest.mark.parametrize("client_id", [None, "", "rdkafka", "zürich"])
@pytest.mark.parametrize(
    ("message", "version", "kio_header"),
    [
        (MetadataRequest(), 8, KioHeader1),
        (MetadataRequest(), 9, KioHeader2),
        (ApiVersionsRequest(), 3, KioHeader2),
        (SaslHandshakeRequest(mechanism="PLAIN"), 1, KioHeader1),
    ],
)
def test_request_headers_are_kios(
    message: Message,
    version: int,
    kio_header: type[KioHeader1 | KioHeader2],
    client_id: str | None,
) -> None:
    """Header 2 before flexible versions, header 1 before others, as kio writes them."""
    frame = joined(encode_request(message, version, 77, client_id))
    buffer = io.BytesIO()
    theirs = kio_header(
        request_api_key=i16(message.API_KEY),
        request_api_version=i16(version),
        correlation_id=i32(77),
        client_id=client_id,
    )
    entity_writer(kio_header)(buffer, theirs)
    assert struct.unpack_from(">i", frame) == (len(frame) - 4,)
    assert frame[4:].startswith(buffer.getvalue())
    header, position = read_request_header(frame[4:])
    assert header == RequestHeader(message.API_KEY, version, 77, client_id)
    assert position == len(buffer.getvalue())
    assert decode(type(message), frame[4:], position, version) == message


def test_headers_of_unknown_versions_and_keys_can_be_read() -> None:
    """Who asks for what we do not have is known by name, so that it can be answered or logged."""
    newest = struct.pack(">hhih", 18, 5, 9, 2) + b"me" + b"\0" + b"whatever v5 says"
    assert read_request_header(newest) == (RequestHeader(18, 5, 9, "me"), 13)
    unknown = struct.pack(">hhih", 9_999, 0, 9, 2) + b"me"
    assert read_request_header(unknown) == (RequestHeader(9_999, 0, 9, "me"), 12)


def test_header_tags_are_skipped() -> None:
    """Tagged fields of a newer header change nothing."""
    frame = struct.pack(">hhih", 3, 9, 9, -1) + b"\2\0\1x\7\0" + b"\1\1\0\0"
    header, position = read_request_header(frame)
    assert (header.client_id, position) == (None, 16)


@pytest.mark.parametrize(
    ("message", "version", "head_size"),
    [
        (MetadataResponse(), 8, 8),
        (MetadataResponse(), 9, 9),
        (ApiVersionsResponse(), 2, 8),
        (ApiVersionsResponse(), 3, 8),
        (ApiVersionsResponse(), 4, 8),
    ],
)
def test_response_headers(message: Message, version: int, head_size: int) -> None:
    """Header 1 before flexible versions, header 0 else, and always 0 for ApiVersions (KIP-511)."""
    frame = joined(encode_response(message, version, 0x01020304))
    assert frame[:8] == struct.pack(">ii", len(frame) - 4, 0x01020304)
    assert frame[8:head_size] == bytes(head_size - 8)
    assert decode(type(message), frame, head_size, version) == message
    assert read_response(type(message), frame[4:], version) == (0x01020304, message)


def test_decoded_records_are_views_of_the_frame() -> None:
    """A produce request's records are never copied on their way in."""
    frame = bytearray(joined(encode_request(a_produce_request(b"records"), 9, 1, "me"))[4:])
    request = decode(ProduceRequest, frame, read_request_header(frame)[1], 9)
    records = request.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records.obj is frame
    frame[frame.index(b"records")] = ord("R")
    assert bytes(records) == b"Records"


def test_encoded_records_are_the_callers_buffers() -> None:
    """A fetch response is sent as parts, among which are the very buffers that were given."""
    first, second, third = b"a" * 300, b"b" * 20, b"c" * 1000
    response = a_fetch_response(first, Parts([second, third]), EMPTY_RECORDS)
    parts = encode_response(response, 12, 1)
    assert [part for part in parts if part in (first, second, third)] == [first, second, third]
    assert {id(first), id(second), id(third)} <= {id(part) for part in parts}
    whole = joined(parts)
    assert struct.unpack_from(">i", whole) == (len(whole) - 4,)
    read = read_response(FetchResponse, whole[4:], 12)[1].responses[0].partitions
    assert [partition.records for partition in read] == [first, second + third, b""]


def test_a_part_may_be_anything_with_a_length() -> None:
    """A slice of a file takes its place in the frame though the codec never sees its bytes."""

    class FileSlice:
        def __len__(self) -> int:
            return 70_000

    piece = FileSlice()
    parts = encode_response(a_fetch_response(Parts([piece])), 12, 1)
    assert parts[1] is piece
    (size,) = struct.unpack_from(">i", parts[0])  # type: ignore[arg-type]
    assert size + 4 == sum(map(len, parts))


def test_null_records_stay_null() -> None:
    """A client that sends null records is understood; what to say to it is for the handler."""
    frame = joined(encode_request(a_produce_request(None), 9, 1, None))[4:]
    request = decode(ProduceRequest, frame, read_request_header(frame)[1], 9)
    assert request.topic_data[0].partition_data[0].records is None


def test_a_response_without_records_says_empty_not_null() -> None:
    """The default of fetched records is empty: librdkafka breaks on null (KAFKA-18646)."""
    assert PartitionData().records == b""


def test_what_a_version_lacks_is_passed_over() -> None:
    """A handler fills in everything; an old version gets what it knows, and reads defaults."""
    response = a_fetch_response(b"r")
    response.responses[0].topic_id = b"x" * 16
    response.responses[0].partitions[0].current_leader = LeaderIdAndEpoch(leader_id=3)
    old = joined(encode_response(response, 4, 1))
    read = read_response(FetchResponse, old[4:], 4)[1].responses[0]
    assert (read.topic, read.topic_id, read.partitions[0].current_leader) == ("t", bytes(16), None)
    new = joined(encode_response(response, 13, 1))
    read = read_response(FetchResponse, new[4:], 13)[1].responses[0]
    assert (read.topic, read.topic_id) == ("", b"x" * 16)
    assert read.partitions[0].current_leader == LeaderIdAndEpoch(leader_id=3)


@pytest.mark.parametrize(
    "message",
    [
        MetadataRequest(topics=[MetadataRequestTopic(name="x" * 40_000)]),
        MetadataRequest(topics=[MetadataRequestTopic(name="\ud800")]),
        MetadataRequest(topics=[MetadataRequestTopic(name=None)]),
        MetadataRequest(topics=None),
        DeleteTopicsRequest(timeout_ms=2**31),
    ],
    ids=["too long", "no UTF-8", "null name", "null array", "over int32"],
)
def test_what_has_no_form_is_a_wire_error(message: Message) -> None:
    """A value that this version cannot say is refused instead of sent wrong."""
    with pytest.raises(WireError):
        encode_request(message, message.VERSIONS[0], 1, None)


@pytest.mark.parametrize("topic_id", [b"", b"x" * 15, b"x" * 17])
def test_a_uuid_of_another_length_is_a_wire_error(topic_id: bytes) -> None:
    """An id that is not 16 bytes is refused, neither padded nor cut."""
    with pytest.raises(WireError):
        encode_request(MetadataRequest(topics=[MetadataRequestTopic(topic_id=topic_id)]), 10, 1, "")


def test_client_ids_are_at_most_an_int16_long() -> None:
    """A client id that its length prefix cannot hold is a WireError."""
    with pytest.raises(WireError):
        encode_request(MetadataRequest(), 1, 1, "x" * 32_768)
