"""Three real processes and unmodified clients: what was acknowledged outlives any one of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mesh.node.options import Address
from tests.interop.process import free_port
from tests.tools.members import WAIT_S, Member, mesh
from tools.node import parse_ready_line

RECORDS = 3_000
PARTITIONS = 4


class Mesh:
    """Three members, each with a port that stays its own when it is started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.members: list[Member] = []
        for number in range(3):
            join = ("--join", str(self.members[0].peer)) if self.members else ()
            # Of ports that nobody's connections get, or one may be taken while its member is down.
            ports = [f"127.0.0.1:{free_port()}" for _ in range(2)]
            own = ("--listen", ports[0], "--peer-listen", ports[1])
            self.members.append(Member(directory / str(number), *own, *join))

    @property
    def bootstrap(self) -> str:
        return ",".join(str(address_of(member)) for member in self.members)

    def again(self, number: int) -> None:
        """Start a member that has ended on its data and its ports."""
        before = self.members[number]
        before.process.communicate(timeout=WAIT_S)
        ports = ("--listen", str(address_of(before)), "--peer-listen", str(before.peer))
        self.members[number] = Member(self._directory / str(number), *ports)

    def settle(self) -> None:
        """Wait until every node sees nothing amiss."""
        for member in self.members:
            member.until(lambda document: bool(document["healthy"]))

    def end(self) -> None:
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.end()


def address_of(member: Member) -> Address:
    address = parse_ready_line(member.line)
    assert address is not None
    return address


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Mesh]:
    found = Mesh(tmp_path)
    try:
        found.settle()
        yield found
    finally:
        found.end()


def create(three: Mesh, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": three.bootstrap})
    wanted = NewTopic(topic, num_partitions=PARTITIONS, replication_factor=3)
    for future in admin.create_topics([wanted]).values():
        future.result(WAIT_S)


class Writer:
    """An idempotent producer that remembers what was acknowledged."""

    def __init__(self, three: Mesh, topic: str) -> None:
        self._topic = topic
        self.acked: dict[int, tuple[int, int]] = {}
        self.failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": three.bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": WAIT_S * 1000,
                "linger.ms": 2,
                "log_level": 0,
            }
        )

    def write(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            key = str(number % 31)
            self._producer.produce(self._topic, str(number), key, on_delivery=self._told)
            self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(WAIT_S) == 0

    def _told(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(str(error))
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        self.acked[int(message.value() or b"0")] = (partition, offset)


def read_all(three: Mesh, topic: str, count: int) -> dict[int, list[int]]:
    """Return all values of each partition in their order, read by a group of its own."""
    consumer = Consumer(
        {
            "bootstrap.servers": three.bootstrap,
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    found: dict[int, list[int]] = {}
    deadline = time.monotonic() + WAIT_S
    while sum(map(len, found.values())) < count and time.monotonic() < deadline:
        for message in consumer.consume(500, 1.0):
            partition = message.partition()
            if message.error() is None and partition is not None:
                found.setdefault(partition, []).append(int(message.value() or b"0"))
    consumer.close()
    return found


def check(writer: Writer, found: dict[int, list[int]]) -> None:
    """Every record once, and those of one key in order."""
    assert writer.failed == []
    values = [value for partition in found.values() for value in partition]
    assert sorted(values) == sorted(writer.acked)
    for partition in found.values():
        for key in range(31):
            of_key = [value for value in partition if value % 31 == key]
            assert of_key == sorted(of_key)


def test_records_outlive_a_node_that_is_killed(three: Mesh) -> None:
    """An idempotent producer writes through kill -9 of a node; readers find every record once."""
    create(three, "flights")
    writer = Writer(three, "flights")
    writer.write(0, RECORDS // 3)
    three.members[0].process.kill()
    writer.write(RECORDS // 3, RECORDS // 3)
    writer.flush()
    three.again(0)
    writer.write(2 * RECORDS // 3, RECORDS // 3)
    writer.flush()
    assert len(writer.acked) == RECORDS
    check(writer, read_all(three, "flights", RECORDS))


def test_a_rolling_restart_shows_a_client_no_error(three: Mesh) -> None:
    """Each node stops in good order and comes back; the producer's user is told of no failure."""
    create(three, "rolling")
    writer = Writer(three, "rolling")
    for number in range(3):
        writer.write(number * 500, 500)
        assert mesh("stop", "--data", str(three.members[number].data)).returncode == 0
        three.again(number)
        three.settle()
    writer.flush()
    check(writer, read_all(three, "rolling", 1_500))


def test_a_mesh_that_is_killed_whole_has_all_that_was_acknowledged(three: Mesh) -> None:
    """kill -9 of all three at once; started in another order, every record is there."""
    create(three, "whole")
    writer = Writer(three, "whole")
    writer.write(0, 900)
    writer.flush()
    for member in three.members:
        member.process.kill()
    # Each alone waits for others, so their ready lines are read one by one only while others come.
    for number in (2, 0, 1):
        three.again(number)
    three.settle()
    check(writer, read_all(three, "whole", 900))


def test_the_founder_may_leave_like_anybody_else(three: Mesh) -> None:
    """It gives away what it holds; two nodes go on with all records, and a new one may join."""
    create(three, "left")
    writer = Writer(three, "left")
    writer.write(0, 900)
    writer.flush()
    left = mesh("leave", "--data", str(three.members[0].data))
    assert left.returncode == 0, left.stderr
    three.members.pop(0).end()
    three.settle()
    check(writer, read_all(three, "left", 900))
    directory = three.members[0].data.parent
    three.members.append(Member(directory / "new", "--join", str(three.members[0].peer)))
    three.settle()
    consumer = Consumer({"bootstrap.servers": three.bootstrap, "group.id": "x", "log_level": 0})
    ends = [
        consumer.get_watermark_offsets(TopicPartition("left", index), WAIT_S)[1]
        for index in range(PARTITIONS)
    ]
    consumer.close()
    assert sum(ends) == 900
