"""The driver on real sockets: framing, memory, time-outs, the end. Tests wind trio's clock."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import pytest
import trio
import trio.testing

from mesh.node.options import Address, NodeOptions, Ready
from mesh.node.serve import serve
from mesh.runtime.trio_runtime import TrioRuntime, UnixListener
from mesh.wire import Message, encode_request, read_response
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
)
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedDisk
from storage.disk import Locked, SyncFailed
from tests.mesh.node.peer import a_fetch, a_produce

R = TypeVar("R", bound=Message)
T = TypeVar("T")
MIB = 1 << 20
SOFTWARE = ApiVersionsRequest(client_software_name="t", client_software_version="1")


class StoppableRuntime(TrioRuntime):
    """The real world, but a test says when to stop."""

    def __init__(self) -> None:
        self.stop = trio.Event()

    async def listen_locally(self, path: str) -> UnixListener:
        """A simulated disk holds no socket: it lies beside it, where nobody finds it."""
        with tempfile.TemporaryDirectory() as directory:
            return await super().listen_locally(f"{directory}/control.sock")

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Work at once: while a thread worked, the wound clock would jump ahead."""
        await trio.lowlevel.checkpoint()
        return work()

    @contextmanager
    def stop_signals(self) -> Iterator[Callable[[], Awaitable[str]]]:
        async def wait() -> str:
            await self.stop.wait()
            return "SIGTERM"

        yield wait


class Client:
    """A client that counts its own bytes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, message: Message, version: int) -> None:
        await self.stream.send_all(frame_of(message, version))

    async def receive(self, kind: type[R], version: int) -> R:
        """The next response, which must be of this kind."""
        return read_response(kind, await self.skip(), version)[1]

    async def skip(self) -> bytes:
        """The next response, unread."""
        while len(self._buffer) < 4 or len(self._buffer) < 4 + self._length():
            data = await self.stream.receive_some()
            assert data, "the node closed the connection"
            self._buffer += data
        end = 4 + self._length()
        frame, self._buffer = self._buffer[4:end], self._buffer[end:]
        return frame

    async def ask(self, message: Message, kind: type[R], version: int) -> R:
        await self.send(message, version)
        return await self.receive(kind, version)

    async def is_closed(self) -> bool:
        """Wait for the node to hang up."""
        try:
            return await self.stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True

    def _length(self) -> int:
        length: int = struct.unpack_from(">i", self._buffer)[0]
        return length


def frame_of(message: Message, version: int) -> bytes:
    parts = encode_request(message, version, 1, "t")
    return b"".join(part for part in parts if isinstance(part, bytes))


class Running:
    """A node that serves."""

    def __init__(self, news: Ready, runtime: StoppableRuntime) -> None:
        self.news = news
        self.runtime = runtime
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        assert self.news.listen is not None
        client = Client(await trio.open_tcp_stream("127.0.0.1", self.news.listen.port))
        self.clients.append(client)
        return client


@asynccontextmanager
async def a_node(
    disk: SimulatedDisk | None = None, runtime: StoppableRuntime | None = None, **config: str
) -> AsyncIterator[Running]:
    """A node on a simulated disk and a real port, with the topic `t`; stopped in the end."""
    runtime, news = runtime or StoppableRuntime(), list[Ready]()
    options = NodeOptions(
        data_directory="/n1",
        listen=Address("127.0.0.1", 0),
        config={name.replace("_", "."): value for name, value in config.items()},
    )
    listening = trio.Event()

    def ready(told: Ready) -> None:
        news.append(told)
        listening.set()

    async def run() -> None:
        await serve(options, ready=ready, runtime=runtime, disk=disk or SimulatedDisk(0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(60):
            await listening.wait()
            running = Running(news[0], runtime)
            client = await running.connect()
            wanted = MetadataRequest(
                topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=True
            )
            await client.ask(wanted, MetadataResponse, 9)
            try:
                yield running
            finally:
                for client in running.clients:
                    client.stream.socket.close()
        runtime.stop.set()


async def test_frames_may_come_in_any_pieces() -> None:
    """A frame byte by byte, and many frames at once, are the same requests."""
    async with a_node() as node:
        client = await node.connect()
        for byte in frame_of(a_produce("t", b"x"), 9):
            await client.stream.send_all(bytes([byte]))
        answer = await client.receive(ProduceResponse, 9)
        assert answer.responses[0].partition_responses[0].base_offset == 0
        await client.stream.send_all(frame_of(a_produce("t", b"y"), 9) * 50)
        offsets = []
        for _ in range(50):
            answer = await client.receive(ProduceResponse, 9)
            offsets.append(answer.responses[0].partition_responses[0].base_offset)
        assert offsets == list(range(1, 51))


async def test_a_frame_larger_than_the_shared_buffer_arrives_whole() -> None:
    """Three batches of 900 KB in one write, each longer than what one receive takes."""
    async with a_node() as node:
        client = await node.connect()
        await client.stream.send_all(frame_of(a_produce("t", bytes(900_000)), 9) * 3)
        for offset in range(3):
            answer = await client.receive(ProduceResponse, 9)
            assert answer.responses[0].partition_responses[0].base_offset == offset
        assert node.news.statistics().in_flight_bytes == 0


@pytest.mark.parametrize("length", [-1, -(2**31), 100 * MIB + 1, 2**31 - 1])
async def test_an_impossible_length_ends_only_that_connection(length: int) -> None:
    """Negative or beyond the bound: hang up, serve the others."""
    async with a_node() as node:
        good, bad = await node.connect(), await node.connect()
        await bad.stream.send_all(struct.pack(">i", length) + b"GET / HTTP/1.1\r\n")
        assert await bad.is_closed()
        assert (await good.ask(SOFTWARE, ApiVersionsResponse, 3)).error_code == 0
        assert node.news.statistics().connections_failed == 1


async def test_announcements_do_not_hold_up_a_producer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Large and small frames that never come: memory stays bounded, a producer goes on."""
    async with a_node() as node:
        for announced in [30 * MIB] * 20 + [MIB] * 60:
            liar = await node.connect()
            await liar.stream.send_all(struct.pack(">i", announced) + b"x")
        producer = await node.connect()
        for _ in range(20):
            await producer.ask(a_produce("t", b"x" * 300_000), ProduceResponse, 9)
        assert node.news.statistics().in_flight_bytes <= 64 * MIB


async def test_a_frame_that_stands_still_ends_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Half a frame and then nothing: the connection goes, its memory with it."""
    async with a_node() as node:
        client = await node.connect()
        await client.stream.send_all(struct.pack(">i", MIB) + b"x")
        assert await client.is_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert node.news.statistics().in_flight_bytes == 0


async def test_an_idle_connection_is_closed_and_a_waiting_one_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """connections.max.idle.ms counts silence, not the wait for an answer."""
    async with a_node(connections_max_idle_ms="5000") as node:
        waiting, idle = await node.connect(), await node.connect()
        await waiting.send(a_fetch("t", max_wait_ms=20_000), 12)
        assert await idle.is_closed()
        await waiting.receive(FetchResponse, 12)


async def test_stopping_answers_what_waits() -> None:
    """A parked fetch and an unsynced produce are answered before the node is gone."""
    async with a_node() as node:
        reader, producer = await node.connect(), await node.connect()
        await reader.send(a_fetch("t", max_wait_ms=20_000), 12)
        await reader.send(SOFTWARE, 3)  # Waits behind the fetch.
        await producer.send(a_produce("t", b"last"), 9)
        await producer.receive(ProduceResponse, 9)
        node.runtime.stop.set()
        await reader.receive(FetchResponse, 12)
        await reader.receive(ApiVersionsResponse, 3)
        assert await producer.is_closed()


async def test_what_was_acknowledged_is_there_after_a_clean_end() -> None:
    """A node that was stopped begins where it ended, and says that its end was clean."""
    disk = SimulatedDisk(1)
    async with a_node(disk) as node:
        client = await node.connect()
        await client.ask(a_produce("t", b"kept"), ProduceResponse, 9)
    disk.crash()  # Whatever the node did not sync is gone.
    async with a_node(disk) as node:
        client = await node.connect()
        answer = await client.ask(a_produce("t", b"next"), ProduceResponse, 9)
        assert answer.responses[0].partition_responses[0].base_offset == 1


async def test_a_second_node_on_one_directory_is_refused() -> None:
    """Two nodes never write one data directory."""
    disk = SimulatedDisk(2)
    async with a_node(disk):
        options = NodeOptions(data_directory="/n1", listen=Address("127.0.0.1", 0))
        with pytest.raises(Locked):
            await serve(options, ready=_never, runtime=StoppableRuntime(), disk=disk)


async def test_a_failed_sync_stops_the_node_and_acknowledges_nothing() -> None:
    """After a failed fdatasync the page cache lies: no answer, no retry, the node ends."""
    disk = SimulatedDisk(3)
    answered: list[bytes] = []

    async def produce() -> None:
        async with a_node(disk) as node:
            client = await node.connect()
            disk.syncs_fail = True
            await client.send(a_produce("t", b"lost"), 9)
            answered.append(await client.stream.receive_some())

    with pytest.raises(BaseExceptionGroup) as caught:
        await produce()
    assert caught.group_contains(SyncFailed)
    assert answered in ([], [b""])


def _never(told: Ready) -> None:
    raise AssertionError("it must not serve")
