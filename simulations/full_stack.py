"""Whole processes on a simulated network: all that `mesh node` runs but the sockets, with faults.

The driver itself is what this is for: its tasks, time-outs, half-open streams and ends.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
import xxhash

from mesh.metrics.members import mesh_reasons
from mesh.node.options import Address, NodeOptions, Ready
from mesh.node.serve import serve
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from simulations.determined import run_determined
from simulations.disk import SimulatedCrash, SimulatedDisk
from simulations.runtime import SimulatedRuntime
from simulations.stack_clients import (
    Directory,
    NoAnswerError,
    StackClient,
    StackProducer,
    StackReader,
)
from simulations.tcp import End, Network, Weather

log = logging.getLogger("mesh.simulations")

CLASSES = (
    "kill",
    "power",
    "stop",
    "torn_write",
    "reset",
    "hang",
    "cut",
    "one_way",
    "slow_net",
    "bad_datagrams",
    "slow_disk",
)
"""Faults that a seed has, or has not, each with even chance."""
TOPIC = "t"
PARTITIONS = 3
KAFKA_PORT, PEER_PORT = 9092, 9093
DATA = "/data"
START_S_MAX = 30
STOP_S_MAX = 30
FAULTS_S = 15
REST_S_MAX = 60
WELL_S_MAX = 200
"""Who was found dead again and again waits up to 120 s before it is taken back."""
FINAL_RECORDS = 5
CALM = Weather()


@dataclass(frozen=True, slots=True)
class StackOutcome:
    """What came of one run."""

    seed: int
    classes: tuple[str, ...]
    violations: tuple[str, ...]
    trace_hash: str
    virtual_s: float
    real_s: float
    acked: int
    read: int
    starts: int
    """Of nodes, the first ones included."""
    struck: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`ok`, or `violated`."""
        return "violated" if self.violations else "ok"


class Machine:
    """One machine: its disk stays, its processes come and go."""

    def __init__(self, mesh: StackMesh, node_id: int) -> None:
        """Without a process."""
        self.mesh = mesh
        self.node_id = node_id
        self.host = f"10.0.0.{node_id}"
        self.disk = SimulatedDisk(mesh.dice(f"disk {node_id}").getrandbits(32))
        self.starts = self.boots = 0
        self.runtime: SimulatedRuntime | None = None
        self.ready: Ready | None = None
        self.ended = trio.Event()
        self.ended.set()
        self._scope = trio.CancelScope()

    @property
    def is_up(self) -> bool:
        """Whether a process runs."""
        return not self.ended.is_set()

    def start(self) -> None:
        """Start a process, as `mesh node` does."""
        assert not self.is_up, "one process at a time"
        self.starts += 1
        self.ready = None
        self.ended = trio.Event()
        self._scope = trio.CancelScope()
        rng = self.mesh.dice(f"node {self.node_id} start {self.starts}")
        self.runtime = SimulatedRuntime(
            self.mesh.network, self.host, rng, boot=self.boots, skew_ms=rng.randint(-500, 500)
        )
        self.mesh.nursery.start_soon(self._run, self.runtime)

    async def _run(self, runtime: SimulatedRuntime) -> None:
        join = () if self.node_id == 1 else (Address("10.0.0.1", PEER_PORT),)
        options = NodeOptions(
            data_directory=DATA,
            listen=Address(self.host, KAFKA_PORT),
            insecure_peers=True,
            profile="local",
            host=f"machine-{self.node_id}",
            join=join,
            config=self.mesh.config,
        )
        try:
            with self._scope:
                await serve(options, ready=self._note_ready, runtime=runtime, disk=self.disk)
        except* SimulatedCrash:
            pass
        except* Exception as errors:  # noqa: BLE001 - whatever ends a node is told
            self.mesh.violations.append(f"node {self.node_id} ended: {_told(errors)}")
        died = runtime.is_dead or self.disk.crash_after is not None
        runtime.kill()
        if died:
            # What a power failure loses is decided now; the process alone loses nothing.
            if self.boots > runtime.boot:
                self.disk.crash()
            else:
                self.disk.kill()
        self.ended.set()

    def _note_ready(self, ready: Ready) -> None:
        self.ready = ready

    def is_ready(self) -> bool:
        """Whether its process serves clients."""
        return self.ready is not None

    async def kill(self, *, power: bool) -> None:
        """End the process at once, and with power the machine."""
        assert self.runtime is not None, "it runs"
        self.boots += power
        self.disk.crash_after = 0  # It changes nothing any more.
        self._scope.cancel()
        self.runtime.kill(power=power)
        await self.ended.wait()

    def is_well(self) -> list[str]:
        """Return why not, in words; nothing if it is."""
        if not self.is_up or self.ready is None:
            return ["is not up"]
        now = self.ready.statistics()
        return [*now.reasons, *(mesh_reasons(now.view) if now.view is not None else ())]


def _told(error: BaseException) -> str:
    """Return the innermost errors of a group."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"


class StackMesh:
    """Machines, clients and the network between them."""

    def __init__(self, seed: int, nursery: trio.Nursery, nodes: int = 3) -> None:
        """Nothing runs yet but the network."""
        self.seed = seed
        self.nursery = nursery
        self.network = Network(self.dice("network"))
        self.violations: list[str] = []
        self.config = {"offsets.topic.num.partitions": "3"}
        self.machines = {node_id: Machine(self, node_id) for node_id in range(1, nodes + 1)}
        self.directory = Directory(
            {one.node_id: Address(one.host, KAFKA_PORT) for one in self.machines.values()},
            self.dice("directory"),
        )
        nursery.start_soon(self.network.run)

    def dice(self, concern: str) -> random.Random:
        """Return dice of their own for a concern."""
        return random.Random(xxhash.xxh3_64_intdigest(f"{self.seed}/{concern}".encode()))

    def client(self, number: int) -> StackClient:
        """Return a client on a machine of its own."""
        host = f"10.0.1.{number}"
        return StackClient(SimulatedRuntime(self.network, host, self.dice(f"client {number}")))

    async def close(self) -> None:
        """End all processes."""
        for machine in self.machines.values():
            if machine.is_up:
                await machine.kill(power=False)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds; False if it does not within so long."""
        with trio.move_on_after(seconds):
            while not condition():  # noqa: ASYNC110 - many things change it
                await trio.sleep(0.02)
            return True
        return False

    async def found(self) -> bool:
        """Start all, one after the other; say whether they became a mesh."""
        for machine in self.machines.values():
            machine.start()
            if not await self.until(machine.is_ready, START_S_MAX):
                return False
        return await self.until(self.is_well, START_S_MAX)

    def is_well(self) -> bool:
        """Whether every node calls itself and the mesh healthy."""
        return not any(machine.is_well() for machine in self.machines.values())

    async def create(self, topic: str, partitions: int) -> bool:
        """Make a topic with three replicas; say whether it is there."""
        client = self.client(99)
        wanted = CreatableTopic(name=topic, num_partitions=partitions, replication_factor=3)
        request = CreateTopicsRequest(topics=[wanted], timeout_ms=2_500)
        for _ in range(5):
            try:
                answer = await client.ask(self.directory.any(), request, CreateTopicsResponse, 7)
            except NoAnswerError:
                continue
            if answer.topics[0].error_code in (0, 36):  # 36: it is there already.
                client.close()
                return True
            await trio.sleep(0.5)
        return False


class StackStory:
    """One world: its mesh, its load, its faults, and what must hold at the end."""

    def __init__(self, mesh: StackMesh, classes: tuple[str, ...]) -> None:
        """Around a mesh whose nodes do not run yet."""
        self.mesh = mesh
        self.classes = classes
        self.rng = mesh.dice("story")
        self.struck: Counter[str] = Counter()
        self.producers: list[StackProducer] = []
        self.readers: list[StackReader] = []

    @property
    def violations(self) -> list[str]:
        """What did not hold."""
        return self.mesh.violations

    async def play(self, seconds: float) -> None:
        """Grow a mesh, load it, strike it, heal it, and look at what is left."""
        if not await self.begin():
            return
        until_s = trio.current_time() + seconds
        while trio.current_time() < until_s and not self.violations:
            if self.classes:
                await self.strike(self.rng.choice(self.classes))
            await trio.sleep(self.rng.uniform(0.02, 1.5))
            if self.rng.random() < 0.6:
                self.mend()
            await trio.sleep(self.rng.uniform(0, 0.8))
        await self.heal()
        await self.end()

    async def begin(self) -> bool:
        """Grow a mesh and load it; False if it does not come to that."""
        mesh = self.mesh
        if not await mesh.found():
            self.violations.append("the mesh does not come together")
            return False
        if not await mesh.create(TOPIC, PARTITIONS):
            self.violations.append("no topic can be made")
            return False
        for index in range(PARTITIONS):
            dice = mesh.dice(f"producer {index}")
            producer = StackProducer(mesh.client(index), mesh.directory, TOPIC, index, dice)
            reader = StackReader(mesh.client(10 + index), mesh.directory, TOPIC, index)
            self.producers.append(producer)
            self.readers.append(reader)
            mesh.nursery.start_soon(producer.run)
            mesh.nursery.start_soon(reader.run)
        await trio.sleep(0.5)
        return True

    # Faults

    def _ends(self) -> list[End]:
        """Return one end of every open connection."""
        ends = self.mesh.network.ends
        return [ends[number] for number in sorted(ends) if number % 2 == 0]

    async def strike(self, what: str) -> None:
        """Have one thing go wrong."""
        mesh, network = self.mesh, self.mesh.network
        machine = mesh.machines[self.rng.choice(sorted(mesh.machines))]
        others = [one.host for one in mesh.machines.values() if one is not machine]
        runtime = machine.runtime
        match what:
            case "kill" | "power" if machine.is_up:
                await machine.kill(power=what == "power")
            case "stop" if machine.is_up and machine.ready is not None and runtime is not None:
                await self.stop(machine)
            case "torn_write" if machine.is_up:
                machine.disk.crash_after = self.rng.randrange(30)
            case "reset" if ends := self._ends():
                for end in self.rng.sample(ends, min(len(ends), self.rng.randint(1, 4))):
                    network.break_off(end)
            case "hang" if ends := self._ends():
                for end in self.rng.sample(ends, min(len(ends), self.rng.randint(1, 4))):
                    network.hang(end)
            case "cut":
                for other in others:
                    network.cut(machine.host, other)
                    network.cut(other, machine.host)
            case "one_way":
                network.cut(machine.host, self.rng.choice(others))
            case "slow_net":
                network.weather.delay_us = (1_000, 60_000)
            case "bad_datagrams":
                network.weather.loss = 0.2
                network.weather.duplicate = network.weather.reorder = 0.1
            case "slow_disk" if runtime is not None:
                runtime.thread_us = (1_000, 60_000)
            case _:
                return
        self.struck[what] += 1
        network.note(what, machine.node_id)

    async def stop(self, machine: Machine) -> None:
        """Stop a node in good order, which must end by itself."""
        assert machine.runtime is not None, "it runs"
        machine.runtime.ask_to_stop()
        with trio.move_on_after(STOP_S_MAX):
            await machine.ended.wait()
            return
        self.violations.append(f"node {machine.node_id} does not stop within {STOP_S_MAX} s")

    def mend(self) -> None:
        """Take back some of what was done."""
        mesh = self.mesh
        if self.rng.random() < 0.7:
            mesh.network.heal()
        if self.rng.random() < 0.5:
            mesh.network.weather = Weather()
        for machine in mesh.machines.values():
            if not machine.is_up and self.rng.random() < 0.7:
                machine.start()

    async def heal(self) -> None:
        """Take back all; what hangs keeps hanging."""
        mesh = self.mesh
        mesh.network.heal()
        mesh.network.weather = Weather()
        for machine in mesh.machines.values():
            if machine.disk.crash_after is not None and machine.is_up:
                machine.disk.crash_after = None
            if not machine.is_up:
                machine.start()
            assert machine.runtime is not None, "it was started"
            machine.runtime.thread_us = (20, 400)

    # What must be so at the end

    async def end(self) -> None:
        """Hold everything against what clients were told."""
        mesh = self.mesh
        before = [len(producer.acked) for producer in self.producers]

        def goes_on() -> bool:
            return all(
                len(producer.acked) >= count + FINAL_RECORDS
                for producer, count in zip(self.producers, before, strict=True)
            )

        if not await mesh.until(goes_on, REST_S_MAX):
            for producer, count in zip(self.producers, before, strict=True):
                if len(producer.acked) < count + FINAL_RECORDS:
                    self.violations.append(
                        f"{TOPIC}-{producer.index} takes nothing after all is healed"
                    )
        for producer in self.producers:
            producer.stopped = True
            self.violations.extend(producer.faults)
        if not await mesh.until(mesh.is_well, WELL_S_MAX):
            for machine in mesh.machines.values():
                if reasons := machine.is_well():
                    self.violations.append(f"node {machine.node_id}: {'; '.join(reasons)}")
        await trio.sleep(4)  # Longer than a request may take.
        for producer, reader in zip(self.producers, self.readers, strict=True):
            await mesh.until(reader.is_at_end, 10)
            reader.stopped = True
            again = StackReader(
                mesh.client(20 + producer.index), mesh.directory, TOPIC, producer.index
            )
            mesh.nursery.start_soon(again.run)
            await mesh.until(again.is_at_end, 10)
            again.stopped = True
            self._compare(producer, reader, again)

    def _compare(self, producer: StackProducer, reader: StackReader, again: StackReader) -> None:
        """Hold what was acknowledged, and what was read meanwhile, against what there is."""
        name, there = f"{TOPIC}-{producer.index}", again.seen
        self.violations.extend(reader.faults + again.faults)
        for told in producer.acked:
            if there.get(told.offset) != told.value:
                self.violations.append(
                    f"{name}: {told.value!r} was acknowledged at {told.offset}, where there is "
                    f"{there.get(told.offset)!r}"
                )
        if len(set(there.values())) != len(there):
            self.violations.append(f"{name} holds a record twice")
        if reader.seen != there:
            self.violations.append(f"{name} was read otherwise before")


def run(
    seed: int, classes: tuple[str, ...] | None = None, *, seconds: float = FAULTS_S
) -> StackOutcome:
    """Play one seed.

    Args:
        seed: decides everything that the rest does not.
        classes: of faults; None: as the seed draws.
        seconds: in which something goes wrong again and again.
    """
    begun = time.perf_counter()
    dice = random.Random(seed)
    drawn = tuple(one for one in CLASSES if dice.random() < 0.5)
    stories: list[StackStory] = []
    traces: list[tuple[str, float]] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            mesh = StackMesh(seed, nursery)
            story = StackStory(mesh, drawn if classes is None else classes)
            stories.append(story)
            await story.play(seconds)
            traces.append((mesh.network.trace_hash, trio.current_time()))
            await mesh.close()
            nursery.cancel_scope.cancel()

    run_determined(seed, main)
    story, (trace_hash, virtual_s) = stories[0], traces[0]
    return StackOutcome(
        seed,
        story.classes,
        tuple(story.violations[:20]),
        trace_hash,
        virtual_s,
        time.perf_counter() - begun,
        sum(len(producer.acked) for producer in story.producers),
        sum(len(reader.seen) for reader in story.readers),
        sum(machine.starts for machine in story.mesh.machines.values()),
        dict(story.struck),
    )
