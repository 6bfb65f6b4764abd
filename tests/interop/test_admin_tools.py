"""Kafka's tools for administrators, from its published jars, against a node of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import jvm, toolchain
from tests.interop.admins.clients import RECORD_COUNT, fill
from tests.interop.node import NODE_COUNT, NODE_IDS, MeshNode, mesh_node_process

pytestmark = [
    pytest.mark.slow,  # Each call of a tool starts a JVM.
    pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven"),
]

LOG_DIRS = "org.apache.kafka.tools.LogDirsCommand"
CONFIGS = "kafka.admin.ConfigCommand"
CLUSTER = "org.apache.kafka.tools.ClusterTool"
DELETE_RECORDS = "org.apache.kafka.tools.DeleteRecordsCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"


@pytest.fixture(scope="module")
def node() -> Iterator[MeshNode]:
    """A node of this module's own: what is set for it must not meet other tests."""
    with mesh_node_process() as node:
        yield node


def tool(node: MeshNode, name: str, *arguments: str, status: int = 0) -> str:
    """Return what a tool prints; it must end with this status."""
    result = jvm.run_tool(name, *arguments, "--bootstrap-server", node.bootstrap)
    printed = result.stdout + result.stderr
    assert result.returncode == status, printed
    return printed


def test_kafka_log_dirs(node: MeshNode) -> None:
    """kafka-log-dirs tells the one directory, and of a partition what its files hold."""
    fill(node.bootstrap, "tool-log-dirs")
    printed = tool(node, LOG_DIRS, "--describe", "--topic-list", "tool-log-dirs,no-such-topic")
    # In the order of a hash table.
    brokers = sorted(json.loads(printed.splitlines()[-1])["brokers"], key=lambda it: it["broker"])
    assert [broker["broker"] for broker in brokers] == list(NODE_IDS)
    directories = [directory for broker in brokers for directory in broker["logDirs"]]
    assert [Path(it["logDir"]) for it in directories] == node.log_directories
    assert [it["error"] for it in directories] == [None] * NODE_COUNT
    [directory] = [it for it in directories if it["partitions"]]  # One replica is asked for.
    files = node.log("tool-log-dirs", 0).glob("*.log")
    size = sum(path.stat().st_size for path in files)
    assert directory["partitions"] == [
        {"partition": "tool-log-dirs-0", "size": size, "offsetLag": 0, "isFuture": False}
    ]
    assert size > 0


def brokers(node: MeshNode, *arguments: str, status: int = 0) -> str:
    """Run kafka-configs for brokers."""
    return tool(node, CONFIGS, "--entity-type", "brokers", *arguments, status=status)


def test_kafka_configs_of_brokers(node: MeshNode) -> None:
    """kafka-configs sets a value for this node and one for all, shows both, and takes one back."""
    this, all_ = ("--entity-name", "1"), ("--entity-default",)
    brokers(node, *this, "--alter", "--add-config", "message.max.bytes=2000000")
    brokers(node, *all_, "--alter", "--add-config", "log.retention.ms=7200000")
    shown = brokers(node, "--describe")
    assert "DYNAMIC_BROKER_CONFIG:message.max.bytes=2000000" in shown
    assert "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7200000" in shown
    brokers(node, *this, "--alter", "--delete-config", "message.max.bytes")
    assert "message.max.bytes" not in brokers(node, *this, "--describe")


@pytest.mark.slow
def test_kafka_configs_is_told_what_cannot_be(node: MeshNode) -> None:
    """A setting that only a restart changes is refused in Kafka's words."""
    change = ("--entity-name", "1", "--alter", "--add-config", "num.partitions=5")
    words = "Cannot update these configs dynamically: [num.partitions]"
    assert words in brokers(node, *change, status=1)


@pytest.mark.slow
def test_kafka_configs_of_loggers(node: MeshNode) -> None:
    """kafka-configs lets the node write more, and sees that it does."""
    loggers = ("--entity-type", "broker-loggers", "--entity-name", "1")
    tool(node, CONFIGS, *loggers, "--alter", "--add-config", "mesh.node=DEBUG")
    shown = tool(node, CONFIGS, *loggers, "--describe")
    assert "mesh.node=DEBUG sensitive=false" in shown
    assert "root=INFO sensitive=false" in shown


def test_kafka_cluster(node: MeshNode) -> None:
    """kafka-cluster names the cluster and its node, and cannot take out one that lives."""
    assert re.fullmatch(r"Cluster ID: [-0-9a-f]{36}", tool(node, CLUSTER, "cluster-id").strip())
    listed = tool(node, CLUSTER, "list-endpoints", "--include-fenced-brokers")
    expected = rf"1\s+127\.0\.0\.1\s+{node.port}\s+null\s+unfenced\s+broker"
    assert re.search(expected, listed), listed
    alive = tool(node, CLUSTER, "unregister", "--id", "1", status=1)
    assert "Node 1 is a living member of this mesh" in alive


def test_kafka_delete_records(node: MeshNode, tmp_path: Path) -> None:
    """kafka-delete-records moves the start of a partition, as kafka-get-offsets then finds it."""
    fill(node.bootstrap, "tool-records")
    wanted = {"topic": "tool-records", "partition": 0, "offset": 3}
    file = tmp_path / "wanted.json"
    file.write_text(json.dumps({"partitions": [wanted], "version": 1}))
    printed = tool(node, DELETE_RECORDS, "--offset-json-file", str(file))
    assert "partition: tool-records-0\tlow_watermark: 3" in printed
    for moment, offset in (("earliest", 3), ("latest", RECORD_COUNT)):
        found = tool(node, OFFSETS, "--topic", "tool-records", "--time", moment)
        assert found.split() == [f"tool-records:0:{offset}"]
