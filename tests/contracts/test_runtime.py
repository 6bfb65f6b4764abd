"""One contract for the real runtime and the simulated one: what the driver leans on."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
import trio.testing

from mesh.runtime import trio_runtime
from mesh.runtime.ports import Outgoing, Runtime, Stream
from mesh.runtime.trio_runtime import TrioRuntime
from simulations.determined import run_determined
from simulations.disk import SimulatedDisk
from simulations.runtime import SimulatedRuntime
from simulations.tcp import Network
from storage.disk import Disk, FileSlice, OsDisk

HOST = "127.0.0.1"
TIME_S_MAX = 20
Story: TypeAlias = Callable[[Runtime], Awaitable[None]]


@dataclass
class World:
    """Plays a story with a runtime, and has a disk beside it."""

    play: Callable[[Story], None]
    disk: Disk
    directory: str


def play_real(story: Story) -> None:
    async def main() -> None:
        with trio.fail_after(TIME_S_MAX):
            await story(TrioRuntime())

    trio.run(main)


def play_simulated(story: Story) -> None:
    async def main() -> None:
        with trio.fail_after(TIME_S_MAX):
            async with trio.open_nursery() as nursery:
                network = Network(random.Random(1))
                nursery.start_soon(network.run)
                await story(SimulatedRuntime(network, "10.0.0.1", random.Random(2)))
                nursery.cancel_scope.cancel()

    run_determined(3, main)


@pytest.fixture(params=["real", "simulated"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    if request.param == "real":
        return World(play_real, OsDisk(), str(tmp_path))
    return World(play_simulated, SimulatedDisk(1), "")


async def pair(runtime: Runtime) -> tuple[Stream, Stream]:
    """Return both ends of a connection: who called, and who was called."""
    listener = await runtime.listen(HOST, 0)
    caller = await runtime.connect(HOST, listener.port)
    called = await listener.accept()
    listener.close()
    return caller, called


async def forever(call: Callable[[], Awaitable[object]]) -> None:
    """Wait again and again: something may seem ready and have nothing."""
    while True:
        await call()


async def receive(stream: Stream, size: int) -> bytes:
    """Receive so many bytes, or all before the end."""
    data = bytearray()
    room = memoryview(bytearray(100_000))
    while len(data) < size:
        await stream.readable()
        try:
            count = stream.receive_into(room[: size - len(data)])
        except BlockingIOError:
            continue
        if count == 0:
            break
        data += room[:count]
    return bytes(data)


def test_waiting_on_a_closed_stream_is_the_worlds_error(world: World) -> None:
    """A task that comes back to a connection another one closed hears so; the node goes on."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        stream.close()
        stream.close()  # Harmless when repeated.
        with pytest.raises(trio.ClosedResourceError):
            await stream.readable()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_rest([b"late"])
        with pytest.raises(OSError, match=r".*"):
            stream.send_now([b"late"])
        with pytest.raises(OSError, match=r".*"):
            stream.receive_into(memoryview(bytearray(1)))
        other.close()

    world.play(story)


def test_whoever_waits_is_woken_when_another_task_closes(world: World) -> None:
    """A reader, a writer, one who accepts and one who waits for datagrams end, none hangs."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        listener = await runtime.listen(HOST, 0)
        port = await runtime.datagrams(HOST, 0)
        ended: list[str] = []

        async def wait(name: str, call: Callable[[], Awaitable[object]]) -> None:
            with contextlib.suppress(trio.ClosedResourceError):
                await forever(call)
            ended.append(name)

        parts: list[Outgoing] = [bytes(20 << 20)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "reader", stream.readable)
            nursery.start_soon(wait, "writer", lambda: stream.send_rest(parts))
            nursery.start_soon(wait, "acceptor", listener.accept)
            nursery.start_soon(wait, "datagrams", port.readable)
            await trio.testing.wait_all_tasks_blocked(0.001)
            for one in (stream, listener, port):
                one.close()
        assert sorted(ended) == ["acceptor", "datagrams", "reader", "writer"]
        other.close()

    world.play(story)


def test_one_task_at_a_time_waits_for_bytes(world: World) -> None:
    """A second one would take bytes of the first: that is a fault of ours, and told."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await forever(stream.readable)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.001)
            with pytest.raises(trio.BusyResourceError):
                await forever(stream.readable)
            stream.close()
        other.close()

    world.play(story)


def test_what_the_kernel_does_not_take_is_left_and_sent_later(world: World) -> None:
    """send_now never waits and loses nothing: the rest stays, in order, for send_rest."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        sent = [bytes([number % 256]) * 10_000 for number in range(1_200)]
        parts: list[Outgoing] = list(sent)
        stream.send_now(parts)
        assert 0 < sum(map(len, parts)) < 12_000_000
        received: list[bytes] = []

        async def take() -> None:
            received.append(await receive(other, 12_000_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await stream.send_rest(parts)
        assert received == [b"".join(sent)]
        stream.close()
        other.close()

    world.play(story)


def test_all_that_was_sent_comes_before_the_end(world: World) -> None:
    """Whoever closes after its last answer does not cut it off; then there is the end, for ever."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        parts: list[Outgoing] = [b"a" * 20_000, memoryview(b"b" * 20_000)]
        stream.send_now(parts)
        assert parts == []
        stream.close()
        assert await receive(other, 50_000) == b"a" * 20_000 + b"b" * 20_000
        await other.readable()
        assert other.receive_into(memoryview(bytearray(9))) == 0
        other.close()

    world.play(story)


def test_unread_bytes_make_an_end_a_reset(world: World) -> None:
    """Whoever says something to one that closed without reading it hears that it was lost."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        stream.send_now([b"never read"])
        await other.readable()
        room = memoryview(bytearray(1))
        with contextlib.suppress(BlockingIOError):
            other.receive_into(room, peek=True)
        assert await receive(other, 1) == b"n"
        other.close()
        with pytest.raises(ConnectionResetError):
            await receive(stream, 1)
        stream.close()

    world.play(story)


def test_what_is_peeked_at_stays(world: World) -> None:
    """A frame that has no place yet stays with the kernel."""

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        stream.send_now([b"frame"])
        room = memoryview(bytearray(9))
        count = 0
        while count < 5:
            await other.readable()
            with contextlib.suppress(BlockingIOError):
                count = other.receive_into(room, peek=True)
        assert (bytes(room[:5]), await receive(other, 5)) == (b"frame", b"frame")
        with pytest.raises(BlockingIOError):
            other.receive_into(room)
        stream.close()
        other.close()

    world.play(story)


def test_a_stretch_of_a_file_is_sent_without_being_read_first(world: World) -> None:
    """A slice goes out whole, between the bytes around it."""
    content = bytes(range(256)) * 2_000
    file = world.disk.open(f"{world.directory}/segment", create=True)
    file.append([content])

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        parts: list[Outgoing] = [b"<", FileSlice(file, 7, 400_000), b">"]
        received: list[bytes] = []

        async def take() -> None:
            received.append(await receive(other, 400_002))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            stream.send_now(parts)
            await stream.send_rest(parts)
        assert received == [b"<" + content[7:400_007] + b">"]
        stream.close()
        other.close()

    world.play(story)


def test_a_connection_that_takes_nothing_any_more_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a link over which the network lost its way is not made anew when it has found it."""
    monkeypatch.setattr(trio_runtime, "UNANSWERED_MS_MAX", 300)

    async def story(runtime: Runtime) -> None:
        stream, other = await pair(runtime)
        sent: list[Outgoing] = [bytes(1 << 20)] * 20
        with pytest.raises(OSError, match="timed out"):
            await stream.send_rest(sent)
        stream.close()
        other.close()

    world.play(story)


def test_nobody_is_reached_where_nobody_listens(world: World) -> None:
    """A refused connection is an OSError, and a port is free again once its listener is closed."""

    async def story(runtime: Runtime) -> None:
        listener = await runtime.listen(HOST, 0)
        port = listener.port
        assert port > 0
        with pytest.raises(OSError, match="in use"):
            await runtime.listen(HOST, port)
        listener.close()
        listener.close()
        with pytest.raises(ConnectionRefusedError):
            await runtime.connect(HOST, port)
        (await runtime.listen(HOST, port)).close()

    world.play(story)


def test_datagrams_say_where_they_come_from(world: World) -> None:
    """Each is whole, at most so many are taken at once, and one to nobody disturbs no other."""

    async def story(runtime: Runtime) -> None:
        one, other = await runtime.datagrams(HOST, 0), await runtime.datagrams(HOST, 0)
        with pytest.raises(OSError, match="in use"):
            await runtime.datagrams(HOST, one.port)
        gone = await runtime.datagrams(HOST, 0)
        gone.close()
        gone.close()
        assert not gone.send_now(b"late", HOST, one.port)
        one.send_now(b"to nobody", HOST, gone.port)
        for number in range(5):
            assert one.send_now(bytes([number]) * 1200, HOST, other.port)
        found: list[tuple[bytes, str]] = []
        while len(found) < 5:
            await other.readable()
            some = other.receive_now(2)
            assert len(some) <= 2
            found += some
        assert sorted(data[:1] for data, _ in found) == [bytes([number]) for number in range(5)]
        assert {len(data) for data, _ in found} == {1200}
        (source,) = {source for _, source in found}
        assert source.rpartition(":")[2] == str(one.port)
        one.close()
        other.close()

    world.play(story)


def test_work_in_a_thread_is_finished_even_when_nobody_waits(world: World) -> None:
    """A sync that began ends before its files are closed; its result, or its error, comes back."""

    async def story(runtime: Runtime) -> None:
        done: list[int] = []
        assert await runtime.in_thread(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await runtime.in_thread(lambda: done.append(1 // 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.in_thread, lambda: done.append(1))
            await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert done == [1]
        with trio.CancelScope() as scope:
            scope.cancel()
            await runtime.in_thread(lambda: done.append(2))
        assert done == [1]

    world.play(story)


def test_what_runs_side_by_side_has_all_run(world: World) -> None:
    """Nothing is left out, and a call that fails is told."""

    async def story(runtime: Runtime) -> None:
        done: set[int] = set()
        runtime.run_together([functools.partial(done.add, one) for one in range(20)])
        assert done == set(range(20))
        with pytest.raises(ZeroDivisionError):
            runtime.run_together([lambda: None, lambda: done.add(1 // 0)])

    world.play(story)


def test_an_instant_that_was_slept_for_has_come(world: World) -> None:
    """Or a deadline would be looked at again and again in its last millisecond."""

    async def story(runtime: Runtime) -> None:
        begun = runtime.now()
        for wait_ms in (1, 3, 7):
            until_ms = runtime.now().monotonic_ms + wait_ms
            await runtime.sleep_until(until_ms)
            assert runtime.now().monotonic_ms >= until_ms
        assert runtime.now().wall_ms > begun.wall_ms

    world.play(story)
