"""ListConfigResources and UnregisterBroker on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.model.errors import ErrorCode
from mesh.wire.schemas.list_config_resources import (
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from mesh.wire.schemas.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from simulations.loggers import SimulatedLoggers
from tests.mesh.node.peer import Peer

TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32


@pytest.fixture
def peer() -> Peer:
    """A node with the topics `a` and `b`."""
    peer = Peer()
    peer.create("a")
    peer.create("b")
    return peer


def listed(peer: Peer, *kinds: int, version: int = 1) -> list[tuple[int, str]]:
    """Ask for resources of these types."""
    request = ListConfigResourcesRequest(resource_types=list(kinds))
    answer = peer.ask(request, ListConfigResourcesResponse, version=version)
    assert answer.error_code == 0
    return [(each.resource_type, each.resource_name) for each in answer.config_resources]


def test_resources_are_listed_by_type(peer: Peer) -> None:
    """None given stands for all; the registry's own topic is hidden; twice is once."""
    topics, brokers = [(TOPIC, "a"), (TOPIC, "b")], [(BROKER, "1")]
    assert listed(peer, TOPIC) == topics
    assert listed(peer, BROKER, BROKER) == brokers
    assert listed(peer, BROKER, TOPIC) == topics + brokers
    assert listed(peer) == topics + brokers
    assert listed(peer, BROKER_LOGGER, CLIENT_METRICS, GROUP) == []
    peer.node.broker.loggers = SimulatedLoggers()
    assert listed(peer) == [*topics, *brokers, (BROKER_LOGGER, "1")]


def test_the_first_version_asks_for_client_metrics_only(peer: Peer) -> None:
    """There are none, and topics are not theirs."""
    assert listed(peer, version=0) == []


@pytest.mark.parametrize("kinds", [(0,), (1,), (77,), (-1,), (TOPIC, 64)])
def test_a_type_that_does_not_exist_fails_the_request(peer: Peer, kinds: tuple[int, ...]) -> None:
    """As in Kafka with UNSUPPORTED_VERSION: it may be a type of later versions."""
    request = ListConfigResourcesRequest(resource_types=list(kinds))
    answer = peer.ask(request, ListConfigResourcesResponse)
    assert (answer.error_code, answer.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])


@pytest.mark.parametrize("number", [0, 2, -1, 2**31 - 1])
def test_who_is_no_member_cannot_be_taken_out(peer: Peer, number: int) -> None:
    """In Kafka's words."""
    answer = peer.ask(UnregisterBrokerRequest(broker_id=number), UnregisterBrokerResponse)
    assert (answer.error_code, answer.error_message) == (
        ErrorCode.BROKER_ID_NOT_REGISTERED,
        f"Broker ID {number} is not currently registered",
    )


def test_a_living_node_is_not_taken_out(peer: Peer) -> None:
    """It says that it lives, and goes on serving."""
    answer = peer.ask(UnregisterBrokerRequest(broker_id=1), UnregisterBrokerResponse)
    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert "Node 1 is a living member" in (answer.error_message or "")
    assert listed(peer, BROKER) == [(BROKER, "1")]
