"""Very many groups: the memory of each, and how long a crashed node takes to know them again."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mesh.broker.coordinators import partition_of
from mesh.node.options import Address
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from tools.bench.commits import commit_error_at, commit_frames, groups_of
from tools.bench.connection import BenchConnection
from tools.bench.generator import BenchError, Job, Worker, run_round
from tools.bench.process import Target, rss_mb, running_node
from tools.bench.rounds import Figures

IN_FLIGHT = 50
MAKING_S_MAX = 600.0
OFFSETS_PARTITIONS = 50
"""As a node of ours has them unless it is told otherwise."""
API_VERSIONS_VERSION = 2
SETTLE_S = 1.0
"""Before memory is read: what the last requests left behind is gone."""


def _made(target: Target, workers: Sequence[Worker], groups: int) -> float:
    """Commit one offset for each group; return how many commits there were a second."""
    shares = [groups_of(n, groups // len(workers)) for n in range(len(workers))]
    with BenchConnection(target.address) as connection:
        connection.wait_for_coordinators(_sample(shares))
        connection.create_topic("mesh-bench-groups", 1, {})
    jobs = [
        Job(
            address=target.address,
            frames=commit_frames("mesh-bench-groups", share, 1),
            in_flight=IN_FLIGHT,
            seconds=MAKING_S_MAX,
            requests_max=len(share),
            error_at=commit_error_at("mesh-bench-groups", 1),
            batch_bytes=0,
        )
        for share in shares
    ]
    works = run_round(workers, jobs)
    if sum(work.requests for work in works) < sum(map(len, shares)):
        raise BenchError(f"{groups} groups were not made in {MAKING_S_MAX:.0f} s")
    took_ns = max(work.end_ns for work in works) - min(work.begin_ns for work in works)
    return sum(work.requests for work in works) / (took_ns / 1e9)


def _sample(shares: Sequence[Sequence[str]]) -> list[str]:
    """Return one group of each partition of the offsets' topic."""
    found: dict[int, str] = {}
    for share in shares:
        for group_id in share:
            found.setdefault(partition_of(group_id, OFFSETS_PARTITIONS), group_id)
            if len(found) == OFFSETS_PARTITIONS:
                break
    return list(found.values())


@dataclass(slots=True)
class _Node:
    process: subprocess.Popen[bytes]
    target: Target


@contextlib.contextmanager
def _node_on(data: str, flags: Sequence[str]) -> Iterator[_Node]:
    """Run a node of ours on a directory that outlives it; return once it says it is ready."""
    with running_node(data, flags) as (process, address):
        if address is None:
            raise BenchError(f"the node ended with status {process.wait()}; its reason is above")
        yield _Node(process, Target("mesh", address, process.pid))


class _Other(threading.Thread):
    """Somebody else's requests, one after the other: how long does the slowest take?"""

    def __init__(self, address: Address) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._over = threading.Event()
        self.longest_ms = 0.0

    def run(self) -> None:
        request = ApiVersionsRequest()
        with BenchConnection(self._address) as connection:
            while not self._over.wait(0.001):
                begin = time.monotonic()
                connection.call(request, API_VERSIONS_VERSION, ApiVersionsResponse)
                self.longest_ms = max(self.longest_ms, (time.monotonic() - begin) * 1000)

    def end(self) -> float:
        """Return the longest wait, in milliseconds."""
        self._over.set()
        self.join()
        return self.longest_ms


def groups_point(workers: Sequence[Worker], groups: int, flags: Sequence[str]) -> Figures:
    """Make groups on a node of our own, kill it, start it again, and ask until all is loaded.

    Args:
        workers: commit side by side.
        groups: how many there are to be, with one committed offset each.
        flags: of the node.
    """
    figures: Figures = {"groups": groups}
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as data:
        with _node_on(data, flags) as node:
            before = _memory(node.target)
            figures["commits_s"] = _made(node.target, workers, groups)
            figures["bytes_per_group"] = (_memory(node.target) - before) / groups
            node.process.kill()
            node.process.wait()
        begin = time.monotonic()
        with _node_on(data, flags) as node:
            ready = time.monotonic()
            sample = _sample([groups_of(n, groups // len(workers)) for n in range(len(workers))])
            other = _Other(node.target.address)
            other.start()
            with BenchConnection(node.target.address) as connection:
                connection.wait_for_coordinators(sample)
            loaded = time.monotonic()
            figures["others_wait_ms_max"] = other.end()
            figures["ready_ms"] = (ready - begin) * 1000
            figures["loaded_ms"] = (loaded - ready) * 1000
            figures["bytes_per_group_loaded"] = (_memory(node.target) - before) / groups
    return figures


def _memory(target: Target) -> float:
    time.sleep(SETTLE_S)
    found = rss_mb(target.pid or 0)
    if found is None:
        raise BenchError("the node has ended")
    return found * 1e6
