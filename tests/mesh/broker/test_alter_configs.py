"""AlterConfigs, which replaces, on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.broker.resources import ResourceType
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.alter_configs import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterConfigsResponse,
)
from tests.mesh.node.peer import Peer

TOPIC, BROKER = ResourceType.TOPIC, ResourceType.BROKER
INVALID = ErrorCode.INVALID_REQUEST


@pytest.fixture
def peer() -> Peer:
    """A node with the topic `t`."""
    peer = Peer()
    peer.create("t")
    return peer


def a_resource(kind: int, name: str, **configs: str | None) -> AlterConfigsResource:
    """One resource of a request; underscores of a name stand for dots."""
    values = [
        AlterableConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()
    ]
    return AlterConfigsResource(resource_type=kind, resource_name=name, configs=values)


def alter(
    peer: Peer, *resources: AlterConfigsResource, version: int = 2, validate_only: bool = False
) -> list[tuple[int, str | None]]:
    """Ask, and return code and text for each resource."""
    request = AlterConfigsRequest(resources=list(resources), validate_only=validate_only)
    answer = peer.ask(request, AlterConfigsResponse, version=version)
    assert [(each.resource_type, each.resource_name) for each in answer.responses] == [
        (each.resource_type, each.resource_name) for each in resources
    ]
    return [(each.error_code, each.error_message) for each in answer.responses]


def of_topic(peer: Peer) -> dict[str, str]:
    """What the topic `t` has of its own."""
    return dict(peer.node.broker.registry.topics["t"].configs)


@pytest.mark.parametrize("version", range(3))
def test_what_a_request_does_not_name_is_taken_away(peer: Peer, version: int) -> None:
    """Each request leaves what it names and nothing else, in force and over a crash."""
    both = a_resource(TOPIC, "t", retention_ms="77", segment_ms="88")
    assert alter(peer, both, version=version) == [(0, None)]
    assert of_topic(peer) == {"retention.ms": "77", "segment.ms": "88"}
    assert alter(peer, a_resource(TOPIC, "t", segment_ms="99"), version=version) == [(0, None)]
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert of_topic(peer) == {"segment.ms": "99"}
    assert peer.node.broker.partitions["t", 0].config.retention_ms == 604_800_000
    assert alter(peer, a_resource(TOPIC, "t"), version=version) == [(0, None)]
    assert of_topic(peer) == {}


def test_what_a_node_has_of_its_own_is_replaced_too(peer: Peer) -> None:
    """For this node and for all nodes apart: neither touches the other."""
    one = a_resource(BROKER, "1", message_max_bytes="2000")
    all_ = a_resource(BROKER, "", message_max_bytes="1000", log_retention_ms="5")
    assert alter(peer, one, all_) == [(0, None)] * 2
    assert alter(peer, a_resource(BROKER, "", log_retention_ms="6")) == [(0, None)]
    assert dict(peer.node.broker.registry.broker_configs) == {
        "1": {"message.max.bytes": "2000"},
        "": {"log.retention.ms": "6"},
    }


def test_a_wrong_value_changes_nothing(peer: Peer) -> None:
    """All of a resource or none of it; others of the same request do not mind."""
    alter(peer, a_resource(TOPIC, "t", retention_ms="77"))
    peer.create("u")
    wrong = a_resource(TOPIC, "t", segment_ms="1", segment_bytes="x")
    right = a_resource(TOPIC, "u", segment_ms="1")
    text = "Invalid value x for configuration segment.bytes: Not a number of type INT"
    assert alter(peer, wrong, right) == [(ErrorCode.INVALID_CONFIG, text), (0, None)]
    assert of_topic(peer) == {"retention.ms": "77"}
    assert peer.node.broker.registry.topics["u"].configs == {"segment.ms": "1"}


def test_each_of_a_thousand_resources_has_its_own_answer(peer: Peer) -> None:
    """Nearly all of them are wrong, and hinder none of the others."""
    peer.create("u")
    many = [
        a_resource(TOPIC, "t", retention_ms="77"),
        *(a_resource(TOPIC, f"nah-{number}", retention_ms="77") for number in range(500)),
        *(a_resource(BROKER, f"{number}", message_max_bytes="9") for number in range(2, 500)),
        a_resource(TOPIC, "u", retention_ms="88"),
    ]
    answers = [code for code, _ in alter(peer, *many)]
    unknown = [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] * 500
    assert answers == [0, *unknown, *([INVALID] * 498), 0]
    assert peer.node.broker.registry.topics["u"].configs == {"retention.ms": "88"}


def test_validating_changes_nothing(peer: Peer) -> None:
    """validate_only says what would be answered."""
    alter(peer, a_resource(TOPIC, "t", retention_ms="77"))
    assert alter(peer, a_resource(TOPIC, "t"), validate_only=True) == [(0, None)]
    wrong = a_resource(TOPIC, "t", retention_ms="x")
    assert alter(peer, wrong, validate_only=True)[0][0] == ErrorCode.INVALID_CONFIG
    assert of_topic(peer) == {"retention.ms": "77"}


def test_a_resource_named_twice_is_refused_twice(peer: Peer) -> None:
    """Neither of the two is carried out."""
    twice = [a_resource(TOPIC, "t", segment_ms=value) for value in ("4", "5")]
    assert alter(peer, *twice) == [(INVALID, "Each resource must appear at most once.")] * 2
    assert of_topic(peer) == {}


def test_a_change_that_is_not_committed_in_time_says_so(peer: Peer) -> None:
    """The answer comes after half a minute at the latest."""
    connection = peer.connect()
    peer.send(
        connection, AlterConfigsRequest(resources=[a_resource(TOPIC, "t", retention_ms="77")])
    )
    peer.pass_time(29_999)
    assert peer.answers(connection) == []
    peer.pass_time(1)
    [answer] = peer.answers(connection)
    assert isinstance(answer, AlterConfigsResponse)
    assert answer.responses[0].error_code == ErrorCode.REQUEST_TIMED_OUT


@pytest.mark.parametrize(
    ("kind", "name", "code", "text"),
    [
        (TOPIC, "nah", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "The topic 'nah' does not exist."),
        (TOPIC, "", INVALID, "Default topic resources are not allowed."),
        (
            TOPIC,
            "__registry",
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "The topic '__registry' does not exist.",
        ),
        (BROKER, "2", INVALID, "Unexpected broker id, expected 1, but received 2"),
        (BROKER, "x", INVALID, "Node id must be an integer, but it is: x"),
        (BROKER, "1", INVALID, "Null value not supported for : retention.ms"),
        (ResourceType.BROKER_LOGGER, "1", INVALID, "Unknown resource type 8"),
        (
            ResourceType.GROUP,
            "g",
            INVALID,
            "GROUP resources have no configurations here. The node's (group.*) are for all groups.",
        ),
        (77, "x", INVALID, "Unknown resource type 77"),
    ],
)
def test_what_cannot_be_changed_is_told(
    peer: Peer, kind: int, name: str, code: int, text: str
) -> None:
    """Each wrong resource has its own answer; where Kafka has the same, in Kafka's words."""
    assert alter(peer, a_resource(kind, name, retention_ms=None)) == [(code, text)]
