"""The driver under too much load, from peers and from the disk: it stays, and stays small."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

from mesh.node.options import Address, NodeOptions, Ready
from mesh.node.serve import serve
from mesh.runtime.ports import Outgoing
from mesh.runtime.trio_runtime import TcpStream, TrioRuntime
from mesh.wire.schemas.api_versions import ApiVersionsResponse
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedDisk
from storage.disk import FileSlice, OsFile
from tests.mesh.node.peer import a_fetch, a_produce, records_of
from tests.mesh.node.test_driver import SOFTWARE, Client, StoppableRuntime, a_node, frame_of

T = TypeVar("T")


def create(name: str, partitions: int) -> CreateTopicsRequest:
    topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=-1)
    return CreateTopicsRequest(topics=[topic], timeout_ms=60_000)


async def test_a_peer_that_goes_while_too_much_is_outstanding_leaves_nothing() -> None:
    """The receiver that waits for answers to leave hears that they never will."""
    async with a_node() as node:
        connections = node.news.statistics().connections
        client = await node.connect()
        await client.stream.send_all(frame_of(a_fetch("t", max_wait_ms=200), 12) * 200)
        while node.news.statistics().requests_waiting < 128:
            await trio.lowlevel.checkpoint()
        linger = struct.pack("ii", 1, 0)
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.stream.socket.close()
        while node.news.statistics().connections > connections:
            await trio.lowlevel.checkpoint()


async def test_a_flood_of_requests_is_served_as_its_answers_are_read() -> None:
    """Thousands of requests in one write, none of their answers read: others have their turn."""
    async with a_node() as node:
        flood, other = await node.connect(), await node.connect()
        await flood.ask(create("wide", 300), CreateTopicsResponse, 7)
        flood.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        before = node.news.statistics().requests
        wanted = MetadataRequest(topics=[MetadataRequestTopic(name="wide")])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood.stream.send_all, frame_of(wanted, 9) * 1_000)
            await trio.testing.wait_all_tasks_blocked()
            assert (await other.ask(SOFTWARE, ApiVersionsResponse, 3)).error_code == 0
            await trio.testing.wait_all_tasks_blocked()
            assert node.news.statistics().requests - before < 900
            answer = await flood.receive(MetadataResponse, 9)
            assert len(answer.topics[0].partitions) == 300
            for _ in range(999):
                await flood.skip()
        assert node.news.statistics().in_flight_bytes == 0


async def test_pipelined_requests_are_answered_in_order_however_many_come_at_once() -> None:
    """Frames that wait in a copy, and one that is cut by the end of a receive, are all served."""
    async with a_node() as node:
        client = await node.connect()
        size = len(frame_of(a_produce("t", b"x"), 9))
        count = (512 << 10) // size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, frame_of(a_produce("t", b"x"), 9) * count)
            for offset in range(count):
                answer = await client.receive(ProduceResponse, 9)
                assert answer.responses[0].partition_responses[0].base_offset == offset


async def test_a_slow_reader_is_not_idle_while_bytes_move(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """connections.max.idle.ms counts from the last byte, also of an answer that is leaving."""
    async with a_node(connections_max_idle_ms="5000") as node:
        producer, reader = await node.connect(), await node.connect()
        for _ in range(12):
            await producer.ask(a_produce("t", bytes(900_000)), ProduceResponse, 9)
        fetch = a_fetch("t", max_wait_ms=0)
        fetch.max_bytes = fetch.topics[0].partitions[0].partition_max_bytes = 50 << 20
        await reader.send(fetch, 12)
        left = 12 * 900_000
        while left > 0:
            await trio.sleep(1)
            data = await reader.stream.receive_some(400_000)
            assert data
            left -= len(data)


async def test_a_full_disk_does_not_keep_a_node_from_stopping(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A journal that finds no room is waited for a while; then the end is no clean one."""
    disk = SimulatedDisk(4)
    async with a_node(disk, log_retention_ms="-1") as node:
        client = await node.connect()
        await client.ask(a_produce("t", b"x"), ProduceResponse, 9)
        disk.bytes_free = 150  # Enough for a record, not for a promise.
        await client.ask(a_produce("t", b"y", acks=1), ProduceResponse, 9)
    assert not disk.exists("/n1/clean-shutdown")
    disk.bytes_free = 1 << 40
    async with a_node(disk, log_retention_ms="-1") as node:
        client = await node.connect()
        answer = await client.ask(a_fetch("t"), FetchResponse, 12)
        found = records_of(answer.responses[0].partitions[0].records)
        assert [record.value for record in found] == [b"x", b"y"]
    assert disk.exists("/n1/clean-shutdown")


async def test_a_full_disk_does_not_end_the_node(autojump_clock: trio.testing.MockClock) -> None:
    """Others may fill the disk to its last byte; checkpoints then wait, and reads go on."""
    disk = SimulatedDisk(4)
    async with a_node(disk, log_retention_check_interval_ms="1000") as node:
        client = await node.connect()
        await client.ask(a_produce("t", b"x"), ProduceResponse, 9)
        disk.bytes_free = 0
        for _ in range(10):
            await trio.sleep(2)
            assert (await client.ask(SOFTWARE, ApiVersionsResponse, 3)).error_code == 0
        disk.bytes_free = 1 << 40


class ThreadedRuntime(StoppableRuntime):
    """Its threads are real."""

    async def in_thread(self, work: Callable[[], T]) -> T:
        return await TrioRuntime.in_thread(self, work)


class SlowDisk(SimulatedDisk):
    """Removes directories only when told to."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.go_on = threading.Event()
        self.go_on.set()

    def remove_tree(self, path: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.go_on.wait()
        super().remove_tree(path)


async def test_removals_do_not_take_the_threads_of_syncs() -> None:
    """A topic of many partitions is being removed from a slow disk: producers go on."""
    disk = SlowDisk(5)
    async with a_node(disk, ThreadedRuntime()) as node:
        client = await node.connect()
        await client.ask(create("wide", 60), CreateTopicsResponse, 7)
        for partition in range(60):
            request = a_produce("wide", b"x", partition=partition)
            await client.ask(request, ProduceResponse, 9)
        disk.go_on.clear()
        try:
            delete = DeleteTopicsRequest(topics=[DeleteTopicState(name="wide")], timeout_ms=1_000)
            await client.ask(delete, DeleteTopicsResponse, 6)
            answer = await client.ask(a_produce("t", b"x"), ProduceResponse, 9)
            assert answer.responses[0].partition_responses[0].error_code == 0
        finally:
            disk.go_on.set()


class ColdFile(OsFile):
    """A file that nobody has in memory, on a disk that takes its time."""

    def __init__(self, go_on: threading.Event) -> None:
        super().__init__("cold", os.memfd_create("cold"))
        self._go_on = go_on

    def read_if_cached(self, position: int, length: int) -> bytes | None:
        return None

    def read(self, position: int, length: int) -> bytes:
        self._go_on.wait()
        return b"x" * length

    def fileno(self) -> int | None:
        return None  # To be read, not sent from file to socket.


async def test_readers_of_cold_files_do_not_take_the_threads_of_syncs() -> None:
    """However many read old data at once, a sync has a thread."""
    go_on = threading.Event()
    pairs = [socket.socketpair() for _ in range(60)]
    try:
        async with trio.open_nursery() as nursery:
            for ours, _ in pairs:
                piece: list[Outgoing] = [FileSlice(ColdFile(go_on), 0, 10)]
                nursery.start_soon(TcpStream(ours, "reader").send_rest, piece)
            await trio.testing.wait_all_tasks_blocked()
            try:
                with trio.fail_after(10):
                    async with trio.open_nursery() as syncing:
                        syncing.start_soon(TrioRuntime().in_thread, _sync)
            finally:
                go_on.set()
    finally:
        for pair in pairs:
            for each in pair:
                each.close()


def _sync() -> None:
    """A sync that has nothing to do."""


async def test_connections_leave_descriptors_to_files() -> None:
    """Who opens connections without end cannot keep the node from opening a file to sync."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 200, limits[1]))
    clients: list[socket.socket] = []
    accepted: list[TcpStream] = []
    try:
        listener = await TrioRuntime().listen("127.0.0.1", 0)
        for _ in range(100):
            client = socket.socket()
            clients.append(client)
            client.connect(("127.0.0.1", listener.port))

        async def accept() -> None:
            while True:
                accepted.append(await listener.accept())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            taken = len(accepted)
            files = [os.dup(0) for _ in range(20)]
            for file in files:
                os.close(file)
            assert 0 < taken < 100
            for stream in accepted[:10]:
                stream.close()
            with trio.fail_after(10):
                while len(accepted) < taken + 10:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        listener.close()
    finally:
        for client in clients:
            client.close()
        for stream in accepted:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class LastRoundRuntime(StoppableRuntime):
    """Syncs wait to be let go; who waits for the last one looks when a round ends, not before."""

    def __init__(self) -> None:
        super().__init__()
        self.may_sync = trio.Event()
        self.may_sync.set()
        self.is_finishing = trio.Event()
        self.call_is_over = trio.Event()

    async def in_thread(self, work: Callable[[], T]) -> T:
        await self.may_sync.wait()
        result = work()
        self.call_is_over.set()
        return result

    async def sleep_until(self, monotonic_ms: int) -> None:
        if not self.stop.is_set() or monotonic_ms > self.now().monotonic_ms + 2:
            await super().sleep_until(monotonic_ms)
            return
        self.is_finishing.set()
        self.call_is_over = trio.Event()
        with trio.move_on_after(0.1):
            await self.call_is_over.wait()


@pytest.mark.parametrize("attempt", range(8))
async def test_the_end_waits_for_a_round_that_follows_the_last(attempt: int) -> None:
    """A round that was begun as another ended is not cut off: its logs close cleanly."""
    runtime, disk = LastRoundRuntime(), SimulatedDisk(attempt)
    told: list[Ready] = []
    options = NodeOptions(data_directory="/n1", listen=Address("127.0.0.1", 0))

    async def run() -> None:
        await serve(options, ready=told.append, runtime=runtime, disk=disk)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            while not told:
                await trio.lowlevel.checkpoint()
            assert told[0].listen is not None
            stream = await trio.open_tcp_stream("127.0.0.1", told[0].listen.port)
            client = Client(stream)
            for name in ("a", "b"):
                await client.ask(create(name, 1), CreateTopicsResponse, 7)
            while told[0].statistics().requests_waiting:
                await trio.lowlevel.checkpoint()
            runtime.may_sync = trio.Event()
            try:
                for name in ("a", "b"):  # The second is for the round after this one.
                    await client.ask(a_produce(name, b"x", acks=1), ProduceResponse, 9)
                runtime.stop.set()
                await runtime.is_finishing.wait()
            finally:
                runtime.may_sync.set()
    assert disk.exists("/n1/clean-shutdown")
    await stream.aclose()
