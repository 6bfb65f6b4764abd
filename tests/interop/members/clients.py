"""The clients whose members read: how each is started, which protocols it has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.interop import jvm, toolchain
from tests.interop.members.member import Config

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, slots=True)
class Client:
    """One library: how a member of it is started, and why it cannot be (None: it can)."""

    name: str
    command: Callable[[Config], list[str]]
    missing: Callable[[], str | None]
    protocols: tuple[str, ...]
    """What `Config.protocol` may be."""
    tells_its_assignment: bool = True
    """See `history.anomalies`."""


def _never_missing() -> str | None:
    return None


def _python(module: str) -> Callable[[Config], list[str]]:
    return lambda config: [
        sys.executable,
        "-m",
        f"tests.interop.members.{module}",
        config.to_json(),
    ]


def _java(config: Config) -> list[str]:
    classes = toolchain.java_build(PROGRAMS / "java")
    command = jvm.java("Member", config.to_json(), heap="128m")
    command[command.index("-cp") + 1] += f":{classes}"
    # It lives for seconds, and there are several: a third less of the processor.
    command.insert(1, "-XX:TieredStopAtLevel=1")
    return command


def _go(program: str) -> Callable[[Config], list[str]]:
    return lambda config: [str(toolchain.go_build(PROGRAMS / program)), config.to_json()]


def _kafkajs(config: Config) -> list[str]:
    directory = toolchain.npm_install(PROGRAMS / "javascript")
    return ["node", str(directory / "member.js"), config.to_json()]


CLIENTS = {
    client.name: client
    for client in (
        Client(
            "confluent-kafka",
            _python("with_confluent"),
            _never_missing,
            ("range", "cooperative-sticky", "consumer"),
        ),
        Client("java", _java, toolchain.java_missing, ("range", "cooperative-sticky", "consumer")),
        Client(
            "franz-go",
            _go("franz"),
            toolchain.go_missing,
            ("range", "cooperative-sticky", "consumer"),
        ),
        Client("sarama", _go("sarama"), toolchain.go_missing, ("range", "sticky")),
        Client("kafkajs", _kafkajs, toolchain.javascript_missing, ("roundrobin",)),
        Client("aiokafka", _python("with_aiokafka"), _never_missing, ("range", "sticky")),
        Client(
            "kafka-python",
            _python("with_kafka_python"),
            _never_missing,
            ("range", "cooperative-sticky"),
        ),
    )
}
