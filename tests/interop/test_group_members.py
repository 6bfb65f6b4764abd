"""Members of groups in seven client libraries: whatever happens, no row is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.flights.rows import read_rows
from tests.interop.members.brokers import broker
from tests.interop.members.clients import CLIENTS
from tests.interop.members.story import Broker
from tests.interop.members.tell import tell

QUICK = [("confluent-kafka", "cooperative-sticky"), ("confluent-kafka", "consumer")]
# `python -m tests.interop.members` has every client in all its protocols.
LONG = [
    ("confluent-kafka", "range"),
    ("java", "cooperative-sticky"),
    ("java", "consumer"),
    ("franz-go", "cooperative-sticky"),
    ("franz-go", "consumer"),
    ("sarama", "sticky"),
    ("kafkajs", "roundrobin"),
    ("aiokafka", "range"),
    ("kafka-python", "cooperative-sticky"),
]


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """A node of ours that is killed now and then, and always comes back."""
    with broker("mesh") as running:
        yield running


def _tell(running: Broker, story: str, client: str, protocol: str, row_count: int) -> None:
    if (reason := CLIENTS[client].missing()) is not None:
        pytest.skip(reason)
    rows = list(read_rows(row_count))
    outcome = tell(running, story, client, protocol, rows)
    assert outcome.anomalies == []
    assert outcome.row_count == row_count


@pytest.mark.parametrize(("client", "protocol"), QUICK)
def test_two_members_one_crash_one_kill(client: str, protocol: str, node: Broker) -> None:
    """A member and the node are killed: every row is processed, no commit goes back."""
    _tell(node, "quick", client, protocol, 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("client", "protocol"), LONG)
def test_members_of_every_client(client: str, protocol: str, node: Broker) -> None:
    """One joins, one crashes, the node is killed: in every client, in both kinds of groups."""
    _tell(node, "three", client, protocol, 6000)


@pytest.mark.slow
def test_five_members(node: Broker) -> None:
    """Members join, leave, crash, stall and freeze, the node is killed twice; nothing is lost."""
    _tell(node, "five", "confluent-kafka", "cooperative-sticky", 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["cooperative-sticky", "consumer"])
def test_static_members(protocol: str, node: Broker) -> None:
    """One that comes back finds what it had and disturbs nobody; a second of its name is fenced."""
    _tell(node, "static", "confluent-kafka", protocol, 8000)
