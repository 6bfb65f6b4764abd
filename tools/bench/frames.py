"""Requests that are built once and sent millions of times.

Batches of one shape all have the same length, so that a load process can count them without
parsing; their payloads differ, so that nothing on the way can profit from repetition.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.wire import Message, Part, encode_request, encode_response
from mesh.wire.schemas.fetch import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from storage.records import Record, build_batch
from storage.types import Buffer

CLIENT_ID = "mesh-bench"
PRODUCE_VERSION = 9
"""The first with tags; later ones add nothing to a successful answer but topic ids (13)."""
FETCH_VERSION = 12
"""The last that names topics by name."""
DISTINCT_BYTES = 8 << 20
DISTINCT_MAX = 64
"""Different batches of a shape: as many as fit the bytes above, at most so many."""
SENTINEL_CODE = 0x7FEE
"""Not text, so that no topic name holds it."""
_SENTINEL_OFFSET = 0x1122_3344_5566_7788


@dataclass(frozen=True, slots=True)
class Shape:
    """A batch: so many records with values of so many bytes, no keys."""

    records: int
    value_bytes: int

    def __str__(self) -> str:
        return f"{self.records}x{self.value_bytes}"


SHAPES = (Shape(1, 100), Shape(10, 100), Shape(160, 100), Shape(1000, 100), Shape(1000, 1000))


def parse_shape(text: str) -> Shape:
    """Read `RECORDSxBYTES`.

    Raises:
        ValueError: it is not that, or a batch would not fit Kafka's default bound of 1 MiB.
    """
    records, cross, value_bytes = text.partition("x")
    if not (cross and records.isdecimal() and value_bytes.isdecimal()):
        raise ValueError(f"{text!r} is no shape; write RECORDSxBYTES, as in 10x100")
    shape = Shape(int(records), int(value_bytes))
    if shape.records < 1 or shape.records * (shape.value_bytes + 15) > 1_000_000 + 16_000:
        raise ValueError(f"a batch of {text} is empty or larger than brokers take by default")
    return shape


def batches_of(shape: Shape, seed: int, timestamp_ms: int) -> list[bytearray]:
    """Return batches of one length and distinct, incompressible payloads."""
    rng = random.Random(seed)
    size = shape.records * (shape.value_bytes + 10)
    count = max(2, min(DISTINCT_MAX, DISTINCT_BYTES // size))
    return [
        build_batch(
            [
                Record(
                    offset=i,
                    timestamp_ms=timestamp_ms,
                    key=None,
                    value=rng.randbytes(shape.value_bytes),
                    headers=(),
                )
                for i in range(shape.records)
            ]
        )
        for _ in range(count)
    ]


def joined(parts: Sequence[Part]) -> bytes:
    """Return one frame; here no part of it is a file."""
    return b"".join(part for part in parts if isinstance(part, bytes | bytearray | memoryview))


def _frame(message: Message, version: int) -> bytes:
    return joined(encode_request(message, version, 0, CLIENT_ID))


def _answer(message: Message, version: int) -> bytes:
    return joined(encode_response(message, version, 0))


def produce_request(topic: str, partition: int, batch: Buffer, acks: int) -> ProduceRequest:
    """Return a request that produces one batch."""
    data = PartitionProduceData(index=partition, records=batch)
    return ProduceRequest(
        acks=acks,
        timeout_ms=30_000,
        topic_data=[TopicProduceData(name=topic, partition_data=[data])],
    )


def produce_frames(
    topic: str, partition: int, batches: Sequence[bytearray], acks: int
) -> tuple[bytes, ...]:
    """Return one Produce request per batch."""
    return tuple(
        _frame(produce_request(topic, partition, batch, acks), PRODUCE_VERSION) for batch in batches
    )


def produce_error_at(topic: str) -> int:
    """Return where the error code stands in the answer to such a request."""
    partition = PartitionProduceResponse(index=0, error_code=SENTINEL_CODE)
    answer = ProduceResponse(
        responses=[TopicProduceResponse(name=topic, partition_responses=[partition])]
    )
    return _answer(answer, PRODUCE_VERSION).index(SENTINEL_CODE.to_bytes(2, "big"))


def fetch_frame(topic: str, partition: int, bytes_max: int) -> tuple[bytes, int]:
    """Return a Fetch request of one partition, and where its fetch offset stands.

    A `bytes_max` of 1 asks for exactly one batch: the first always comes whole (KIP-74).
    """
    wanted = FetchPartition(
        partition=partition, fetch_offset=_SENTINEL_OFFSET, partition_max_bytes=bytes_max
    )
    request = FetchRequest(
        max_wait_ms=500,
        min_bytes=1,
        max_bytes=50 << 20,
        session_epoch=-1,  # no session
        topics=[FetchTopic(topic=topic, partitions=[wanted])],
    )
    frame = _frame(request, FETCH_VERSION)
    return frame, frame.index(_SENTINEL_OFFSET.to_bytes(8, "big"))


def fetch_answer_places(topic: str) -> tuple[int, int]:
    """Return where the partition's error code and the length of its records stand."""
    partition = PartitionData(partition_index=0, error_code=SENTINEL_CODE, records=b"")
    answer = FetchResponse(responses=[FetchableTopicResponse(topic=topic, partitions=[partition])])
    frame = _answer(answer, FETCH_VERSION)
    # Behind the records' one length byte stand three empty tag sections.
    return frame.index(SENTINEL_CODE.to_bytes(2, "big")), len(frame) - 4
