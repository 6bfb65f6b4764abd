"""The story of `steps.py` with confluent-kafka's AdminClient (librdkafka)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka.admin
from confluent_kafka import ElectionType, KafkaException, TopicCollection, TopicPartition

from tests.interop.admins.steps import CONFIGS, LOOKED_AT, Said

# What it exports from its inner modules, its types do not say.
library: Any = confluent_kafka.admin
ANSWER_WAIT_S = 30


def _one(futures: Mapping[Any, Future[Any]]) -> Any:
    (future,) = futures.values()
    return future.result(ANSWER_WAIT_S)


def _code(futures: Mapping[Any, Future[Any]]) -> int:
    """Return the error of the one thing that was asked for, 0 for none."""
    try:
        _one(futures)
    except KafkaException as error:
        return int(error.args[0].code())
    return 0


class _Program:
    def __init__(self, bootstrap: str, topic: str, filled: str) -> None:
        self.admin = library.AdminClient({"bootstrap.servers": bootstrap})
        self.topic = topic
        self.filled = filled

    def configs(self) -> object:
        resource = library.ConfigResource(library.ResourceType.TOPIC, self.topic)
        found = _one(self.admin.describe_configs([resource]))
        own = library.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        return {name: [found[name].value, found[name].source == own] for name in LOOKED_AT}

    def alter(self, value: str) -> int:
        changes = [
            library.ConfigEntry(
                "segment.ms", value, incremental_operation=library.AlterConfigOpType.SET
            ),
            library.ConfigEntry(
                "retention.ms", "", incremental_operation=library.AlterConfigOpType.DELETE
            ),
        ]
        resource = library.ConfigResource(
            library.ResourceType.TOPIC, self.topic, incremental_configs=changes
        )
        return _code(self.admin.incremental_alter_configs([resource]))

    def replace(self, value: str) -> int:
        values = {"retention.ms": value}
        resource = library.ConfigResource(library.ResourceType.TOPIC, self.topic, set_config=values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # The library advises against it.
            return _code(self.admin.alter_configs([resource]))

    def widen(self, count: int) -> int:
        return _code(self.admin.create_partitions([library.NewPartitions(self.topic, count)]))

    def offsets(self) -> list[int]:
        place, specs = (
            TopicPartition(self.filled, 0),
            (library.OffsetSpec.earliest(), library.OffsetSpec.latest()),
        )
        return [_one(self.admin.list_offsets({place: spec})).offset for spec in specs]

    def delete_records(self, offset: int) -> int:
        return _code(self.admin.delete_records([TopicPartition(self.filled, 0, offset)]))

    def topics(self) -> Said:
        wanted = library.NewTopic(
            self.topic, num_partitions=2, replication_factor=1, config=CONFIGS
        )
        said: Said = {
            "create": _code(self.admin.create_topics([wanted])),
            "create_again": _code(self.admin.create_topics([wanted])),
            "describe_configs": self.configs(),
            "alter": self.alter("9000"),
            "alter_after": self.configs(),
            "alter_wrong": self.alter("soon"),
            "replace": self.replace("6000000"),
            "replace_after": self.configs(),
            "replace_wrong": self.replace("soon"),
            "widen": self.widen(3),
            "widen_back": self.widen(1),
        }
        described = _one(self.admin.describe_topics(TopicCollection([self.topic])))
        return {**said, "partitions": len(described.partitions)}

    def records(self) -> Said:
        return {
            "offsets": self.offsets(),
            "delete_records": self.delete_records(3),
            "delete_records_beyond": self.delete_records(9),
            "offsets_after": self.offsets(),
        }

    def cluster(self) -> Said:
        found = self.admin.describe_cluster().result(ANSWER_WAIT_S)
        first = TopicPartition(self.topic, 0)
        elected = self.admin.elect_leaders(ElectionType.PREFERRED, [first]).result(ANSWER_WAIT_S)
        return {
            "nodes": [node.id for node in found.nodes],
            "controller": found.controller.id,
            "elect": int(elected[first].code()),
            "delete": _code(self.admin.delete_topics([self.topic])),
            "gone": self.topic not in self.admin.list_topics(timeout=ANSWER_WAIT_S).topics,
        }


def administer(bootstrap: str, topic: str, filled: str) -> Said:
    """Run the story, as far as the library can."""
    program = _Program(bootstrap, topic, filled)
    return {**program.topics(), **program.records(), **program.cluster()}
