"""`mesh group` as people use it, with real members beside it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from tests.interop import jvm as kafka
from tests.interop.test_commands import Shell

NUMBERS = itertools.count()
POLLS_MAX = 600
"""Of 0.1 s each, until a member has partitions or records."""


def new_name() -> str:
    """A name of a topic and group that no other test has."""
    return f"group-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
def bootstrap(bootstrap_or_slow: str) -> str:
    """Where these tests run: Kafka's broker only in the long form."""
    return bootstrap_or_slow


@pytest.fixture
def shell(bootstrap: str, capfdbinary: pytest.CaptureFixture[bytes]) -> Shell:
    """Commands against a running broker."""
    return Shell(bootstrap, capfdbinary)


@contextlib.contextmanager
def member(shell: Shell, name: str, **settings: object) -> Iterator[Any]:
    """A member of the group that holds all partitions of the topic of the same name."""
    plain = {
        "bootstrap.servers": shell.bootstrap,
        "group.id": name,
        "client.id": "tester",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = confluent_kafka.Consumer({**plain, **settings})
    try:
        consumer.subscribe([name])
        for _ in range(POLLS_MAX):
            if consumer.assignment():
                break
            consumer.poll(0.1)
        assert consumer.assignment()
        yield consumer
    finally:
        consumer.close()


def described(shell: Shell, name: str, *flags: str) -> Any:
    """The group, as the JSON of describe tells it."""
    [found] = json.loads(shell.run("group", "describe", name, "--json", *flags))["groups"]
    return found


def a_topic_of_nine(shell: Shell) -> str:
    """A topic with five records in partition 0 and four in partition 1."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "2")
    shell.run("produce", name, "--partition", "0", given=b"a\nb\nc\nd\ne\n")
    shell.run("produce", name, "--partition", "1", given=b"f\ng\nh\ni\n")
    return name


def test_a_group_with_a_classic_member(shell: Shell) -> None:
    """What `mesh group` tells of it and keeps from it."""
    check_a_group_with_a_member(shell, "classic")


def test_a_group_with_a_new_member(shell: Shell) -> None:
    """The same, for a group of KIP-848; but its members cannot be removed."""
    check_a_group_with_a_member(shell, "consumer")
    name = a_topic_of_nine(shell)
    with member(shell, name, **{"group.protocol": "consumer"}):
        told = shell.run("group", "remove-member", name, "--all", status=6)
        assert b"only its members themselves can leave" in told


def check_a_group_with_a_member(shell: Shell, protocol: str) -> None:
    """It is listed and described with lag and member, and its offsets are not ours to move."""
    name = a_topic_of_nine(shell)
    with member(shell, name, **{"group.protocol": protocol}) as consumer:
        places = [confluent_kafka.TopicPartition(name, 0, 2)]
        consumer.commit(offsets=places, asynchronous=False)
        listed = json.loads(shell.run("group", "list", "--json", "--state", "stable"))
        assert {"group": name, "type": protocol, "state": "Stable"}.items() <= next(
            item.items() for item in listed["groups"] if item["group"] == name
        )
        found = described(shell, name, "--interval", "0.1")
        assert (found["state"], found["type"], found["members"]) == ("Stable", protocol, 1)
        assert (found["lag"], found["blocked_by"]) == (3, None)
        assert 0 <= found["lag_ms"] < 600_000
        assert [(part["committed_offset"], part["lag"]) for part in found["partitions"]] == [
            (2, 3),
            (None, None),
        ]
        [told] = found["member_states"]
        assert told["client_id"] == "tester"
        assert [place["partition"] for place in told["assigned"]] == [0, 1]
        text = shell.run("group", "describe", name, "--no-rate").decode()
        assert f"{name}-0" in text
        assert "lag 3 records" in text
        assert f"{name}:0,1" in shell.run("group", "describe", name, "--members").decode()
        reset = ("group", "reset", name, "--topic", name, "--to-earliest")
        assert b"with 1 member(s)" in shell.run(*reset, status=6)
        assert b"has members" in shell.run("group", "delete", name, status=6)
        assert b"1 member(s)" in shell.run("group", "delete", name, "--dry-run", status=6)
        offsets = ("group", "delete", name, "--offsets", "--topic", f"{name}:0")
        assert b"a member subscribes to it" in shell.run(*offsets, status=6)
    assert described(shell, name, "--no-rate")["partitions"][0]["committed_offset"] == 2


def test_offsets_are_reset_to_every_goal(shell: Shell) -> None:
    """Each goal, within the log; a dry run changes nothing; what is left out stays."""
    name = a_topic_of_nine(shell)

    def after(*goal: str) -> list[int | None]:
        shell.run("group", "reset", name, *goal)
        parts = {p["partition"]: p for p in described(shell, name, "--no-rate")["partitions"]}
        return [parts[n]["committed_offset"] if n in parts else None for n in (0, 1)]

    def reset_json(*goal: str) -> Any:
        return json.loads(shell.run("group", "reset", name, "--json", *goal))

    with member(shell, name):
        pass  # It leaves a group without offsets.
    assert after("--topic", f"{name}:0", "--to-latest") == [5, None]
    assert after("--all-topics", "--shift-by", "-2") == [3, None]
    assert after("--topic", name, "--to-offset", "4") == [4, 4]
    assert after("--topic", f"{name}:1", "--shift-by", "-99") == [4, 0]
    assert after("--topic", f"{name}:1", "--to-offset", "99") == [4, 4]
    assert after("--topic", name, "--to-earliest", "--dry-run") == [4, 4]
    assert after("--topic", name, "--by-duration", "1h") == [0, 0]
    assert after("--all-topics", "--to-time", "2200-01-01T00:00Z") == [5, 4]
    found = reset_json("--topic", f"{name}:0", "--to-offset", "7", "--dry-run")
    assert found["offsets"] == [
        {"topic": name, "partition": 0, "before": 5, "after": 5, "note": "7 is behind the end"}
    ]


def test_a_reset_that_cannot_be_is_refused_whole(shell: Shell) -> None:
    """What is wrong is named, and no offset was set."""
    name = a_topic_of_nine(shell)
    shell.run("produce", new_name() + "-other", given=b"x\n")
    goal = ("group", "reset", name, "--to-latest")
    assert b"no 7" in shell.run(*goal, "--topic", f"{name}:0,7", status=6)
    assert b"there is no topic" in shell.run(*goal, "--topic", name, "--topic", "nope", status=6)
    assert b"there is no group" in shell.run("group", "describe", name, status=6)


@pytest.mark.slow
def test_files_go_to_kafkas_tool_and_back(shell: Shell, tmp_path: Path) -> None:
    """What we export Kafka's tool takes, and the other way round."""
    name = a_topic_of_nine(shell)
    path = tmp_path / "offsets.csv"
    path.write_text(f"{name},0,3\n{name},1,2\n")
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    common = ("--bootstrap-server", shell.bootstrap, "--group", name, "--reset-offsets")
    done = kafka.run_tool(tool, *common, "--from-file", str(path), "--execute")
    assert done.returncode == 0, done.stdout + done.stderr
    goal = ("--all-topics", "--shift-by", "1", "--export")
    ours = shell.run("group", "reset", name, *goal).decode()
    assert ours == f"{name},0,4\n{name},1,3\n"
    told = kafka.run_tool(tool, *common, "--to-current", "--all-topics", "--export", "--dry-run")
    path.write_text(told.stdout)
    assert (
        ours
        == shell.run(
            "group", "reset", name, "--from-file", str(path), "--export", "--dry-run"
        ).decode()
    )


def test_groups_and_offsets_are_deleted(shell: Shell) -> None:
    """Some offsets, then the group; a dry run says what would go."""
    name = a_topic_of_nine(shell)
    with member(shell, name) as consumer:
        places = [confluent_kafka.TopicPartition(name, n, 1) for n in (0, 1)]
        consumer.commit(offsets=places, asynchronous=False)
    some = ("group", "delete", name, "--offsets", "--topic", f"{name}:0")
    assert b"would delete" in shell.run(*some, "--dry-run")
    assert f"deleted {name}-0".encode() in shell.run(*some)
    assert b"no committed offsets there" in shell.run(*some, status=6)
    left = described(shell, name, "--no-rate")
    assert (left["lag"], left["blocked_by"]) == (
        3,
        "no members: 3 records wait and nobody reads them",
    )
    assert b"1 committed offset(s)" in shell.run("group", "delete", name, "--dry-run")
    assert f"deleted {name}\n".encode() == shell.run("group", "delete", name)
    assert b"there is no group" in shell.run("group", "delete", name, status=6)
    assert b"does not exist" in shell.run("group", "delete", name, "--if-exists")


def test_members_are_removed(shell: Shell) -> None:
    """As static ones; strangers are named."""
    name = a_topic_of_nine(shell)
    remove = ("group", "remove-member", name)
    with member(shell, name, **{"group.instance.id": "one"}):
        assert b"no member nobody" in shell.run(*remove, "--member", "nobody", status=6)
        assert b"would remove one" in shell.run(*remove, "--all", "--dry-run")
        assert b"removed one" in shell.run(*remove, "--instance", "one")
        assert described(shell, name, "--no-rate")["members"] == 0


def test_lag_in_time_is_the_age_of_the_first_record_that_waits(shell: Shell) -> None:
    """By its own timestamp; 0 for those that read everything."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    now_ms = time.time_ns() // 1_000_000
    ages_ms = (3_600_000, 1_800_000, 60_000)
    lines = [json.dumps({"value": "x", "timestamp_ms": now_ms - age}) for age in ages_ms]
    shell.run("produce", name, "--format", "json", given="\n".join(lines).encode())
    for offset, age_ms in enumerate(ages_ms):
        goal = ("--topic", name, "--to-offset", str(offset))
        shell.run("group", "reset", name, *goal, quiet=False)
        assert age_ms <= described(shell, name, "--no-rate")["lag_ms"] < age_ms + 600_000
    shell.run("group", "reset", name, "--topic", name, "--to-latest")
    assert described(shell, name, "--no-rate")["lag_ms"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("describe",), "--all"),
        (("describe", "g", "--all"), "--all"),
        (("describe", "g", "--watch", "--no-rate"), "exclude"),
        (("reset", "g", "--to-latest"), "--topic or --all-topics"),
        (("reset", "g", "--all-topics"), "--to-earliest"),
        (("reset", "g", "--all-topics", "--to-latest", "--to-earliest"), "give one of"),
        (("reset", "g", "--all-topics", "--to-time", "noon"), "2026-01-31T12:00"),
        (("reset", "g", "--all-topics", "--by-duration", "long"), "PT2H30M"),
        (("reset", "g", "--topic", "t:x", "--to-latest"), "'x' is no partition"),
        (("delete", "g", "--offsets"), "--topic"),
        (("remove-member", "g"), "--member"),
        (("list", "--state", "Sleeping"), "Sleeping"),
    ],
)
def test_wrong_words_are_named(
    arguments: tuple[str, ...], words: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Before anything connects."""
    nowhere = Shell("127.0.0.1:1", capfdbinary)
    assert words in nowhere.run("group", *arguments, status=2).decode()
