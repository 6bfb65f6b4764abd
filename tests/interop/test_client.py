"""Our client against real brokers: ours and the JVM's pass the same tests."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from mesh.client import (
    EARLIEST,
    LATEST,
    Address,
    Assignment,
    AtOffset,
    AtTime,
    CannotConnectError,
    Client,
    ClientSettings,
    Codec,
    DeliveryError,
    Place,
    ProducerSettings,
    ReaderSettings,
    Record,
    Skipped,
    TopicPartition,
    UnknownTopicError,
    UnsupportedApiError,
    alter_topic_configs,
    connect,
    create_partitions,
    create_topic,
    delete_topic,
    describe_topic_configs,
    list_offsets,
    producer,
    reader,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from tests.interop.node import MeshNode, mesh_node_process
from tests.interop.process import free_port

NUMBERS = itertools.count()
WAIT_S = 60


def new_name() -> str:
    """A topic name that no other test has."""
    return f"client-{os.getpid()}-{next(NUMBERS)}"


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[Client]:
    """A client, and a bound on how long the test may use it."""
    with trio.fail_after(WAIT_S):
        async with connect(bootstrap) as client:
            yield client


async def read_all(
    client: Client,
    topic: str,
    start: Place = EARLIEST,
    ends: Sequence[Place] = (LATEST,),
    *,
    partitions: Sequence[int] = (0,),
) -> dict[int, list[Record]]:
    """What the partitions hold between two places."""
    found: dict[int, list[Record]] = {index: [] for index in partitions}
    assignments = [
        Assignment(TopicPartition(topic, index), start, tuple(ends)) for index in partitions
    ]
    async with reader(client, assignments) as source:
        async for place, record in source:
            found[place.partition].append(record)
    return found


@pytest.mark.parametrize("codec", Codec)
async def test_records_come_back_as_they_went(bootstrap: str, codec: Codec) -> None:
    """Keys, values, nulls, headers and timestamps survive with every codec."""
    topic = new_name()
    sent = [
        Record(0, 1_700_000_000_000, b"key", b"value", [("h", b"1"), ("h", None)]),
        Record(1, 1_700_000_000_001, None, b"", []),
        Record(2, 1_700_000_000_002, b"", None, []),
        Record(3, 1_700_000_000_003, b"\x00\xff", os.urandom(50_000), []),
        Record(4, 1_700_000_000_004, b"n", b"abc" * 30_000, []),
    ]
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)
        async with producer(client, ProducerSettings(codec=codec)) as sink:
            receipts = [
                await sink.send(
                    topic,
                    record.value,
                    key=record.key,
                    headers=record.headers,
                    timestamp_ms=record.timestamp_ms,
                )
                for record in sent
            ]
            assert [(await receipt.wait()).offset for receipt in receipts] == [0, 1, 2, 3, 4]
        found = (await read_all(client, topic))[0]
    assert [plain(record) for record in sent] == [plain(record) for record in found]


async def test_many_tasks_share_a_producer_and_keep_their_order(bootstrap: str) -> None:
    """Thousands of records over four partitions, each once, in order within their key."""
    topic = new_name()
    per_task = 2_000

    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=4)
        settings = ProducerSettings(batch_bytes_max=2_000, buffer_bytes_max=50_000)
        async with producer(client, settings) as sink:

            async def write(task: int) -> None:
                for number in range(per_task):
                    await sink.send(topic, b"%d" % number, key=b"task-%d" % task)

            async with trio.open_nursery() as nursery:
                for task in range(5):
                    nursery.start_soon(write, task)
        found = await read_all(client, topic, partitions=range(4))
    by_key: dict[bytes, list[int]] = {}
    for records in found.values():
        assert [record.offset for record in records] == list(range(len(records)))
        for record in records:
            by_key.setdefault(record.key or b"", []).append(int(record.value or b""))
    assert by_key == {b"task-%d" % task: list(range(per_task)) for task in range(5)}


@pytest.mark.parametrize("acks", [1, 0])
async def test_weaker_acknowledgements_work_too(bootstrap: str, acks: int) -> None:
    """acks=1 tells offsets; acks=0 tells nothing and still arrives."""
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)
        async with producer(client, ProducerSettings(acks=acks)) as sink:
            receipts = [await sink.send(topic, b"%d" % number) for number in range(100)]
            offsets = [(await receipt.wait()).offset for receipt in receipts]
            assert offsets == (list(range(100)) if acks else [-1] * 100)
        found = (await read_all(client, topic, EARLIEST, [AtOffset(100)]))[0]
        assert [b"%d" % number for number in range(100)] == [record.value for record in found]


async def test_a_topic_is_made_by_producing_to_it(bootstrap: str) -> None:
    """Where the cluster makes topics by itself, the producer waits until one is there."""
    topic = new_name()
    async with connected(bootstrap) as client, producer(client) as sink:
        receipt = await sink.send(topic, b"first", partition=0)
        assert (await receipt.wait()).offset == 0


async def test_reading_starts_and_ends_at_offsets_and_times(bootstrap: str) -> None:
    """Every way to name a place finds exactly its record."""
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)
        async with producer(client, ProducerSettings(batch_bytes_max=200)) as sink:
            for number in range(50):
                await sink.send(topic, b"v" * 40, timestamp_ms=1_000_000 + 10 * number)

        async def offsets(start: Place, *ends: Place) -> list[int]:
            found = await read_all(client, topic, start, ends)
            return [record.offset for record in found[0]]

        assert await offsets(EARLIEST, LATEST) == list(range(50))
        assert await offsets(AtOffset(17), AtOffset(23)) == list(range(17, 23))
        assert await offsets(AtTime(1_000_101), AtTime(1_000_150)) == list(range(11, 15))
        assert await offsets(LATEST, LATEST) == []
        place = TopicPartition(topic, 0)
        assert (await list_offsets(client, [place], AtTime(1_000_105)))[place].offset == 11


async def test_a_reader_that_follows_sees_what_is_written_later(bootstrap: str) -> None:
    """Without an end, reading waits at the end of the log and goes on by itself."""
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)
        async with (
            reader(client, [Assignment(TopicPartition(topic, 0))]) as source,
            producer(client) as sink,
        ):
            for number in range(3):
                await (await sink.send(topic, b"%d" % number)).wait()
                chunk = await source.next_chunk()
                assert chunk is not None
                assert [record.value for record in chunk.records] == [b"%d" % number]


async def test_records_that_were_deleted_are_skipped_as_asked(bootstrap: str) -> None:
    """A start below the log's is an error, or moves to the log's start and says so."""
    topic = new_name()
    place = TopicPartition(topic, 0)
    skips: list[Skipped] = []
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)
        async with producer(client) as sink:
            for number in range(10):
                await sink.send(topic, b"%d" % number)
        partition = DeleteRecordsPartition(partition_index=0, offset=4)
        request = DeleteRecordsRequest(
            topics=[DeleteRecordsTopic(name=topic, partitions=[partition])], timeout_ms=10_000
        )
        try:
            answer = await client.request(request, DeleteRecordsResponse, partition=place)
        except UnsupportedApiError:
            pytest.skip("this broker does not serve DeleteRecords")
        assert answer.topics[0].partitions[0].low_watermark == 4
        assignment = Assignment(place, AtOffset(1), (LATEST,))
        async with reader(client, [assignment]) as source:
            with pytest.raises(KafkaError) as caught:
                await source.next_chunk()
        assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
        settings = ReaderSettings(reset="nearest")
        async with reader(client, [assignment], settings, on_skip=skips.append) as source:
            offsets = [record.offset async for _, record in source]
    assert offsets == [4, 5, 6, 7, 8, 9]
    assert skips == [Skipped(place, 1, 4)]


async def test_a_batch_larger_than_the_topic_takes_is_split(bootstrap: str) -> None:
    """Records travel in smaller batches; only one that is itself too large fails."""
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1, configs={"max.message.bytes": "2000"})
        async with producer(client) as sink:
            receipts = [await sink.send(topic, b"%0500d" % number) for number in range(20)]
            await sink.flush()
            assert list(range(20)) == [(await receipt.wait()).offset for receipt in receipts]
            bad = await sink.send(topic, b"x" * 3000)
            with pytest.raises(DeliveryError) as caught:
                await bad.wait()
            assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
            assert not caught.value.maybe_written
            good = await sink.send(topic, b"after")
            assert (await good.wait()).offset == 20
            with pytest.raises(DeliveryError):
                await sink.flush()
        found = (await read_all(client, topic))[0]
    assert len(found) == 21


async def test_topics_are_created_described_altered_and_deleted(bootstrap: str) -> None:
    """Admin calls do what they say, and wrong ones raise the cluster's code."""
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=2, configs={"retention.ms": "3600000"})
        with pytest.raises(KafkaError) as caught:
            await create_topic(client, topic)
        assert caught.value.code is ErrorCode.TOPIC_ALREADY_EXISTS

        async def overrides() -> dict[str, str | None]:
            entries = await describe_topic_configs(client, topic)
            return {entry.name: entry.value for entry in entries if entry.source == 1}

        while await overrides() != {"retention.ms": "3600000"}:
            pass
        await alter_topic_configs(
            client, topic, values={"cleanup.policy": "compact"}, deletes=["retention.ms"]
        )
        while await overrides() != {"cleanup.policy": "compact"}:
            pass  # A broker shows a change a moment after the controller took it.
        with pytest.raises(KafkaError) as caught:
            await alter_topic_configs(client, topic, values={"retention.ms": "soon"})
        assert caught.value.code is ErrorCode.INVALID_CONFIG
        await create_partitions(client, topic, 5)
        assert client.cluster.partition_count(topic) == 5
        await delete_topic(client, topic)
        assert topic not in (await client.metadata()).topics
        with pytest.raises(KafkaError) as caught:
            await delete_topic(client, topic)
        assert caught.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_topic_that_is_not_there_cannot_be_read(bootstrap: str) -> None:
    """Reading never makes a topic, and neither a partition."""
    topic = new_name()
    async with connected(bootstrap) as client:
        with pytest.raises(UnknownTopicError):
            async with reader(client, [Assignment(TopicPartition(topic, 0))]):
                pass
        await create_topic(client, topic, partitions=1)
        with pytest.raises(KafkaError) as caught:
            async with reader(client, [Assignment(TopicPartition(topic, 1))]):
                pass
        assert caught.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_several_leaders_each_get_their_own() -> None:
    """Partitions of three brokers are written and read, with names instead of topic ids.

    The brokers are librdkafka's mock cluster: other code than ours, and older versions.
    """
    from confluent_kafka import Producer as Librdkafka

    mock = Librdkafka({"test.mock.num.brokers": 3, "log_level": 3})
    brokers = mock.list_topics(timeout=10).brokers.values()
    # The mock draws leaders by lot: with so many partitions one node cannot lead them all.
    topics, count = [new_name() for _ in range(8)], 1_000
    async with connected(",".join(f"{b.host}:{b.port}" for b in brokers)) as client:
        async with producer(client, ProducerSettings(batch_bytes_max=2_000)) as sink:
            for number, topic in itertools.product(range(count), topics):
                await sink.send(topic, b"%d" % number, key=b"%d" % (number % 50))
        leaders = set()
        for topic in topics:
            partitions = client.cluster.topics[topic].partitions
            leaders |= {state.leader for state in partitions.values()}
            found = await read_all(client, topic, partitions=list(partitions))
            numbers = [int(r.value or b"") for records in found.values() for r in records]
            assert sorted(numbers) == list(range(count))
    assert len(leaders) > 1


async def test_transactions_that_were_aborted_are_left_out(jvm: object) -> None:
    """committed_only shows what was committed, against a broker that has transactions."""
    from confluent_kafka import Producer as Transactional

    bootstrap: str = jvm.bootstrap  # type: ignore[attr-defined]  # the fixture's JvmBroker
    topic = new_name()
    async with connected(bootstrap) as client:
        await create_topic(client, topic, partitions=1)

        def write() -> None:
            writer = Transactional({"bootstrap.servers": bootstrap, "transactional.id": topic})
            writer.init_transactions(30)
            for value, commits in (("a", True), ("b", False), ("c", True)):
                writer.begin_transaction()
                writer.produce(topic, value)
                writer.flush(30)
                if commits:
                    writer.commit_transaction(30)
                else:
                    writer.abort_transaction(30)

        await trio.to_thread.run_sync(write)
        values = []
        settings = ReaderSettings(committed_only=True)
        assignment = Assignment(TopicPartition(topic, 0), EARLIEST, (LATEST,))
        async with reader(client, [assignment], settings) as source:
            async for _, record in source:
                values.append(record.value)
        assert values == [b"a", b"c"]
        everything = (await read_all(client, topic))[0]
        assert [record.value for record in everything] == [b"a", b"b", b"c"]


def plain(record: Record) -> tuple[object, ...]:
    """A record as it compares, whatever kind of sequence holds its headers."""
    headers = list(record.headers)
    return record.offset, record.timestamp_ms, record.key, record.value, headers


class Cutter:
    """A proxy before a broker that breaks connections, sometimes in the middle of a frame."""

    def __init__(self, broker: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.cutting = False
        self.cut_count = 0
        self._host, _, port = broker.rpartition(":")
        self._port = int(port)

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection until it ends or is cut."""
        broker = await trio.open_tcp_stream(self._host, self._port)
        async with client, broker, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, broker, nursery.cancel_scope)
            nursery.start_soon(self._pump, broker, client, nursery.cancel_scope)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(4096):
                if self.cutting and self.rng.random() < 0.08:
                    self.cut_count += 1
                    await sink.send_all(data[: self.rng.randrange(len(data) + 1)])
                    break
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # One of both ends went away: so does the other.
        both.cancel()


@pytest.mark.parametrize("seed", range(3))
async def test_cut_connections_lose_and_double_nothing(bootstrap: str, seed: int) -> None:
    """Requests and answers break off anywhere; still each record is there once, in order."""
    if "," in bootstrap:
        pytest.skip("what cuts stands before one node")
    topic, count = new_name(), 10_000
    cutter = Cutter(bootstrap, seed)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, cutter.serve, listeners)
        port: int = listeners[0].socket.getsockname()[1]
        settings = ClientSettings(
            backoff_ms_min=5, backoff_ms_max=50, reach=lambda _: Address("127.0.0.1", port)
        )
        with trio.fail_after(WAIT_S):
            async with connect(bootstrap, settings) as client:
                await create_topic(client, topic, partitions=3)
                cutter.cutting = True
                small = ProducerSettings(batch_bytes_max=1_500, linger_ms=1)
                async with producer(client, small) as sink:
                    receipts = [
                        await sink.send(topic, b"%d" % number, key=b"%d" % (number % 50))
                        for number in range(count)
                    ]
                    places = [await receipt.wait() for receipt in receipts]
                found = await read_all(client, topic, partitions=range(3))
        nursery.cancel_scope.cancel()
    assert cutter.cut_count >= 5
    numbers = [int(record.value or b"") for records in found.values() for record in records]
    assert sorted(numbers) == list(range(count))
    for number, place in enumerate(places):
        assert found[place.partition.partition][place.offset].value == b"%d" % number
    for records in found.values():
        last: dict[bytes | None, int] = {}
        for record in records:
            assert int(record.value or b"") > last.get(record.key, -1)
            last[record.key] = int(record.value or b"")


@pytest.fixture
def own_node() -> object:
    """A node that this test may kill."""
    with mesh_node_process() as node:
        yield node


async def test_a_killed_node_loses_and_doubles_nothing(own_node: MeshNode) -> None:
    """Across kill -9 and a new start each record is there once, in order, at its receipt."""
    topic = new_name()
    count = 4_000
    async with connected(own_node.bootstrap) as client:
        await create_topic(client, topic, partitions=2)
        receipts = []
        settings = ProducerSettings(batch_bytes_max=500, linger_ms=1)
        async with producer(client, settings) as sink:
            for number in range(count):
                receipts.append(await sink.send(topic, b"%d" % number, partition=number % 2))
                if number in (1_000, 2_500):
                    # Early enough that batches are on their way when the node dies.
                    await receipts[number // 2].wait()
                    own_node.kill()
                    await trio.to_thread.run_sync(own_node.restart)
            await sink.flush()
        places = [await receipt.wait() for receipt in receipts]
        found = await read_all(client, topic, partitions=(0, 1))
    for index in (0, 1):
        values = [int(record.value or b"") for record in found[index]]
        assert values == list(range(index, count, 2))
    for number, place in enumerate(places):
        assert found[place.partition.partition][place.offset].value == b"%d" % number


async def test_nobody_at_the_address_is_told_at_once() -> None:
    """A refused connection ends `connect`, with the address and the cause."""
    port = free_port()
    with pytest.raises(CannotConnectError, match=f"127.0.0.1:{port}: Connection refused"):
        async with connect(f"127.0.0.1:{port}"):
            pass
