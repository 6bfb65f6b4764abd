"""The runtime's ports on a simulated network, under whatever clock trio runs on."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import trio

from mesh.model.types import Now
from mesh.runtime import trio_runtime
from mesh.runtime.ports import Outgoing, Usage
from simulations.disk import SimulatedCrash, one_by_one
from simulations.tcp import End, Network, Place, Queue
from storage.disk import FileSlice

T = TypeVar("T")

WALL_MS = 1_760_000_000_000
SPURIOUS = 0.02
"""How often a socket seems readable and has nothing after all."""
LOOPBACK = ("127.0.0.1", "localhost", "")


class SimulatedStream:
    """One end of a connection."""

    __slots__ = ("_end", "_rng", "peer")

    def __init__(self, end: End, rng: random.Random) -> None:
        self._end = end
        self._rng = rng
        self.peer = end.peer

    async def readable(self) -> None:
        """Wait until bytes, the end or an error can be received at once."""
        end = self._end
        if end.closed:
            raise trio.ClosedResourceError
        if end.incoming or end.finished or end.error is not None or self._rng.random() < SPURIOUS:
            await trio.lowlevel.checkpoint()
        else:
            await end.readable.wait()
            if end.closed:
                raise trio.ClosedResourceError

    def receive_into(self, view: memoryview, *, peek: bool = False) -> int:
        """Take what has arrived, without waiting; 0 is the end."""
        end = self._end
        if end.closed or not end.incoming:
            end.check()
            if end.finished:
                return 0
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        found = end.take(len(view), peek=peek)
        view[: len(found)] = found
        return len(found)

    def send_now(self, parts: list[Outgoing]) -> None:
        """Send what the kernel takes without waiting, and remove it from `parts`."""
        end = self._end
        while parts:
            end.check()
            if end.room <= 0:
                return
            head = parts[0]
            if isinstance(head, FileSlice):
                wanted = FileSlice(head.file, head.position, min(len(head), end.room))
                data = wanted.read_if_cached()
                if data is None:
                    return
                self._send_slice(parts, head, bytes(data))
            else:
                data = bytes(head[: end.room])
                end.send(data)
                if len(data) == len(head):
                    del parts[0]
                else:
                    parts[0] = memoryview(head)[len(data) :]

    async def send_rest(self, parts: list[Outgoing]) -> None:
        """Send all of `parts`, waiting for the peer and for a cold disk as need be."""
        end = self._end
        while parts:
            if end.closed:
                raise trio.ClosedResourceError
            if end.room > 0 or end.error is not None:
                await trio.lowlevel.checkpoint()
            else:
                await end.writable.wait()
            if end.closed:
                raise trio.ClosedResourceError
            head = parts[0]
            if isinstance(head, FileSlice) and end.room > 0:
                end.check()
                wanted = FileSlice(head.file, head.position, min(len(head), end.room))
                if wanted.read_if_cached() is None:
                    await trio.sleep(self._rng.uniform(0, 0.005))
                    end.check()
                    self._send_slice(parts, head, wanted.read())
            self.send_now(parts)

    def _send_slice(self, parts: list[Outgoing], head: FileSlice, data: bytes) -> None:
        if not data:
            raise OSError(errno.EIO, "a segment is shorter than its index says")
        self._end.send(data)
        if len(data) == len(head):
            del parts[0]
        else:
            parts[0] = FileSlice(head.file, head.position + len(data), len(head) - len(data))

    def close(self) -> None:
        """End it at once; harmless when repeated."""
        self._end.close()


class SimulatedListener:
    """Where connections arrive."""

    def __init__(self, runtime: SimulatedRuntime, place: Place, host: str) -> None:
        self._runtime = runtime
        self._place = place
        self._queue = runtime.network.listeners[place] = Queue()
        self.host, self.port = host, place[1]

    async def accept(self) -> SimulatedStream:
        """Wait for the next connection."""
        queue = self._queue
        while True:
            if queue.closed:
                raise trio.ClosedResourceError
            if queue.waiting:
                await trio.lowlevel.checkpoint()
            else:
                await queue.readable.wait()
            if queue.closed:
                raise trio.ClosedResourceError
            if queue.waiting:
                return self._runtime.hold(queue.waiting.popleft())

    def close(self) -> None:
        """Take no more; who waits to be taken is cut off."""
        if not self._queue.closed:
            self._queue.closed = True
            del self._runtime.network.listeners[self._place]
            for end in self._queue.waiting:
                end.close()
            self._queue.readable.wake()


class SimulatedDatagrams:
    """A bound UDP port."""

    def __init__(self, runtime: SimulatedRuntime, place: Place, host: str) -> None:
        self._runtime = runtime
        self._place = place
        self._queue = runtime.network.ports[place] = Queue()
        self.host, self.port = host, place[1]

    async def readable(self) -> None:
        """Wait until a datagram, or an error, can be received at once."""
        if self._queue.closed:
            raise trio.ClosedResourceError
        if self._queue.waiting:
            await trio.lowlevel.checkpoint()
        else:
            await self._queue.readable.wait()
            if self._queue.closed:
                raise trio.ClosedResourceError

    def receive_now(self, count_max: int) -> list[tuple[bytes, str]]:
        """Take what has arrived, without waiting: each with the `host:port` that it came from."""
        waiting = self._queue.waiting
        found = [waiting.popleft() for _ in range(min(count_max, len(waiting)))]
        return [(data[: trio_runtime.DATAGRAM_ROOM], source) for data, source in found]

    def send_now(self, data: bytes, host: str, port: int) -> bool:
        """Send one without waiting; False if it was dropped."""
        if self._queue.closed:
            return False
        to = self._runtime.place_of(host, port)
        self._runtime.network.post(self._place, to, bytes(data))
        return True

    def close(self) -> None:
        """End it; harmless when repeated."""
        if not self._queue.closed:
            self._queue.closed = True
            del self._runtime.network.ports[self._place]
            self._queue.readable.wake()


class SimulatedRuntime:
    """One process on a simulated machine: what it has open ends with it."""

    def __init__(
        self, network: Network, host: str, rng: random.Random, *, boot: int = 0, skew_ms: int = 0
    ) -> None:
        """A process that runs.

        Args:
            network: where its machine is.
            host: the number of its machine.
            rng: its dice, entropy included.
            boot: which start of its machine this is.
            skew_ms: what its wall clock is ahead.
        """
        self.network = network
        self.host = host
        self.thread_us = (20, 400)
        """How long blocking work takes."""
        self.is_dead = False
        self._rng = rng
        self.boot = boot
        self._skew_ms = skew_ms
        self._stop = trio.Event()
        self._open: dict[int, End] = {}
        self._bound: list[SimulatedListener | SimulatedDatagrams] = []

    # What happens to it

    def ask_to_stop(self) -> None:
        """Send it SIGTERM."""
        self._stop.set()

    def kill(self, *, power: bool = False) -> None:
        """End the process; its kernel ends its connections, unless the power went, too."""
        self.is_dead = True
        for bound in self._bound:
            bound.close()
        for end in self._open.values():
            if power and not end.closed:
                self.network.hang(end)
            end.close()
        self._open.clear()

    @property
    def ends(self) -> list[End]:
        """Its open connections."""
        return [end for end in self._open.values() if not end.closed]

    def hold(self, end: End) -> SimulatedStream:
        """Note a connection as one of this process."""
        self._open = {number: one for number, one in self._open.items() if not one.closed}
        self._open[end.number] = end
        if self.is_dead:
            end.close()
        return SimulatedStream(end, self._rng)

    def place_of(self, host: str, port: int) -> Place:
        """Return where an address leads, from here."""
        return (f"{self.host}/loopback" if host in LOOPBACK else host, port)

    # Clocks

    def now(self) -> Now:
        """Read both clocks."""
        monotonic_ms = int(trio.current_time() * 1000 + 0.001)
        return Now(monotonic_ms, WALL_MS + monotonic_ms + self._skew_ms)

    def ticks_ns(self) -> int:
        """A monotonic clock to measure by; work takes no time in this world but in threads."""
        return int(trio.current_time() * 1e9)

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Wait for an instant of the monotonic clock."""
        await trio.sleep_until(monotonic_ms / 1000)

    # Network

    async def listen(self, host: str, port: int) -> SimulatedListener:
        """Bind and listen. Raises OSError."""
        place = self._bind(host, port, self.network.listeners)
        listener = SimulatedListener(self, place, host)
        self._bound.append(listener)
        await trio.lowlevel.checkpoint()
        return listener

    async def listen_locally(self, path: str) -> SimulatedListener:
        """Listen on a path of this machine."""
        listener = SimulatedListener(self, (f"{self.host}:{path}", 0), path)
        self._bound.append(listener)
        await trio.lowlevel.checkpoint()
        return listener

    async def datagrams(self, host: str, port: int) -> SimulatedDatagrams:
        """Bind for datagrams. Raises OSError."""
        port_bound = SimulatedDatagrams(self, self._bind(host, port, self.network.ports), host)
        self._bound.append(port_bound)
        await trio.lowlevel.checkpoint()
        return port_bound

    def _bind(self, host: str, port: int, taken: dict[Place, Queue]) -> Place:
        if host not in (*LOOPBACK, self.host):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        place = self.place_of(host, port or self.network.free_port(self.place_of(host, 0)[0]))
        if place in taken:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return place

    async def connect(self, host: str, port: int) -> SimulatedStream:
        """Connect to a listener; the caller bounds the time. Raises OSError."""
        done = trio.Event()
        found: list[End | None] = []

        def settled(end: End | None) -> None:
            found.append(end)
            done.set()

        own = self.host if host not in LOOPBACK else f"{self.host}/loopback"
        patience_us = trio_runtime.UNANSWERED_MS_MAX * 1000
        near = self.network.dial(own, self.place_of(host, port), patience_us, settled)
        self._open[near.number] = near
        try:
            await done.wait()
        except BaseException:
            near.close()
            raise
        if found[0] is None:
            near.close()
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return self.hold(near)

    async def resolve(self, host: str, port: int, *, stream: bool) -> tuple[str, int]:
        """Return the address itself: there are no names here."""
        del stream
        await trio.lowlevel.checkpoint()
        return host, port

    # The rest

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work after a drawn time, and go on after another one."""
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.CancelScope(shield=True):
            await trio.sleep(self._rng.randint(*self.thread_us) / 1e6)
            if self.is_dead:
                raise SimulatedCrash("the process is dead")
            result = work()
            await trio.sleep(self._rng.randint(*self.thread_us) / 1e6)
        return result

    def run_together(self, runs: Sequence[Callable[[], None]]) -> None:
        """Run them one by one, in an order that the seed draws."""
        drawn = list(runs)
        self._rng.shuffle(drawn)
        one_by_one(drawn)

    def pace(self, bytes_per_second: float) -> Callable[[int], None]:
        """Return what lets work go on at once."""
        del bytes_per_second
        return _at_once

    def entropy(self, size: int) -> bytes:
        """Bytes of the seed."""
        return self._rng.randbytes(size)

    def usage(self) -> Usage:
        """Nothing."""
        return Usage(0, 0)

    def boot_id(self) -> bytes:
        """The same until the machine loses power."""
        return self.boot.to_bytes(16, "big")

    def raise_file_limit(self) -> None:
        """There is none."""

    @contextlib.contextmanager
    def stop_signals(self) -> Iterator[Callable[[], Awaitable[str]]]:
        """Catch what `ask_to_stop` sends."""

        async def wait() -> str:
            await self._stop.wait()
            return "SIGTERM"

        yield wait


def _at_once(size: int) -> None:
    """Take no time for so many bytes."""
    del size
