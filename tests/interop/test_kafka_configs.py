"""Kafka's kafka-configs against both brokers: the same configs, and what differs is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.interop import jvm, toolchain
from tests.interop.flights.producer import create_topic
from tests.interop.jvm import JvmBroker
from tests.interop.node import MeshNode, mesh_node_process

pytestmark = [
    pytest.mark.slow,  # Each call of a tool starts a JVM.
    pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven"),
]

LINE = re.compile(r"^  (?P<name>[a-z][a-z.0-9]*)=(?P<value>.*) sensitive=(?P<secret>true|false) ")
ALL_NODES = ("--entity-type", "brokers", "--entity-default")
THIS_NODE = ("--entity-type", "brokers", "--entity-name", "1")


@pytest.fixture(scope="module")
def node() -> Iterator[MeshNode]:
    """A node of this module's own: what is set for it must not meet other tests."""
    with mesh_node_process() as node:
        yield node


def configs(bootstrap: str, *arguments: str, status: int = 0) -> str:
    """Return what kafka-configs prints; it must end with this status."""
    command = ("--bootstrap-server", bootstrap, *arguments)
    result = jvm.run_tool("kafka.admin.ConfigCommand", *command)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def described(bootstrap: str, *arguments: str) -> dict[str, tuple[str, bool]]:
    """Return the value of every config, and whether it is a secret."""
    printed = configs(bootstrap, *arguments, "--describe", "--all")
    found = (LINE.match(line) for line in printed.splitlines())
    return {each["name"]: (each["value"], each["secret"] == "true") for each in found if each}


def test_a_broker_has_all_configs_that_kafka_lists(node: MeshNode, jvm: JvmBroker) -> None:
    """--describe --all lists the same names and the same secrets, none of them with a value."""
    ours, kafkas = described(node.bootstrap, *THIS_NODE), described(jvm.bootstrap, *THIS_NODE)
    own = {"gossamer.durability", "replica.replace.after.ms", "replication.throttled.rate"}
    assert ours.keys() - kafkas.keys() == own
    assert kafkas.keys() - ours.keys() == set()
    secrets = {name for name, (_, secret) in ours.items() if secret}
    assert secrets == {name for name, (_, secret) in kafkas.items() if secret}
    assert {ours[name][0] for name in secrets} == {"null"}
    assert len(ours) > 300


def test_a_topic_has_all_configs_that_kafka_lists(node: MeshNode, jvm: JvmBroker) -> None:
    """--describe --all of a topic is the same, value by value."""
    topic = ("--entity-type", "topics", "--entity-name", "tool-all-configs")
    found = []
    for bootstrap in (node.bootstrap, jvm.bootstrap):
        create_topic(bootstrap, "tool-all-configs", 1)
        found.append(described(bootstrap, *topic))
    assert found[0] == found[1]
    assert len(found[0]) == 33


def test_defaults_of_all_nodes_come_and_go(node: MeshNode) -> None:
    """--entity-default takes a list and a number that means nothing here; topics follow, and back.

    What means nothing is shown like any other, and told once in the node's log.
    """
    added = "log.cleanup.policy=[delete,compact],num.io.threads=12"
    configs(node.bootstrap, *ALL_NODES, "--alter", "--add-config", added)
    shown = configs(node.bootstrap, *ALL_NODES, "--describe")
    assert "log.cleanup.policy=delete,compact sensitive=false" in shown
    assert "DYNAMIC_DEFAULT_BROKER_CONFIG:num.io.threads=12" in shown
    create_topic(node.bootstrap, "tool-two-policies", 1)
    topic = ("--entity-type", "topics", "--entity-name", "tool-two-policies")
    assert described(node.bootstrap, *topic)["cleanup.policy"] == ("delete,compact", False)
    told = [line for line in node.output.read_text().splitlines() if "changes nothing here" in line]
    assert [line.rpartition(": ")[2] for line in told] == ["num.io.threads"]
    gone = "log.cleanup.policy,num.io.threads"
    configs(node.bootstrap, *ALL_NODES, "--alter", "--delete-config", gone)
    assert "=" not in configs(node.bootstrap, *ALL_NODES, "--describe")
    assert described(node.bootstrap, *topic)["cleanup.policy"] == ("delete", False)


def test_what_is_not_kept_is_not_taken(node: MeshNode) -> None:
    """Security, rates and unclean elections are refused, each with its reason."""
    for entity, change, reason in (
        (THIS_NODE, "ssl.keystore.password=hunter2", "TLS is not built yet"),
        (ALL_NODES, "max.connection.creation.rate=5", "accepted as fast as they come"),
        (ALL_NODES, "unclean.leader.election.enable=true", "never given up by itself"),
    ):
        printed = configs(node.bootstrap, *entity, "--alter", "--add-config", change, status=1)
        (answer, *_) = [line for line in printed.splitlines() if reason in line]
        assert "hunter2" not in answer  # The tool itself repeats how it was called.
