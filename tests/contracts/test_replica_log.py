"""What a partition group may rely on of its log: the real one and the exploration's model alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mesh.broker.replica_log import LogView
from mesh.replication import Entry, ReplicaLog
from mesh.replication.state import NO_EPOCH
from simulations.disk import SimulatedDisk
from storage.config import LogConfig
from storage.log import Log
from storage.records import Record, build_batch, read_batch_header, read_records
from tests.mesh.replication.model_node import ModelLog

ALL = 1 << 20


@dataclass
class Subject:
    """A log, how to cut it and let it begin later, and the data of an entry for it."""

    log: ReplicaLog
    cut: Callable[[int], None]
    trim: Callable[[int], None]
    data: Callable[[int, int], object]
    value_of: Callable[[object], object]


def model() -> Subject:
    log = ModelLog()

    def trim(start: int) -> None:
        del log.entries[: start - log.start]
        log.start = start

    return Subject(log, log.cut, trim, lambda epoch, value: value, lambda data: data)


def real() -> Subject:
    log = Log.open(
        SimulatedDisk(0), "/", "t", 0, bytes(15) + b"\1", LogConfig(segment_bytes=300), clean=False
    )

    def data(epoch: int, value: int) -> bytes:
        return bytes(build_batch([Record(0, 0, None, str(value).encode())]))

    def value_of(data: object) -> object:
        assert isinstance(data, bytes | memoryview)
        (record,) = read_records(data)
        return int(record.value or b"")

    return Subject(LogView(log), log.truncate, log.delete_before, data, value_of)


both = pytest.mark.parametrize("make", [model, real])


def append(subject: Subject, *epochs: int) -> None:
    for epoch in epochs:
        value = subject.log.log_end_offset
        subject.log.append((Entry(epoch, 1, subject.data(epoch, value)),))


@both
def test_an_empty_log_knows_nothing(make: Callable[[], Subject]) -> None:
    """It begins and ends at 0, and no epoch ends anywhere but at its start."""
    log = make().log
    assert (log.log_start_offset, log.log_end_offset) == (0, 0)
    assert log.epoch_at(0) == log.epoch_at(-1) == NO_EPOCH
    assert log.end_of(7) == (NO_EPOCH, 0)
    assert log.read(0, ALL) == ()


@both
def test_epochs_end_where_the_next_one_begins(make: Callable[[], Subject]) -> None:
    """Of an epoch that is not there, the largest below it is told."""
    subject = make()
    append(subject, 1, 1, 3, 3, 3, 6)
    log = subject.log
    assert [log.epoch_at(offset) for offset in range(-1, 7)] == [-1, 1, 1, 3, 3, 3, 6, -1]
    assert [log.end_of(epoch) for epoch in (0, 1, 2, 3, 5, 6, 9)] == [
        (NO_EPOCH, 0),
        (1, 2),
        (1, 2),
        (3, 5),
        (3, 5),
        (6, 6),
        (6, 6),
    ]


@both
def test_entries_come_back_as_they_went_in(make: Callable[[], Subject]) -> None:
    """Reading on from where the last read ended gives every entry once, with its epoch."""
    subject = make()
    append(subject, *([1] * 10), *([4] * 10))
    found: list[Entry] = []
    while some := subject.log.read(len(found), ALL):
        found += some
    assert [entry.leader_epoch for entry in found] == [1] * 10 + [4] * 10
    assert [subject.value_of(entry.data) for entry in found] == list(range(20))
    assert all(entry.size == 1 for entry in found)


@both
@pytest.mark.parametrize("seed", range(10))
def test_cuts_and_later_starts_leave_what_they_should(
    make: Callable[[], Subject], seed: int
) -> None:
    """After any appends, cuts and trims the log is what a plain list says."""
    rng, subject = random.Random(seed), make()
    naive: list[tuple[int, int]] = []
    start, epoch = 0, 0
    for _ in range(60):
        end = start + len(naive)
        match rng.randrange(5):
            case 0 if naive:
                cut = rng.randint(start, end)
                subject.cut(cut)
                del naive[cut - start :]
            case 1 if naive:
                later = rng.randint(start, end)
                subject.trim(later)
                del naive[: later - start]
                start = later
            case _:
                epoch += rng.randrange(2)
                append(subject, epoch)
                naive.append((end, epoch))
        log, end = subject.log, start + len(naive)
        assert (log.log_start_offset, log.log_end_offset) == (start, end)
        assert [log.epoch_at(offset) for offset, _ in naive] == [e for _, e in naive]
        for asked in range(epoch + 2):
            older = [(e, offset + 1) for offset, e in naive if e <= asked]
            assert log.end_of(asked) == (older[-1] if older else (NO_EPOCH, start))


def test_the_real_one_keeps_the_bytes_of_a_batch() -> None:
    """An entry's data is the batch as it lies in the leader's log, offsets and epoch in place."""
    subject = real()
    append(subject, 2, 2)
    one, two = subject.log.read(0, ALL)
    assert isinstance(one.data, bytes | memoryview)
    assert isinstance(two.data, bytes | memoryview)
    headers = [read_batch_header(memoryview(data)) for data in (one.data, two.data)]
    assert [header.base_offset for header in headers] == [0, 1]
    assert {header.leader_epoch for header in headers} == {2}
    other = real()
    other.log.append((one, two))
    assert other.log.read(0, ALL) == (one, two)
