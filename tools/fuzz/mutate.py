"""From valid requests to bursts: what goes over one connection in one piece. Seeded, cheap.

A burst ends with the first frame because of which the node should hang up, so that few frames are
sent in vain: the generator reads each as the node will.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

from mesh.broker.handlers import HANDLERS
from mesh.wire import Message, WireError, decode, read_request_header
from mesh.wire.schemas.create_partitions import CreatePartitionsRequest
from mesh.wire.schemas.create_topics import CreateTopicsRequest
from tools.fuzz.draw import corpus

LENGTH_BYTES = 4
FRAMES_PER_BURST_MAX = 12
PARTITIONS_MAX = 64
"""A frame that would make more is not sent: that the node obeys it is no growth of its own."""
OF_EACH = 6
"""Valid frames of each API and version that the frames of one batch begin as."""

_SLOW = {19, 20, 22, 33, 37, 44}
"""Keys of requests that write to the registry: fewer of these, for each waits for the disk."""

_INT32 = struct.Struct(">i")
_LENGTHS = (-1, -(2**31), 2**31 - 1, 104_857_601, 104_857_600, 0, 1, 3, 9)
_COUNTS = (
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x0f\x42\x40",
    b"\x00\x01\x00\x00",
    b"\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80",
    b"\xff\xff\x03",
    b"\x00",
)
"""What may stand for a count or a length, of either kind."""
_TELLING = b"\x00\x01\x7f\x80\xff"
HELLOS = (
    bytes.fromhex("1603010200010001fc0303") + bytes(500),
    bytes.fromhex("16030100a5010000a10303") + bytes(range(160)),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"EHLO localhost\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    b"\x05\x01\x00",
    b"ruok",
    b"stat\n",
)
"""How others begin to talk: TLS, HTTP, SSH, SMTP, a proxy, SOCKS, ZooKeeper's tools."""

_Mutation = Callable[[random.Random, bytearray, "Mutator"], None]


class Mutator:
    """Makes the bursts of one batch of one run; the same for the same random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        frames = corpus(rng, OF_EACH)
        quick = [key for key in frames if key not in _SLOW]
        self._keys = quick * 8 + [key for key in frames if key in _SLOW]
        self._frames = frames

    def pick(self) -> bytes:
        """Return one of the valid frames, every API as often as the others."""
        return self._rng.choice(self._frames[self._rng.choice(self._keys)])

    def bursts(self, frames_count: int) -> Iterator[list[bytes]]:
        """Yield bursts of `frames_count` frames together, each with its length prefix."""
        rng = self._rng
        while frames_count > 0:
            burst: list[bytes] = []
            wanted = min(frames_count, rng.randint(1, FRAMES_PER_BURST_MAX))
            is_last = False
            while len(burst) < wanted and not is_last:
                frame, is_last = self._frame()
                if is_last and len(burst) < wanted - 1 and rng.random() < 0.5:
                    is_last = False
                    continue  # What is taken for right gets further: let there be more of it.
                burst.append(frame)
            frames_count -= len(burst)
            yield burst

    def _frame(self) -> tuple[bytes, bool]:
        """Return a frame, and whether the node is expected to hang up because of it."""
        rng = self._rng
        dice = rng.random()
        if dice < 0.004:
            return rng.choice(HELLOS), True
        if dice < 0.006:
            return _framed(rng.randbytes(rng.choice((0, 1, 7, 8, 10, 60, 400)))), True
        if dice < 0.0064:
            return _framed(_bulk(rng, self.pick())), True
        body = bytearray(self.pick())
        for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
            rng.choice(_MUTATIONS)(rng, body, self)
        if dice < 0.02:
            length = rng.choice(_LENGTHS) if dice < 0.012 else len(body) + rng.randint(-9, 9)
            return _INT32.pack(length) + body, True
        message = _read(body)
        while message is not None and _is_costly(message):
            body = bytearray(self._plain())
            message = _read(body)
        return _framed(body), message is None

    def _plain(self) -> bytes:
        """Return a valid frame that makes nothing."""
        return self._rng.choice(self._frames[self._keys[0]])


def _framed(body: bytes | bytearray) -> bytes:
    return _INT32.pack(len(body)) + body


def _read(body: bytearray) -> Message | None:
    """Return what a node takes a frame for; None if it will hang up."""
    try:
        header, position = read_request_header(body)
        handler = HANDLERS.get(header.api_key)
        if handler is None or not handler.serves(header.api_version):
            return None
        message: Message = decode(handler.request, body, position, header.api_version)
    except WireError:
        return None
    return message


def _is_costly(message: Message) -> bool:
    """Whether a node that takes this as right would make very many partitions."""
    match message:
        case CreateTopicsRequest():
            wanted = sum(max(t.num_partitions, len(t.assignments), 1) for t in message.topics)
        case CreatePartitionsRequest():
            wanted = sum(max(0, topic.count) for topic in message.topics)
        case _:
            return False
    return wanted > PARTITIONS_MAX


# Mutations: each changes `body` in place. The first two bytes are the API key.


def _place(rng: random.Random, body: bytearray) -> int:
    # The first four bytes are key and version: without them nothing else is looked at.
    return rng.randrange(4, len(body) + 1) if len(body) > 4 else len(body)


def _flip(rng: random.Random, body: bytearray, _: Mutator) -> None:
    if (place := _place(rng, body)) < len(body):
        body[place] ^= 1 << rng.randrange(8)


def _tell(rng: random.Random, body: bytearray, _: Mutator) -> None:
    if (place := _place(rng, body)) < len(body):
        body[place] = rng.choice(_TELLING)


def _cut_out(rng: random.Random, body: bytearray, _: Mutator) -> None:
    place = _place(rng, body)
    del body[place : place + rng.randint(1, 6)]


def _put_in(rng: random.Random, body: bytearray, _: Mutator) -> None:
    place = _place(rng, body)
    body[place:place] = rng.randbytes(rng.randint(1, 6))


def _truncate(rng: random.Random, body: bytearray, _: Mutator) -> None:
    del body[_place(rng, body) :]


def _lie(rng: random.Random, body: bytearray, _: Mutator) -> None:
    place, count = _place(rng, body), rng.choice(_COUNTS)
    body[place : place + (len(count) if rng.random() < 0.7 else 1)] = count


def _double(rng: random.Random, body: bytearray, _: Mutator) -> None:
    begin = _place(rng, body)
    end = min(len(body), begin + rng.randint(1, 60))
    body[begin:begin] = body[begin:end]


def _splice(rng: random.Random, body: bytearray, mutator: Mutator) -> None:
    other = mutator.pick()
    body[_place(rng, body) :] = other[rng.randrange(min(4, len(other)), len(other)) :]


def _other_version(rng: random.Random, body: bytearray, _: Mutator) -> None:
    body[2:4] = struct.pack(">h", rng.choice((0, 1, 2, 3, 5, 7, 9, 11, 13, 16, 99, -1, 32767)))


def _tags(rng: random.Random, body: bytearray, _: Mutator) -> None:
    """End with many tags, or with tags inside of a tag's value and so on."""
    if rng.random() < 0.5:
        count = rng.choice((1, 2, 100))
        section = bytes((count,)) + b"".join(bytes((tag, 1, 0)) for tag in range(count))
    else:
        section = b"\x00"
        for _depth in range(rng.choice((2, 20, 40))):
            section = b"\x01\x00" + bytes((len(section) & 0x7F,)) + section
    body[-1:] = section


def _bulk(rng: random.Random, body: bytes) -> bytes:
    """Return a frame with a hundred thousand of something small where its count says so."""
    place = rng.randrange(min(10, len(body)), len(body) + 1)
    element = rng.choice((b"\x00", b"\x01", b"\x00\x00", b"\x01\x00", b"\x02a\x00", b"\xff\xff"))
    count = rng.choice((1_000, 30_000, 100_000))
    head = rng.choice((_INT32.pack(count), bytes((count + 1 & 0x7F | 0x80,)) + b"\x8d\x06"))
    return body[:place] + head + element * count + body[place:]


_MUTATIONS: tuple[_Mutation, ...] = (
    _flip,
    _flip,
    _flip,
    _flip,
    _tell,
    _tell,
    _tell,
    _cut_out,
    _put_in,
    _truncate,
    _lie,
    _lie,
    _double,
    _splice,
    _other_version,
    _tags,
)
