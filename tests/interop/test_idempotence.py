"""Exactly once, from real clients: answers get lost, the node is killed, nothing stands twice."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import pytest

from tests.interop.flights.producer import create_topic
from tests.interop.lossy import LossyProxy, lossy_proxy
from tests.interop.node import NODE_COUNT, MeshFounder, MeshNode

with warnings.catch_warnings():
    # kafka-python reads its own schemas, at import, by a call that Python 3.11 deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka

PARTITIONS = 3
WAIT_S = 60
LOST_SHARE = 0.2
SLICE = 20
"""Records that some producers send before they wait, so that there are requests to lose."""

Interrupt = Callable[[], None]


@dataclass
class Bench:
    """A node, and a proxy before it that loses answers; clients know the proxy only.

    Where three nodes stand, each has its own proxy, and the founder is killed.
    """

    node: MeshNode
    proxies: list[LossyProxy]
    kill_count: int = 0

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    @property
    def lost_count(self) -> int:
        return sum(proxy.lost_count for proxy in self.proxies)

    @contextlib.contextmanager
    def withheld(self) -> Iterator[None]:
        """Let no answer to a Produce request through meanwhile."""
        for proxy in self.proxies:
            proxy.withheld.set()
        try:
            yield
        finally:
            for proxy in self.proxies:
                proxy.withheld.clear()

    def kill(self) -> None:
        self.node.kill()
        self.node.restart()
        self.kill_count += 1

    def values(self, topic: str) -> list[list[bytes]]:
        """Return all values of each partition, read past the proxy's end."""
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "none",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
            }
        )
        try:
            return [self._values(consumer, topic, number) for number in range(PARTITIONS)]
        finally:
            consumer.close()

    def _values(self, consumer: confluent_kafka.Consumer, topic: str, number: int) -> list[bytes]:
        place = confluent_kafka.TopicPartition(topic, number, 0)
        _, end = consumer.get_watermark_offsets(place, timeout=WAIT_S)
        consumer.assign([place])
        values: list[bytes] = []
        while len(values) < end:
            message = consumer.poll(WAIT_S)
            assert message is not None, f"{topic}-{number} has {len(values)} of {end} records"
            assert message.error() is None
            assert message.offset() == len(values)
            values.append(message.value() or b"")
        return values


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A node that advertises the proxy."""
    directory: Path = tmp_path_factory.mktemp("idempotence")
    node = MeshNode(directory / "data", directory / "output.txt")
    nodes = [node]
    if NODE_COUNT > 1:
        node = founder = MeshFounder(directory, NODE_COUNT)
        nodes = founder.mesh.nodes
    with contextlib.ExitStack() as stack:
        proxies = []
        for each in nodes:
            proxy = stack.enter_context(lossy_proxy(each.port, lost_share=LOST_SHARE))
            each.options += ["--advertise", f"127.0.0.1:{proxy.port}"]
            proxies.append(proxy)
        try:
            node.restart()
            yield Bench(node, proxies)
        finally:
            node.stop_all()


def expected(count: int) -> list[list[bytes]]:
    """Numbers go to the partitions in turn."""
    return [[b"%d" % n for n in range(p, count, PARTITIONS)] for p in range(PARTITIONS)]


class Confluent:
    """librdkafka as an idempotent producer: small batches, five requests in flight."""

    def __init__(self, bench: Bench, topic: str, **settings: Any) -> None:
        self.topic = topic
        self.delivered: list[int] = []
        self.failed: dict[int, str] = {}
        plain: dict[str, Any] = {
            "bootstrap.servers": bench.bootstrap,
            "enable.idempotence": True,
            "max.in.flight.requests.per.connection": 5,
            "batch.num.messages": 20,
            "linger.ms": 1,
            "queue.buffering.max.messages": 300,
            "retry.backoff.ms": 20,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 100,
            "message.timeout.ms": WAIT_S * 1000,
            "log_level": 0,
        }
        self.producer = confluent_kafka.Producer({**plain, **settings})

    def send(self, number: int) -> None:
        while True:
            try:
                self.producer.produce(
                    self.topic,
                    b"%d" % number,
                    partition=number % PARTITIONS,
                    on_delivery=partial(self._on_delivery, number),
                )
            except BufferError:
                self.producer.poll(1)  # The queue is full: acknowledgements make room.
            else:
                self.producer.poll(0)
                return

    def _on_delivery(self, number: int, error: object, _: object) -> None:
        if error is None:
            self.delivered.append(number)
        else:
            self.failed[number] = str(error)

    def send_all(self, count: int, interruptions: Sequence[Interrupt] = ()) -> None:
        """Send numbers from 0 on; each interruption comes once another part is acknowledged."""
        waiting = list(interruptions)
        step = count // (len(waiting) + 1)

        def interrupt() -> None:
            if waiting and len(self.delivered) >= count - len(waiting) * step:
                waiting.pop(0)()

        for number in range(count):
            self.send(number)
            interrupt()
        # Bounded: librdkafka reports each record as failed after `message.timeout.ms`.
        while len(self.delivered) + len(self.failed) < count:
            self.producer.poll(1)
            interrupt()
        assert (waiting, self.failed) == ([], {})
        assert len(self.delivered) == count


def fly(bench: Bench, topic: str, count: int, kill_count: int) -> None:
    create_topic(bench.bootstrap, topic, PARTITIONS)
    lost, killed = bench.lost_count, bench.kill_count
    Confluent(bench, topic).send_all(count, [bench.kill] * kill_count)
    assert bench.lost_count - lost > count / 200
    assert bench.kill_count - killed == kill_count
    assert bench.values(topic) == expected(count)


def test_librdkafka_writes_each_record_once(bench: Bench) -> None:
    """A fifth of the answers are lost and the node is killed twice; all is there once, in order."""
    fly(bench, "confluent", 1_500, 2)


@pytest.mark.slow
def test_librdkafka_writes_each_record_once_for_long(bench: Bench) -> None:
    """The same with more of everything."""
    fly(bench, "confluent-long", 30_000, 6)


@pytest.mark.slow
def test_kafka_python_writes_each_record_once(bench: Bench) -> None:
    """Its idempotent producer, whose answers are lost as often, and a kill."""
    create_topic(bench.bootstrap, "kafka-python", PARTITIONS)
    lost = bench.lost_count
    producer = kafka.KafkaProducer(
        bootstrap_servers=bench.bootstrap,
        enable_idempotence=True,
        acks="all",
        retry_backoff_ms=20,
        reconnect_backoff_ms=20,
        reconnect_backoff_max_ms=100,
        delivery_timeout_ms=WAIT_S * 1000,
        request_timeout_ms=5_000,
        batch_size=300,
    )
    with contextlib.closing(producer):
        sent = []
        for number in range(600):
            partition = number % PARTITIONS
            sent.append(producer.send("kafka-python", b"%d" % number, partition=partition))
            if number == 300:
                sent[250].get(WAIT_S)
                bench.kill()
            elif number % SLICE == 0:
                sent[number].get(WAIT_S)  # It packs what waits into few requests.
        for future in sent:
            future.get(WAIT_S)
    assert bench.lost_count > lost
    assert bench.values("kafka-python") == expected(600)


@pytest.mark.slow
def test_aiokafka_writes_each_record_once(bench: Bench) -> None:
    """Its idempotent producer has one request in flight; its answers are lost as often."""
    create_topic(bench.bootstrap, "aiokafka", PARTITIONS)
    lost = bench.lost_count

    async def send() -> None:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=bench.bootstrap,
            enable_idempotence=True,
            retry_backoff_ms=20,
            request_timeout_ms=WAIT_S * 1000,
            max_batch_size=300,
        )
        await producer.start()
        try:
            sent = []
            for number in range(300):
                partition = number % PARTITIONS
                sent.append(await producer.send("aiokafka", b"%d" % number, partition=partition))
                if number % SLICE == 0:
                    await asyncio.wait_for(asyncio.shield(sent[number]), WAIT_S)
            await asyncio.wait_for(asyncio.gather(*sent), WAIT_S)
        finally:
            await producer.stop()

    asyncio.run(send())
    assert bench.lost_count > lost
    assert bench.values("aiokafka") == expected(300)


def test_after_records_timed_out_a_producer_goes_on(bench: Bench) -> None:
    """librdkafka gives up on what stayed unanswered, and goes on with new numbers (KIP-360).

    What it gave up on may stand there, once; what it was told of stands once, all in order.
    """
    create_topic(bench.bootstrap, "given-up", PARTITIONS)
    client = Confluent(bench, "given-up", **{"message.timeout.ms": 4000, "socket.timeout.ms": 2000})
    for number in range(300):
        client.send(number)
    client.producer.flush(WAIT_S)
    with bench.withheld():
        for number in range(300, 600):
            client.send(number)
        client.producer.flush(WAIT_S)
    assert len(client.failed) > 0
    for number in range(600, 900):
        client.send(number)
    assert client.producer.flush(WAIT_S) == 0
    found = bench.values("given-up")
    assert any(number >= 600 for number in client.delivered)
    for partition, values in enumerate(found):
        numbers = [int(value) for value in values]
        assert numbers == sorted(set(numbers))
        assert {n for n in client.delivered if n % PARTITIONS == partition} <= set(numbers)
