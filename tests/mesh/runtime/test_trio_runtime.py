"""The real side of the ports, where it differs from what trio would do."""

import socket

import pytest
import trio

from mesh.runtime import trio_runtime
from mesh.runtime.ports import Outgoing
from mesh.runtime.trio_runtime import TcpStream, TrioRuntime


async def test_waiting_on_a_closed_stream_is_the_worlds_error() -> None:
    """A task that comes back to a connection another one closed hears so; the node goes on."""
    ours, theirs = socket.socketpair()
    stream = TcpStream(ours, "peer")
    stream.close()
    stream.close()  # Harmless when repeated.
    with pytest.raises(trio.ClosedResourceError):
        await stream.readable()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_rest([b"late"])
    theirs.close()


async def test_what_the_kernel_does_not_take_is_left_and_sent_later() -> None:
    """send_now never waits and loses nothing: the rest stays, in order, for send_rest."""
    ours, theirs = socket.socketpair()
    stream = TcpStream(ours, "peer")
    sent = [bytes([number % 256]) * 1000 for number in range(3000)]
    parts: list[Outgoing] = list(sent)
    stream.send_now(parts)
    assert 0 < sum(map(len, parts)) < 3_000_000
    received = bytearray()

    async def receive() -> None:
        reader = TcpStream(theirs, "other")
        room = memoryview(bytearray(100_000))
        while len(received) < 3_000_000:
            await reader.readable()
            received.extend(room[: reader.receive_into(room)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await stream.send_rest(parts)
    assert bytes(received) == b"".join(sent)
    stream.close()
    theirs.close()


async def test_a_connection_that_takes_nothing_any_more_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a link over which the network lost its way is not made anew when it has found it."""
    monkeypatch.setattr(trio_runtime, "UNANSWERED_MS_MAX", 300)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await TrioRuntime().connect(*listener.getsockname())
        taken, _ = listener.accept()
        sent: list[Outgoing] = [bytes(1 << 20)] * 20
        with trio.fail_after(20), pytest.raises(OSError, match="timed out"):
            await stream.send_rest(sent)
        stream.close()
        taken.close()
