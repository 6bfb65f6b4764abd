"""Any bytes on the port: at worst that connection closes, with one log line."""

from __future__ import annotations

import random
import socket
import struct

import pytest

from mesh.wire import encode_request
from mesh.wire.schemas.api_versions import ApiVersionsRequest
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic
from mesh.wire.schemas.produce import ProduceRequest, ProduceResponse
from tests.interop.abuse.mutation import mutated_frames
from tests.interop.abuse.visitor import Producer, connect, everything_after
from tests.interop.differential.ask import fetch, list_offsets, produce
from tests.interop.differential.batches import batch
from tests.interop.differential.talk import Connection, Talk
from tests.interop.node import MeshNode

TLS_CLIENT_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)


def frame(body: bytes) -> bytes:
    """Return a frame with its true length in front."""
    return struct.pack("!i", len(body)) + body


def header(key: int, version: int) -> bytes:
    """Return a request header of version 1 with client id `x`."""
    return struct.pack("!hhih", key, version, 7, 1) + b"x"


BAD = {
    "a negative length": struct.pack("!i", -1) + b"more",
    "the lowest length": struct.pack("!i", -(2**31)),
    "100 MiB and one byte": struct.pack("!i", (100 << 20) + 1),
    "the highest length": struct.pack("!i", 2**31 - 1),
    "a TLS hello": TLS_CLIENT_HELLO,
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an empty frame": frame(b""),
    "a frame of one byte": frame(b"\0"),
    "half a header": frame(header(3, 1)[:6]),
    "a client id longer than the frame": frame(struct.pack("!hhih", 3, 1, 7, 32767)),
    "a client id of negative length": frame(struct.pack("!hhih", 3, 1, 7, -2)),
    "a client id that is no text": frame(struct.pack("!hhih", 3, 1, 7, 1) + b"\xff"),
    "an unknown API": frame(header(999, 0)),
    "an unknown version": frame(header(3, 99)),
    "no body": frame(header(3, 1)),
    "2^31-1 topics": frame(header(3, 1) + struct.pack("!i", 2**31 - 1)),
    "a million topics that are not there": frame(header(3, 1) + struct.pack("!i", 10**6)),
    "a negative count": frame(header(0, 3) + struct.pack("!hhii", -1, 1, 1000, -2)),
    "2^32-1 topics, compactly": frame(header(3, 9) + b"\0" + b"\xff" * 4 + b"\x0f"),
    "a number without an end": frame(header(3, 9) + b"\0" + b"\xff" * 20),
    "2^28 tagged fields": frame(header(3, 9) + b"\xff\xff\xff\x7f"),
    "a name that is no text": frame(header(3, 1) + struct.pack("!ih", 1, 2) + b"\xff\xff"),
    "a null where none may be": frame(header(3, 1) + struct.pack("!ih", 1, -1)),
}


@pytest.mark.parametrize("word", BAD)
def test_bad_bytes_close_one_connection(word: str, node: MeshNode, producer: Producer) -> None:
    """The node says nothing, hangs up, writes one line, and serves everybody else."""
    producer.produce()
    # The log holds back what one address does again and again, so each test has its own.
    host = f"127.0.9.{list(BAD).index(word) + 1}"
    assert everything_after(node.port, BAD[word], host=host) == b""
    lines = [line for line in node.output.read_text().splitlines() if f"peer={host}:" in line]
    assert len(lines) == 1, lines
    assert " closing a connection" in lines[0]


def test_a_good_request_before_a_bad_one_is_answered(node: MeshNode, producer: Producer) -> None:
    """What was right is answered before the connection closes because of what was wrong."""
    parts = encode_request(ApiVersionsRequest(), 0, 41, "x")
    good = b"".join(bytes(part) for part in parts)  # type: ignore[arg-type]
    answer = everything_after(node.port, good + frame(header(999, 1)))
    assert struct.unpack_from("!ih", answer, 4) == (41, 0)
    producer.produce()


def test_frames_that_end_early(node: MeshNode, producer: Producer) -> None:
    """Half a frame and then an end, or a reset, leaves nothing behind."""
    whole = frame(header(3, 1) + struct.pack("!i", 0))
    for cut in range(1, len(whole)):
        assert everything_after(node.port, whole[:cut], then_half_close=True) == b""
        with connect(node.port) as connection:
            connection.sendall(whole[:cut])
            linger = struct.pack("ii", 1, 0)  # An end without farewell: a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    producer.produce()


def test_a_frame_byte_by_byte(node: MeshNode, producer: Producer) -> None:
    """A request in pieces of one byte, from many at once, is answered; others do not wait."""
    parts = encode_request(MetadataRequest(topics=[]), 9, 42, "slow")
    whole = b"".join(bytes(part) for part in parts)  # type: ignore[arg-type]
    slow = [connect(node.port) for _ in range(100)]
    for place in range(len(whole)):
        for connection in slow:
            connection.sendall(whole[place : place + 1])
        producer.produce()
    for connection in slow:
        length, correlation_id = struct.unpack("!ii", connection.recv(8, socket.MSG_WAITALL))
        assert length > 4
        assert correlation_id == 42
        connection.close()


def test_wrong_batches_leave_the_connection_open(node: MeshNode) -> None:
    """A batch that cannot be appended is the batch's fault: Kafka's code, and on it goes."""
    talk = Talk(node.port, "wrong-batches", 9)
    topic = talk.topic()
    connection = Connection(node.port)
    for records in (
        batch(b"a", crc=1),
        batch(b"a", magic=9),
        batch(b"a", count=5),
        b"",
        b"\0" * 99,
    ):
        answer = connection.ask(produce(talk, topic, records), 9)
        assert isinstance(answer, ProduceResponse)
        assert answer.responses[0].partition_responses[0].error_code in (2, 87)
    answer = connection.ask(produce(talk, topic, batch(b"good")), 9)
    assert isinstance(answer, ProduceResponse)
    assert answer.responses[0].partition_responses[0].base_offset == 0
    connection.close()
    talk.close()


@pytest.mark.parametrize("seed", range(8))
def test_mutated_frames(seed: int, node: MeshNode, producer: Producer) -> None:
    """Requests with bytes changed, cut out or put in: an answer or a hang-up, and life goes on."""
    talk = Talk(node.port, f"mutated-{seed}", 12)
    topic = talk.topic()
    requests = [
        (produce(talk, topic, batch(b"a", b"b")), 9),
        (ProduceRequest(acks=0, topic_data=[]), 3),
        (fetch(talk, topic, 0, max_wait_ms=50), 12),
        (list_offsets(topic, -1), 7),
        (MetadataRequest(topics=[MetadataRequestTopic(name=topic)]), 9),
        (ApiVersionsRequest(client_software_name="a", client_software_version="1"), 3),
    ]
    rng = random.Random(seed)
    for data in mutated_frames(rng, requests, count=60):
        everything_after(node.port, data, then_half_close=True)
    producer.produce()
    talk.close()
    assert "Traceback" not in node.output.read_text()
