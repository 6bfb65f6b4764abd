"""Compaction as clients see it: of the flights the last of each key, and what Kafka leaves."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import confluent_kafka
import pytest

from tests.interop import toolchain
from tests.interop.flights import compacted
from tests.interop.flights.producer import create_topic
from tests.interop.flights.readers import READERS
from tests.interop.flights.rows import read_rows
from tests.interop.jvm import JvmBroker, jvm_broker, run_tool
from tests.interop.node import MeshNode, mesh_node_process

ROWS = 20_000
TOPIC = "compared"
CONFIGS = {
    "cleanup.policy": "compact",
    "segment.ms": "600000",
    "segment.bytes": str(1 << 20),
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "2000",
}
CLEANED_WAIT_S = 60
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def test_the_last_flight_of_each_tail_number_is_left() -> None:
    """Every client reads exactly those, at the offsets that were acknowledged, to the end."""
    rows = [row for row in read_rows(ROWS) if row.key is not None]
    with mesh_node_process(*compacted.NODE_OPTIONS) as node:
        left = compacted.expected(compacted.fly(node.bootstrap, rows, "lz4"))
        compacted.await_compaction(node.bootstrap, left)
        for client, reader in READERS.items():
            if reader.missing() is None:
                assert compacted.compare(node.bootstrap, left, client) == len(left)


class Seen(NamedTuple):
    """What a consumer sees of one partition."""

    records: list[tuple[int, bytes | None, bytes | None, int]]
    """Offset, key, value, timestamp less the story's beginning."""
    position: int
    watermarks: tuple[int, int]

    @property
    def tombstones(self) -> int:
        return sum(value is None for _, _, value, _ in self.records)


def send(
    bootstrap: str, records: Sequence[tuple[bytes, bytes | None, int]], **config: object
) -> None:
    """Produce these to the one partition, in batches of at most ten."""
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, **config})
    for number, (key, value, at_ms) in enumerate(records):
        producer.produce(TOPIC, value, key, timestamp=at_ms)
        if number % 10 == 9:
            producer.flush(30)
    assert producer.flush(30) == 0


def tell(bootstrap: str, begun_ms: int) -> None:
    """Fill the topic: every codec, idempotent or not, tombstones, some ten segments."""
    create_topic(bootstrap, TOPIC, 1, CONFIGS)
    chance = random.Random(5)
    for burst in range(12):
        records = [
            (
                b"key-%d" % chance.randrange(30),
                None if chance.random() < 0.15 else b"value-%d-%d" % (burst, number),
                begun_ms + burst * 350_000 + number,
            )
            for number in range(50)
        ]
        config = {"compression.type": CODECS[burst % 5], "enable.idempotence": burst % 2 == 0}
        send(bootstrap, records, **config)
    send(bootstrap, [(b"end", b"", begun_ms + 12 * 350_000 + 700_000)])


def look(bootstrap: str, begun_ms: int) -> Seen:
    """Read the partition from its beginning to its end."""
    consumer = compacted.to_the_end(bootstrap)
    place = confluent_kafka.TopicPartition(TOPIC, 0, 0)
    records: list[tuple[int, bytes | None, bytes | None, int]] = []
    try:
        consumer.assign([place])
        while True:
            message = consumer.poll(30)
            assert message is not None
            if message.error() is not None:
                [reached] = consumer.position([place])
                low, high = consumer.get_watermark_offsets(place, timeout=30)
                return Seen(records, reached.offset, (low, high))
            at_ms = message.timestamp()[1] - begun_ms
            offset = message.offset()
            assert offset is not None
            records.append((offset, message.key(), message.value(), at_ms))
    finally:
        consumer.close()


def await_seen(bootstrap: str, begun_ms: int, is_done: Callable[[Seen], bool]) -> Seen:
    """Look until it is done; the last look after CLEANED_WAIT_S, so that the caller can compare."""
    until = time.monotonic() + CLEANED_WAIT_S
    while True:
        seen = look(bootstrap, begun_ms)
        if is_done(seen) or time.monotonic() > until:
            return seen


@pytest.fixture(scope="module")
def brokers() -> Iterator[tuple[JvmBroker, MeshNode]]:
    """Kafka's broker and ours, both with a cleaner that looks five times a second."""
    if (reason := toolchain.java_missing()) is not None:
        pytest.skip(reason)
    with (
        jvm_broker(log_cleaner_backoff_ms=200) as theirs,
        mesh_node_process("-o", "log.cleaner.backoff.ms=200") as ours,
    ):
        yield theirs, ours


@pytest.mark.slow
def test_the_jvm_broker_leaves_the_same(brokers: tuple[JvmBroker, MeshNode]) -> None:
    """Records, offsets, times, and tombstones: first all of them, and after their time none.

    Kafka's own dump tool reads what we left.
    """
    begun_ms = int(time.time() * 1000) - 3_000_000
    later_ms = begun_ms + 5_000_000
    for broker in brokers:
        tell(broker.bootstrap, begun_ms)

    def is_compacted(seen: Seen) -> bool:
        return len({key for _, key, _, _ in seen.records}) == len(seen.records)

    theirs, ours = (await_seen(it.bootstrap, begun_ms, is_compacted) for it in brokers)
    assert theirs == ours
    assert 0 < ours.tombstones < len(ours.records) < 40
    assert ours.position == ours.watermarks[1] == 601
    time_of_tombstones_s = int(CONFIGS["delete.retention.ms"]) / 1000
    until = time.monotonic() + time_of_tombstones_s
    while time.monotonic() < until:
        look(brokers[1].bootstrap, begun_ms)
    for broker in brokers:
        send(broker.bootstrap, [(b"end", b"", later_ms)])
        send(broker.bootstrap, [(b"end", b"", later_ms + 700_000)])

    def has_no_tombstones(seen: Seen) -> bool:
        return seen.tombstones == 0 and is_compacted(seen)

    theirs, ours = (await_seen(it.bootstrap, begun_ms, has_no_tombstones) for it in brokers)
    assert theirs == ours
    assert ours.tombstones == 0
    logs = sorted(brokers[1].log(TOPIC, 0).glob("*.log"))
    told = run_tool(
        "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--files", str(logs[0])
    )
    assert told.returncode == 0
    batches = [line for line in told.stdout.splitlines() if line.startswith("baseOffset")]
    assert batches
    assert all("isvalid: true" in line for line in batches)
