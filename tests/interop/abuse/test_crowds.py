"""Many at once: memory stays bounded, and a client that behaves is served all the while."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.interop.abuse.visitor import Producer, connect, resident_bytes
from tests.interop.node import MeshNode

MIB = 1 << 20
GROWTH_BYTES_MAX = 100 * MIB


@contextlib.contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections; skip where this process may not.

    Room for a few more files than connections is asked for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may open {hard} files, {wanted} are needed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


@pytest.mark.parametrize("announced", [100 * MIB, 64 * MIB, 32 * MIB, 1 * MIB], ids="{} B".format)
def test_a_thousand_announcements(announced: int, node: MeshNode, producer: Producer) -> None:
    """A thousand that announce a large frame, and send its beginning, cost next to nothing."""
    producer.produce()
    before = resident_bytes(node.pid)
    with crowd(node.port, 1000) as connections:
        for connection in connections:
            # One that was refused at once may be gone already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(struct.pack("!i", announced) + b"x" * 20_000)
            if connection is connections[500]:
                producer.produce(20)
        producer.produce(200)
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
    producer.produce()


def test_three_thousand_silent_connections(node: MeshNode, producer: Producer) -> None:
    """Connections that say nothing are kept, and cost little."""
    before = resident_bytes(node.pid)
    with crowd(node.port, 3000) as connections:
        producer.produce(50)
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
        # The last that came is served like the first.
        for connection in (connections[0], connections[-1]):
            connection.sendall(struct.pack("!ihhih", 10, 18, 0, 9, -1))
            assert struct.unpack("!iih", connection.recv(10, socket.MSG_WAITALL))[1:] == (9, 0)
    producer.produce()


def test_readers_that_do_not_read(node: MeshNode, producer: Producer) -> None:
    """Clients that ask and never take their answers are not answered on and on."""
    question = struct.pack("!ihhih", 10, 18, 0, 9, -1) * 5000
    before = resident_bytes(node.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(socket.socket())
            # So small that the node's answers, a hundred times that, stay with the node.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", node.port))
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.send(question)
        producer.produce(50)
        assert resident_bytes(node.pid) - before < GROWTH_BYTES_MAX
    producer.produce()
