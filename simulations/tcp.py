"""What a network does to streams and datagrams between machines with addresses, under trio's clock.

Streams keep their order, have bounded buffers at both ends, break, and hang; datagrams are lost,
come twice, and overtake each other. One task carries all; a seed decides what happens.
"""

from __future__ import annotations

import errno
import heapq
import os
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio
import xxhash

Place: TypeAlias = tuple[str, int]
"""A machine and a port (or, on one machine, a path and 0)."""
SEGMENT_BYTES = 8 << 10
"""Bytes that travel together; what is longer arrives in pieces."""
SEND_BUFFER_BYTES = 64 << 10
RECEIVE_BUFFER_BYTES = 64 << 10
RETRY_US = 200_000
"""How often the sender of a segment tries again while its way is cut."""
SYN_RETRY_US = 1_000_000
PERSISTENCE_US = 924_600_000
"""For so long Linux tries to get bytes through over a connection without a bound of its own."""
DATAGRAMS_MAX = 4_096
"""That wait to be received at a port."""
EPHEMERAL_PORT = 32_768

FIN, RESET = "fin", "reset"


@dataclass(slots=True)
class Weather:
    """How messages fare; may be changed at any time."""

    delay_us: tuple[int, int] = (50, 400)
    loss: float = 0.0
    """Share of the datagrams."""
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_us: int = 20_000


class Readiness:
    """What one task at a time waits for, as for a descriptor."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    async def wait(self) -> None:
        """Wait for the next `wake`; a second task is refused, as by trio."""
        if self._event is not None:
            raise trio.BusyResourceError("another task waits for this already")
        self._event = trio.Event()
        try:
            await self._event.wait()
        finally:
            self._event = None

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._event is not None:
            self._event.set()


class End:
    """One end of a connection: what a kernel holds for it."""

    __slots__ = (
        "closed",
        "error",
        "finished",
        "host",
        "incoming",
        "is_hung",
        "network",
        "number",
        "other",
        "outgoing",
        "patience_us",
        "peer",
        "pumping",
        "readable",
        "unsent",
        "writable",
    )

    def __init__(
        self, network: Network, host: str, peer: str, number: int, patience_us: int
    ) -> None:
        """Of a machine; `patience_us` is how long it tries to get bytes through."""
        self.network = network
        self.host = host
        self.peer = peer
        self.number = number
        self.patience_us = patience_us
        self.other: End = self
        self.incoming = bytearray()
        """Arrived, and not received yet."""
        self.finished = False
        """Whether the other side has said all that it will say."""
        self.error: int | None = None
        self.closed = False
        self.is_hung = False
        """Whether nothing that either end says arrives any more."""
        self.outgoing: deque[tuple[int, bytes | str, int]] = deque()
        """On its way to the other end: when it arrives, what it is, since when."""
        self.unsent = 0
        """Bytes of that."""
        self.pumping = False
        self.readable, self.writable = Readiness(), Readiness()

    @property
    def room(self) -> int:
        """How many bytes the kernel takes now."""
        return SEND_BUFFER_BYTES - self.unsent

    def check(self) -> None:
        """Raise what has happened to this end."""
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))

    def send(self, data: bytes) -> None:
        """Take bytes, at most as many as there is room for."""
        network = self.network
        position = 0
        while position < len(data):
            size = network.rng.randint(1, SEGMENT_BYTES)
            piece = data[position : position + size]
            position += len(piece)
            self.unsent += len(piece)
            self._post(piece)
        network.after(self.patience_us, self._check_patience)

    def take(self, size: int, *, peek: bool) -> bytes:
        """Hand over what arrived."""
        found = bytes(self.incoming[:size])
        if not peek:
            was_full = len(self.incoming) >= RECEIVE_BUFFER_BYTES
            del self.incoming[:size]
            if was_full:
                self.other.pump()
        return found

    def close(self) -> None:
        """End it as a kernel does for a program that closes, or ends."""
        if self.closed:
            return
        self.closed = True
        self.network.ends.pop(self.number, None)
        self.readable.wake()
        self.writable.wake()
        if self.error is None:
            # Whoever leaves bytes unread says so at once; else all that was sent comes first.
            self._post(RESET if self.incoming else FIN)

    def reset(self) -> None:
        """Break: some of what is on its way is lost, at any byte."""
        lost = self.network.rng.randint(0, self.unsent)
        while lost and self.outgoing:
            at_us, last, since_us = self.outgoing.pop()
            if isinstance(last, str):
                continue
            kept = last[: max(0, len(last) - lost)]
            self.unsent -= len(last) - len(kept)
            lost -= len(last) - len(kept)
            if kept:
                self.outgoing.append((at_us, kept, since_us))
        self._post(RESET)

    def fail(self, code: int) -> None:
        """Note that this connection is over, for this reason."""
        if self.error is None and not self.closed:
            self.error = code
            self.network.note("over", self.number, os.strerror(code).encode())
            self.readable.wake()
            self.writable.wake()

    def _post(self, item: bytes | str) -> None:
        network = self.network
        at_us = network.now_us + network.delay_us()
        if self.outgoing:
            at_us = max(at_us, self.outgoing[-1][0])
        self.outgoing.append((at_us, item, network.now_us))
        self.pump()

    def pump(self) -> None:
        """Have what is first in order arrive when it is due."""
        if self.outgoing and not self.pumping and not self.is_hung:
            self.pumping = True
            self.network.at(self.outgoing[0][0], self._arrive)

    def _arrive(self) -> None:
        self.pumping = False
        network, other = self.network, self.other
        if self.is_hung or not self.outgoing:
            return
        if network.is_cut(self.host, other.host):
            self.pumping = True
            network.at(network.now_us + RETRY_US, self._arrive)
            return
        while self.outgoing and self.outgoing[0][0] <= network.now_us:
            item = self.outgoing[0][1]
            is_data = isinstance(item, bytes)
            if is_data and len(other.incoming) >= RECEIVE_BUFFER_BYTES and not other.closed:
                return  # Until somebody receives.
            self.outgoing.popleft()
            self._hand_over(item)
        self.pump()

    def _hand_over(self, item: bytes | str) -> None:
        other = self.other
        if isinstance(item, bytes):
            self.unsent -= len(item)
            self.network.note("bytes", other.number, item)
            if other.closed:
                self.fail(errno.ECONNRESET)
            elif other.error is None:
                other.incoming += item
            self.writable.wake()
        elif item == FIN:
            other.finished = True
        else:
            other.fail(errno.ECONNRESET)
        other.readable.wake()

    def _check_patience(self) -> None:
        """End it if what was sent so long ago has not arrived."""
        if not self.outgoing or self.error is not None or self.closed:
            return
        if self.network.now_us - self.outgoing[0][2] >= self.patience_us:
            self.fail(errno.ETIMEDOUT)
            self.outgoing.clear()
            self.unsent = 0
            self._post(RESET)


@dataclass(slots=True)
class Queue:
    """Where connections, or datagrams, wait for who is bound there."""

    waiting: deque[Any] = field(default_factory=deque)
    readable: Readiness = field(default_factory=Readiness)
    closed: bool = False


class Network:
    """All machines, what is bound at each, and what is on its way."""

    def __init__(self, rng: random.Random) -> None:
        """Empty, and well."""
        self.rng = rng
        self.weather = Weather()
        self.listeners: dict[Place, Queue] = {}
        self.ports: dict[Place, Queue] = {}
        self.ends: dict[int, End] = {}
        """Open ends by number; the two of a connection follow each other."""
        self.cuts: set[tuple[str, str]] = set()
        self.datagrams_lost = 0
        self._numbers = 0
        self._port = EPHEMERAL_PORT
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._earlier = trio.Event()
        self._hash = xxhash.xxh3_64()

    # Time

    @property
    def now_us(self) -> int:
        """Of trio's clock."""
        return round(trio.current_time() * 1e6)

    @property
    def trace_hash(self) -> str:
        """Of all that arrived so far, 16 hex digits."""
        return f"{self._hash.intdigest():016x}"

    def note(self, kind: str, number: int, data: bytes = b"") -> None:
        """Fold into the trace that something happened."""
        self._hash.update(f"{self.now_us} {kind} {number} {len(data)} ".encode() + data)

    def at(self, at_us: int, call: Callable[..., None], *arguments: Any) -> None:
        """Have something happen at an instant; what is due together keeps its order."""
        self._sequence += 1
        heapq.heappush(self._heap, (at_us, self._sequence, call, arguments))
        if self._heap[0][1] == self._sequence:
            self._earlier.set()

    def after(self, delay_us: int, call: Callable[..., None], *arguments: Any) -> None:
        """Have something happen so much later."""
        self.at(self.now_us + delay_us, call, *arguments)

    def delay_us(self) -> int:
        """Draw how long something is on its way."""
        return self.rng.randint(*self.weather.delay_us)

    async def run(self) -> None:
        """Carry everything, for ever."""
        heap = self._heap
        while True:
            self._earlier = trio.Event()
            now_us = self.now_us
            while heap and heap[0][0] <= now_us:
                _, _, call, arguments = heapq.heappop(heap)
                call(*arguments)
            if not heap:
                await self._earlier.wait()
            else:
                # A clock that rounds the other way must not be asked again and again.
                with trio.move_on_at(heap[0][0] / 1e6):
                    await self._earlier.wait()

    # Faults

    def is_cut(self, one: str, other: str) -> bool:
        """Whether a stream between two machines stands still; acknowledgements travel, too."""
        return bool(self.cuts) and ((one, other) in self.cuts or (other, one) in self.cuts)

    def cut(self, one: str, other: str) -> None:
        """Let nothing through from one machine to another."""
        self.cuts.add((one, other))

    def heal(self) -> None:
        """Let everything through again; what hangs stays as it is."""
        self.cuts.clear()

    def break_off(self, end: End) -> None:
        """Reset a connection, in the middle of whatever it says."""
        self.note("break", end.number)
        for each in (end, end.other):
            each.reset()

    def hang(self, end: End) -> None:
        """Have nothing arrive any more on a connection, and nobody told."""
        self.note("hang", end.number)
        end.is_hung = end.other.is_hung = True

    # Streams

    def free_port(self, host: str) -> int:
        """Return a port of a machine that nobody has."""
        while True:
            self._port += 1
            if (host, self._port) not in self.listeners and (host, self._port) not in self.ports:
                return self._port

    def dial(
        self, host: str, to: Place, patience_us: int, done: Callable[[End | None], None]
    ) -> End:
        """Open a connection; `done` is called with its end, or with None if it is refused."""
        self._numbers += 2
        near = End(self, host, f"{to[0]}:{to[1]}", self._numbers, patience_us)
        name = to[0] if ":" in to[0] or to[1] == 0 else f"{host}:{self.free_port(host)}"
        far = End(self, to[0] if to[1] else host, name, self._numbers + 1, PERSISTENCE_US)
        near.other, far.other = far, near
        self.after(self.delay_us(), self._knock, near, to, SYN_RETRY_US, done)
        return near

    def _knock(
        self, near: End, to: Place, retry_us: int, done: Callable[[End | None], None]
    ) -> None:
        if near.closed:
            return
        if self.is_cut(near.host, near.other.host):
            self.after(retry_us, self._knock, near, to, 2 * retry_us, done)
            return
        queue = self.listeners.get(to)
        self.note("refused" if queue is None else "dialled", near.number)
        if queue is None:
            self.after(self.delay_us(), done, None)
            return
        far = near.other
        self.ends[near.number], self.ends[far.number] = near, far
        queue.waiting.append(far)
        queue.readable.wake()
        self.after(self.delay_us(), done, near)

    # Datagrams

    def post(self, source: Place, to: Place, data: bytes) -> None:
        """Send a datagram; whether, when and how often it arrives is drawn."""
        weather, rng = self.weather, self.rng
        copies = 2 if rng.random() < weather.duplicate else 1
        for _ in range(copies):
            if (source[0], to[0]) in self.cuts or rng.random() < weather.loss:
                self.datagrams_lost += 1
                continue
            delay_us = self.delay_us()
            if rng.random() < weather.reorder:
                delay_us += rng.randint(0, weather.reorder_us)
            self.after(delay_us, self._deliver, source, to, data)

    def _deliver(self, source: Place, to: Place, data: bytes) -> None:
        queue = self.ports.get(to)
        if queue is None or len(queue.waiting) >= DATAGRAMS_MAX:
            self.datagrams_lost += 1
            return
        self.note("datagram", to[1], data)
        queue.waiting.append((data, f"{source[0]}:{source[1]}"))
        queue.readable.wake()
