"""Links as trio tasks: one connection that we open to each other member, one that it opens to us.

The core says which links there should be and what is to be said; here they are dialled, again and
again, greeted, and read. What waits for a slow link is bounded by what the core keeps saying.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from struct import Struct

import trio

from mesh.links import (
    FRAME_BYTES_MAX,
    BadFrameError,
    encode_hello,
    encode_welcome,
    parse_hello_untrusted,
    parse_welcome_untrusted,
)
from mesh.model.types import NodeId
from mesh.node.core import Node
from mesh.node.driver import Driver, room_for
from mesh.node.effects import Tell, WantLinks
from mesh.node.floods import LinkFlow
from mesh.node.frames import FrameError, greet, receive_frame, send_frame
from mesh.node.options import Address, parse_address
from mesh.runtime.ports import Outgoing, Runtime, Stream
from mesh.runtime.sealing import TAG_BYTES, Channel, RefusedSealError, Seal

log = logging.getLogger("mesh.node")

DIAL_S_MAX = 3.0
"""For a connection, and for the answer to its hello."""
PAUSE_MS_MIN, PAUSE_MS_MAX = 20, 1_000
"""Between attempts to open a link: twice as long after each that failed."""
READ_BYTES = 256 << 10
FRAMES_AT_ONCE_MAX = 64
"""One receive may hold tens of thousands of small ones."""
KEPT_BYTES_MAX = 4 << 20
"""A buffer that grew for large frames is kept up to this size, so that the next costs nothing."""
_LENGTH = Struct(">I")


class _Out:
    """A link that we opened."""

    __slots__ = ("channel", "stream", "unsent")

    def __init__(self, stream: Stream, channel: Channel | None) -> None:
        self.stream = stream
        self.channel = channel
        self.unsent: list[Outgoing] = []
        """What the kernel did not take at once; a task is sending it."""


class LinkPort:
    """The links of one node."""

    def __init__(
        self,
        node: Node,
        driver: Driver,
        runtime: Runtime,
        nursery: trio.Nursery,
        address: Address,
        seal: Seal | None,
    ) -> None:
        """Its tasks live in `nursery`; `address` is the node's own peer port."""
        self._node = node
        self._driver = driver
        self._runtime = runtime
        self._nursery = nursery
        self._address = str(address)
        self._seal = seal
        self._wanted: Mapping[NodeId, str] = {}
        self._dialling: dict[NodeId, trio.CancelScope] = {}
        self._out: dict[NodeId, _Out] = {}
        self._in: dict[NodeId, Stream] = {}
        self._told: dict[NodeId, str] = {}
        self._ended = False
        self.bytes_in = self.bytes_out = self.opened = self.refused = 0
        driver.tell, driver.want_links = self._tell, self._want

    def close(self) -> None:
        """End all links: nothing that happens to them is told to the core any more."""
        self._ended = True
        for scope in self._dialling.values():
            scope.cancel()
        for stream in (*self._in.values(), *(out.stream for out in self._out.values())):
            stream.close()

    @property
    def open_count(self) -> int:
        """Links open in both directions."""
        return len(self._out.keys() & self._in.keys())

    # Links that we open

    def _want(self, effect: WantLinks) -> None:
        self._wanted = effect.addresses
        if self._ended:
            return
        for node_id in self._dialling.keys() - effect.addresses.keys():
            self._dialling[node_id].cancel()
        for node_id in effect.addresses:
            if node_id not in self._dialling:
                scope = self._dialling[node_id] = trio.CancelScope()
                self._nursery.start_soon(self._keep, node_id, scope)

    async def _keep(self, node_id: NodeId, scope: trio.CancelScope) -> None:
        """Keep a link to a node open, until nobody wants it any more."""
        pause_ms = PAUSE_MS_MIN
        try:
            with scope:
                while True:
                    if await self._run(node_id):
                        pause_ms = PAUSE_MS_MIN
                    await self._runtime.sleep_until(self._runtime.now().monotonic_ms + pause_ms)
                    pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
        finally:
            del self._dialling[node_id]

    async def _run(self, node_id: NodeId) -> bool:
        """Open a link once and hold it while it is open; say whether it was."""
        try:
            with trio.fail_after(DIAL_S_MAX):
                out = await self._open(node_id)
        except (OSError, ValueError, FrameError, BadFrameError, trio.TooSlowError):
            return False
        except RefusedSealError as error:
            self._complain(node_id, str(error))
            return False
        if out is None:
            return False
        try:
            await _until_closed(out.stream)
        finally:
            out.stream.close()
            if self._out.get(node_id) is out:
                del self._out[node_id]
            if not self._ended and node_id not in self._out:
                now = self._runtime.now()
                self._driver.carry_out(self._node.neighbours.link_closed(node_id, now))
        return True

    async def _open(self, node_id: NodeId) -> _Out | None:
        address = self._wanted.get(node_id)
        if address is None:
            return None  # Nobody wants it any more, and its task ends in a moment.
        stream = await self._runtime.connect(*parse_address(address))
        try:
            channel = None if self._seal is None else await greet(stream, self._seal)
            hello = self._node.neighbours.introductions.hello(node_id, self._address)
            await send_frame(stream, encode_hello(hello), channel)
            answer = parse_welcome_untrusted(await receive_frame(stream, channel))
            if isinstance(answer, str):
                self._complain(node_id, f"refuses our link: {answer}")
            elif answer.node_id != node_id:
                self._complain(node_id, f"is node {answer.node_id}")
            else:
                self._told.pop(node_id, None)
                out = self._out[node_id] = _Out(stream, channel)
                self.opened += 1
                now = self._runtime.now()
                self._driver.carry_out(self._node.neighbours.welcomed(answer, now))
                return out
        except BaseException:
            stream.close()
            raise
        stream.close()
        return None

    def _complain(self, node_id: NodeId, text: str) -> None:
        """Tell people, once for each new reason."""
        self.refused += 1
        if self._told.get(node_id) != text:
            self._told[node_id] = text
            log.warning("node %d at %s %s", node_id, self._wanted.get(node_id), text)

    def _tell(self, effect: Tell) -> None:
        out = self._out.get(effect.node_id)
        if out is None:
            return
        parts: list[Outgoing]
        if out.channel is None:
            said = effect.parts
            parts = [_LENGTH.pack(sum(map(len, said))), *said]  # type: ignore[list-item]
        else:
            data = out.channel.seal(b"".join(effect.parts))  # type: ignore[arg-type]
            parts = [_LENGTH.pack(len(data)), data]
        self.bytes_out += sum(map(len, parts))
        if out.unsent:
            out.unsent += parts
        else:
            try:
                out.stream.send_now(parts)
            except OSError:
                out.stream.close()
                return
            if parts:
                out.unsent = parts
                self._nursery.start_soon(self._send_rest, effect.node_id, out)
        if out.unsent:
            self._node.neighbours.links.backlog(effect.node_id, sum(map(len, out.unsent)))

    async def _send_rest(self, node_id: NodeId, out: _Out) -> None:
        try:
            await out.stream.send_rest(out.unsent)
        except (OSError, trio.ClosedResourceError):
            out.stream.close()
        out.unsent = []
        self._node.neighbours.links.backlog(node_id, 0)

    # Links that others open

    async def serve(self, stream: Stream, channel: Channel | None, hello_bytes: bytes) -> None:
        """Hear what a node says that opened a link to us, until it ends.

        Raises:
            FrameError: it says what no member says.
            OSError, RefusedSealError: the link broke.
        """
        if self._ended:
            raise OSError("this node is about to end")
        try:
            hello = parse_hello_untrusted(hello_bytes)
        except BadFrameError as error:
            raise FrameError(str(error)) from error
        now = self._runtime.now()
        node_id = hello.node_id
        answer, effects = self._node.neighbours.answer_hello(hello, now)
        if isinstance(answer, str):
            await send_frame(stream, encode_welcome(answer), channel)
            raise FrameError(f"node {node_id} {answer}")
        # If it opened another one before, that is over; a stranger's hello ends nothing.
        before, self._in[node_id] = self._in.get(node_id), stream
        if before is not None:
            before.close()
        try:
            self._driver.carry_out(effects)
            await send_frame(stream, encode_welcome(answer), channel)
            await self._hear(node_id, stream, channel)
        except BadFrameError as error:
            raise FrameError(f"node {node_id}: {error}") from error
        finally:
            if self._in.get(node_id) is stream:
                del self._in[node_id]
                if not self._ended:
                    now = self._runtime.now()
                    self._driver.carry_out(self._node.neighbours.link_lost(node_id, now))

    async def _hear(self, node_id: NodeId, stream: Stream, channel: Channel | None) -> None:
        buffer = memoryview(bytearray(READ_BYTES))
        have = 0
        length_max = FRAME_BYTES_MAX + (0 if channel is None else TAG_BYTES)
        flow = LinkFlow(self._runtime.now().monotonic_ms)
        while True:
            await stream.readable()
            try:
                count = stream.receive_into(buffer[have:])
            except BlockingIOError:
                continue
            if count == 0:
                raise OSError("the peer closed the link")
            self.bytes_in += count
            have += count
            frames: list[memoryview] = []
            position, needed = 0, _LENGTH.size
            while have - position >= _LENGTH.size:
                length: int = _LENGTH.unpack_from(buffer, position)[0]
                if not 0 < length <= length_max:
                    raise FrameError(f"a frame of a link announces {length} bytes")
                end = position + _LENGTH.size + length
                if end > have:
                    needed = end - position
                    break
                frames.append(buffer[position + _LENGTH.size : end])
                position = end
            if frames:
                if channel is not None:
                    frames = [memoryview(channel.open(bytes(frame))) for frame in frames]
                await self._hear_frames(node_id, frames, flow)
                if self._in.get(node_id) is not stream:
                    return
            rest = buffer[position:have]
            if needed > len(buffer):
                larger = room_for(max(needed, 2 * len(buffer)))
                larger[: len(rest)] = rest
                buffer = larger
            elif position:
                if len(buffer) > KEPT_BYTES_MAX and needed <= READ_BYTES:
                    buffer = memoryview(bytearray(READ_BYTES))
                buffer[: len(rest)] = bytes(rest)
            have -= position

    async def _hear_frames(self, node_id: NodeId, frames: list[memoryview], flow: LinkFlow) -> None:
        """Hear what one receive brought: some, then others of this process have their turn."""
        stream = self._in.get(node_id)
        for start in range(0, len(frames), FRAMES_AT_ONCE_MAX):
            if start:
                await trio.lowlevel.checkpoint()
            if self._in.get(node_id) is not stream:
                return
            some = frames[start : start + FRAMES_AT_ONCE_MAX]
            now = self._runtime.now()
            self._driver.carry_out(self._node.neighbours.link_frames(node_id, some, now))
            if pause_ms := flow.wait_ms(len(some), now.monotonic_ms):
                await self._runtime.sleep_until(now.monotonic_ms + pause_ms)


async def _until_closed(stream: Stream) -> None:
    """Wait until the other side ends a link on which it has nothing to say."""
    room = memoryview(bytearray(64))
    while True:
        try:
            await stream.readable()
            if stream.receive_into(room) == 0:
                return
        except BlockingIOError:
            continue
        except (OSError, trio.ClosedResourceError):
            return
