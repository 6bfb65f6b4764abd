"""Whole processes in the virtual world: the driver, its tasks and its ends, without sockets."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from mesh.node.serve import LINGER_MS_MAX
from mesh.runtime.ports import Outgoing, Stream
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from simulations.determined import run_determined
from simulations.disk import SimulatedCrash
from simulations.full_stack import TOPIC, Machine, StackMesh, StackStory, run
from simulations.runtime import SimulatedRuntime
from simulations.stack_clients import NoAnswerError
from simulations.tcp import Network, Weather
from simulations.workload import METADATA

ONE, OTHER = "10.0.0.1", "10.0.0.2"


class Pair:
    """Two machines and one connection from the first to the second."""

    def __init__(self) -> None:
        self.network = Network(random.Random(1))
        self.one = SimulatedRuntime(self.network, ONE, random.Random(2))
        self.other = SimulatedRuntime(self.network, OTHER, random.Random(3))

    async def connect(self) -> tuple[Stream, Stream]:
        listener = await self.other.listen(OTHER, 9)
        caller = await self.one.connect(OTHER, 9)
        return caller, await listener.accept()


def played(story: Callable[[Pair], Awaitable[None]]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            pair = Pair()
            nursery.start_soon(pair.network.run)
            await story(pair)
            nursery.cancel_scope.cancel()

    run_determined(1, main)


async def receive(stream: Stream) -> bytes:
    """Receive all until the end. Raises OSError."""
    data = bytearray()
    room = memoryview(bytearray(1000))
    while True:
        await stream.readable()
        try:
            count = stream.receive_into(room)
        except BlockingIOError:
            continue
        if not count:
            return bytes(data)
        data += room[:count]


def test_a_broken_connection_gives_a_beginning_and_an_error() -> None:
    """What came before a reset is what was sent first, cut at any byte; both sides hear of it."""

    async def story(pair: Pair) -> None:
        stream, other = await pair.connect()
        parts: list[Outgoing] = [bytes(range(200)) * 100]
        stream.send_now(parts)
        pair.network.break_off(pair.one.ends[0])
        with pytest.raises(ConnectionResetError):
            await receive(other)
        with pytest.raises(ConnectionResetError):
            await receive(stream)

    played(story)


def test_nobody_is_told_of_a_connection_that_hangs() -> None:
    """Neither bytes nor an end arrive; who called hears after a while that nothing is taken."""

    async def story(pair: Pair) -> None:
        stream, other = await pair.connect()
        pair.network.hang(pair.one.ends[0])
        parts: list[Outgoing] = [b"lost"]
        stream.send_now(parts)
        with trio.move_on_after(3) as early:
            await receive(other)
        assert early.cancelled_caught
        with pytest.raises(OSError, match="timed out") as caught:
            await receive(stream)
        assert caught.value.errno == errno.ETIMEDOUT
        with trio.move_on_after(60) as late:
            await receive(other)
        assert late.cancelled_caught

    played(story)


def test_a_cut_holds_streams_up_and_loses_datagrams() -> None:
    """After a cut a stream goes on where it was; a datagram never comes."""

    async def story(pair: Pair) -> None:
        stream, other = await pair.connect()
        near, far = await pair.one.datagrams(ONE, 5), await pair.other.datagrams(OTHER, 5)
        pair.network.cut(OTHER, ONE)  # Acknowledgements do not come back, either.
        parts: list[Outgoing] = [b"held up"]
        stream.send_now(parts)
        stream.close()
        assert far.send_now(b"lost", ONE, 5)
        with trio.move_on_after(2) as early:
            await receive(other)
        assert early.cancelled_caught
        pair.network.heal()
        assert await receive(other) == b"held up"
        assert near.receive_now(9) == []

    played(story)


def test_datagrams_are_lost_doubled_and_overtake() -> None:
    """As many of them as was asked for, and what arrives is whole."""

    async def story(pair: Pair) -> None:
        near, far = await pair.one.datagrams(ONE, 5), await pair.other.datagrams(OTHER, 5)
        pair.network.weather = Weather(loss=0.3, duplicate=0.2, reorder=0.3)
        sent = [number.to_bytes(2, "big") for number in range(1000)]
        for data in sent:
            near.send_now(data, OTHER, 5)
        await trio.sleep(1)
        found = [data for data, _ in far.receive_now(9999)]
        assert set(found) < set(sent)
        assert len(set(found)) < len(found)
        assert found != sorted(found)
        assert 250 < pair.network.datagrams_lost < 500

    played(story)


def test_a_process_that_is_killed_leaves_nothing_bound() -> None:
    """Its connections end, its ports are free for the next one, and its threads do no more."""

    async def story(pair: Pair) -> None:
        stream, _ = await pair.connect()
        done: list[int] = []

        async def work() -> None:
            with pytest.raises(SimulatedCrash):
                await pair.other.in_thread(lambda: done.append(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await trio.testing.wait_all_tasks_blocked()
            pair.other.kill()
        assert await receive(stream) == b""
        assert done == []
        again = SimulatedRuntime(pair.network, OTHER, random.Random(4))
        (await again.listen(OTHER, 9)).close()

    played(story)


def test_a_seed_is_one_run() -> None:
    """Tasks, scheduler, network, disks: nothing but the seed decides what happens."""
    classes = ("kill", "reset", "hang")
    one, same, other = (run(seed, classes, seconds=4) for seed in (7, 7, 8))
    assert one.violations == ()
    assert one.trace_hash == same.trace_hash
    assert (one.acked, one.read, one.virtual_s) == (same.acked, same.read, same.virtual_s)
    assert other.trace_hash != one.trace_hash


Plot = Callable[[StackMesh, StackStory], Awaitable[None]]


def told(seed: int, plot: Plot) -> StackStory:
    """Play a story of one's own in a mesh of three that bears load; then heal, and look at it."""
    stories: list[StackStory] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            mesh = StackMesh(seed, nursery)
            story = StackStory(mesh, ())
            stories.append(story)
            assert await story.begin()
            await plot(mesh, story)
            await story.heal()
            await story.end()
            await mesh.close()
            nursery.cancel_scope.cancel()

    run_determined(seed, main)
    return stories[0]


async def crash(machine: Machine, story: StackStory) -> None:
    await machine.kill(power=True)
    await trio.sleep(1)
    machine.start()


async def stop(machine: Machine, story: StackStory) -> None:
    await story.stop(machine)
    assert machine.ready is not None
    machine.start()


async def break_all(machine: Machine, story: StackStory) -> None:
    await trio.sleep(0.3)
    for end in list(story.mesh.network.ends.values()):
        story.mesh.network.break_off(end)


async def hang_all(machine: Machine, story: StackStory) -> None:
    await trio.sleep(0.3)
    for end in list(story.mesh.network.ends.values()):
        story.mesh.network.hang(end)


@pytest.mark.parametrize("fault", [crash, stop, break_all, hang_all])
def test_a_mesh_gets_over(fault: Callable[[Machine, StackStory], Awaitable[None]]) -> None:
    """Machines that lose power, good ends, links cut mid-frame or hanging: nothing is lost."""

    async def plot(mesh: StackMesh, story: StackStory) -> None:
        for machine in list(mesh.machines.values())[:2]:
            await fault(machine, story)
            await trio.sleep(2)

    story = told(1, plot)
    assert story.violations == []
    assert sum(len(producer.acked) for producer in story.producers) > 50


def test_a_lost_record_is_found() -> None:
    """What a producer was told of, and nobody can read, is a violation."""

    async def plot(mesh: StackMesh, story: StackStory) -> None:
        await mesh.until(lambda: bool(story.producers[0].acked), 10)
        story.producers[0].acked[0].value = b"another"

    (violation,) = told(2, plot).violations
    assert "b'another' was acknowledged at 0" in violation


def test_a_node_that_stops_tells_its_clients_where_to_go() -> None:
    """It leads nothing any more, and serves for as long as clients take to move; then it ends."""
    leaders: list[int] = []

    async def plot(mesh: StackMesh, story: StackStory) -> None:
        machine, client = mesh.machines[1], mesh.client(77)
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=TOPIC)], allow_auto_topic_creation=False
        )
        address = mesh.directory.addresses[1]
        await client.ask(address, request, MetadataResponse, METADATA)
        assert machine.runtime is not None
        machine.runtime.ask_to_stop()
        await trio.sleep(LINGER_MS_MAX / 1000 * 2 / 3)
        answer = await client.ask(address, request, MetadataResponse, METADATA)
        leaders.extend(partition.leader_id for partition in answer.topics[0].partitions)
        with trio.fail_after(5):
            await machine.ended.wait()
        with pytest.raises(NoAnswerError):
            await client.ask(address, request, MetadataResponse, METADATA)
        machine.start()

    assert told(3, plot).violations == []
    assert leaders
    assert set(leaders) <= {2, 3}
