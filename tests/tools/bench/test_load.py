"""The load: frames that a broker can read, answers judged right, wrong answers told."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mesh.node.options import Address
from mesh.wire import decode, encode_response, read_request_header
from mesh.wire.schemas.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)
from mesh.wire.schemas.produce import (
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from storage.records import batches as cut
from storage.records import crc_matches, read_batch_header, read_records
from tools.bench.frames import (
    FETCH_VERSION,
    PRODUCE_VERSION,
    SHAPES,
    Shape,
    batches_of,
    fetch_answer_places,
    fetch_frame,
    joined,
    parse_shape,
    produce_error_at,
    produce_frames,
)
from tools.bench.generator import BenchError, FetchWalk, Job, Work, Worker, connect, drive

TOPIC = "zk"
BATCHES = batches_of(Shape(3, 50), seed=7, timestamp_ms=1_000)


def a_job(address: Address, **changes: object) -> Job:
    plain: dict[str, object] = {
        "address": address,
        "frames": produce_frames(TOPIC, 2, BATCHES, acks=1),
        "in_flight": 3,
        "seconds": 60.0,
        "requests_max": 20,
        "error_at": produce_error_at(TOPIC),
        "batch_bytes": len(BATCHES[0]),
    }
    return Job(**(plain | changes))  # type: ignore[arg-type]


@contextmanager
def answering(answer: Callable[[bytes], bytes | None]) -> Iterator[Address]:
    """Serve one connection: each frame (without its length) is given to `answer`; None hangs up."""

    def read(connection: socket.socket, count: int) -> bytes:
        received = b""
        while len(received) < count:
            piece = connection.recv(count - len(received))
            if not piece:
                raise EOFError
            received += piece
        return received

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                while True:
                    frame = read(connection, int.from_bytes(read(connection, 4), "big"))
                    told = answer(frame)
                    if told is None:
                        return
                    connection.sendall(told)
            except (EOFError, OSError):
                return  # The load has seen enough.

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Address(*listener.getsockname())
        finally:
            thread.join(10)
            assert not thread.is_alive()


def produced(frame: bytes, error_code: int = 0) -> bytes:
    header, _ = read_request_header(frame)
    partition = PartitionProduceResponse(index=2, error_code=error_code, base_offset=1 << 40)
    answer = ProduceResponse(
        responses=[TopicProduceResponse(name=TOPIC, partition_responses=[partition])]
    )
    return joined(encode_response(answer, PRODUCE_VERSION, header.correlation_id))


def driven(answer: Callable[[bytes], bytes | None], **changes: object) -> Work:
    with answering(answer) as address, connect(address) as sock:
        return drive(sock, a_job(address, **changes))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batches_are_whole_distinct_and_of_one_length(shape: Shape) -> None:
    """What is sent are valid batches of random payloads, all equally long."""
    batches = batches_of(shape, seed=1, timestamp_ms=5)
    assert len({len(batch) for batch in batches}) == 1
    assert len({bytes(batch) for batch in batches}) == len(batches) > 1
    for batch in batches[:2]:
        assert crc_matches(memoryview(batch))
        values = [record.value for record in read_records(memoryview(batch))]
        assert len(set(values)) == shape.records
        assert {len(value or b"") for value in values} == {shape.value_bytes}


@pytest.mark.parametrize("text", ["", "10", "x", "0x1", "1x-1", "1000x2000", "ax1", "1x1x1"])
def test_bad_shapes_are_refused(text: str) -> None:
    """A shape is two numbers whose batch a broker takes by default."""
    with pytest.raises(ValueError, match=r"shape|larger"):
        parse_shape(text)


def test_shapes_are_read_as_they_are_written() -> None:
    """What a table calls a shape can be given to --shape."""
    assert tuple(parse_shape(str(shape)) for shape in SHAPES) == SHAPES


def test_produce_sends_each_batch_in_turn_and_counts() -> None:
    """The broker sees the frames in order, with ascending correlation ids and whole batches."""
    seen: list[tuple[int, bytes]] = []

    def answer(frame: bytes) -> bytes:
        header, position = read_request_header(frame)
        body = decode(ProduceRequest, frame, position, header.api_version)
        partition = body.topic_data[0].partition_data[0]
        assert (body.acks, body.topic_data[0].name, partition.index) == (1, TOPIC, 2)
        assert isinstance(partition.records, memoryview)
        seen.append((header.correlation_id, bytes(partition.records)))
        return produced(frame)

    work = driven(answer, requests_max=len(BATCHES) + 5)
    expected = [bytes(BATCHES[i % len(BATCHES)]) for i in range(len(BATCHES) + 5)]
    assert seen == list(enumerate(expected))
    assert work.requests == len(expected)
    assert work.batch_bytes == sum(map(len, expected))
    assert sum(work.latencies.counts.values()) == len(expected)


def test_no_more_than_in_flight_are_under_way() -> None:
    """With two in flight the third request waits for the first answer."""
    held: list[bytes] = []
    answered = 0

    def answer(frame: bytes) -> bytes:
        nonlocal answered
        held.append(frame)
        if len(held) < 2 and answered < 8:
            return b""  # Answer only in pairs: a third request never comes before.
        told = b"".join(map(produced, held))
        answered += len(held)
        held.clear()
        return told

    assert driven(answer, in_flight=2, requests_max=10).requests == 10


def test_an_error_code_ends_the_round() -> None:
    """A refused batch is not counted as success."""
    with pytest.raises(BenchError, match="error code 6"):
        driven(lambda frame: produced(frame, error_code=6))


def test_a_hang_up_ends_the_round() -> None:
    """A broker that closes the connection is told, not waited for."""
    with pytest.raises(BenchError, match="closed the connection"):
        driven(lambda _frame: None)


@pytest.mark.parametrize("answer", [b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_an_absurd_length_ends_the_round(answer: bytes) -> None:
    """An answer whose length cannot be is refused before a byte of it is awaited."""
    with pytest.raises(BenchError, match="an answer of"):
        driven(lambda _frame: answer)


def test_a_short_answer_ends_the_round() -> None:
    """An answer without room for its error code is told."""
    with pytest.raises(BenchError, match="an answer of only"):
        driven(lambda frame: b"\0\0\0\4" + frame[4:8])


def test_anothers_answer_ends_the_round() -> None:
    """Answers must come in the order of their requests."""
    with pytest.raises(BenchError, match="another's answer"):
        driven(lambda frame: produced(frame[:4] + b"\0\0\7\7" + frame[8:]))


def fetched(frame: bytes, count: int, tail: int) -> tuple[int, bytes]:
    """Answer a fetch with whole batches and a cut one; return the offset it asked for, too."""
    header, position = read_request_header(frame)
    body = decode(FetchRequest, frame, position, header.api_version)
    wanted = body.topics[0].partitions[0]
    assert body.topics[0].topic == TOPIC
    records = b"".join(map(bytes, BATCHES[:count])) + bytes(BATCHES[count])[:tail]
    partition = PartitionData(partition_index=wanted.partition, records=records)
    topic = FetchableTopicResponse(topic=TOPIC, partitions=[partition])
    answer = FetchResponse(responses=[topic])
    told = joined(encode_response(answer, FETCH_VERSION, header.correlation_id))
    return wanted.fetch_offset, told


@pytest.mark.parametrize("batches_told", [1, 3, 40])
def test_fetch_walks_the_log_and_begins_again(batches_told: int) -> None:
    """Each answer moves the offset by the whole batches in it; a cut one counts for nothing."""
    offsets: list[int] = []

    def answer(frame: bytes) -> bytes:
        offset, told = fetched(frame, batches_told, tail=70)
        offsets.append(offset)
        return told

    frame, offset_at = fetch_frame(TOPIC, 0, 1 << 20)
    error_at, records_at = fetch_answer_places(TOPIC)
    walk = FetchWalk(offset_at, records_at, records_per_batch=3, end_offset=3 * 100)
    job = {"frames": (frame,), "error_at": error_at, "fetch": walk, "in_flight": 1}
    work = driven(answer, **job, requests_max=250)
    step = 3 * batches_told
    assert offsets == [i % -(-300 // step) * step for i in range(250)]
    assert work.batch_bytes == 250 * batches_told * len(BATCHES[0])


def test_an_empty_fetch_ends_the_round() -> None:
    """A log that ended before we thought is told, not walked for ever."""
    frame, offset_at = fetch_frame(TOPIC, 0, 1)
    error_at, records_at = fetch_answer_places(TOPIC)
    walk = FetchWalk(offset_at, records_at, records_per_batch=3, end_offset=300)
    with pytest.raises(BenchError, match="without records"):
        driven(
            lambda frame: fetched(frame, 0, tail=0)[1],
            frames=(frame,),
            error_at=error_at,
            fetch=walk,
        )


def test_a_process_tells_what_went_wrong_in_it() -> None:
    """A load process survives a failed round and does the next one."""
    worker = Worker()
    try:
        with answering(lambda frame: produced(frame, error_code=3)) as address:
            worker.prepare(a_job(address))
            worker.ready()
            worker.go()
            with pytest.raises(BenchError, match="error code 3"):
                worker.result()
        with answering(produced) as address:
            worker.prepare(a_job(address))
            worker.ready()
            worker.go()
            assert worker.result().requests == 20
        worker.prepare(a_job(address))
        with pytest.raises(BenchError, match="refused"):
            worker.ready()
    finally:
        worker.close()


def test_batches_can_be_cut_from_what_is_sent() -> None:
    """A frame's records are one batch that the storage room reads back."""
    (batch,) = cut(memoryview(BATCHES[0]))
    assert read_batch_header(batch).record_count == 3
