"""What goes to the ports that speak in lines: HTTP and bare lines (admin), JSON (control).

Requests that are drawn, and mutated as those of the Kafka port are. What the node would rightly
obey (`stop`) is left out: the generator reads each line as the node will.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence

from mesh.node.control import RefusedCommandError, parse_untrusted
from tools.fuzz.mutate import HELLOS

REQUESTS_PER_BURST_MAX = 6
_PATHS = ("/x", "/", "/metricsx", "/%2e%2e/status", "http://127.0.0.1/y", "*", "//", "/a?b=c#d")
_DRAWN_PATHS = ("/healthz", "/metrics", "/status")
"""Drawing one takes milliseconds: one request in so many asks for it."""
DRAWN_SHARE = 0.02
_METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "TRACE", "get")
_HEADERS = (
    "Host: localhost",
    "Accept: application/openmetrics-text; version=1.0.0",
    "Connection: close",
    "Connection: keep-alive",
    "Content-Length: 5",
    "Content-Length: 99999999999999999999",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "X: " + "y" * 300,
    " folded",
    "Host : a",
)
_BODIES = (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"0\r\nA: b\r\n\r\n")
_TELLING = b'\x00\r\n \t:/\x7f\x80\xff"{}[],\\0-'
_PIECES = (
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\x00",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"\xc0\x80",
    b"%",
    b"1e999",
)
_VALUES: tuple[object, ...] = (
    1,
    0,
    -1,
    2,
    1.5,
    None,
    True,
    "1",
    [],
    {},
    10**30,
    "x" * 300,
    "\u0000",
)
_COMMANDS = ("status", "halt", "", "STOP", "stop ", "ü", "x" * 1000)

Burst = Sequence[bytes]


def admin_bursts(rng: random.Random, count: int) -> Iterator[list[bytes]]:
    """Yield bursts for the admin port, of `count` requests together."""
    yield from _bursts(rng, count, _admin_request)


def control_bursts(rng: random.Random, count: int) -> Iterator[list[bytes]]:
    """Yield bursts for the control socket, of `count` lines together."""
    yield from _bursts(rng, count, _control_line)


def _bursts(
    rng: random.Random, count: int, draw: Callable[[random.Random], bytes]
) -> Iterator[list[bytes]]:
    while count > 0:
        size = min(count, rng.randint(1, REQUESTS_PER_BURST_MAX))
        yield [draw(rng) for _ in range(size)]
        count -= size


def _admin_request(rng: random.Random) -> bytes:
    dice = rng.random()
    if dice < 0.01:
        return rng.choice(HELLOS)
    if dice < 0.02:
        return rng.randbytes(rng.choice((1, 4, 60, 400)))
    if dice < 0.022:
        return b"GET /x HTTP/1.1\r\n" + rng.choice((b"A: b\r\n" * 2_000, b"A: " + b"b" * 70_000))
    if dice < 0.06:
        body = bytearray(rng.choice((b"ruok", b"ruok\n", b"stat", b"ruok\r\n")))
    else:
        path = rng.choice(_DRAWN_PATHS if rng.random() < DRAWN_SHARE else _PATHS)
        lines = [f"{rng.choice(_METHODS)} {path} HTTP/1.{rng.choice((1, 1, 1, 0))}", "Host: a"]
        lines += rng.sample(_HEADERS, rng.choice((0, 1, 2, 4)))
        body = bytearray("\r\n".join([*lines, "", ""]).encode() + rng.choice(_BODIES))
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        _mutate(rng, body)
    return bytes(body)


def _control_line(rng: random.Random) -> bytes:
    dice = rng.random()
    if dice < 0.01:
        return rng.choice(HELLOS)
    if dice < 0.02:
        return rng.randbytes(rng.choice((1, 4, 60, 400))) + b"\n"
    if dice < 0.022:
        return rng.choice((b"[" * 50_000, b'{"a":' * 10_000, b"9" * 60_000, b"x" * 70_000)) + b"\n"
    request = {"format": 1, "command": rng.choice(_COMMANDS)}
    for _ in range(rng.choice((0, 0, 1, 3))):
        request[rng.choice(("format", "command", "a", "", "é"))] = rng.choice(_VALUES)
    line = bytearray(json.dumps(request, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        _mutate(rng, line)
    if any(_would_stop(bytes(piece)) for piece in line.split(b"\n")):
        line = bytearray(b'{"format": 1, "command": "stopped"}')
    return bytes(line) + b"\n"


def _would_stop(line: bytes) -> bool:
    try:
        return str(parse_untrusted(line)["command"]) == "stop"
    except RefusedCommandError:
        return False


def _mutate(rng: random.Random, body: bytearray) -> None:
    place = rng.randrange(len(body) + 1)
    choice = rng.randrange(7)
    if choice == 0 and place < len(body):
        body[place] ^= 1 << rng.randrange(8)
    elif choice == 1 and place < len(body):
        body[place] = rng.choice(_TELLING)
    elif choice == 2:
        del body[place : place + rng.randint(1, 6)]
    elif choice == 3:
        body[place:place] = rng.randbytes(rng.randint(1, 6))
    elif choice == 4:
        body[place:place] = rng.choice(_PIECES)
    elif choice == 5:
        body[place:place] = body[place : place + rng.randint(1, 60)]
    else:
        del body[place:]
