"""Kafka's tools that read: as members of groups, and straight from `__consumer_offsets`.

What of their output is the same for every broker is noted in a `Scene`.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition

from tests.interop import jvm
from tests.interop.members.scene import Scene, commit, member
from tests.interop.members.tools import MEMBER

CONSOLE = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"
VERIFIABLE = "org.apache.kafka.tools.VerifiableConsumer"
DUMP = "org.apache.kafka.tools.DumpLogSegments"

NEW = ("--command-property", "group.protocol=consumer")
# The longest that a console consumer waits for one more record, milliseconds.
PATIENCE = ("--timeout-ms", "10000")

# What differs from run to run in the records of groups.
MASKED = frozenset(
    {
        "assignmentTimestamp",
        "commitTimestamp",
        "currentStateTimestamp",
        "expireTimestamp",
        "memberId",
        "metadataHash",
        "topicId",
    }
)

CONSOLES: dict[str, tuple[str, ...]] = {
    "from the beginning, as a group": (
        *("--topic", "two", "--group", "console", "--from-beginning", "--max-messages", "5"),
    ),
    "as a group of the new protocol": (
        *("--topic", "two", "--group", "console-new", "--from-beginning", "--max-messages", "5"),
        *NEW,
    ),
    "without a group's name": ("--topic", "two", "--from-beginning", "--max-messages", "5"),
    "one partition from an offset": (
        *("--topic", "one", "--partition", "1", "--offset", "7", "--max-messages", "2"),
    ),
    "topics by a pattern": (
        *("--include", "one|two", "--group", "console-many", "--from-beginning"),
        *("--max-messages", "25"),
    ),
    "topics by a pattern, new protocol": (
        *("--include", "one|two", "--group", "console-many-new", "--from-beginning"),
        *("--max-messages", "25", *NEW),
    ),
    "with all that a record has": (
        *("--topic", "one", "--group", "console-all", "--from-beginning", "--max-messages", "20"),
        *("--formatter-property", "print.offset=true"),
        *("--formatter-property", "print.partition=true"),
        *("--formatter-property", "print.key=true"),
        *("--formatter-property", "print.headers=true"),
    ),
}


def play_consoles(scene: Scene) -> None:
    """kafka-console-consumer in all its modes, each in a JVM of its own; two at a time."""
    scene.fill("one", [10, 10])
    scene.fill("two", [5])

    def run(arguments: tuple[str, ...]) -> list[str]:
        result = jvm.run_tool(CONSOLE, "--bootstrap-server", scene.bootstrap, *arguments)
        processed = re.findall(r"Processed a total of \d+ messages", result.stdout + result.stderr)
        return [str(result.returncode), *sorted(result.stdout.splitlines()), *processed]

    with ThreadPoolExecutor(2) as pool:
        for label, lines in zip(CONSOLES, pool.map(run, CONSOLES.values()), strict=True):
            scene.note(f"console: {label}", lines)
    # What they had read they committed when they left.
    scene.committed("what a console consumer commits", "console")


def play_performance(scene: Scene) -> None:
    """kafka-consumer-perf-test in its modes; of its figures only the counts."""
    scene.fill("many", [2000, 2000])
    scene.fill("more", [500])
    whole = ("--num-records", "4000", "--timeout", "20000")
    modes: dict[str, tuple[str, ...]] = {
        "a group": ("--topic", "many", "--group", "perf", *whole),
        "new protocol": ("--topic", "many", "--group", "perf-new", *NEW, *whole),
        "without a header": ("--topic", "many", "--hide-header", *whole),
        "a pattern": ("--include", "many|more", "--num-records", "4500", "--timeout", "20000"),
        "from the latest": (
            *("--topic", "many", "--from-latest", "--num-records", "1", "--timeout", "2000"),
        ),
        "detailed": (
            *("--topic", "many", "--show-detailed-stats", "--reporting-interval", "1", *whole),
        ),
    }
    for label, arguments in modes.items():
        result = jvm.run_tool(PERFORMANCE, "--bootstrap-server", scene.bootstrap, *arguments)
        lines = [line.split(", ") for line in result.stdout.splitlines()]
        header = [", ".join(line) for line in lines if line[0] in {"start.time", "time"}]
        # Whole or detailed, the megabytes and the records so far are two columns apart.
        counts = [(line[2], line[4]) for line in lines if len(line) > 4 and line[0][:2] == "20"]
        # How much was read by the last of its reports is chance.
        figures = [str(counts[-1])] if counts and label != "detailed" else []
        scene.note(f"performance: {label}", [str(result.returncode), *header, *figures])


def play_verifiable(scene: Scene) -> None:
    """kafka-verifiable-consumer: its events, up to what it consumed and committed."""
    scene.fill("verified", [100, 100])
    for protocol in ("classic", "consumer"):
        group = ("--group-id", f"verified-{protocol}", "--group-protocol", protocol)
        result = jvm.run_tool(
            *(VERIFIABLE, "--bootstrap-server", scene.bootstrap, "--topic", "verified"),
            *("--max-messages", "200", *group),
        )
        events = [json.loads(line) for line in result.stdout.splitlines() if line[:1] == "{"]
        consumed = sum(it.get("count", 0) for it in events if it["name"] == "records_consumed")
        committed = {
            (place["partition"], place["offset"])
            for event in events
            if event["name"] == "offsets_committed" and event["success"]
            for place in event["offsets"]
        }
        given = [it["partitions"] for it in events if it["name"] == "partitions_assigned"]
        names = sorted({event["name"] for event in events})
        scene.note(
            f"verifiable: {protocol}",
            [str(result.returncode), *names, f"consumed {consumed}", str(given[:1])]
            + [str(place) for place in sorted(committed)[-1:]],
        )


def _plain(value: Any) -> Any:
    """Return decoded JSON without moments, topic ids and member ids."""
    if isinstance(value, dict):
        return {name: 0 if name in MASKED else _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return MEMBER.sub("MEMBER", value) if isinstance(value, str) else value


def _documents(text: str) -> list[str]:
    """Return the JSON documents that follow each other in a text, in one plain form."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(json.dumps(_plain(document), sort_keys=True))
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


DUMPED = re.compile(r"\| offset: .* key: (?P<key>\{.*\}) payload: (?P<payload>.+)")
GROUP = re.compile(r'"group(?:Id)?": "(read-[a-z]+)"')


def write_offsets(scene: Scene) -> None:
    """Commit, by a group without members and by one with, and delete some of it again."""
    scene.fill("one", [10, 10])
    scene.fill("two", [5])
    commit(scene.bootstrap, "read-simple", [("one", 0, 3), ("one", 1, 4), ("two", 0, 5)])
    settings = {
        "client.id": "tool-member",
        "partition.assignment.strategy": "range",
        "group.instance.id": "number-one",
    }
    with member(scene.bootstrap, "read-live", "one", **settings) as consumer:
        consumer.commit(offsets=[TopicPartition("one", 1, 6)], asynchronous=False)
    scene.groups("--delete-offsets --group read-simple --topic one:0")
    scene.remove("remove what is static", "read-live", "number-one")
    settings = {"client.id": "tool-member", "group.protocol": "consumer"}
    with member(scene.bootstrap, "read-new", "one", **settings) as consumer:
        consumer.commit(offsets=[TopicPartition("one", 1, 6)], asynchronous=False)


def _of_groups(documents: list[str]) -> list[str]:
    """Return the documents about our groups, those of one group together, in their order."""
    named = [(match[1], it) for it in documents if (match := GROUP.search(it)) is not None]
    return [it for _, it in sorted(named, key=lambda pair: pair[0])]


def play_formatters(scene: Scene, log_directory: Path) -> None:
    """`__consumer_offsets` by the console consumer's own readers, and by kafka-dump-log."""
    write_offsets(scene)

    # How many records there are nobody knows: who reads as a group writes some of its own.
    def run(kind: str) -> list[str]:
        result = jvm.run_tool(
            *(CONSOLE, "--bootstrap-server", scene.bootstrap, "--topic", "__consumer_offsets"),
            *("--formatter", f"org.apache.kafka.tools.consumer.{kind}"),
            *("--from-beginning", *PATIENCE),
        )
        return _of_groups(_documents(result.stdout.strip()))

    kinds = ("OffsetsMessageFormatter", "GroupMetadataMessageFormatter")
    with ThreadPoolExecutor(2) as pool:
        for kind, lines in zip(kinds, pool.map(run, kinds), strict=True):
            scene.note(f"console: {kind}", lines)
    files = sorted(log_directory.glob("__consumer_offsets-*/*.log"))
    written = [str(file) for file in files if file.stat().st_size > 0]
    result = jvm.run_tool(DUMP, "--offsets-decoder", "--files", ",".join(written))
    found = []
    for line in result.stdout.splitlines():
        if (match := DUMPED.fullmatch(line)) is not None:
            payload = match["payload"]
            plain = _documents(payload) if payload[:1] == "{" else [payload]
            found.append(" ".join([*_documents(match["key"]), *plain]))
    unsound = [it for it in result.stdout.splitlines() if "isvalid: false" in it]
    complaints = [*unsound, *result.stderr.splitlines()]
    scene.note("dump", [str(result.returncode), *_of_groups(found), *complaints])
