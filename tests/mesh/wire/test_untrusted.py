"""Bytes from strangers: a message or a WireError, and never more memory than they justify."""

import random
import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.wire import (
    API_NAMES,
    Message,
    WireError,
    decode,
    encode_request,
    read_request_header,
    read_response,
    request_class,
    response_class,
)
from mesh.wire.fields import fields_of
from mesh.wire.primitives import ELEMENTS_MAX, TAGS_MAX, uvarint
from mesh.wire.schemas.api_versions import ApiVersionsRequest
from mesh.wire.schemas.fetch import FetchRequest
from mesh.wire.schemas.list_groups import ListGroupsRequest
from mesh.wire.schemas.metadata import MetadataRequest
from mesh.wire.schemas.offset_delete import OffsetDeleteRequest
from mesh.wire.schemas.produce import ProduceRequest
from tests.mesh.wire.kio_oracle import Draw, Style, draw_message, kio_class, kio_encode

EXPANSION_MAX = 64
"""Bytes of memory for one byte of a frame; 56 measured, for arrays of structures of 3 bytes."""
SLACK = 16 * 1024
"""What a call needs whatever the frame: the exception, its traceback, small tables."""

ALL = [
    (cls, version)
    for api_key in API_NAMES
    for cls in (request_class(api_key), response_class(api_key))
    for version in range(cls.VERSIONS[0], cls.VERSIONS[1] + 1)
]
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first of each version is slow, because its codec is compiled then."""

INT32_MAX = struct.pack(">i", 2**31 - 1)
UVARINT_MAX = b"\xff\xff\xff\xff\x07"


def sample_body(cls: type[Message], version: int, style: Style, seed: int) -> bytes:
    """A valid body of this version, made by kio."""
    side = "request" if cls is request_class(cls.API_KEY) else "response"
    rng = random.Random(f"{cls.__name__} {version} {seed}")
    return kio_encode(draw_message(kio_class(cls.API_KEY, version, side), Draw(rng, style)))


def outcome(cls: type[Message], body: bytes, version: int) -> Message | WireError:
    try:
        return decode(cls, body, 0, version)
    except WireError as error:
        return error


def is_refused(cls: type[Message], body: bytes, version: int) -> bool:
    return isinstance(outcome(cls, body, version), WireError)


def memory_of(cls: type[Message], body: bytes, version: int) -> int:
    """Bytes allocated at the worst moment of decoding."""
    outcome(cls, body, version)  # compiled and cached before we measure
    tracemalloc.start()
    try:
        held = outcome(cls, body, version)
        peak = tracemalloc.get_traced_memory()[1]
        del held
    finally:
        tracemalloc.stop()
    return peak


@unhurried
@given(st.sampled_from(ALL), st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_wire_error(
    which: tuple[type[Message], int], body: bytes
) -> None:
    """Whatever arrives as a body, no other exception leaves the codec."""
    outcome(which[0], body, which[1])


@unhurried
@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_a_wire_error(frame: bytes) -> None:
    """Whatever arrives as a frame, reading its header ends inside of it or in a WireError."""
    try:
        _, position = read_request_header(frame)
    except WireError:
        return
    assert 10 <= position <= len(frame)


@unhurried
@given(st.sampled_from(ALL), st.binary(max_size=64))
def test_any_bytes_are_a_response_or_a_wire_error(
    which: tuple[type[Message], int], frame: bytes
) -> None:
    """Whatever a broker answers, no other exception leaves the codec."""
    cls, version = which
    try:
        read_response(cls, frame, version)
    except WireError:
        return
    assert len(frame) >= 4


def test_mangled_messages_are_messages_or_wire_errors() -> None:
    """Real messages with bytes changed, cut, doubled or made huge raise nothing but WireError."""
    for cls, version in ALL:
        body = sample_body(cls, version, Style.FULL, 0)
        rng = random.Random(f"{cls.__name__} {version}")
        for mangled in mangle(body, rng):
            found = outcome(cls, mangled, version)
            assert isinstance(found, Message | WireError)


def mangle(body: bytes, rng: random.Random) -> Iterator[bytes]:
    for _ in range(12):
        at = rng.randrange(len(body) + 1)
        for piece in (bytes((rng.randrange(256),)), b"\xff", UVARINT_MAX, INT32_MAX, b""):
            yield body[:at] + piece + body[at + len(piece) :]
            yield body[:at] + piece + body[at:]
        yield body[:at] + body[min(at, rng.randrange(len(body) + 1)) :]


def test_every_truncation_is_refused() -> None:
    """A message that ends too early is an error, whichever byte it was cut at."""
    for cls, version in ALL:
        body = sample_body(cls, version, Style.HOLLOW, 0)
        cuts = (
            range(len(body)) if len(body) < 300 else random.Random(1).sample(range(len(body)), 99)
        )
        for cut in cuts:
            assert is_refused(cls, body[:cut], version), (cls.__name__, version, cut)


def test_bytes_behind_a_message_are_ignored() -> None:
    """Kafka reads what it knows and leaves the rest of the frame, and so do we."""
    for cls, version in ALL:
        body = sample_body(cls, version, Style.HOLLOW, 0)
        assert outcome(cls, body + b"\0\1\2", version) == outcome(cls, body, version)


def test_mangled_messages_take_no_more_memory_than_they_justify() -> None:
    """Decoding allocates at most a fixed multiple of the bytes that arrived, right or wrong."""
    rng = random.Random(7)
    for cls, version in rng.sample(ALL, 120):
        body = sample_body(cls, version, Style.HOLLOW, 0)
        for mangled in rng.sample(list(mangle(body, rng)), 5):
            limit = EXPANSION_MAX * len(mangled) + SLACK
            assert memory_of(cls, mangled, version) <= limit, (cls.__name__, version)


def test_the_densest_arrays_take_no_more_memory_than_they_justify() -> None:
    """Arrays of the smallest elements, the worst a peer can do, stay under the same multiple."""
    worst = 0.0
    for api_key in API_NAMES:
        for cls in (request_class(api_key), response_class(api_key)):
            for version in {cls.VERSIONS[0], min(cls.FLEXIBLE_FROM, cls.VERSIONS[1])}:
                for dense in densest(cls, version):
                    body = body_of(dense, version)
                    assert not is_refused(cls, body, version)
                    memory = memory_of(cls, body, version)
                    assert memory <= EXPANSION_MAX * len(body) + SLACK, (cls.__name__, version)
                    worst = max(worst, memory / len(body))
    assert worst > 30, "these are not the densest arrays"


def densest(cls: type[Message], version: int) -> Iterator[Message]:
    for field in fields_of(cls):
        if field.is_array and field.is_in(version) and isinstance(field.kind, type):
            yield cls(**{field.name: [field.kind() for _ in range(1_000)]})


def body_of(message: Message, version: int) -> bytes:
    frame = b"".join(map(as_bytes, encode_request(message, version, 0, None)))[4:]
    return frame[read_request_header(frame)[1] :]


def as_bytes(part: object) -> bytes:
    assert isinstance(part, bytes | bytearray | memoryview)
    return bytes(part)


@pytest.mark.parametrize(
    ("cls", "version", "body"),
    [
        (MetadataRequest, 0, INT32_MAX),
        (MetadataRequest, 9, UVARINT_MAX),
        (OffsetDeleteRequest, 0, b"\0\0" + INT32_MAX),
        (ProduceRequest, 3, b"\xff\xff" + b"\0\1\0\0\0\0" + INT32_MAX),
        (ProduceRequest, 9, b"\0" + b"\0\1\0\0\0\0" + UVARINT_MAX),
        (ListGroupsRequest, 3, UVARINT_MAX),
    ],
)
def test_absurd_counts_are_refused_before_anything_is_allocated(
    cls: type[Message], version: int, body: bytes
) -> None:
    """A count of two billion in a tiny frame costs an exception and no memory."""
    padded = body + bytes(50)
    assert is_refused(cls, padded, version)
    assert memory_of(cls, padded, version) <= SLACK


def test_elements_of_a_frame_are_counted_together() -> None:
    """A million elements pass, one more does not, even when the frame has the bytes for it."""
    topic = b"\1\0"  # v9: an empty name, no tags
    tail = b"\1\0\0\0"
    body = uvarint(ELEMENTS_MAX + 2) + topic * (ELEMENTS_MAX + 1) + tail
    assert is_refused(MetadataRequest, body, 9)
    assert not is_refused(MetadataRequest, uvarint(1001) + topic * 1000 + tail, 9)
    inner = uvarint(ELEMENTS_MAX // 2 + 1) + bytes(4 * (ELEMENTS_MAX // 2))
    forgotten = b"\1" + inner + b"\0"
    head = bytes(4 + 4 + 4 + 4 + 1 + 4 + 4) + b"\1"  # Fetch v12 up to its topics, of which none
    assert not is_refused(FetchRequest, head + b"\2" + forgotten + b"\1\0", 12)
    assert is_refused(FetchRequest, head + b"\3" + forgotten * 2 + b"\1\0", 12)


def tagged_body(*tags: tuple[int, bytes], count: int | None = None) -> bytes:
    """A ListGroups v3 request, which is nothing but its tag section."""
    encoded = b"".join(uvarint(tag) + uvarint(len(value)) + value for tag, value in tags)
    return uvarint(len(tags) if count is None else count) + encoded


@pytest.mark.parametrize(
    "body",
    [
        tagged_body((5, b""), (5, b"")),
        tagged_body((5, b""), (4, b"")),
        tagged_body((5, b"abc"))[:-1],
        tagged_body((5, b"a"), count=2),
        tagged_body(*((n, b"") for n in range(TAGS_MAX + 1))),
        b"\x80\x80\x80\x80\x80\x01",
        b"\xff\xff\xff\xff\x0f",
    ],
    ids=["twice", "descending", "cut", "fewer", "too many", "six bytes", "over int32"],
)
def test_wrong_tag_sections_are_refused(body: bytes) -> None:
    """Tags ascend, fit into the frame, and are at most as many as Kafka takes."""
    assert is_refused(ListGroupsRequest, body, 3)


def test_unknown_tags_are_skipped() -> None:
    """A newer peer's tagged fields change nothing (KIP-482)."""
    assert decode(ListGroupsRequest, tagged_body(), 0, 3) == ListGroupsRequest()
    body = tagged_body((0, b"x"), (7, bytes(300)), (2**31 - 1, b""))
    assert decode(ListGroupsRequest, body, 0, 3) == ListGroupsRequest()
    many = tagged_body(*((n, b"") for n in range(TAGS_MAX)))
    assert decode(ListGroupsRequest, many, 0, 3) == ListGroupsRequest()
    not_minimal = b"\x80\x00"  # zero in two bytes
    assert decode(ListGroupsRequest, not_minimal, 0, 3) == ListGroupsRequest()


def test_known_tags_must_have_the_length_they_say() -> None:
    """A tagged field that ends before or after its stated length is an error."""
    head = bytes(4 + 4 + 4 + 4 + 1 + 4 + 4) + b"\1\1\1"  # Fetch v12 up to its tags
    name = b"\3ab"
    right = decode(FetchRequest, head + b"\1\0\3" + name, 0, 12)
    assert right.cluster_id == "ab"
    assert is_refused(FetchRequest, head + b"\1\0\2" + name, 12)
    assert is_refused(FetchRequest, head + b"\1\0\4" + name + b"\0", 12)


def test_null_is_refused_where_a_value_must_be() -> None:
    """Null for a field that has none in this version is an error, both ways."""
    assert is_refused(MetadataRequest, b"\xff\xff\xff\xff", 0)
    everything = decode(MetadataRequest, b"\xff\xff\xff\xff", 0, 1)
    assert everything.topics is None
    with pytest.raises(WireError):
        encode_request(MetadataRequest(topics=None), 0, 1, None)


def test_invalid_text_is_refused() -> None:
    """A string that is not UTF-8 is an error, in a body and in the header."""
    assert is_refused(ApiVersionsRequest, b"\2\xff\2a\0", 3)
    with pytest.raises(WireError):
        read_request_header(struct.pack(">hhih", 3, 1, 1, 1) + b"\xff")


def test_undeclared_versions_and_keys_are_refused() -> None:
    """Asking for what is not declared is a WireError too, never a crash."""
    for version in (-1, 2, 14, 32767):
        assert is_refused(ProduceRequest, bytes(100), version)
        with pytest.raises(WireError):
            encode_request(ProduceRequest(), version, 1, None)
    with pytest.raises(WireError):
        request_class(9_999)


def test_a_refusal_never_quotes_the_bytes() -> None:
    """Error texts go to logs, and the bytes may be records or passwords."""
    for cls, version in random.Random(3).sample(ALL, 100):
        found = outcome(cls, b"\x7fsecret" * 9, version)
        assert "secret" not in str(found)
