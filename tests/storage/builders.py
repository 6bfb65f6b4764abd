"""Batches and logs with everything defaulted, so that what a test sets is what it is about."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.disk import SimulatedDisk
from storage import Log, LogConfig, Record, build_batch, read_batch_header
from storage.disk import Disk
from storage.types import Offset

TOPIC_ID = bytes(range(16))
DATA = "/data"


def a_disk(seed: int = 1) -> SimulatedDisk:
    """Return a simulated disk with a durable data directory."""
    disk = SimulatedDisk(seed)
    disk.make_directory(DATA)
    disk.sync_directory("/")
    return disk


def a_log(
    disk: Disk | None = None,
    *,
    data: str = DATA,
    config: LogConfig | None = None,
    clean: bool = False,
    recovery_point: Offset = 0,
    log_start_offset: Offset = 0,
    cleaned_end: Offset = 0,
    topic_id: bytes = TOPIC_ID,
) -> Log:
    """Open the log orders-3."""
    return Log.open(
        disk or a_disk(),
        data,
        "orders",
        3,
        topic_id,
        config or LogConfig(),
        clean=clean,
        recovery_point=recovery_point,
        log_start_offset=log_start_offset,
        cleaned_end=cleaned_end,
    )


def a_batch(
    count: int = 1,
    *,
    value: bytes = b"value",
    times: Sequence[int] | None = None,
    codec: int = 0,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
) -> bytearray:
    """Return a batch of `count` records, at the given times (or all at 1,000 ms)."""
    moments = times or [1000] * count
    return build_batch(
        [Record(-1, moment, None, value) for moment in moments],
        codec=codec,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
    )


def append(log: Log, batch: bytearray, *, leader_epoch: int = 0, wall_ms: int = 5000) -> Offset:
    """Append as a handler does."""
    return log.append(memoryview(batch), read_batch_header(batch), leader_epoch, wall_ms)


def sync(log: Log, *, indexes: bool = False) -> None:
    """Sync as the driver does, without the thread."""
    ticket = log.begin_sync(indexes=indexes)
    if ticket is not None:
        ticket.run()
        log.finish_sync(ticket)


def content(log: Log) -> bytes:
    """Return all bytes of the log, read as a consumer would in one go."""
    found = b""
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        (part,) = log.read(offset, 1 << 30, log.log_end_offset)
        data = part.read()
        found += data
        position = 0
        while position < len(data):
            header = read_batch_header(data, position)
            offset = header.last_offset + 1
            position += header.batch_size
    return found
