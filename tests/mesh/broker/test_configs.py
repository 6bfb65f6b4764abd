"""DescribeConfigs and IncrementalAlterConfigs on a whole node, over the wire."""

from __future__ import annotations

import pytest

from mesh.broker.resources import ResourceType
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
)
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from tests.mesh.node.peer import Peer

TOPIC, BROKER = ResourceType.TOPIC, ResourceType.BROKER
SET, DELETE = 0, 1
INVALID = ErrorCode.INVALID_REQUEST


@pytest.fixture
def peer() -> Peer:
    """A node with the topic `t`."""
    peer = Peer()
    peer.create("t")
    return peer


def alter(
    peer: Peer, kind: int, name: str, *changes: tuple[str, int, str | None], **options: bool
) -> tuple[int, str | None]:
    """Ask for changes of one resource, and return code and text."""
    configs = [
        AlterableConfig(name=key, config_operation=what, value=value)
        for key, what, value in changes
    ]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[resource], **options)
    [result] = peer.ask(request, IncrementalAlterConfigsResponse).responses
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result.error_code, result.error_message


def describe(
    peer: Peer, kind: int, name: str, *keys: str, **options: bool
) -> dict[str, DescribeConfigsResourceResult]:
    """Return what is told of one resource, which must be there."""
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) or None
    )
    request = DescribeConfigsRequest(resources=[resource], **options)
    [result] = peer.ask(request, DescribeConfigsResponse).results
    assert (result.error_code, result.error_message) == (0, "")
    return {each.name: each for each in result.configs}


def refusal(peer: Peer, kind: int, name: str) -> tuple[int, str | None]:
    """Return code and text for a resource that cannot be described."""
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=None
    )
    answer = peer.ask(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse)
    assert answer.results[0].configs == []
    return answer.results[0].error_code, answer.results[0].error_message


def test_a_topics_change_is_in_force_when_it_is_answered(peer: Peer) -> None:
    """Set, told with its source, used by the partition, kept over a crash, and taken back."""
    assert alter(peer, TOPIC, "t", ("retention.ms", SET, "77")) == (0, None)
    told = describe(peer, TOPIC, "t", "retention.ms")["retention.ms"]
    assert (told.value, told.config_source, told.read_only) == ("77", 1, False)
    assert peer.node.broker.partitions["t", 0].config.retention_ms == 77
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert peer.node.broker.partitions["t", 0].config.retention_ms == 77
    assert alter(peer, TOPIC, "t", ("retention.ms", DELETE, None)) == (0, None)
    assert describe(peer, TOPIC, "t")["retention.ms"].config_source == 5


def test_a_brokers_change_is_in_force_when_it_is_answered(peer: Peer) -> None:
    """For all nodes, then for this one, which wins; topics follow, also over a crash."""
    assert alter(peer, BROKER, "", ("message.max.bytes", SET, "1000")) == (0, None)
    assert peer.node.broker.partitions["t", 0].config.batch_bytes_max == 1000
    assert alter(peer, BROKER, "1", ("message.max.bytes", SET, "2000")) == (0, None)
    assert peer.node.broker.partitions["t", 0].config.batch_bytes_max == 2000
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert peer.node.broker.partitions["t", 0].config.batch_bytes_max == 2000
    told = describe(peer, TOPIC, "t", "max.message.bytes", include_synonyms=True)
    found = told["max.message.bytes"]
    assert (found.value, found.config_source) == ("2000", 2)
    assert [(each.name, each.value, each.source) for each in found.synonyms] == [
        ("message.max.bytes", "2000", 2),
        ("message.max.bytes", "1000", 3),
        ("message.max.bytes", "1048588", 5),
    ]
    assert [(key, each.value) for key, each in describe(peer, BROKER, "").items()] == [
        ("message.max.bytes", "1000")
    ]
    told = describe(peer, BROKER, "1", "message.max.bytes", "node.id", "num.partitions")
    assert [(each.value, each.read_only) for each in told.values()] == [
        ("2000", False),
        ("1", True),
        ("1", True),
    ]


def test_validating_changes_nothing(peer: Peer) -> None:
    """validate_only says what would be answered."""
    assert alter(peer, TOPIC, "t", ("retention.ms", SET, "77"), validate_only=True) == (0, None)
    assert describe(peer, TOPIC, "t")["retention.ms"].value == "604800000"
    code, _ = alter(peer, TOPIC, "t", ("retention.ms", SET, "x"), validate_only=True)
    assert code == ErrorCode.INVALID_CONFIG


@pytest.mark.parametrize(
    ("kind", "name", "key", "code", "text"),
    [
        (
            TOPIC,
            "nah",
            "retention.ms",
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "The topic 'nah' does not exist.",
        ),
        (TOPIC, "", "retention.ms", INVALID, "Default topic resources are not allowed."),
        (BROKER, "2", "x", INVALID, "Unexpected broker id, expected 1, but received 2"),
        (BROKER, "-1", "x", INVALID, "Unexpected broker id, expected 1, but received -1"),
        (BROKER, "abc", "x", INVALID, "Node id must be an integer, but it is: abc"),
        (
            BROKER,
            "1",
            "num.partitions",
            INVALID,
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (0, "t", "x", INVALID, "Unknown resource type 0"),
        (
            ResourceType.BROKER_LOGGER,
            "1",
            "root",
            INVALID,
            (
                "BROKER_LOGGER resources have no configurations here. "
                "The loggers of this node are not its own."
            ),
        ),
    ],
)
def test_what_cannot_be_changed_is_told(
    peer: Peer, kind: int, name: str, key: str, code: int, text: str
) -> None:
    """Each wrong resource has its own answer; where Kafka has the same, in Kafka's words."""
    assert alter(peer, kind, name, (key, SET, "5")) == (code, text)


def test_a_resource_named_twice_is_refused_twice(peer: Peer) -> None:
    """Neither of the two is carried out, and both are answered."""
    resources = [
        AlterConfigsResource(
            resource_type=TOPIC,
            resource_name="t",
            configs=[AlterableConfig(name="segment.ms", config_operation=SET, value=value)],
        )
        for value in ("4", "5")
    ]
    request = IncrementalAlterConfigsRequest(resources=resources)
    answer = peer.ask(request, IncrementalAlterConfigsResponse)
    assert [(each.error_code, each.error_message) for each in answer.responses] == [
        (INVALID, "Each resource must appear at most once.")
    ] * 2
    assert describe(peer, TOPIC, "t")["segment.ms"].config_source == 5


@pytest.mark.parametrize(
    ("kind", "name", "code", "text"),
    [
        (TOPIC, "nah", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (
            TOPIC,
            "",
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (TOPIC, "__registry", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (
            BROKER,
            "2",
            INVALID,
            "Unexpected broker id, expected 1 or empty string, but received 2",
        ),
        (BROKER, "abc", INVALID, "Broker id must be an integer, but it is: abc"),
        (7, "1", INVALID, "Unknown resource type 7"),
    ],
)
def test_what_cannot_be_described_is_told(
    peer: Peer, kind: int, name: str, code: int, text: str
) -> None:
    """Each wrong resource has its own answer; where Kafka has the same, in Kafka's words."""
    assert refusal(peer, kind, name) == (code, text)


def test_keys_choose_and_none_or_an_empty_list_is_all(peer: Peer) -> None:
    """Unknown keys are left out, as in Kafka; documentation comes only when it is asked for."""
    told = describe(peer, TOPIC, "t", "retention.ms", "nope", include_documentation=True)
    assert list(told) == ["retention.ms"]
    assert "milliseconds" in (told["retention.ms"].documentation or "")
    plain = describe(peer, TOPIC, "t")
    assert len(plain) == 33
    assert {each.documentation for each in plain.values()} == {None}
    empty = DescribeConfigsResource(resource_type=TOPIC, resource_name="t", configuration_keys=[])
    answer = peer.ask(DescribeConfigsRequest(resources=[empty]), DescribeConfigsResponse, version=1)
    assert len(answer.results[0].configs) == 33


def test_a_question_asked_twice_is_answered_once(peer: Peer) -> None:
    """Or a small request could make an answer that fills the memory; other keys are another."""
    all_, one = (
        DescribeConfigsResource(resource_type=TOPIC, resource_name="t", configuration_keys=keys)
        for keys in (None, ["segment.ms"])
    )
    request = DescribeConfigsRequest(resources=[all_, one] * 50_000)
    answer = peer.ask(request, DescribeConfigsResponse)
    assert [len(result.configs) for result in answer.results] == [
        len(describe(peer, TOPIC, "t")),
        1,
    ]


def test_the_longest_value_can_be_told_in_every_version(peer: Peer) -> None:
    """What was taken by a new client does not break the answer to an old one."""
    name = "leader.replication.throttled.replicas"
    longest = ",".join(f"{index}:1" for index in range(10_000, 14_096))
    assert len(longest) == 32_767
    assert alter(peer, TOPIC, "t", (name, SET, longest)) == (0, None)
    resource = DescribeConfigsResource(
        resource_type=TOPIC, resource_name="t", configuration_keys=[name]
    )
    for version in range(1, 5):
        request = DescribeConfigsRequest(resources=[resource])
        answer = peer.ask(request, DescribeConfigsResponse, version=version)
        assert [each.value for each in answer.results[0].configs] == [longest]


def test_a_change_that_changes_nothing_is_taken_and_told(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """What means nothing here is kept and shown, so that tools work, with one line in the log."""
    assert alter(peer, BROKER, "1", ("num.io.threads", SET, "9")) == (0, None)
    assert alter(peer, BROKER, "1", ("message.max.bytes", SET, "9999")) == (0, None)
    told = describe(peer, BROKER, "1", "num.io.threads", include_documentation=True)
    found = told["num.io.threads"]
    assert (found.value, found.config_source) == ("9", 2)
    assert "Changes nothing here: One thread runs the whole node" in (found.documentation or "")
    [line] = [row for row in caplog.messages if "changes nothing here" in row]
    assert line.endswith(": num.io.threads")


@pytest.mark.parametrize(
    ("name", "key", "value", "code", "text"),
    [
        ("1", "min.insync.replicas", "2", ErrorCode.INVALID_CONFIG, "is one for all nodes"),
        ("", "sasl.enabled.mechanisms", "PLAIN", INVALID, "broker id must be specified"),
        ("1", "sasl.enabled.mechanisms", "PLAIN", INVALID, "only GSSAPI is taken"),
        ("1", "ssl.keystore.password", "hunter2", INVALID, "no value is taken"),
        ("", "max.connection.creation.rate", "5", INVALID, "only 2147483647 is taken"),
        ("", "unclean.leader.election.enable", "true", INVALID, "only false is taken"),
        ("", "max.connections.per.ip", "0", INVALID, "can be set to zero only if"),
        ("", "process.roles", "broker", INVALID, "Cannot update these configs dynamically"),
        ("", "num.io.threads", "0", INVALID, "Value must be at least 1"),
    ],
)
def test_what_a_broker_does_not_take_is_told(
    peer: Peer, name: str, key: str, value: str, code: int, text: str
) -> None:
    """Each refusal names what would be taken or why nothing is; a secret is not repeated."""
    found, told = alter(peer, BROKER, name, (key, SET, value))
    assert found == code
    assert text in (told or "")
    assert "hunter2" not in (told or "")


def test_a_secret_is_marked(peer: Peer) -> None:
    """Tools are told that a password is one, and never its value."""
    told = describe(peer, BROKER, "1", "ssl.key.password", "num.partitions")
    assert [(each.value, each.is_sensitive) for each in told.values()] == [
        ("1", False),
        (None, True),
    ]
