"""What thousands of partitions cost three nodes that nobody talks to, all alive and one dead."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tools.bench.connection import METADATA_VERSION, BenchConnection
from tools.bench.generator import BenchError
from tools.bench.mesh import MeshNode, own_mesh
from tools.bench.process import cpu_s, rss_mb
from tools.bench.rounds import Figures

TOPIC = "mesh-bench-partitions"
SETTLE_S = 5.0
"""After all is led: what follows from a loss, or a load, is not idleness."""
GIVE_UP_S = 60.0
POLL_S = 0.02


def partitions_point(count: int, seconds: float, options: Sequence[str]) -> list[Figures]:
    """Measure three nodes at rest, and the two that are left after kill -9.

    Args:
        count: partitions, each with three replicas.
        seconds: to measure, each time.
        options: further flags of `mesh node`.

    Raises:
        BenchError: a node did not start, or partitions are not led in time.
    """
    with own_mesh(options) as nodes:
        time.sleep(SETTLE_S)  # Until all follow the registry.
        begun = time.monotonic()
        with BenchConnection(nodes[0].address) as connection:
            connection.create_topic(TOPIC, count, {})
        figures = [{"state": "all alive", "led_s": time.monotonic() - begun}]
        figures[0] |= _at_rest(nodes, seconds)
        begun = time.monotonic()
        os.kill(nodes[2].process.pid, signal.SIGKILL)
        _until_led(nodes[0], count)
        figures.append({"state": "one dead", "led_s": time.monotonic() - begun})
        figures[1] |= _at_rest(nodes[:2], seconds)
        return figures


def _until_led(node: MeshNode, count: int) -> None:
    """Wait until a node names a leader of every partition that is not the one that is dead."""
    until = time.monotonic() + GIVE_UP_S
    with BenchConnection(node.address) as connection:
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=TOPIC)], allow_auto_topic_creation=False
        )
        while True:
            told = connection.call(request, METADATA_VERSION, MetadataResponse)
            there = {broker.node_id for broker in told.brokers}
            led = [one.leader_id in there for one in told.topics[0].partitions]
            if len(there) == 2 and len(led) == count and all(led):
                return
            if time.monotonic() > until:
                raise BenchError(f"only {sum(led)} of {count} partitions are led")
            time.sleep(POLL_S)


def _at_rest(nodes: Sequence[MeshNode], seconds: float) -> Figures:
    time.sleep(SETTLE_S)
    before = [_cpu_s(node) for node in nodes]
    time.sleep(seconds)
    spent = [_cpu_s(node) - begin for node, begin in zip(nodes, before, strict=True)]
    sizes = [rss_mb(node.process.pid) or 0.0 for node in nodes]
    return {
        "cpu_percent": max(spent) / seconds * 100,
        "cpu_percent_mean": sum(spent) / len(spent) / seconds * 100,
        "rss_mb": max(sizes),
    }


def _cpu_s(node: MeshNode) -> float:
    spent = cpu_s(node.process.pid)
    if spent is None:
        raise BenchError("a node to measure has ended; its reason is above")
    return spent
