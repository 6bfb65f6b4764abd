"""Apache Kafka's own command line tools, from its published jars, against a node of ours."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.interop import jvm, toolchain
from tests.interop.flights.producer import Flight, create_topic
from tests.interop.flights.rows import read_rows
from tests.interop.node import NODE_COUNT, MeshNode, mesh_node_process

pytestmark = pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven")

ROWS = 20_000
COPY_WAIT_S = 30

# Everything the dump tool says about files that are sound; whatever else it says is a complaint.
SOUND = re.compile(
    r"Dumping \S+"
    r"|Log starting offset: \d+"
    r"|baseOffset: .* isvalid: true"
    r"|\| offset: (?P<record>\d+) .*"
    r"|(?P<index>offset: \d+ position: \d+)"
    r"|(?P<timeindex>timestamp: \d+ offset: \d+)"
    r"|(?P<snapshot>producerId: \d+ producerEpoch: \d+ .*)"
)

# Kafka 4.3.1's tool says this of every segment that does not begin at 0, Kafka's own included: its
# check begins at -1. Only that very pair of lines is overlooked.
FIRST_OFFSET = re.compile(
    r"Non-consecutive offsets in \S+/0*(?P<base>\d+)\.log\n  -1 is followed by (?P=base)\n"
)


def _tool(node: MeshNode, tool: str, *arguments: str) -> str:
    """Return what a tool prints; it must end well."""
    result = jvm.run_tool(tool, "--bootstrap-server", node.bootstrap, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _topics(node: MeshNode, *arguments: str) -> str:
    return _tool(node, "org.apache.kafka.tools.TopicCommand", *arguments)


def _configs(node: MeshNode, topic: str, *arguments: str) -> str:
    return _tool(node, "kafka.admin.ConfigCommand", "--topic", topic, *arguments)


def _offsets(node: MeshNode, topic: str, time: str) -> list[str]:
    arguments = ("--topic", topic, "--time", time)
    return _tool(node, "org.apache.kafka.tools.GetOffsetShell", *arguments).splitlines()


@pytest.mark.slow
def test_kafka_topics(mesh_node: MeshNode) -> None:
    """kafka-topics creates, describes, widens, lists and deletes a topic."""
    created = ("--topic", "tool-topics", "--partitions", "2", "--config", "retention.ms=3600000")
    assert "Created topic tool-topics." in _topics(mesh_node, "--create", *created)
    _topics(mesh_node, "--alter", "--topic", "tool-topics", "--partitions", "3")
    described = _topics(mesh_node, "--describe", "--topic", "tool-topics")
    # Without a wish of their own, topics have as many replicas as there are nodes, up to three.
    replicas = rf"PartitionCount: 3\s+ReplicationFactor: {min(3, NODE_COUNT)}\s"
    assert re.search(replicas, described), described
    assert "retention.ms=3600000" in described
    assert [int(it) for it in re.findall(r"Partition: (\d+)\s+Leader: \d", described)] == [0, 1, 2]
    assert "tool-topics" in _topics(mesh_node, "--list").splitlines()
    _topics(mesh_node, "--delete", "--topic", "tool-topics")
    assert "tool-topics" not in _topics(mesh_node, "--list").splitlines()


def test_kafka_topics_is_told_that_a_topic_exists(mesh_node: MeshNode) -> None:
    """Creating a topic twice fails with Kafka's own error."""
    create_topic(mesh_node.bootstrap, "tool-twice", 1)
    command = ("--bootstrap-server", mesh_node.bootstrap, "--create", "--topic", "tool-twice")
    result = jvm.run_tool("org.apache.kafka.tools.TopicCommand", *command)
    assert result.returncode == 1
    assert "TopicExistsException" in result.stdout + result.stderr


@pytest.mark.slow
def test_kafka_configs(mesh_node: MeshNode) -> None:
    """kafka-configs sets, shows and removes a topic's configuration."""
    create_topic(mesh_node.bootstrap, "tool-configs", 1)
    _configs(mesh_node, "tool-configs", "--alter", "--add-config", "retention.ms=3600000")
    shown = _configs(mesh_node, "tool-configs", "--describe")
    assert "retention.ms=3600000 sensitive=false" in shown
    assert "DYNAMIC_TOPIC_CONFIG:retention.ms=3600000" in shown
    _configs(mesh_node, "tool-configs", "--alter", "--delete-config", "retention.ms")
    everything = _configs(mesh_node, "tool-configs", "--describe", "--all")
    assert "retention.ms=604800000 sensitive=false" in everything
    assert "DYNAMIC_TOPIC_CONFIG:retention.ms" not in everything


def test_kafka_producer_perf_test_and_kafka_get_offsets(mesh_node: MeshNode) -> None:
    """kafka-producer-perf-test sends its records, and kafka-get-offsets finds them."""
    create_topic(mesh_node.bootstrap, "tool-perf", 1)
    size = ("--num-records", "2000", "--record-size", "500", "--throughput", "-1")
    printed = _tool(
        mesh_node, "org.apache.kafka.tools.ProducerPerformance", "--topic", "tool-perf", *size
    )
    assert "2000 records sent" in printed
    assert _offsets(mesh_node, "tool-perf", "latest") == ["tool-perf:0:2000"]
    assert _offsets(mesh_node, "tool-perf", "earliest") == ["tool-perf:0:0"]
    # Offset of the record with the largest timestamp: one of those there are.
    (largest,) = _offsets(mesh_node, "tool-perf", "max-timestamp")
    assert 0 <= int(largest.rpartition(":")[2]) < 2000


def _dump(files: list[Path]) -> tuple[list[str], dict[str, int]]:
    """Return the dump tool's complaints about files, and how many lines of each kind it printed."""
    result = jvm.run_tool(
        "org.apache.kafka.tools.DumpLogSegments",
        "--deep-iteration",
        "--print-data-log",
        "--files",
        ",".join(map(str, files)),
    )
    complaints = FIRST_OFFSET.sub("", result.stderr).splitlines()
    counts = {"record": 0, "index": 0, "timeindex": 0, "snapshot": 0}
    for line in result.stdout.splitlines():
        match = SOUND.fullmatch(line)
        if match is None:
            complaints.append(line)
        elif match.lastgroup is not None:
            counts[match.lastgroup] += 1
    if result.returncode != 0:
        complaints.append(f"ended with {result.returncode}")
    return complaints, counts


def _files(node: MeshNode) -> list[Path]:
    """The files of partition 0 of `tool-dump` that the dump tool reads, oldest first."""
    kinds = {".log", ".index", ".timeindex", ".snapshot"}
    directory = node.log("tool-dump", 0)
    return sorted(path for path in directory.iterdir() if path.suffix in kinds)


def _sizes(node: MeshNode) -> set[int]:
    """How large the partition's log is, on each node."""
    logs = [it / "tool-dump-0" for it in node.log_directories]
    return {sum(file.stat().st_size for file in log.glob("*.log")) for log in logs}


def wait_until_all_have_it(node: MeshNode) -> None:
    """Return once all replicas are of one size: what is acknowledged is on two of three."""
    deadline = time.monotonic() + COPY_WAIT_S
    while len(_sizes(node)) > 1:
        assert time.monotonic() < deadline, _sizes(node)


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Copies of one partition's files with 20,000 flights in several segments, at three moments."""
    moments: dict[str, list[Path]] = {}

    def copy(moment: str) -> None:
        wait_until_all_have_it(node)
        directory = tmp_path_factory.mktemp(moment)
        moments[moment] = [Path(shutil.copy(path, directory)) for path in _files(node)]

    with mesh_node_process() as node:
        # On every node that there is, so that it is on the one that is killed.
        configs = {"segment.bytes": str(1 << 20)}
        create_topic(node.bootstrap, "tool-dump", 1, configs, replication_factor=NODE_COUNT)
        rows = list(read_rows(ROWS))
        Flight(node.bootstrap, "tool-dump", rows, "none", partition_count=1).produce()
        copy("running")
        node.kill()
        node.restart()
        copy("recovered")
        node.stop()
        copy("stopped")
    return moments


@pytest.mark.parametrize("moment", ["running", "recovered", "stopped"])
def test_kafka_dump_log_reads_segments_and_indexes(
    moment: str, segments: dict[str, list[Path]]
) -> None:
    """The dump tool reads every record of all segments and finds nothing wrong in any file."""
    files = segments[moment]
    assert sum(path.suffix == ".log" for path in files) > 3
    complaints, counts = _dump(files)
    if moment == "running" or NODE_COUNT > 1:
        # The entries of the newest segment may wait in memory; the tool only remarks on it.
        # A replica among several that was killed may have fetched its newest records anew.
        newest = max(path for path in files if path.suffix == ".log")
        complaints = [it for it in complaints if it != f"{newest.with_suffix('.index')} is empty."]
    assert complaints == []
    assert counts["record"] == ROWS
    assert counts["index"] > 100
    assert counts["timeindex"] > 10
    assert counts["snapshot"] > 0


@pytest.mark.parametrize("suffix", [".log", ".index", ".timeindex"])
def test_kafka_dump_log_would_complain(
    suffix: str, segments: dict[str, list[Path]], tmp_path: Path
) -> None:
    """One flipped bit in a copy is complained about, so that no complaint means something."""
    files = segments["stopped"]
    copies = [Path(shutil.copy(path, tmp_path)) for path in files if path.stem == files[0].stem]
    damaged = next(path for path in copies if path.suffix == suffix)
    content = bytearray(damaged.read_bytes())
    # In an index entry the lowest bit of the offset or the timestamp; in a log, of a record.
    content[{".log": 200, ".index": 3, ".timeindex": 7}[suffix]] ^= 1
    damaged.write_bytes(content)
    complaints, _ = _dump([damaged])
    assert complaints != []
