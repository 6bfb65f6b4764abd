"""One scene played to any broker: groups of every kind, and Kafka's tools looking at them.

It is played to Kafka's broker and to a node of ours; what the tools print must be the same.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.interop.flights.producer import create_topic
from tests.interop.members.tools import GROUPS, Tools
from tests.interop.members.with_confluent import QUIET

LIST_GROUPS = "org.apache.kafka.tools.GroupsCommand"
WAIT_S = 30

Pages = dict[str, list[str]]
"""What each step printed: its status, then its lines."""


def commit(bootstrap: str, group: str, offsets: Sequence[tuple[str, int, int]]) -> None:
    """Commit (topic, partition, offset)s for a group that has no members."""
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer(settings, logger=QUIET)
    try:
        wanted = [TopicPartition(topic, p, offset) for topic, p, offset in offsets]
        consumer.commit(offsets=wanted, asynchronous=False)
    finally:
        consumer.close()


@contextlib.contextmanager
def member(bootstrap: str, group: str, topic: str, **more: Any) -> Iterator[Consumer]:
    """Run a member of a group that has got all partitions of a topic, and reads nothing."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "latest",
        **more,
    }
    consumer = Consumer(settings, logger=QUIET)
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + WAIT_S
        while not consumer.assignment():
            assert time.monotonic() < deadline, "no assignment"
            consumer.poll(0.2)
        yield consumer
    finally:
        consumer.close()


class Scene:
    """Calls of tools to one broker, and what they printed."""

    def __init__(self, bootstrap: str, tools: Tools, directory: Path) -> None:
        """Take the broker, the tools, and a directory for files of theirs."""
        self.bootstrap = bootstrap
        self.directory = directory
        self.pages: Pages = {}
        self._tools = tools
        self._filled: set[str] = set()

    def fill(self, topic: str, counts: Sequence[int]) -> None:
        """Make a topic with so many records on each partition, unless it is there."""
        if topic in self._filled:
            return
        self._filled.add(topic)
        create_topic(self.bootstrap, topic, len(counts))
        producer = Producer({"bootstrap.servers": self.bootstrap}, logger=QUIET)
        for partition, count in enumerate(counts):
            for number in range(count):
                producer.produce(topic, b"value %d" % number, partition=partition)
        assert producer.flush(WAIT_S) == 0

    def look(self, label: str, tool: str, *arguments: str) -> str:
        """Run a tool and note what it printed; return it as it was."""
        printed = self._tools.run(tool, "--bootstrap-server", self.bootstrap, *arguments)
        self.note(label, [str(printed.status), *printed.lines()])
        return printed.text

    def groups(self, command: str) -> str:
        """Run kafka-consumer-groups; the command is its own label."""
        return self.look(command, GROUPS, *command.split())

    def remove(self, label: str, group: str, *instances: str) -> None:
        """Remove members by Java's Admin: static ones by their names, or all."""
        printed = self._tools.run("RemoveMembers", self.bootstrap, group, *instances)
        self.note(label, [str(printed.status), *printed.lines()])

    def note(self, label: str, lines: list[str]) -> None:
        """Note what a step printed. Steps have names of their own."""
        assert label not in self.pages, label
        self.pages[label] = lines

    def committed(self, label: str, group: str) -> None:
        """Note what a group has committed."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": group}
        consumer = Consumer(settings, logger=QUIET)
        places = [("one", 0), ("one", 1), ("two", 0)]
        answered = consumer.committed([TopicPartition(*place) for place in places], timeout=WAIT_S)
        consumer.close()
        self.note(label, [f"{it.topic} {it.partition} {it.offset}" for it in answered])


def play_simple(scene: Scene) -> None:
    """A group that never had a member: offsets, looked at, reset in all ways, and deleted."""
    scene.fill("one", [10, 10])
    scene.fill("two", [5])
    offsets = [("one", 0, 3), ("one", 1, 4), ("two", 0, 5)]
    commit(scene.bootstrap, "simple", offsets)
    commit(scene.bootstrap, "other", offsets[:1])
    for command in (
        "--list",
        "--list --state",
        "--list --type",
        "--list --state empty",
        "--list --state stable,dead",
        "--list --type classic --state empty",
        "--list --type consumer",
        "--describe --group simple",
        "--describe --group simple --offsets --verbose",
        "--describe --group simple --members --verbose",
        "--describe --group simple --state --verbose",
        "--describe --all-groups",
        "--describe --all-groups --state",
        "--describe --group nobody",
        "--describe --group nobody --state",
        "--describe --group nobody --members",
    ):
        scene.groups(command)
    one = "--reset-offsets --group simple --topic one"
    for how in (
        "--to-earliest",
        "--to-latest",
        "--to-current",
        "--shift-by 2",
        "--shift-by -100",
        "--shift-by 100",
        "--to-offset 7",
        "--by-duration PT1H",
        "--to-datetime 2020-01-01T00:00:00.000",
        "--to-datetime 2099-01-01T00:00:00.000",
    ):
        scene.groups(f"{one} {how} --dry-run")
    scene.committed("a dry run changes nothing", "simple")
    scene.groups(f"{one}:1 --to-earliest --execute")
    scene.groups("--reset-offsets --group simple --all-topics --shift-by -1 --execute")
    scene.committed("what was executed", "simple")
    exported = scene.groups("--reset-offsets --group simple --all-topics --to-current --export")
    file = scene.directory / "offsets.csv"
    file.write_text(
        "\n".join(it for it in exported.splitlines() if it.startswith(("one,", "two,")))
    )
    scene.groups(f"{one} --to-latest --execute")
    restored = f"--reset-offsets --group simple --from-file {file} --execute"
    scene.look("--reset-offsets --from-file --execute", GROUPS, *restored.split())
    scene.committed("what was restored from a file", "simple")
    scene.groups("--reset-offsets --group brand-new --topic one --to-latest --execute")
    scene.committed("a group made by a reset", "brand-new")
    scene.groups("--delete-offsets --group simple --topic one:0")
    scene.groups("--delete-offsets --group simple --topic two --topic absent")
    scene.committed("what was deleted", "simple")
    scene.groups("--delete --group simple --group nobody")
    scene.groups("--delete --group other --group brand-new")
    scene.look("all are gone", GROUPS, "--list")


def play_classic(scene: Scene) -> None:
    """A classic group with two members, one of them static."""
    classic = {
        "partition.assignment.strategy": "range",
        "client.id": "tool-member",
        "group.instance.id": "number-one",
    }
    scene.fill("one", [10, 10])
    scene.fill("two", [5])
    commit(scene.bootstrap, "empty", [("one", 0, 3)])
    with member(scene.bootstrap, "live", "one", **classic) as consumer:
        consumer.commit(offsets=[TopicPartition("one", 1, 6)], asynchronous=False)
        for command in (
            "--list --state --type",
            "--list --state stable",
            "--describe --group live",
            "--describe --group live --verbose",
            "--describe --group live --members",
            "--describe --group live --members --verbose",
            "--describe --group live --state",
            "--describe --group live --state --verbose",
            "--describe --group live --group empty --members",
            "--describe --all-groups --members",
            "--reset-offsets --group live --topic one --to-earliest --execute",
            "--delete --group live",
            "--delete --all-groups",
            "--delete-offsets --group live --topic one",
            "--delete-offsets --group live --topic two",
        ):
            scene.groups(command)
        for command in ("--list", "--list --group-type classic", "--list --protocol consumer"):
            scene.look(f"kafka-groups {command}", LIST_GROUPS, *command.split())
        scene.look("kafka-groups --list --consumer", LIST_GROUPS, "--list", "--consumer")
        scene.remove("remove a static member that there is not", "live", "number-two")
        scene.remove("remove a static member", "live", "number-one")
        scene.look("nobody is left", GROUPS, *["--describe", "--group", "live", "--state"])
    with member(scene.bootstrap, "all", "one", **{"client.id": "tool-member"}):
        scene.remove("remove all members", "all")
        scene.remove("remove all members of no group", "nobody")


def play_consumer(scene: Scene) -> None:
    """A group of the new protocol."""
    settings = {"group.protocol": "consumer", "client.id": "tool-member"}
    scene.fill("one", [10, 10])
    scene.fill("two", [5])
    with member(scene.bootstrap, "new", "one", **settings) as consumer:
        consumer.commit(offsets=[TopicPartition("one", 1, 6)], asynchronous=False)
        for command in (
            "--list --type --state",
            "--list --type consumer",
            "--describe --group new",
            "--describe --group new --verbose",
            "--describe --group new --members",
            "--describe --group new --members --verbose",
            "--describe --group new --state",
            "--describe --group new --state --verbose",
            "--reset-offsets --group new --topic one --to-earliest --execute",
            "--delete --group new",
            "--delete-offsets --group new --topic one",
        ):
            scene.groups(command)
        scene.look("kafka-groups new", LIST_GROUPS, "--list", "--group-type", "consumer")
        scene.remove("remove all members of a new group", "new")
    scene.look("new, empty", GROUPS, *["--describe", "--group", "new", "--state"])
    reset = "--reset-offsets --group new --topic one --to-offset 2 --execute"
    scene.look("new, reset", GROUPS, *reset.split())
    scene.committed("a reset of a new group", "new")
    scene.look("new, deleted", GROUPS, "--delete", "--group", "new")
