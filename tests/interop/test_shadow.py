"""Groups by KIP-848 at Kafka's broker and in our machine get the same answers, to the partition."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.interop.differential.talk import Connection
from tests.interop.jvm import JvmBroker, jvm_broker, missing
from tests.interop.shadow import Shadow, await_coordinator, make_topics

SHORT, LONG = range(60), range(60, 400)


@pytest.fixture(scope="module")
def eager_jvm() -> Iterator[JvmBroker]:
    """A JVM broker that computes targets at once, so that no answer depends on the time."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with jvm_broker(group_consumer_assignment_interval_ms=0) as broker:
        yield broker


def play(broker: JvmBroker, seeds: range, steps: int) -> None:
    """Play games of these seeds, and have every difference said."""
    connection = Connection(broker.port)
    topics = make_topics(connection)
    await_coordinator(connection, "any")
    differences, answers = [], 0
    for seed in seeds:
        game = Shadow(connection, f"shadow-{seed}-{time.monotonic_ns()}", seed)
        game.add_topics(topics)
        game.play(steps)
        answers += game.answers_count
        differences += [f"seed {seed}: {one}" for one in game.differences]
    connection.close()
    assert answers > 10 * len(seeds)
    assert not differences, f"{len(differences)} of {answers}:\n" + "\n".join(differences[:5])


def test_answers_and_assignments_are_kafkas(eager_jvm: JvmBroker) -> None:
    """Members come, go, come back and change their minds; topics by name and by pattern."""
    play(eager_jvm, SHORT, 20)


@pytest.mark.slow
def test_answers_and_assignments_are_kafkas_in_longer_games(eager_jvm: JvmBroker) -> None:
    """The same, with more members and for longer."""
    play(eager_jvm, LONG, 60)
