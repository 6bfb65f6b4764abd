"""A log that begins anew, higher up: nothing of what it was is left."""

from __future__ import annotations

import pytest

from simulations.disk import SimulatedDisk
from storage.config import LogConfig
from storage.log import Log
from storage.records import Record, build_batch, read_batch_header


def append(log: Log, sequence: int, leader_epoch: int) -> None:
    record = Record(0, sequence, None, bytes(200))
    batch = build_batch([record], producer_id=7, producer_epoch=0, base_sequence=sequence)
    view = memoryview(batch)
    log.append(view, read_batch_header(view), leader_epoch, 1)


def sync(log: Log) -> None:
    ticket = log.begin_sync(indexes=True)
    assert ticket is not None
    ticket.run()
    log.finish_sync(ticket)


@pytest.mark.parametrize("begins", [0, 6, 9])
@pytest.mark.parametrize("is_synced", [False, True])
def test_a_log_begins_anew_wherever_it_began(begins: int, is_synced: bool) -> None:
    """Also where segments below its start are still there, and not synced with their indexes."""
    disk = SimulatedDisk(1)
    config = LogConfig(segment_bytes=600)
    log = Log.open(disk, "/", "t", 0, bytes(15) + b"\1", config, clean=False)
    for number in range(9):
        append(log, number, 1)
    if is_synced:
        sync(log)
    log.delete_before(begins)
    log.restart(50)
    sync(log)
    for number in range(50, 60):
        append(log, number, 2)
    sync(log)
    log.truncate(55)
    assert (log.log_start_offset, log.log_end_offset) == (50, 55)
    (producer,) = [kept for _, kept in log.producers.items()]
    assert producer.batches[-1].base_offset == 54
    bases = {name[:20] for name in disk.list_directory(log.directory) if name[:1] == "0"}
    assert min(bases) == f"{50:020d}"
