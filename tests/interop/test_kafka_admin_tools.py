"""Kafka's tools for placement, elections, features and quorums, against a node of ours."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.interop import jvm, toolchain
from tests.interop.flights.producer import create_topic
from tests.interop.node import NODE_COUNT, MeshNode

pytestmark = [
    pytest.mark.slow,  # Each call of a tool starts a JVM.
    pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven"),
]

TOOLS = "org.apache.kafka.tools"
REASSIGN = f"{TOOLS}.reassign.ReassignPartitionsCommand"


def _run(node: MeshNode, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return jvm.run_tool(tool, "--bootstrap-server", node.bootstrap, *arguments)


def _tool(node: MeshNode, tool: str, *arguments: str) -> str:
    """Return what a tool prints; it must end well."""
    result = _run(node, tool, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _refused(node: MeshNode, tool: str, *arguments: str) -> str:
    """Return what a tool prints; it must end with 1."""
    result = _run(node, tool, *arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout + result.stderr


def _places(path: Path, topic: str, *places: tuple[int, list[int]]) -> str:
    """Write where partitions shall be, and return the file's name."""
    rows = [
        {"topic": topic, "partition": index, "replicas": replicas} for index, replicas in places
    ]
    path.write_text(json.dumps({"version": 1, "partitions": rows}))
    return str(path)


def test_kafka_reassign_partitions(mesh_node: MeshNode, tmp_path: Path) -> None:
    """It proposes, executes, verifies, lists and cancels; where nothing moves all is complete."""
    create_topic(mesh_node.bootstrap, "tool-reassign", 2)
    topics = tmp_path / "topics.json"
    topics.write_text(json.dumps({"version": 1, "topics": [{"topic": "tool-reassign"}]}))
    wanted = ("--generate", "--broker-list", "1", "--topics-to-move-json-file", str(topics))
    proposed = json.loads(_tool(mesh_node, REASSIGN, *wanted).splitlines()[-1])
    assert [row["replicas"] for row in proposed["partitions"]] == [[1], [1]]
    plan = _places(tmp_path / "plan.json", "tool-reassign", (0, [1]), (1, [1]))
    told = ("--reassignment-json-file", plan)
    started = _tool(mesh_node, REASSIGN, "--execute", *told)
    assert "Successfully started partition reassignments for tool-reassign-0" in started
    verified = _tool(mesh_node, REASSIGN, "--verify", *told)
    assert "Reassignment of partition tool-reassign-1 is completed." in verified
    assert "No partition reassignments found." in _tool(mesh_node, REASSIGN, "--list")
    cancelled = _tool(mesh_node, REASSIGN, "--cancel", *told)
    assert "None of the specified partition reassignments are active." in cancelled


def test_kafka_reassign_partitions_is_refused_what_cannot_be(
    mesh_node: MeshNode, tmp_path: Path
) -> None:
    """A node that does not exist, and a partition that does not, are named."""
    create_topic(mesh_node.bootstrap, "tool-misplaced", 1)
    plan = _places(tmp_path / "nodes.json", "tool-misplaced", (0, [9]))
    told = ("--execute", "--reassignment-json-file", plan)
    assert "Unknown broker id 9" in _refused(mesh_node, REASSIGN, *told)
    plan = _places(tmp_path / "partitions.json", "tool-misplaced", (7, [1]))
    told = ("--execute", "--reassignment-json-file", plan)
    assert "tool-misplaced-7" in _refused(mesh_node, REASSIGN, *told)


def test_kafka_leader_election(mesh_node: MeshNode) -> None:
    """Everybody leads who should, so nothing is to be done; an unknown partition is named."""
    create_topic(mesh_node.bootstrap, "tool-election", 1)
    tool = f"{TOOLS}.LeaderElectionCommand"
    _tool(mesh_node, tool, "--election-type", "preferred", "--all-topic-partitions")
    for kind in ("preferred", "unclean"):
        one = ("--election-type", kind, "--topic", "tool-election", "--partition", "0")
        printed = _tool(mesh_node, tool, *one)
        assert "Valid replica already elected for partitions tool-election-0" in printed
    one = ("--election-type", "preferred", "--topic", "tool-election", "--partition", "9")
    assert "No such partition as tool-election-9" in _refused(mesh_node, tool, *one)


def test_kafka_features(mesh_node: MeshNode) -> None:
    """It shows both features, keeps their levels, and is refused another one with a reason."""
    tool = f"{TOOLS}.FeatureCommand"
    shown = [re.split(r"\s+", line)[:8] for line in _tool(mesh_node, tool, "describe").splitlines()]
    levels = {row[1]: (row[3], row[5], row[7]) for row in shown if row[0] == "Feature:"}
    assert levels == {"gossamer.format": ("1", "1", "1"), "group.version": ("0", "1", "1")}
    for name in levels:
        kept = _tool(mesh_node, tool, "upgrade", "--feature", f"{name}=1")
        assert f"{name} was upgraded to 1." in kept
    refused = _refused(mesh_node, tool, "upgrade", "--feature", "transaction.version=1")
    assert re.search(r"Node \d does not support this feature\.", refused), refused
    refused = _refused(mesh_node, tool, "downgrade", "--feature", "gossamer.format=0")
    assert re.search(r"Node \d only supports versions 1", refused), refused


def test_kafka_metadata_quorum(mesh_node: MeshNode) -> None:
    """It shows the quorum of the mesh's own records, and cannot take a voter away."""
    tool = f"{TOOLS}.MetadataQuorumCommand"
    status = _tool(mesh_node, tool, "describe", "--status")
    found = re.search(r"LeaderId:\s+(\d)\n", status)
    assert found is not None, status
    assert re.search(r"MaxFollowerLag:\s+0\n", status), status
    for address in mesh_node.bootstrap.split(","):
        assert f"PLAINTEXT://{address}" in status
    _, *replicas = _tool(mesh_node, tool, "describe", "--replication").splitlines()
    [leader] = [it for it in replicas if it.split()[-1] == "Leader"]
    assert [it.split()[-1] for it in replicas].count("Follower") == NODE_COUNT - 1
    node_id, directory_id, *_ = leader.split()
    assert node_id == found[1]
    away = ("--controller-id", node_id, f"--controller-directory-id={directory_id}")
    assert "a mesh has no controllers" in _refused(mesh_node, tool, "remove-controller", *away)


@pytest.mark.parametrize(
    "which",
    [
        "--under-replicated-partitions",
        "--unavailable-partitions",
        "--under-min-isr-partitions",
        "--at-min-isr-partitions",
    ],
)
def test_kafka_topics_describe_filters(mesh_node: MeshNode, which: str) -> None:
    """A healthy partition is in none of the filters but that of the smallest in-sync set."""
    topic = f"tool{which}"
    create_topic(mesh_node.bootstrap, topic, 1)
    command = ("--describe", "--topic", topic, which)
    printed = _tool(mesh_node, f"{TOOLS}.TopicCommand", *command)
    assert ("Partition: 0" in printed) == (which == "--at-min-isr-partitions")
