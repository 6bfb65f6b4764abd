"""The flights with a tail number as a compacted topic: the last record of each key is left.

`python -m tests.interop.flights.compacted` does it with all of them, and all clients.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence

import confluent_kafka

from tests.interop.flights.ledger import DifferenceError, Ledger, Record
from tests.interop.flights.producer import Flight, create_topic
from tests.interop.flights.readers import READERS
from tests.interop.flights.rows import ROW_COUNT, Row, read_rows
from tests.interop.node import mesh_node_process

TOPIC = "flights-compacted"
PARTITIONS = 3
CLEANED_WAIT_S = 120
NODE_OPTIONS = ("-o", "log.cleaner.backoff.ms=200", "-o", "log.retention.check.interval.ms=1000")
CONFIGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.01",
}
LATER_MS = 1_200_000
"""A record that much later closes the segment before it: only closed ones are compacted."""
END_KEY = b"the end"


def fly(bootstrap: str, rows: Sequence[Row], codec: str) -> Ledger:
    """Produce rows that have a key, then one record per partition that closes its segment."""
    create_topic(bootstrap, TOPIC, PARTITIONS, CONFIGS)
    flight = Flight(bootstrap, TOPIC, rows, codec, PARTITIONS)
    flight.produce()
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    later = int(time.time() * 1000) + LATER_MS
    for partition in range(PARTITIONS):
        producer.produce(TOPIC, b"", END_KEY, partition=partition, timestamp=later)
    if producer.flush(30):
        raise DifferenceError("the last records were not acknowledged")
    return flight.ledger


def expected(ledger: Ledger) -> set[Record]:
    """Return what a compacted topic holds: of each key the last row, at its own offset."""
    last: dict[bytes | None, Record] = {}
    for partition, end in enumerate(ledger.ends()):
        for offset in range(end):
            record = ledger.expected(partition, offset)
            assert record is not None
            last[record.key] = record
    ends = [Record(TOPIC, p, end, END_KEY, b"") for p, end in enumerate(ledger.ends())]
    return {*last.values(), *ends}


def to_the_end(bootstrap: str) -> confluent_kafka.Consumer:
    """Return a consumer that checks what it reads, and tells when a partition ends."""
    return confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none-is-joined",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "check.crcs": True,
        }
    )


def read_to_end(bootstrap: str) -> tuple[list[Record], list[int]]:
    """Return all records as librdkafka reads them, and where it stands afterwards."""
    consumer = to_the_end(bootstrap)
    places = [confluent_kafka.TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)]
    found: list[Record] = []
    try:
        consumer.assign(places)
        ended = 0
        while ended < PARTITIONS:
            message = consumer.poll(30)
            if message is None:
                raise DifferenceError("no record and no end for 30 s")
            if (error := message.error()) is not None:
                if error.code() != confluent_kafka.KafkaError._PARTITION_EOF:
                    raise DifferenceError(str(error))
                ended += 1
                continue
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            found.append(Record(TOPIC, partition, offset, message.key(), message.value()))
        return found, [place.offset for place in consumer.position(places)]
    finally:
        consumer.close()


def await_compaction(bootstrap: str, wanted: set[Record]) -> None:
    """Return once what is left is what should be, and librdkafka gets to the very end.

    Raises:
        DifferenceError: it is not so after CLEANED_WAIT_S; the text says what differs.
    """
    until = time.monotonic() + CLEANED_WAIT_S
    while True:
        found, positions = read_to_end(bootstrap)
        if set(found) == wanted and len(found) == len(wanted):
            break
        if time.monotonic() > until:
            missing, more = len(wanted - set(found)), len(set(found) - wanted)
            raise DifferenceError(f"{missing} records are missing, {more} should be gone")
    ends = {record.partition: record.offset + 1 for record in found if record.key == END_KEY}
    if positions != [ends[partition] for partition in range(PARTITIONS)]:
        raise DifferenceError(f"a reader ends at {positions}, the log at {ends}")


def compare(bootstrap: str, wanted: set[Record], client: str) -> int:
    """Have one client read everything; return how many records it got.

    Raises:
        DifferenceError: not exactly the wanted ones, in the order of their offsets.
    """
    counts = [sum(r.partition == p for r in wanted) for p in range(PARTITIONS)]
    ends: Mapping[str, Sequence[int]] = {TOPIC: counts}
    found = list(READERS[client].read(bootstrap, ends))
    for partition in range(PARTITIONS):
        mine = [record for record in found if record.partition == partition]
        right = sorted((r for r in wanted if r.partition == partition), key=lambda r: r.offset)
        if mine != right:
            raise DifferenceError(f"{client}: {len(mine)} records of partition {partition} differ")
    return len(found)


def main(arguments: Sequence[str]) -> int:
    """Do all of it; the exit status is 1 if something differs."""
    parser = argparse.ArgumentParser(prog="compacted", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROW_COUNT, help="how many, from the first")
    parser.add_argument("--codec", default="lz4")
    parser.add_argument("--bootstrap", help="a running broker, otherwise a node of ours is started")
    wanted = parser.parse_args(arguments)
    rows = [row for row in read_rows(wanted.rows) if row.key is not None]
    with mesh_node_process(*NODE_OPTIONS) as node:
        bootstrap = wanted.bootstrap or node.bootstrap
        ledger = fly(bootstrap, rows, wanted.codec)
        left = expected(ledger)
        began = time.monotonic()
        try:
            await_compaction(bootstrap, left)
            print(f"compacted {len(rows):,} rows to {len(left):,} records, the last of each key")
            print(f"          seen {time.monotonic() - began:.1f} s after the last was produced")
            for client, reader in READERS.items():
                if (reason := reader.missing()) is not None:
                    print(f"skipped   {client}: {reason}")
                    continue
                print(f"read      {client}: {compare(bootstrap, left, client):,} records")
        except DifferenceError as difference:
            print(f"differs   {difference}")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
