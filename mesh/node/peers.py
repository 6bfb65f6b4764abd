"""The peer port: datagrams and short calls between members, as trio tasks around a pure handler.

A call is one frame there and one back on a stream of its own: four bytes of length, then the frame.
Everything is bounded: frames, time, streams in all and of one host, calls under way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from struct import Struct
from typing import Protocol

import trio

from mesh.gossip import Call, Effect, Send
from mesh.gossip.settings import FRAME_BYTES_MAX
from mesh.node.options import parse_address
from mesh.runtime.ports import Datagrams, Listener, Runtime, Stream

log = logging.getLogger("mesh.peers")

BATCH_MAX = 64
"""Datagrams taken in before others of this process have their turn."""
STREAMS_MAX = 256
STREAMS_OF_HOST_MAX = 64
"""Served at a time; a mesh on one machine shares one host."""
SERVE_S_MAX = 10.0
"""For a question to arrive whole, and for its answer to leave."""
CHUNK_BYTES = 64 << 10
ADDRESSES_MAX = 50_000
"""Remembered as numbers."""
_LENGTH = Struct(">I")


class Handler(Protocol):
    """What decides: `mesh.gossip.Gossip`, or what is composed around it."""

    @property
    def wake_at_ms(self) -> int:
        """When `woken` wants to be called; looked at again after every call."""

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came."""

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came; what it returns is the answer, None hangs up."""

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended."""

    def woken(self, now_ms: int) -> list[Effect]:
        """Its time has come."""


class FrameError(Exception):
    """What came is no frame; the text says why."""


class Peers:
    """Runs one handler on the peer port."""

    def __init__(
        self,
        handler: Handler,
        runtime: Runtime,
        nursery: trio.Nursery,
        datagrams: Datagrams,
        listener: Listener,
        told: Callable[[Effect], None],
    ) -> None:
        """Around a port that is bound for both.

        Args:
            handler: decides.
            runtime: clocks, and streams to others.
            nursery: its tasks live there.
            datagrams: the port for those.
            listener: the same port for streams.
            told: called with every effect that is no message.
        """
        self._handler = handler
        self._runtime = runtime
        self._nursery = nursery
        self._datagrams = datagrams
        self._listener = listener
        self._told = told
        self._timer_scope = trio.CancelScope()
        self._timer_at_ms = 0
        self._addresses: dict[str, tuple[str, int] | None] = {}
        self._streams: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        """Datagrams and bytes each way, streams refused …: monotone, for metrics."""

    def start(self) -> None:
        """Begin to serve, until the nursery is cancelled."""
        self._nursery.start_soon(self._receive)
        self._nursery.start_soon(self._accept)
        self._nursery.start_soon(self._keep_time)

    @property
    def now_ms(self) -> int:
        """The monotonic time that the handler is given."""
        return self._runtime.now().monotonic_ms

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the handler decided, in its order."""
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Call):
                self._nursery.start_soon(self._call, effect)
            else:
                self._told(effect)
        if self._handler.wake_at_ms < self._timer_at_ms:
            self._timer_scope.cancel()

    # Datagrams

    async def _receive(self) -> None:
        while True:
            await self._datagrams.readable()
            now_ms = self.now_ms
            for data, source in self._datagrams.receive_now(BATCH_MAX):
                self.counters["datagrams_in"] += 1
                self.counters["bytes_in"] += len(data)
                self.carry_out(self._handler.received(data, source, now_ms))

    def _send(self, send: Send) -> None:
        address = self._addresses.get(send.to)
        if address is None:
            if send.to in self._addresses:
                return  # It is being asked for, or nobody knows it.
            address = self._number_of(send.to)
            if address is None:
                return
        self.counters["datagrams_out"] += 1
        self.counters["bytes_out"] += len(send.data)
        if not self._datagrams.send_now(send.data, *address):
            self.counters["datagrams_dropped"] += 1

    def _number_of(self, to: str) -> tuple[str, int] | None:
        """Return an address if it is a number; else have its name looked up for the next time."""
        try:
            host, port = parse_address(to)
        except ValueError:
            return None
        while len(self._addresses) >= ADDRESSES_MAX:
            del self._addresses[next(iter(self._addresses))]
        if host.replace(".", "").isdigit() or ":" in host:
            self._addresses[to] = (host, port)
            return host, port
        self._addresses[to] = None
        self._nursery.start_soon(self._look_up, to, host, port)
        return None

    async def _look_up(self, to: str, host: str, port: int) -> None:
        try:
            self._addresses[to] = await self._runtime.resolve(host, port, stream=False)
        except OSError:
            # Asked again with the next datagram; names may come to be known.
            self._addresses.pop(to, None)

    # Streams

    async def _accept(self) -> None:
        while True:
            stream = await self._listener.accept()
            host = stream.peer.rpartition(":")[0]
            if self._streams.total() >= STREAMS_MAX or self._streams[host] >= STREAMS_OF_HOST_MAX:
                self.counters["streams_refused"] += 1
                stream.close()
                continue
            self._streams[host] += 1
            self._nursery.start_soon(self._serve, stream, host)

    async def _serve(self, stream: Stream, host: str) -> None:
        try:
            with trio.fail_after(SERVE_S_MAX):
                data = await receive_frame(stream)
                answer, effects = self._handler.called(data, stream.peer, self.now_ms)
                self.counters["calls_in"] += 1
                self.carry_out(effects)
                if answer is not None:
                    await stream.send_rest([_LENGTH.pack(len(answer)), answer])
        except FrameError as error:
            self.counters["frames_refused"] += 1
            log.warning("closing a stream: %s", error, extra={"peer": stream.peer})
        except (OSError, trio.TooSlowError, trio.ClosedResourceError):
            self.counters["streams_broken"] += 1
        finally:
            self._streams[host] -= 1
            if not self._streams[host]:
                del self._streams[host]
            stream.close()

    async def _call(self, call: Call) -> None:
        answer = None
        with trio.move_on_after(call.timeout_ms / 1000):
            try:
                answer = await self._ask(call)
            except (OSError, ValueError, FrameError, trio.ClosedResourceError):
                answer = None
        self.counters["calls_out"] += 1
        self.carry_out(self._handler.answered(call.call_id, answer, self.now_ms))

    async def _ask(self, call: Call) -> bytes:
        host, port = parse_address(call.to)
        stream = await self._runtime.connect(host, port)
        try:
            await stream.send_rest([_LENGTH.pack(len(call.data)), call.data])
            return await receive_frame(stream)
        finally:
            stream.close()

    # Time

    async def _keep_time(self) -> None:
        while True:
            self._timer_at_ms = self._handler.wake_at_ms
            with trio.CancelScope() as self._timer_scope:
                await self._runtime.sleep_until(self._timer_at_ms)
            now_ms = self.now_ms
            if self._handler.wake_at_ms <= now_ms:
                self.carry_out(self._handler.woken(now_ms))


async def receive_frame(stream: Stream) -> bytes:
    """Receive one frame; its memory grows with what comes, whatever was announced.

    Raises:
        FrameError: it is longer than a frame may be, or the stream ends inside.
        OSError: the stream broke.
    """
    data = bytearray()
    room = memoryview(bytearray(CHUNK_BYTES))
    length = None
    while length is None or len(data) < length:
        # Not a byte of what follows the frame is taken.
        wanted = (_LENGTH.size if length is None else length) - len(data)
        await stream.readable()
        try:
            count = stream.receive_into(room[: min(wanted, CHUNK_BYTES)])
        except BlockingIOError:
            continue
        if count == 0:
            raise FrameError("it ended inside a frame" if data or length else "it said nothing")
        data += room[:count]
        if length is None and len(data) == _LENGTH.size:
            (length,) = _LENGTH.unpack(data)
            if not 0 < length <= FRAME_BYTES_MAX:
                raise FrameError(
                    f"a frame announces {length} bytes; the bounds are 1 and {FRAME_BYTES_MAX}"
                )
            data.clear()
    return bytes(data)
