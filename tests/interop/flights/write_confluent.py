"""A writer with confluent-kafka (librdkafka); what all writers have in common is told here.

A writer takes BOOTSTRAP TOPIC CODEC. Each row comes on standard input as a line `index key-length
value-length` (-1: null), the bytes of key and value, a line feed; it leaves with its key through an
idempotent producer with acks=all. For each the writer prints `index partition offset` once it is
acknowledged, or `index error WORDS` once the client gives it up. It ends when its input has ended
and nothing is on its way any more.
"""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial
from typing import IO, Any

from confluent_kafka import KafkaError, Message, Producer

TELL_S = 0.05
# librdkafka tells every lost connection; while a node is killed that is no news.
QUIET = logging.getLogger("flights.librdkafka")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def say(index: str, error: KafkaError | None, message: Message) -> None:
    """Print what came of one row."""
    words = f"error {error}" if error is not None else f"{message.partition()} {message.offset()}"
    sys.stdout.write(f"{index} {words}\n")


def _take(rows: IO[bytes], size: int) -> bytes | None:
    return rows.read(size) if size >= 0 else None


def _tell(producer: Producer, input_ended: threading.Event) -> None:
    """Print acknowledgements as they come, until all is done, within `message.timeout.ms`."""
    while not input_ended.is_set() or len(producer) > 0:
        if producer.poll(TELL_S):
            sys.stdout.flush()


def write(bootstrap: str, topic: str, codec: str) -> None:
    """Write all rows that come, and wait until each is acknowledged or given up."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": codec,
        "linger.ms": 5,
        "queue.buffering.max.messages": 5000,
        "batch.size": 16_384,
        "message.timeout.ms": 120_000,
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
    }
    producer = Producer(settings, logger=QUIET)
    input_ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(producer, input_ended))
    teller.start()
    rows = sys.stdin.buffer
    for line in rows:
        index, key_size, value_size = line.decode().split()
        key, value = _take(rows, int(key_size)), _take(rows, int(value_size))
        rows.read(1)
        while True:
            try:
                producer.produce(topic, value=value, key=key, on_delivery=partial(say, index))
            except BufferError:
                producer.poll(1)  # The queue is full: acknowledgements make room.
            else:
                break
    input_ended.set()
    teller.join()


if __name__ == "__main__":
    write(*sys.argv[1:])
