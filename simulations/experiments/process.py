"""Processes that take time: one datagram after another, out of a socket that holds only so much.

A healthy node keeps up with all that comes and is not slowed down. One that is ill has a backlog
when it may go on, and what it gets through before it is held up again decides an experiment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from mesh.gossip import Call, Effect, Send
from simulations.gossip_mesh import GossipMesh, VirtualNode

RECEIVE_US = 27
SEND_US = 38
"""CPU that memberlist takes for one datagram of news it takes in, and for one it sends.

Measured with memberlist as of December 2017, whose compression is on: 200 news, and 200 pings that
were answered, taken from a full socket on one of our cores, least of 12 and of 36 bursts. Our own
machine, sockets included, takes less; it is charged the same.
"""
SOCKET_BYTES = 2 * 212_992
"""What Linux lets a socket hold unless told otherwise (net.core.rmem_max, doubled)."""


def held_bytes(size: int) -> int:
    """Return what a datagram of so many bytes takes of SOCKET_BYTES: Linux's `truesize`.

    The kernel's own 256 bytes, and headers, data and 320 bytes more in a block of a power of two.
    """
    return 256 + (1 << (size + 92 + 320 - 1).bit_length())


class _Process:
    """What waits in the socket of a process, and until when that is busy."""

    __slots__ = ("busy_us", "bytes", "served", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, str]] = deque()
        self.bytes = 0
        self.served = False
        self.busy_us = 0


class ProcessMesh(GossipMesh):
    """A mesh some of whose nodes need time for what they take in and send."""

    receive_us = RECEIVE_US
    send_us = SEND_US
    _processes: Mapping[int, _Process] = MappingProxyType({})
    alone = True
    """Whether what a process sends of itself leaves its taking in alone: it has a core for each."""

    def take_time(
        self, node_ids: Iterable[int], *, factor: float = 1.0, alone: bool = True
    ) -> None:
        """From now on these need time: `factor` times RECEIVE_US and SEND_US."""
        self.receive_us, self.send_us = int(RECEIVE_US * factor), int(SEND_US * factor)
        self.alone = alone
        self._processes = {node_id: _Process() for node_id in node_ids}

    def waiting(self, node_id: int) -> int:
        """Return how many datagrams wait in the socket of a node that needs time."""
        return len(self._processes[node_id].waiting)

    def _deliver(self, node: VirtualNode, data: bytes, source: str) -> None:
        process = self._processes.get(node.node_id)
        if process is None:
            super()._deliver(node, data, source)
            return
        size = held_bytes(len(data))
        if process.bytes + size > SOCKET_BYTES:
            self.dropped += 1
            return
        process.bytes += size
        process.waiting.append((data, source))
        if not process.served:
            process.served = True
            self.world.at(self._free_at(node, process), self._take_in, node, process)

    def _free_at(self, node: VirtualNode, process: _Process) -> int:
        at_us = max(self.world.now_us, process.busy_us)
        return at_us if node.rhythm is None else node.rhythm.free_at(at_us)

    def _take_in(self, node: VirtualNode, process: _Process, _: object) -> None:
        free_us = self._free_at(node, process)
        if free_us > self.world.now_us:
            self.world.at(free_us, self._take_in, node, process)
            return
        data, source = process.waiting.popleft()
        process.bytes -= held_bytes(len(data))
        before = node.datagrams_sent
        super()._deliver(node, data, source)
        cost_us = self.receive_us
        if self.alone:
            cost_us += self.send_us * (node.datagrams_sent - before)
        process.busy_us = max(self.world.now_us, process.busy_us) + cost_us
        process.served = bool(process.waiting)
        if process.served:
            self.world.at(process.busy_us, self._take_in, node, process)

    def _call(self, node: VirtualNode, call: Call) -> None:
        """Open a stream; a process in turns must run again before it can send what it asks."""
        process = self._processes.get(node.node_id)
        if process is None or self.alone:
            super()._call(node, call)
            return
        now_us = self.world.now_us
        took = self.net.link.delay_us[1] * 2
        process.busy_us = max(now_us, process.busy_us) + self.send_us
        at_us = now_us + took if node.rhythm is None else node.rhythm.free_at(now_us + took)
        left_ms = call.timeout_ms - (at_us - now_us) // 1_000
        if left_ms > 0:
            self.world.at(at_us, self._connected, node, call._replace(timeout_ms=left_ms))
        else:
            asked = (node.start, call.call_id)
            self.world.at(now_us + call.timeout_ms * 1_000, self._answer, node, asked)

    def _connected(self, node: VirtualNode, call: Call, _: object) -> None:
        super()._call(node, call)

    def _carry_out(self, node: VirtualNode, effects: list[Effect]) -> None:
        if not self.alone and node.node_id in self._processes:
            process = self._processes[node.node_id]
            sends = sum(type(effect) is Send for effect in effects)
            process.busy_us = max(self.world.now_us, process.busy_us) + self.send_us * sends
        super()._carry_out(node, effects)
