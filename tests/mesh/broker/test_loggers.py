"""The loggers of a node in DescribeConfigs and IncrementalAlterConfigs, over the wire."""

from __future__ import annotations

import pytest

from mesh.broker.resources import ResourceType
from mesh.model.errors import ErrorCode
from mesh.wire.schemas.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from simulations.loggers import SimulatedLoggers
from tests.mesh.node.peer import Peer

LOGGER = ResourceType.BROKER_LOGGER
SET, DELETE, APPEND, SUBTRACT = range(4)
INVALID, CONFIG = ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_CONFIG


@pytest.fixture
def peer() -> Peer:
    """A node with a logger `mesh.node` beside the root."""
    peer = Peer()
    peer.node.broker.loggers = SimulatedLoggers("mesh.node")
    return peer


def describe(peer: Peer, name: str, *keys: str, version: int = 4) -> DescribeConfigsResult:
    resource = DescribeConfigsResource(
        resource_type=LOGGER, resource_name=name, configuration_keys=list(keys) or None
    )
    request = DescribeConfigsRequest(resources=[resource])
    [result] = peer.ask(request, DescribeConfigsResponse, version=version).results
    return result


def levels(peer: Peer) -> dict[str, str | None]:
    """What each logger writes at least."""
    return {each.name: each.value for each in describe(peer, "1").configs}


def alter(
    peer: Peer, *changes: tuple[str, int, str | None], name: str = "1", validate_only: bool = False
) -> tuple[int, str | None]:
    configs = [
        AlterableConfig(name=key, config_operation=what, value=value)
        for key, what, value in changes
    ]
    resource = AlterConfigsResource(resource_type=LOGGER, resource_name=name, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
    [result] = peer.ask(request, IncrementalAlterConfigsResponse).responses
    return result.error_code, result.error_message


@pytest.mark.parametrize("version", range(1, 5))
def test_levels_are_told_as_kafka_tells_them(peer: Peer, version: int) -> None:
    """With a source of their own, changeable; keys choose among them, unknown ones are nothing."""
    configs = describe(peer, "1", "root", "nah", version=version).configs
    assert [(each.name, each.value, each.config_source, each.read_only) for each in configs] == [
        ("root", "INFO", 6, False)
    ]


def test_a_level_is_set_and_taken_away(peer: Peer) -> None:
    """One without a level of its own follows the root."""
    assert alter(peer, ("mesh.node", SET, "DEBUG")) == (0, None)
    assert levels(peer) == {"mesh.node": "DEBUG", "root": "INFO"}
    assert alter(peer, ("mesh.node", DELETE, None), ("root", SET, "WARN")) == (0, None)
    assert levels(peer) == {"mesh.node": "WARN", "root": "WARN"}


def test_validating_changes_no_level(peer: Peer) -> None:
    """validate_only says what would be answered."""
    assert alter(peer, ("root", SET, "TRACE"), validate_only=True) == (0, None)
    assert alter(peer, ("root", SET, "trace"), validate_only=True)[0] == CONFIG
    assert levels(peer) == {"mesh.node": "INFO", "root": "INFO"}


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (("nah", SET, "INFO"), CONFIG, "Logger nah does not exist!"),
        (("nah", DELETE, None), CONFIG, "Logger nah does not exist!"),
        (
            ("root", SET, "loud"),
            CONFIG,
            (
                "Cannot set the log level of root to loud as it is not a supported log level. "
                "Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
            ),
        ),
        (("root", SET, None), INVALID, "Null value not supported for : root"),
        (
            ("root", DELETE, None),
            INVALID,
            "Removing the log level of the root logger is not allowed",
        ),
        (
            ("root", APPEND, "INFO"),
            INVALID,
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        ),
        (
            ("root", SUBTRACT, "INFO"),
            INVALID,
            "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
        ),
        (("root", 9, "INFO"), INVALID, "Unknown operation 9 for root."),
        (("mesh.node", SET, "WARN"), INVALID, "Error due to duplicate config keys"),
    ],
)
def test_one_wrong_change_spoils_all_of_a_request(
    peer: Peer, change: tuple[str, int, str | None], code: int, text: str
) -> None:
    """In Kafka's words, and what was right beside it is not done."""
    assert alter(peer, ("mesh.node", SET, "DEBUG"), change) == (code, text)
    assert levels(peer) == {"mesh.node": "INFO", "root": "INFO"}


def test_loggers_of_other_nodes_are_not_ours(peer: Peer) -> None:
    """Each API has its own words for it, Kafka's."""
    for name, told, altered in (
        ("", "Broker id must not be empty", "Node id must be an integer, but it is: "),
        (
            "x",
            "Broker id must be an integer, but it is: x",
            "Node id must be an integer, but it is: x",
        ),
        (
            "2",
            "Unexpected broker id, expected 1 but received 2",
            "Unexpected node id. Expected 1, but received 2",
        ),
    ):
        result = describe(peer, name)
        assert (result.error_code, result.error_message, result.configs) == (INVALID, told, [])
        assert alter(peer, ("root", SET, "WARN"), name=name) == (INVALID, altered)
    assert levels(peer) == {"mesh.node": "INFO", "root": "INFO"}
