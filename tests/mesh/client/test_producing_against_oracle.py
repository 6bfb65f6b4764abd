"""Whatever the cluster does, records are written once and in order, or truly reported as not."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from mesh.client.batch import Batch
from mesh.client.producing import ProduceMachine
from mesh.client.settings import ClientSettings, ProducerSettings
from mesh.model.errors import ErrorCode
from tests.mesh.client.builders import a_cluster
from tests.mesh.client.naive_broker import NaiveWorld

PARTITIONS = 3
STEPS = 250


class Run:
    """One machine in one naive world, driven by a seed."""

    def __init__(self, seed: int, settings: ProducerSettings, bytes_max: int = 1 << 20) -> None:
        self.rng = random.Random(seed)
        self.world = NaiveWorld(self.rng, PARTITIONS, bytes_max)
        cluster = a_cluster()
        self.world.apply_metadata(cluster)
        self.machine = ProduceMachine(settings, ClientSettings(), cluster, self.rng.random)
        self.sent: dict[int, list[tuple[bytes, Batch, int]]] = defaultdict(list)
        self.count = 0

    def append(self) -> None:
        """Produce one record with a value of its own."""
        partition = self.rng.randrange(PARTITIONS)
        value = b"%d:" % self.count + b"x" * self.rng.randint(0, 60)
        self.count += 1
        batch, index = self.machine.append(
            "t", None, value, now=self.world.now, partition=partition
        )
        self.sent[partition].append((value, batch, index))

    def step(self) -> None:
        """Let one thing happen, good or bad."""
        world, machine, rng = self.world, self.machine, self.rng
        busy = [node for node, sends in world.on_the_wire.items() if sends]
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                self.append()
            case 4 | 5 | 6 if busy:
                world.answer(machine, rng.choice(busy))
            case 7 if busy and rng.random() < 0.5:
                faults = (ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS)
                world.answer(machine, rng.choice(busy), rng.choice(faults))
            case 8 if busy and rng.random() < 0.5:
                world.cut(machine, rng.choice(busy))
            case 9 if rng.random() < 0.3:
                world.move_leader()
            case 10 if world.refreshes:
                world.refreshes.pop()
                if rng.random() < 0.7:
                    world.apply_metadata(machine.cluster)
            case 11 if world.ids_wanted:
                world.give_id(machine, works=rng.random() < 0.7)
            case _:
                world.now_ms += rng.randint(0, 40)
        world.poll(machine)

    def settle(self) -> None:
        """Heal everything and go on until each record has its outcome."""
        machine, world = self.machine, self.world
        for _ in range(5000):
            unsettled = machine.flush()
            world.poll(machine)
            if not unsettled and not machine.flush():
                return
            for node in (1, 2, 3):
                while world.on_the_wire[node]:
                    world.answer(machine, node)
            if world.refreshes:
                world.refreshes.clear()
                world.apply_metadata(machine.cluster)
            if world.ids_wanted:
                world.give_id(machine)
            world.now_ms += 50
        raise AssertionError("the machine never came to rest")


def place(batch: Batch, index: int) -> tuple[Batch, int]:
    """Where a record ended up, if its batch was split."""
    while index >= batch.count and batch.rest is not None:
        index -= batch.count
        batch = batch.rest
    return batch, index


@pytest.mark.parametrize("seed", range(200))
def test_every_record_is_written_once_and_in_order(seed: int) -> None:
    """With time enough, an idempotent producer's log is exactly what was sent to it."""
    settings = ProducerSettings(batch_bytes_max=random.Random(seed).choice((60, 200, 1000)))
    run = Run(seed, settings, bytes_max=random.Random(seed).choice((170, 400, 1 << 20)))
    for _ in range(STEPS):
        run.step()
    run.settle()
    for partition, sent in run.sent.items():
        log = run.world.logs[partition].values
        assert [value for value, _, _ in sent] == log
        for value, first_batch, first_index in sent:
            batch, index = place(first_batch, first_index)
            assert batch.error is None
            assert log[batch.base_offset + index] == value
    assert run.machine.buffered_bytes == 0


@pytest.mark.parametrize("seed", range(200))
def test_what_is_given_up_is_told_truly(seed: int) -> None:
    """With too little time: nothing twice, nothing out of order, no false word on any record."""
    settings = ProducerSettings(
        batch_bytes_max=random.Random(seed).choice((60, 400)), delivery_ms_max=400
    )
    run = Run(seed, settings)
    for _ in range(STEPS):
        run.step()
    run.settle()
    for partition, sent in run.sent.items():
        log = run.world.logs[partition].values
        assert len(set(log)) == len(log)
        written = set(log)
        for value, first_batch, first_index in sent:
            batch, _ = place(first_batch, first_index)
            assert batch.done
            if batch.error is None:
                assert value in written
            elif not batch.error.maybe_written:
                assert value not in written
        order = {value: number for number, (value, _, _) in enumerate(sent)}
        numbers = [order[value] for value in log]
        assert sorted(numbers) == numbers


@pytest.mark.parametrize("seed", range(60))
def test_without_idempotence_order_is_kept_and_nothing_lost(seed: int) -> None:
    """With acks=1 a retry may write twice, but never skips and never overtakes."""
    run = Run(seed, ProducerSettings(acks=1, batch_bytes_max=100))
    for _ in range(STEPS):
        run.step()
    run.settle()
    for partition, sent in run.sent.items():
        log = run.world.logs[partition].values
        assert [value for value, _, _ in sent] == list(dict.fromkeys(log))
