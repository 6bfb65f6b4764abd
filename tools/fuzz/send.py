"""Bursts out, answers in: many short connections at a time, each with a bound on its life."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mesh.node.options import Address
from tools.fuzz.canary import UnwellError

HANG_S = 60.0
"""A connection that neither moves nor ends for so long hangs."""
OPEN_MAX = 48
"""Connections open at a time: the node has worked off the oldest before it is asked to end."""
SOURCES = 16
"""Addresses of this machine that we come from in turn, or the ports of one would run out."""
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of ip(7): the port is chosen at connect, where more are free."""

Connect = Callable[[int], socket.socket]
"""Opens a connection; the argument counts them."""


@dataclass(slots=True)
class Sent:
    """What went out and came back."""

    frames: int = 0
    connections: int = 0
    answers: int = 0
    bytes_out: int = 0
    bytes_in: int = 0


def to_tcp(address: Address, *, hosts: int = SOURCES) -> Connect:
    """Return what connects to an address of this machine, from so many of its own in turn."""

    def connect(number: int) -> socket.socket:
        sock = socket.socket()
        try:
            sock.settimeout(HANG_S)
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            if address.host == "127.0.0.1":
                which = number % hosts
                sock.bind((f"127.{which >> 14}.{which >> 7 & 127}.{1 + (which & 127)}", 0))
            sock.connect((address.host, address.port))
        except BaseException:
            sock.close()
            raise
        return sock

    return connect


def to_unix(path: str) -> Connect:
    """Return what connects to a Unix socket."""

    def connect(_: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(HANG_S)
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return sock

    return connect


def send(
    bursts: Iterable[Sequence[bytes]],
    connect: Connect,
    replacements: Mapping[bytes, bytes],
    sent: Sent,
    *,
    until_s: float,
    open_max: int = OPEN_MAX,
    is_framed: bool = True,
) -> None:
    """Send each burst over a connection of its own.

    Args:
        bursts: frames that go out in one piece.
        connect: opens a connection.
        replacements: bytes that stand for others, of the same length.
        sent: counts.
        until_s: monotonic instant at which to stop with what is under way.
        open_max: connections at a time; fewer than the node takes.
        is_framed: whether answers have a length in front; if not, any bytes are one answer.

    Raises:
        UnwellError: a connection hangs.
        OSError: nobody listens any more.
    """
    under_way: deque[socket.socket] = deque()
    try:
        for burst in bursts:
            if time.monotonic() > until_s:
                break
            data = b"".join(burst)
            for marker, meant in replacements.items():
                data = data.replace(marker, meant)
            sock = connect(sent.connections)
            under_way.append(sock)
            # The node may hang up before it has everything.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
            sent.connections += 1
            sent.frames += len(burst)
            sent.bytes_out += len(data)
            if len(under_way) >= open_max:
                _finish(under_way.popleft(), sent, is_framed=is_framed)
        while under_way:
            _finish(under_way.popleft(), sent, is_framed=is_framed)
    except TimeoutError:
        raise UnwellError(f"a connection neither moved nor ended for {HANG_S:.0f} s") from None
    finally:
        for sock in under_way:
            sock.close()


def _finish(sock: socket.socket, sent: Sent, *, is_framed: bool) -> None:
    """Say that nothing follows, take all answers, and see the connection end."""
    with sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        with contextlib.suppress(OSError):  # It has ended already.
            sock.shutdown(socket.SHUT_WR)
        left = 0
        """Bytes of an answer that are still to come."""
        head = b""
        is_first = True
        while data := sock.recv(1 << 18):
            sent.bytes_in += len(data)
            sent.answers += is_first and not is_framed
            is_first = False
            while data and is_framed:
                if left:
                    taken = min(left, len(data))
                    left -= taken
                    data = data[taken:]
                    continue
                head, data = head + data[: 4 - len(head)], data[4 - len(head) :]
                if len(head) == 4:
                    left, head = int.from_bytes(head, "big"), b""
                    sent.answers += 1
