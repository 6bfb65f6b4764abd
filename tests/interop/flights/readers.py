"""Six clients that read topics by assigned partitions, each giving the same plain records.

None joins a group or commits; each begins at offset 0 and ends at the offsets it was told. A client
that stops making progress is ended after PROGRESS_WAIT_S, so that nothing hangs.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiokafka
import confluent_kafka

from tests.interop import jvm, toolchain
from tests.interop.flights.ledger import Record

with warnings.catch_warnings():
    # kafka-python reads its own schemas, at import, by a call that Python 3.11 deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka

Ends = Mapping[str, Sequence[int]]
"""Topic → the exclusive end offset of each of its partitions."""

PROGRESS_WAIT_S = 60
CLIENTS = Path(__file__).parent / "clients"


class ReaderError(Exception):
    """A client failed, said nonsense, or made no progress; the text has its own words."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One client: its name, how it reads, and why it cannot (None: it can)."""

    name: str
    read: Callable[[str, Ends], Iterator[Record]]
    missing: Callable[[], str | None]


def places(ends: Ends) -> list[tuple[str, int, int]]:
    """Return (topic, partition, end offset) of all partitions that hold something."""
    return [
        (topic, partition, end)
        for topic, partition_ends in ends.items()
        for partition, end in enumerate(partition_ends)
        if end > 0
    ]


class Countdown:
    """How many records are still to come; a client that hands out too few is found by `expect`."""

    def __init__(self, ends: Ends) -> None:
        """Begin with all of them."""
        self.left = sum(end for _, _, end in places(ends))

    def expect(self, arrived_count: int) -> None:
        """Count arrivals. Raises ReaderError if a whole wait brought none."""
        if arrived_count == 0:
            raise ReaderError(f"no record for {PROGRESS_WAIT_S} s, {self.left} are missing")
        self.left -= arrived_count


def _record(message: confluent_kafka.Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    # The library's types allow None for what only an unsent message lacks.
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return Record(topic, partition, offset, message.key(), message.value())


def read_confluent(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with confluent-kafka: explicit offsets, no auto-commit, checksums verified."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none-is-joined",  # the library insists on a name
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
        }
    )
    countdown = Countdown(ends)
    try:
        consumer.assign([confluent_kafka.TopicPartition(t, p, 0) for t, p, _ in places(ends)])
        while countdown.left > 0:
            # It returns early only when it has this many.
            arrived = consumer.consume(min(10_000, countdown.left), PROGRESS_WAIT_S)
            for message in arrived:
                if message.error() is not None:
                    raise ReaderError(f"confluent-kafka: {message.error()}")
                yield _record(message)
            countdown.expect(len(arrived))
    finally:
        consumer.close()


def read_kafka_python(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with kafka-python."""
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        check_crcs=True,
    )
    countdown = Countdown(ends)
    try:
        assigned = [kafka.TopicPartition(t, p) for t, p, _ in places(ends)]
        consumer.assign(assigned)
        for partition in assigned:
            consumer.seek(partition, 0)
        while countdown.left > 0:
            arrived = consumer.poll(timeout_ms=PROGRESS_WAIT_S * 1000, max_records=10_000)
            for records in arrived.values():
                for it in records:
                    yield Record(it.topic, it.partition, it.offset, it.key, it.value)
            countdown.expect(sum(map(len, arrived.values())))
    finally:
        consumer.close()


async def _start_aiokafka(bootstrap: str, ends: Ends) -> aiokafka.AIOKafkaConsumer:
    # Inside a running loop: consumer and assignment look for one.
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
        check_crcs=True,
    )
    await consumer.start()
    assigned = [aiokafka.TopicPartition(t, p) for t, p, _ in places(ends)]
    consumer.assign(assigned)
    for partition in assigned:
        consumer.seek(partition, 0)
    return consumer


def read_aiokafka(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with aiokafka, in an event loop of its own that runs while we wait for records."""
    countdown = Countdown(ends)
    with asyncio.Runner() as runner:
        consumer = runner.run(_start_aiokafka(bootstrap, ends))
        try:
            while countdown.left > 0:
                arrived = runner.run(
                    consumer.getmany(timeout_ms=PROGRESS_WAIT_S * 1000, max_records=10_000)
                )
                for records in arrived.values():
                    for it in records:
                        yield Record(it.topic, it.partition, it.offset, it.key, it.value)
                countdown.expect(sum(map(len, arrived.values())))
        finally:
            runner.run(consumer.stop())


def _canonical(stream: IO[bytes]) -> Iterator[Record]:
    """Parse the one form that outside clients print.

    A line `topic partition offset key-length value-length` (-1: null), then the bytes of key and
    value, then a line feed.
    """
    while header := stream.readline():
        try:
            topic, *numbers = header.decode().split()
            partition, offset, key_size, value_size = map(int, numbers)
        except ValueError:
            raise ReaderError(f"not a record's head line: {header[:200]!r}") from None
        key = stream.read(key_size) if key_size >= 0 else None
        value = stream.read(value_size) if value_size >= 0 else None
        if stream.read(1) != b"\n":
            raise ReaderError(f"bytes too many or too few after {header!r}")
        yield Record(topic, partition, offset, key, value)


def run_client(command: Sequence[str]) -> Iterator[Record]:
    """Run an outside client and yield what it prints.

    Raises:
        ReaderError: it ended with another status than 0, printed nonsense, or was silent for
            PROGRESS_WAIT_S; it is ended by its process id in every case.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        assert process.stdout is not None
        progress = threading.Event()
        ended = threading.Event()

        def watch() -> None:
            while progress.wait(PROGRESS_WAIT_S):
                progress.clear()
                if ended.is_set():
                    return
            process.kill()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for record in _canonical(process.stdout):
                progress.set()
                yield record
            progress.set()
            status = process.wait(PROGRESS_WAIT_S)
        finally:
            process.kill()
            ended.set()
            progress.set()
            watcher.join()
        if status != 0:
            errors.seek(0)
            words = errors.read()[-2000:].decode(errors="replace")
            raise ReaderError(f"{command[0]} ended with {status}: {words}")


def read_kcat(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with kcat; it takes one topic at a time and stops at the ends by itself."""
    options = ["-q", "-e", "-o", "beginning", "-X", "check.crcs=true"]
    form = r"%t %p %o %K %S\n%k%s\n"
    for topic in ends:
        yield from run_client(["kcat", "-C", "-b", bootstrap, "-t", topic, *options, "-f", form])


def _arguments(bootstrap: str, ends: Ends) -> list[str]:
    """Return what our Go and Java programs take: bootstrap, then topic/partition/end triples."""
    return [bootstrap, *(f"{topic}/{partition}/{end}" for topic, partition, end in places(ends))]


def read_franz_go(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with franz-go, by a small program of ours."""
    program = toolchain.go_build(CLIENTS / "go")
    yield from run_client([str(program), *_arguments(bootstrap, ends)])


def read_java(bootstrap: str, ends: Ends) -> Iterator[Record]:
    """Read with Java's KafkaConsumer, by a small program of ours."""
    source = str(CLIENTS / "java" / "ReadFlights.java")
    yield from run_client(jvm.java(source, *_arguments(bootstrap, ends)))


def _never_missing() -> str | None:
    return None


READERS = {
    reader.name: reader
    for reader in (
        Reader("confluent-kafka", read_confluent, _never_missing),
        Reader("kcat", read_kcat, lambda: None if shutil.which("kcat") else "no kcat here"),
        Reader("kafka-python", read_kafka_python, _never_missing),
        Reader("aiokafka", read_aiokafka, _never_missing),
        Reader("franz-go", read_franz_go, toolchain.go_missing),
        Reader("java", read_java, toolchain.java_missing),
    )
}
