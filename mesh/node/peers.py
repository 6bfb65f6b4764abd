"""The peer port: datagrams and short calls between members, as trio tasks around a pure handler.

A call is one frame there and one back on a stream of its own. With a cluster key all is sealed.
Everything is bounded: frames, time, streams in all and of one host, calls under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import trio

from mesh.gossip import Call, Changed, Effect, Refused, Send, refusal
from mesh.gossip.seldom import Seldom
from mesh.links import is_hello
from mesh.node.floods import CUT_MS, STRIKES_MAX, Floods
from mesh.node.frames import FrameError, ask, receive_question, send_frame
from mesh.node.options import parse_address
from mesh.runtime.ports import Datagrams, Listener, Runtime, Stream
from mesh.runtime.sealing import Channel, RefusedSealError, Seal

BATCH_MAX = 64
"""Datagrams taken in before others of this process have their turn."""
STREAMS_MAX = 256
STREAMS_OF_HOST_MAX = 64
"""Served at a time; a mesh on one machine shares one host."""
SERVE_S_MAX = 10.0
"""For a question to arrive whole, and for its answer to leave."""
ADDRESSES_MAX = 50_000
"""Remembered as numbers."""
TOLD_AGAIN_MS = 60_000
TOLD_MAX = 1_000
"""Hosts and their faults that people were told of, so that they are told again only so often."""
TELLING_MS = 10_000
TELLING_MAX = 20
"""Refusals that people are told of in so long, whoever's they are; the metrics count all."""


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


class LinkServer(Protocol):
    """Who takes streams that are links."""

    async def serve(self, stream: Stream, channel: Channel | None, hello_bytes: bytes, /) -> None:
        """Serve one until it ends; raises FrameError, OSError, RefusedSealError."""


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
        seal: Seal | None = None,
        links: LinkServer | None = None,
    ) -> None:
        """Around a port that is bound for both.

        Args:
            handler: decides.
            runtime: clocks, and streams to others.
            nursery: its tasks live there.
            datagrams: the port for those.
            listener: the same port for streams.
            told: called with every effect that is no message.
            seal: of the cluster key; None: what is said is plain.
            links: takes streams that are links; None: there are none.
        """
        self._links = links
        self._handler = handler
        self._runtime = runtime
        self._nursery = nursery
        self._datagrams = datagrams
        self._listener = listener
        self._told = told
        self._seal = seal
        self._floods = Floods(self.now_ms)
        self._telling_ms = self._telling = 0
        self._seldom = Seldom[tuple[str, str]](TOLD_AGAIN_MS, TOLD_MAX)
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
            elif isinstance(effect, Refused):
                self._tell(effect)
            else:
                if isinstance(effect, Changed):
                    self._floods.heed(effect)
                self._told(effect)
        if self._handler.wake_at_ms < self._timer_at_ms:
            self._timer_scope.cancel()

    # Datagrams

    async def _receive(self) -> None:
        while True:
            await self._datagrams.readable()
            now = self._runtime.now()
            for data, source in self._datagrams.receive_now(BATCH_MAX):
                self.counters["datagrams_in"] += 1
                self.counters["bytes_in"] += len(data)
                # What is sealed says who sent it; of the rest only its source does.
                message = data
                if self._seal is not None:
                    try:
                        message = self._seal.open(data, now.wall_ms)
                    except RefusedSealError as error:
                        self._refused(error.reason, str(error), source)
                        continue
                verdict = self._floods.admits(source, now.monotonic_ms)
                if not verdict.admitted:
                    self.counters["refused_flood"] += 1
                    if verdict.told:
                        self._tell(Refused(source, verdict.told))
                    continue
                self.carry_out(self._handler.received(message, source, now.monotonic_ms))

    def _send(self, send: Send) -> None:
        address = self._addresses.get(send.to)
        if address is None:
            if send.to in self._addresses:
                return  # It is being asked for, or nobody knows it.
            address = self._number_of(send.to)
            if address is None:
                return
        data = send.data
        if self._seal is not None:
            data = self._seal.seal(data, self._runtime.now().wall_ms)
        self.counters["datagrams_out"] += 1
        self.counters["bytes_out"] += len(data)
        if not self._datagrams.send_now(data, *address):
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
        except (OSError, UnicodeError):
            # Asked again with the next datagram; names may come to be known. What a peer calls its
            # host may be no name at all, such as `a..b`.
            self._addresses.pop(to, None)

    # Streams

    async def _accept(self) -> None:
        while True:
            stream = await self._listener.accept()
            host = stream.peer.rpartition(":")[0]
            if not self._floods.may_open(host, self.now_ms):
                self.counters["refused_host"] += 1
                stream.close()
                continue
            if self._streams.total() >= STREAMS_MAX or self._streams[host] >= STREAMS_OF_HOST_MAX:
                self.counters["streams_refused"] += 1
                stream.close()
                continue
            self._streams[host] += 1
            self._nursery.start_soon(self._serve, stream, host)

    async def _serve(self, stream: Stream, host: str) -> None:
        counted = True
        try:
            with trio.fail_after(SERVE_S_MAX):
                data, channel = await receive_question(stream, self._seal)
            if self._links is not None and is_hello(data):
                self._released(host)
                counted = False
                await self._links.serve(stream, channel, data)
                return
            with trio.fail_after(SERVE_S_MAX):
                answer, effects = self._handler.called(data, stream.peer, self.now_ms)
                self.counters["calls_in"] += 1
                self.carry_out(effects)
                if answer is not None:
                    await send_frame(stream, answer, channel)
        except RefusedSealError as error:
            self._refused(error.reason, str(error), stream.peer)
            self._strike(host, stream.peer)
        except FrameError as error:
            self._refused("frame", f"is hung up on: {error}", stream.peer)
            self._strike(host, stream.peer)
        except (OSError, trio.TooSlowError, trio.ClosedResourceError):
            self.counters["streams_broken"] += 1
        finally:
            if counted:
                self._released(host)
            stream.close()

    def _released(self, host: str) -> None:
        self._streams[host] -= 1
        if not self._streams[host]:
            del self._streams[host]

    async def _call(self, call: Call) -> None:
        answer = None
        with trio.move_on_after(call.timeout_ms / 1000):
            try:
                answer = await ask(self._runtime, call.to, call.data, self._seal)
            except RefusedSealError as error:
                self._refused(error.reason, str(error), call.to)
                answer = refusal(str(error))
            except (OSError, ValueError, FrameError, trio.ClosedResourceError):
                answer = None
        self.counters["calls_out"] += 1
        self.carry_out(self._handler.answered(call.call_id, answer, self.now_ms))

    def _strike(self, host: str, peer: str) -> None:
        if self._floods.strike(host, self.now_ms):
            text = (
                f"opened {STRIKES_MAX} streams that said nothing good, and its host may open none "
                f"for {CUT_MS // 1000} s"
            )
            self._tell(Refused(peer, text))

    def _refused(self, reason: str, text: str, source: str) -> None:
        """Count what is refused by its reason, and tell of it once in a while."""
        self.counters[f"refused_{reason}"] += 1
        if self._seldom.may((source.rpartition(":")[0], reason), self.now_ms):
            self._tell(Refused(source, text))

    def _tell(self, refused: Refused) -> None:
        """Have people hear of a refusal, unless they heard of many: sources can be forged."""
        now_ms = self.now_ms
        if now_ms - self._telling_ms >= TELLING_MS:
            self._telling_ms, self._telling = now_ms, 0
        self._telling += 1
        if self._telling <= TELLING_MAX:
            self._told(refused)
        else:
            self.counters["refusals_untold"] += 1

    # Time

    async def _keep_time(self) -> None:
        while True:
            self._timer_at_ms = self._handler.wake_at_ms
            with trio.CancelScope() as self._timer_scope:
                await self._runtime.sleep_until(self._timer_at_ms)
            now_ms = self.now_ms
            if self._handler.wake_at_ms <= now_ms:
                self.carry_out(self._handler.woken(now_ms))
