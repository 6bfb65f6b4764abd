"""The story of `steps.py` with kafka-python's KafkaAdminClient.

Its `alter_configs` fills in what else is set before it asks AlterConfigs, so it never replaces.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from tests.interop.admins.steps import CONFIGS, LOOKED_AT, Said

with warnings.catch_warnings():
    # kafka-python reads its own schemas, at import, by a call that Python 3.11 deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
    from kafka.errors import KafkaError

PREFERRED = 0
EARLIEST, LATEST = -2, -1


def _code(call: Callable[[], object]) -> int:
    """Return the error that a call ends with, 0 for none."""
    try:
        call()
    except KafkaError as error:
        return int(error.errno)
    return 0


class _Program:
    def __init__(self, bootstrap: str, topic: str, filled: str) -> None:
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self.topic = topic
        self.first = kafka.TopicPartition(topic, 0)
        self.filled = kafka.TopicPartition(filled, 0)

    def configs(self) -> object:
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic, list(LOOKED_AT))
        found = self.admin.describe_configs([resource], config_filter="all")["topic"][self.topic]
        own = "DYNAMIC_TOPIC_CONFIG"
        return {name: [row["value"], row["config_source"] == own] for name, row in found.items()}

    def alter(self, value: str) -> int:
        changes = {"segment.ms": value, "retention.ms": ("DELETE", None)}
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic, changes)
        said = self.admin.alter_configs([resource])["topic"][self.topic]
        error = re.match(r"\[Error (\d+)\]", said)
        return int(error[1]) if error is not None else 0

    def widen(self, count: int) -> int:
        return _code(lambda: self.admin.create_partitions({self.topic: count}))

    def offsets(self) -> list[int]:
        place = self.filled
        found = (self.admin.list_partition_offsets({place: spec}) for spec in (EARLIEST, LATEST))
        return [each[place].offset for each in found]

    def delete_records(self, offset: int) -> int:
        return _code(lambda: self.admin.delete_records({self.filled: offset}))

    def reassign(self, nodes: list[int] | None) -> int:
        answer = self.admin.alter_partition_reassignments({self.first: nodes})[self.first]
        return 0 if answer is None else int(answer.errno)

    def topics(self) -> Said:
        wanted = {"num_partitions": 2, "replication_factor": 1, "configs": CONFIGS}
        said: Said = {
            "create": _code(lambda: self.admin.create_topics({self.topic: wanted})),
            "create_again": _code(lambda: self.admin.create_topics({self.topic: wanted})),
            "describe_configs": self.configs(),
            "alter": self.alter("9000"),
            "alter_after": self.configs(),
            "alter_wrong": self.alter("soon"),
            "widen": self.widen(3),
            "widen_back": self.widen(1),
        }
        (described,) = self.admin.describe_topics([self.topic])
        return {**said, "partitions": len(described["partitions"])}

    def records(self) -> Said:
        states = self.admin.describe_producers([self.filled])[self.filled].active_producers
        directories = [
            partition["partition_size"]
            for node in self.admin.describe_log_dirs({self.filled.topic: [0]})
            for directory in node["log_dirs"]
            for topic in directory["topics"]
            for partition in topic["partitions"]
        ]
        return {
            "offsets": self.offsets(),
            "producers": [[each.producer_epoch, each.last_sequence] for each in states],
            "log_dirs": sum(directories) > 0,
            "delete_records": self.delete_records(3),
            "delete_records_beyond": self.delete_records(9),
            "offsets_after": self.offsets(),
        }

    def cluster(self) -> Said:
        found = self.admin.describe_cluster()
        elected = self.admin.elect_leaders(PREFERRED, {self.topic: [0]}, raise_errors=False)
        (result,) = elected.replica_election_results[0].partition_result
        return {
            "nodes": [node["broker_id"] for node in found["brokers"]],
            "controller": found["controller_id"],
            "reassign": self.reassign([1]),
            "reassign_unknown": self.reassign([99]),
            "reassign_cancel": self.reassign(None),
            "reassignments": len(self.admin.list_partition_reassignments()),
            "elect": result.error_code,
            "features": _code(self.admin.describe_features),
            "resources": self.topic in self.admin.list_config_resources(["TOPIC"])["topic"],
            "delete": _code(lambda: self.admin.delete_topics([self.topic])),
            "gone": self.topic not in self.admin.list_topics(),
        }


def administer(bootstrap: str, topic: str, filled: str) -> Said:
    """Run the story, as far as the library can."""
    program = _Program(bootstrap, topic, filled)
    try:
        return {**program.topics(), **program.records(), **program.cluster()}
    finally:
        program.admin.close()
