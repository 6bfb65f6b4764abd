"""Rows into a topic with confluent-kafka (librdkafka), every acknowledgement noted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic  # where its type stubs put it

from tests.interop.flights.ledger import DifferenceError, Ledger
from tests.interop.flights.rows import Row

PARTITION_COUNT = 6
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
DELIVERY_WAIT_S = 120

# librdkafka tells every lost connection; while a node is killed that is no news.
_QUIET = logging.getLogger("flights.librdkafka")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def create_topic(
    bootstrap: str,
    topic: str,
    partition_count: int = PARTITION_COUNT,
    configs: Mapping[str, str] | None = None,
    replication_factor: int = 1,
) -> None:
    """Create a topic and return when the broker says that it exists. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": bootstrap}, logger=_QUIET)
    new = NewTopic(topic, partition_count, replication_factor, config=dict(configs or {}))
    for created in admin.create_topics([new], operation_timeout=30).values():
        created.result(30)


class Flight:
    """One producing run: rows in order, idempotent, acks=all, five requests in flight."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        rows: Sequence[Row],
        codec: str = "none",
        partition_count: int = PARTITION_COUNT,
    ) -> None:
        """Prepare; nothing is sent yet."""
        self.ledger = Ledger(topic, partition_count, rows)
        self._failure: str | None = None
        self._waiting: list[Callable[[], None]] = []
        self._step = 0
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": codec,
            "linger.ms": 5,
            # A short queue: rows are on their way all the time, not handed over at once.
            "queue.buffering.max.messages": 5000,
            # Small batches, so that there are many: in flight, in logs, in their indexes.
            "batch.size": 16_384,
            "message.timeout.ms": DELIVERY_WAIT_S * 1000,
            # While a node is away: try again soon, so that the pause is the node's.
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
        }
        self._producer = Producer(settings, logger=_QUIET)

    def produce(self, interruptions: Sequence[Callable[[], None]] = ()) -> float:
        """Send all rows and wait for their acknowledgements; return the seconds it took.

        With n interruptions, interruption k is called once k/n of the rows are acknowledged, while
        later ones are on their way; the last comes after all.

        Raises:
            DifferenceError: a row failed, or was not acknowledged within DELIVERY_WAIT_S.
        """
        started_at = time.monotonic()
        self._waiting = list(interruptions)
        self._step = len(self.ledger.rows) // max(1, len(interruptions))
        for row_index, row in enumerate(self.ledger.rows):
            self._send(row_index, row)
            self._serve(0)
        # Bounded: librdkafka reports each record as failed after `message.timeout.ms`.
        while self.ledger.acknowledged_count < len(self.ledger.rows):
            self._serve(1)
        taken_s = time.monotonic() - started_at
        self.ledger.check()
        return taken_s

    def _serve(self, wait_s: float) -> None:
        """Take acknowledgements, and interrupt where it is time to."""
        self._producer.poll(wait_s)
        if self._failure is not None:
            raise DifferenceError(self._failure)
        rows_left = len(self.ledger.rows) - self.ledger.acknowledged_count
        if self._waiting and rows_left <= (len(self._waiting) - 1) * self._step:
            self._waiting.pop(0)()

    def _send(self, row_index: int, row: Row) -> None:
        noted = partial(self._on_delivery, row_index)
        while True:
            try:
                self._producer.produce(
                    self.ledger.topic, value=row.value, key=row.key, on_delivery=noted
                )
            except BufferError:
                # librdkafka's queue is full: acknowledgements make room.
                self._serve(1)
            else:
                return

    def _on_delivery(self, row_index: int, error: KafkaError | None, message: Message) -> None:
        # An exception in a callback of librdkafka would surface in some later call: kept instead.
        if error is not None:
            self._failure = self._failure or f"row {row_index}: {error}"
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        try:
            self.ledger.acknowledge(row_index, partition, offset)
        except DifferenceError as difference:
            self._failure = self._failure or str(difference)
