"""How long a partition takes nothing when its leader is lost: three nodes of our own, one client.

The client sends one record at a time with acks=all, and is told of nothing but by its socket; after
an error it waits 20 ms, asks any node for the leader, and tries again; where the error names a new
leader (KIP-951) it goes there at once. What is measured is the time from the event to the first
acknowledged record. Other clients may be put in its place.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Protocol

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire import WireError
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import PartitionProduceResponse, ProduceResponse
from tools.bench.connection import METADATA_VERSION, BenchConnection
from tools.bench.frames import Shape, batches_of, produce_request
from tools.bench.generator import BenchError
from tools.bench.mesh import NODES, MeshNode, own_mesh
from tools.bench.rounds import Figures

TOPIC = "mesh-bench-failover"
VERSION = 10
"""Of Produce: the first whose errors name the leader."""
BACKOFF_S = 0.02
GIVE_UP_S = 60.0
CALM_S = 1.0
"""Between events, once all replicas are in sync again."""
EVENTS = ("kill", "stop", "cut")
"""kill -9; SIGTERM, which hands over first; SIGSTOP, after which nothing comes from it."""


class Writing(Protocol):
    """Another client, whose writes are measured in the place of ours."""

    def write(self) -> None:
        """Have one record acknowledged, however long that takes. May raise BenchError."""


class _Client:
    """One connection to the leader, made anew when it fails."""

    def __init__(self, nodes: Sequence[MeshNode]) -> None:
        self._nodes = nodes
        self._connection: BenchConnection | None = None
        self._batch = batches_of(Shape(1, 100), seed=1, timestamp_ms=time.time_ns() // 1_000_000)[0]
        self._turn = 0
        self._followed_epoch = -1

    def write(self, *, not_at: Address | None = None) -> None:
        """Have one record acknowledged, however long that takes.

        Args:
            not_at: a node that nothing comes from: who asks it waits in vain.
        """
        until = time.monotonic() + GIVE_UP_S
        while True:
            try:
                self._connect(not_at)
                assert self._connection is not None, "it was made just now"
                request = produce_request(TOPIC, 0, self._batch, -1)
                answer = self._connection.call(request, VERSION, ProduceResponse)
                result = answer.responses[0].partition_responses[0]
                if result.error_code == ErrorCode.NONE:
                    return
                if self._follow(answer, result):
                    continue
            except (OSError, WireError, BenchError):
                pass
            self.close()
            if time.monotonic() > until:
                raise BenchError(f"nothing was acknowledged for {GIVE_UP_S:.0f} s")
            time.sleep(BACKOFF_S)

    def _follow(self, answer: ProduceResponse, result: PartitionProduceResponse) -> bool:
        """Go to the leader that an answer names, if it is news; say whether that was so."""
        named = result.current_leader
        if named is None or named.leader_epoch <= self._followed_epoch:
            return False
        for node in answer.node_endpoints:
            if node.node_id == named.leader_id:
                self.close()
                self._followed_epoch = named.leader_epoch
                self._connection = BenchConnection(Address(node.host, node.port))
                return True
        return False

    def _connect(self, not_at: Address | None) -> None:
        if self._connection is not None:
            return
        leader, _ = self.leader(not_at)
        if leader is None or leader == not_at:
            raise BenchError("nobody leads")
        self._connection = BenchConnection(leader)

    def leader(self, not_at: Address | None = None) -> tuple[Address | None, int]:
        """Return who leads, as a node tells that can be asked, and how many are in sync."""
        with self._anywhere(not_at) as connection:
            request = MetadataRequest(
                topics=[MetadataRequestTopic(name=TOPIC)], allow_auto_topic_creation=False
            )
            told = connection.call(request, METADATA_VERSION, MetadataResponse)
        where = {broker.node_id: Address(broker.host, broker.port) for broker in told.brokers}
        for topic in told.topics:
            for partition in topic.partitions:
                return where.get(partition.leader_id), len(partition.isr_nodes)
        return None, 0

    def _anywhere(self, not_at: Address | None) -> BenchConnection:
        """Connect to a node in its turn; as any client, to the next one if it is not there."""
        nodes = [node for node in self._nodes if node.address != not_at]
        self._turn += 1
        for place in range(len(nodes)):
            try:
                return BenchConnection(nodes[(self._turn + place) % len(nodes)].address)
            except ConnectionRefusedError:
                continue
        raise BenchError("no node is there")

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.__exit__()
            self._connection = None


def failover_point(
    event: str,
    count: int,
    options: Sequence[str],
    writing: Callable[[str], AbstractContextManager[Writing]] | None = None,
) -> Figures:
    """Measure one kind of event so many times.

    Args:
        event: one of EVENTS; with another client not `cut`: that one waits for its own time-out.
        count: of events.
        options: for the nodes.
        writing: makes another client, from `host:port,host:port,host:port`, that writes to TOPIC.

    Raises:
        BenchError: a node did not start, or nothing was acknowledged any more.
    """
    took_ms: list[float] = []
    with ExitStack() as stack:
        nodes = stack.enter_context(own_mesh(options))
        client = stack.enter_context(closing(_Client(nodes)))
        time.sleep(CALM_S)
        with BenchConnection(nodes[0].address) as connection:
            connection.create_topic(TOPIC, 1, {})
        write: Callable[[], None] = client.write
        if writing is not None:
            bootstrap = ",".join(str(node.address) for node in nodes)
            write = stack.enter_context(writing(bootstrap)).write
        for _ in range(count):
            _settle(client)
            took_ms.append(_one(event, client, write, nodes))
    took_ms.sort()
    return {
        "event": event,
        "events": count,
        "p50_ms": statistics.median(took_ms),
        "p99_ms": took_ms[min(len(took_ms) - 1, int(len(took_ms) * 0.99))],
        "max_ms": took_ms[-1],
    }


def _settle(client: _Client) -> None:
    """Wait until all are in sync, and a record is taken."""
    until = time.monotonic() + GIVE_UP_S
    while client.leader()[1] < NODES:
        if time.monotonic() > until:
            raise BenchError("not all replicas come to be in sync")
        time.sleep(0.1)
    time.sleep(CALM_S)
    client.write()


def _one(
    event: str, client: _Client, write: Callable[[], None], nodes: Sequence[MeshNode]
) -> float:
    """Strike the leader once; return the milliseconds until a record is acknowledged."""
    address, _ = client.leader()
    leader = next(node for node in nodes if node.address == address)
    write()
    process = leader.process
    strikes: dict[str, tuple[int, Callable[[], None]]] = {
        "kill": (signal.SIGKILL, leader.again),
        "stop": (signal.SIGTERM, leader.again),
        "cut": (signal.SIGSTOP, lambda: os.kill(process.pid, signal.SIGCONT)),
    }
    number, mend = strikes[event]
    silent = leader.address if event == "cut" else None
    if event == "cut":
        client.close()  # A client would wait for its time-out; what is measured is the mesh.
    begun = time.perf_counter()
    os.kill(process.pid, number)
    if event == "stop":
        took_ms = _longest_gap_ms(write, process)
    else:
        if event == "cut":
            client.write(not_at=silent)
        else:
            write()
        took_ms = (time.perf_counter() - begun) * 1000
    mend()
    return took_ms


def _longest_gap_ms(write: Callable[[], None], process: subprocess.Popen[str]) -> float:
    """Write until the node has ended; return the longest time between two acknowledgements."""
    longest, last = 0.0, time.perf_counter()
    while process.poll() is None:
        write()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    write()
    return max(longest, time.perf_counter() - last) * 1000
