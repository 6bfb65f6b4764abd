"""Frames on a stream between members: a question there, an answer back; sealed if there is a key.

A frame is four bytes of length and so many bytes. A sealed stream begins with a hello and its
answer (`mesh.runtime.sealing`), and the frames after them are sealed.
"""

from __future__ import annotations

from struct import Struct

from mesh.gossip.settings import FRAME_BYTES_MAX
from mesh.node.options import parse_address
from mesh.runtime.ports import Runtime, Stream
from mesh.runtime.sealing import (
    HELLO_BYTES,
    NO_KEY,
    RANDOM_BYTES,
    STREAM_MAGIC,
    TAG_BYTES,
    UNKNOWN_KEY,
    WELCOME,
    Channel,
    RefusedSealError,
    Seal,
    key_id_in,
)

CHUNK_BYTES = 64 << 10
NEEDS_KEY = b"\x00this mesh has a cluster key"
"""The frame that answers a plain one; no frame of members begins with a zero."""
_LENGTH = Struct(">I")


class FrameError(Exception):
    """What came is no frame; the text says why."""


async def ask(runtime: Runtime, address: str, frame: bytes, seal: Seal | None) -> bytes:
    """Connect, ask, and return the answer; the caller bounds the time.

    Raises:
        RefusedSealError: the two sides have not the same cluster key; its text goes on after the
            name of the other side.
        FrameError: what came back is no frame.
        OSError, ValueError: nobody is reached there, or the address is none.
    """
    stream = await runtime.connect(*parse_address(address))
    try:
        channel = None if seal is None else await greet(stream, seal)
        await send_frame(stream, frame, channel)
        answer = await receive_frame(stream, channel)
    finally:
        stream.close()
    if answer == NEEDS_KEY:
        raise RefusedSealError("needs_key", "has a cluster key, and this node has none")
    return answer


async def greet(stream: Stream, seal: Seal) -> Channel:
    """Say hello on a stream that we opened; return what seals it.

    Raises:
        RefusedSealError: the two sides have not the same cluster key.
        FrameError: what came back is no answer.
        OSError: the stream broke.
    """
    hello = seal.hello()
    await stream.send_rest([hello])
    first = await _receive(stream, 1)
    if first == WELCOME:
        return seal.channel(hello, first + await _receive(stream, RANDOM_BYTES))
    if first == UNKNOWN_KEY:
        raise RefusedSealError("unknown_key", f"does not know our cluster key {seal.ids[0]}")
    if first == NO_KEY:
        raise RefusedSealError("no_key", "has no cluster key, and this node has one")
    raise FrameError("it answers a hello with what is no answer")


async def receive_question(stream: Stream, seal: Seal | None) -> tuple[bytes, Channel | None]:
    """Receive the frame that a stream is for, and what seals the answer.

    Raises:
        RefusedSealError: the two sides have not the same cluster key; the other side was told.
        FrameError: it is no frame.
        OSError: the stream broke.
    """
    head = await _receive(stream, _LENGTH.size)
    if head != STREAM_MAGIC:
        if seal is not None:
            await send_frame(stream, NEEDS_KEY, None)
            raise RefusedSealError("unsealed", "does not seal, and this mesh has a cluster key")
        return await _receive(stream, _length(head, FRAME_BYTES_MAX)), None
    hello = head + await _receive(stream, HELLO_BYTES - len(head))
    if seal is None:
        await stream.send_rest([NO_KEY])
        raise RefusedSealError("sealed", "seals with a cluster key, and this node has none")
    answer, channel = seal.answer(hello)
    await stream.send_rest([answer])
    if channel is None:
        name = key_id_in(hello).hex()
        raise RefusedSealError("unknown_key", f"has the cluster key {name}, which is not ours")
    return await receive_frame(stream, channel), channel


async def send_frame(stream: Stream, frame: bytes, channel: Channel | None) -> None:
    """Send one frame. Raises OSError."""
    data = frame if channel is None else channel.seal(frame)
    await stream.send_rest([_LENGTH.pack(len(data)), data])


async def receive_frame(stream: Stream, channel: Channel | None = None) -> bytes:
    """Receive one frame; its memory grows with what comes, whatever was announced.

    Raises:
        FrameError: it is longer than a frame may be, or the stream ends inside.
        RefusedSealError: the other side did not seal it.
        OSError: the stream broke.
    """
    head = await _receive(stream, _LENGTH.size)
    if channel is None:
        return await _receive(stream, _length(head, FRAME_BYTES_MAX))
    return channel.open(await _receive(stream, _length(head, FRAME_BYTES_MAX + TAG_BYTES)))


def _length(head: bytes, length_max: int) -> int:
    length: int = _LENGTH.unpack(head)[0]
    if not 0 < length <= length_max:
        raise FrameError(f"a frame announces {length} bytes; the bounds are 1 and {length_max}")
    return length


async def _receive(stream: Stream, size: int) -> bytes:
    """Receive so many bytes, and not one that follows them."""
    data = bytearray()
    room = memoryview(bytearray(min(size, CHUNK_BYTES)))
    while len(data) < size:
        await stream.readable()
        try:
            count = stream.receive_into(room[: size - len(data)])
        except BlockingIOError:
            continue
        if count == 0:
            raise FrameError("it ended inside a frame")
        data += room[:count]
    return bytes(data)
