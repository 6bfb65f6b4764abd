"""What thousands of partitions cost three nodes that nobody talks to, all alive and one dead."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from tools.bench.connection import BenchConnection
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
        _until_led(nodes[:2], count)
        figures.append({"state": "one dead", "led_s": time.monotonic() - begun})
        figures[1] |= _at_rest(nodes[:2], seconds)
        return figures


def _until_led(nodes: Sequence[MeshNode], count: int) -> None:
    """Wait until these, and nobody else, lead every partition, as the first of them tells."""
    until = time.monotonic() + GIVE_UP_S
    left = {node.address for node in nodes}
    with BenchConnection(nodes[0].address) as connection:
        while True:
            leaders, _ = connection.leaders_of(TOPIC)
            led = sum(address in left for address in leaders.values())
            if led == count:
                return
            if time.monotonic() > until:
                raise BenchError(f"only {led} of {count} partitions are led")
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
