"""The admin clients, each with how it runs the story and what of it the library cannot do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka

from tests.interop import jvm, toolchain
from tests.interop.admins import with_aiokafka, with_confluent, with_kafka_python
from tests.interop.admins.steps import AMONG_SEVERAL, STEPS, Said
from tests.interop.flights.producer import create_topic

PROGRAMS = Path(__file__).parent / "programs"
RUN_WAIT_S = 90
RECORD_COUNT = 5


class AdminError(Exception):
    """A program failed, or did not print the one JSON object; the text has its own words."""


@dataclass(frozen=True, slots=True)
class Admin:
    """One client: its name, how it runs the story, what it lacks, and why it cannot (None: can)."""

    name: str
    administer: Callable[[str, str, str], Said]
    missing: Callable[[], str | None]
    lacks: frozenset[str]


def fill(bootstrap: str, topic: str) -> None:
    """Make the topic of the story that holds records, all in one idempotent producer's batch.

    Raises:
        AdminError: the records are not there.
    """
    create_topic(bootstrap, topic, 1)
    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 100}
    producer = confluent_kafka.Producer(settings)
    for number in range(RECORD_COUNT):
        producer.produce(topic, b"value %d" % number, partition=0)
    if (left := producer.flush(RUN_WAIT_S)) > 0:
        raise AdminError(f"{left} records were not taken")


def _run(command: Sequence[str], directory: Path | None = None) -> Said:
    result = subprocess.run(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_WAIT_S,
        check=False,
    )
    if result.returncode != 0:
        raise AdminError(f"{command[0]} ended with {result.returncode}: {result.stderr[-2000:]}")
    said: Said = json.loads(result.stdout)
    return said


def _java(bootstrap: str, topic: str, filled: str) -> Said:
    return _run(jvm.java(str(PROGRAMS / "java" / "Administer.java"), bootstrap, topic, filled))


def _kadm(bootstrap: str, topic: str, filled: str) -> Said:
    return _run([str(toolchain.go_build(PROGRAMS / "kadm")), bootstrap, topic, filled])


def _sarama(bootstrap: str, topic: str, filled: str) -> Said:
    return _run([str(toolchain.go_build(PROGRAMS / "sarama")), bootstrap, topic, filled])


def _kafkajs(bootstrap: str, topic: str, filled: str) -> Said:
    directory = toolchain.npm_install(PROGRAMS / "javascript")
    return _run(["node", "administer.js", bootstrap, topic, filled], directory)


def _never_missing() -> str | None:
    return None


INCREMENTAL = frozenset({"alter", "alter_after", "alter_wrong"})
REPLACING = frozenset({"replace", "replace_after", "replace_wrong"})
REASSIGNING = frozenset({"reassign", "reassign_unknown", "reassign_cancel", "reassignments"})

ADMINS = {
    admin.name: admin
    for admin in (
        Admin(
            "confluent-kafka",
            with_confluent.administer,
            _never_missing,
            REASSIGNING | {"producers", "log_dirs", "features", "resources"},
        ),
        Admin("kafka-python", with_kafka_python.administer, _never_missing, REPLACING),
        Admin(
            "aiokafka",
            with_aiokafka.administer,
            _never_missing,
            INCREMENTAL
            | REASSIGNING
            | {"offsets", "offsets_after", "producers", "log_dirs", "elect"}
            | {"features", "resources"},
        ),
        Admin("java", _java, toolchain.java_missing, REPLACING),
        Admin(
            "kadm",
            _kadm,
            toolchain.go_missing,
            frozenset({"features", "replace_wrong"}) | {"widen_back"},
        ),
        Admin(
            "sarama",
            _sarama,
            toolchain.go_missing,
            frozenset({"features", "producers", "reassign_cancel", "replace_wrong", "resources"}),
        ),
        Admin(
            "kafkajs",
            _kafkajs,
            toolchain.javascript_missing,
            INCREMENTAL
            | {"elect", "features", "log_dirs", "producers", "reassign_cancel", "resources"},
        ),
    )
}


def differing(admin: Admin, said: Said, node_count: int = 1) -> list[str]:
    """Return each step that did not come out as it must, was left out, or should have been."""
    if node_count > 1:
        for name, results in AMONG_SEVERAL.items():
            if said.get(name) in results:
                said = {**said, name: STEPS[name].result}
    wanted = {name: step.result for name, step in STEPS.items() if name not in admin.lacks}
    return [
        f"{name}: wanted {wanted.get(name)}, got {said.get(name)}"
        for name in sorted(wanted.keys() | said.keys())
        if (name in wanted, wanted.get(name)) != (name in said, said.get(name))
    ]
