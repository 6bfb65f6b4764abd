"""A member with confluent-kafka (librdkafka): classic groups and `group.protocol=consumer`."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.interop.members.member import Member

# librdkafka tells every lost connection; while a node is killed that is no news.
QUIET = logging.getLogger("members.librdkafka")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
CLOSE_COMMIT_WAIT_MS = 6000


def _settings(member: Member) -> dict[str, Any]:
    config = member.config
    settings: dict[str, Any] = {
        "bootstrap.servers": config.bootstrap,
        "group.id": config.group,
        "client.id": config.name,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "max.poll.interval.ms": config.poll_ms_max,
        "socket.timeout.ms": CLOSE_COMMIT_WAIT_MS,
        # While a node is away: try again soon, so that the pause is the node's.
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 200,
        "fetch.wait.max.ms": 100,
    }
    if config.instance is not None:
        settings["group.instance.id"] = config.instance
    if config.protocol == "consumer":
        # Session and heartbeats are the broker's to say.
        return settings | {"group.protocol": "consumer"}
    return settings | {
        "partition.assignment.strategy": config.protocol,
        "session.timeout.ms": config.session_ms,
        "heartbeat.interval.ms": config.heartbeat_ms,
    }


class _Program:
    def __init__(self) -> None:
        self.member = Member()
        self.consumer = Consumer(_settings(self.member), logger=QUIET)
        self.consumer.subscribe(
            [self.member.config.topic],
            on_assign=lambda _, given: self.member.assigned(it.partition for it in given),
            on_revoke=self.on_revoke,
            on_lost=lambda _, gone: self.member.lost([it.partition for it in gone]),
        )

    def on_revoke(self, _: Consumer, gone: list[TopicPartition]) -> None:
        partitions = [it.partition for it in gone]
        self.commit(self.member.to_commit(partitions))
        self.member.revoked(partitions)

    def commit(self, offsets: dict[int, int]) -> None:
        self.member.commit(offsets, partial(self._commit, offsets))

    def _commit(self, offsets: dict[int, int]) -> str | None:
        topic = self.member.config.topic
        wanted = [TopicPartition(topic, p, offset) for p, offset in offsets.items()]
        try:
            answered = self.consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._FATAL:
                raise  # Another has our name: `poll` does not say so.
            return str(error)
        errors = [str(it.error) for it in answered or [] if it.error is not None]
        return ", ".join(errors) or None

    def turn(self) -> None:
        """Process up to turn_rows rows."""
        until = time.monotonic() + 0.2
        for _ in range(self.member.config.turn_rows):
            message = self.consumer.poll(max(0.0, until - time.monotonic()))
            if message is None:
                break
            if (error := message.error()) is not None:
                if error.fatal():
                    raise KafkaException(error)
                continue
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self.member.row(partition, offset, message.value())
        self.member.flush()

    def run(self) -> None:
        """Read and commit until told to stop, then leave."""
        try:
            while not self.member.stops:
                self.turn()
                if self.member.is_due():
                    self.commit(self.member.to_commit())
                self.member.rest()
            self.consumer.close()
        except KafkaException as error:
            self.member.failed(str(error))
            return
        self.member.ended()


if __name__ == "__main__":
    _Program().run()
