"""The ports: what a node needs of the world, so that a simulated one can take its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

from mesh.model.types import Now
from storage.disk import FileSlice
from storage.types import Buffer

T = TypeVar("T")
Outgoing = Buffer | FileSlice
"""A piece of an answer: bytes, or a stretch of a file that need not pass through us."""


class Clock(Protocol):
    """Both clocks, read together."""

    def now(self) -> Now:
        """Read them; the driver does so once per event."""

    def ticks_ns(self) -> int:
        """A fine monotonic clock to measure by, and for nothing else; its zero is anywhere."""


class Usage(NamedTuple):
    """What this process has taken of the machine."""

    cpu_ms: int
    """User and system time so far, of all threads."""
    resident_bytes: int
    """Memory that it holds now; 0 where the system does not tell."""


class Stream(Protocol):
    """One connection. Only one task receives; whoever has an answer may send."""

    peer: str
    """`host:port` of the other side."""

    async def readable(self) -> None:
        """Wait until bytes, the end or an error can be received at once."""

    def receive_into(self, view: memoryview, *, peek: bool = False) -> int:
        """Take what has arrived, without waiting; 0 is the end.

        Args:
            view: where it goes; at most len(view) bytes.
            peek: leave the bytes with the kernel as well.

        Raises:
            BlockingIOError: nothing was there after all.
            OSError: the connection broke.
        """

    def send_now(self, parts: list[Outgoing]) -> None:
        """Send what the kernel takes without waiting, and remove it from `parts`.

        Raises:
            OSError: the connection broke.
        """

    async def send_rest(self, parts: list[Outgoing]) -> None:
        """Send all of `parts`, waiting for the peer and for a cold disk as need be."""

    def close(self) -> None:
        """End it at once; harmless when repeated."""


class Listener(Protocol):
    """Where connections arrive."""

    host: str
    port: int

    async def accept(self) -> Stream:
        """Wait for the next connection."""

    def close(self) -> None:
        """Take no more."""


class Datagrams(Protocol):
    """A bound UDP port."""

    host: str
    port: int

    async def readable(self) -> None:
        """Wait until a datagram, or an error, can be received at once."""

    def receive_now(self, count_max: int) -> list[tuple[bytes, str]]:
        """Take what has arrived, without waiting: each with the `host:port` that it came from."""

    def send_now(self, data: bytes, host: str, port: int) -> bool:
        """Send one without waiting; False if it was dropped. The host is a number, not a name."""

    def close(self) -> None:
        """End it; harmless when repeated."""


class Runtime(Clock, Protocol):
    """All that the driver touches: network, clocks, threads, chance."""

    async def listen(self, host: str, port: int) -> Listener:
        """Bind and listen; port 0 lets the system choose."""

    async def listen_locally(self, path: str) -> Listener:
        """Listen on a Unix socket that only its owner may connect to; an old one is replaced.

        Its `host` is the path, its `port` 0. Closing it removes the path.
        """

    async def datagrams(self, host: str, port: int) -> Datagrams:
        """Bind for datagrams."""

    async def connect(self, host: str, port: int) -> Stream:
        """Connect to a listener; the caller bounds the time."""

    async def resolve(self, host: str, port: int, *, stream: bool) -> tuple[str, int]:
        """Return the number of a host that has a name, or its own if it is one."""

    async def sleep_until(self, monotonic_ms: int) -> None:
        """Wait for an instant of the monotonic clock."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work elsewhere, and wait for it even when cancelled."""

    def run_together(self, runs: Sequence[Callable[[], None]]) -> None:
        """Run blocking calls side by side and return when all are done; blocks, too.

        For whoever may block: before anything is served, or in a thread.
        """

    def pace(self, bytes_per_second: float) -> Callable[[int], None]:
        """Return what a thread that computes calls with the bytes it handled; it may sleep."""

    def entropy(self, size: int) -> bytes:
        """Bytes that nobody can foretell."""

    def usage(self) -> Usage:
        """What this process has taken so far."""

    def boot_id(self) -> bytes:
        """16 bytes that stay the same until the machine is started anew; zeros if it has none."""

    def raise_file_limit(self) -> None:
        """Let this process open as many files and connections as the system allows it."""

    def stop_signals(self) -> AbstractContextManager[Callable[[], Awaitable[str]]]:
        """Catch SIGTERM and SIGINT from now on; the call waits for one and tells its name."""
