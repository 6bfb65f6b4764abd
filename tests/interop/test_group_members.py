"""Members of groups in seven client libraries: whatever happens, no row is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop import jvm
from tests.interop.flights.rows import Row, read_rows
from tests.interop.members.brokers import broker
from tests.interop.members.clients import CLIENTS
from tests.interop.members.story import Broker
from tests.interop.members.tell import tell, unserved

QUICK = [("confluent-kafka", "cooperative-sticky"), ("confluent-kafka", "consumer")]
ALL = [(client.name, protocol) for client in CLIENTS.values() for protocol in client.protocols]


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """A node of ours that is killed now and then, and always comes back."""
    with broker("mesh") as running:
        yield running


def _tell(
    kind: str, running: Broker, story: str, client: str, protocol: str, row_count: int
) -> None:
    for reason in (CLIENTS[client].missing(), unserved(kind, protocol)):
        if reason is not None:
            pytest.skip(reason)
    rows: list[Row] = list(read_rows(row_count))
    outcome = tell(running, story, client, protocol, rows)
    assert outcome.anomalies == []
    assert outcome.row_count == row_count


@pytest.mark.parametrize(("client", "protocol"), QUICK)
def test_two_members_one_crash_one_kill(client: str, protocol: str, node: Broker) -> None:
    """A member and the node are killed: every row is processed, no commit goes back."""
    _tell("mesh", node, "quick", client, protocol, 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("client", "protocol"), ALL)
def test_members_of_every_client(client: str, protocol: str, node: Broker) -> None:
    """One joins, one crashes, the node is killed: in every client, in all its protocols."""
    _tell("mesh", node, "three", client, protocol, 6000)


@pytest.mark.slow
def test_five_members(node: Broker) -> None:
    """Members join, leave, crash, stall and freeze, the node is killed twice; nothing is lost."""
    _tell("mesh", node, "five", "confluent-kafka", "cooperative-sticky", 20_000)


@pytest.mark.slow
def test_the_stories_hold_of_kafka_too() -> None:
    """Kafka's own broker comes through a story, so that the story asks no more than it does."""
    if (reason := jvm.missing()) is not None:
        pytest.skip(reason)
    with broker("jvm") as kafka:
        _tell("jvm", kafka, "three", "confluent-kafka", "consumer", 6000)
