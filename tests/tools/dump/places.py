"""Directories to dump: a partition, a journal, on the real disk, with everything defaulted."""

from __future__ import annotations

from pathlib import Path

from storage import Journal, Log, LogConfig, OsDisk, Record, build_batch, read_batch_header
from storage.checkpoints import RECOVERY_POINTS, mark_clean, write_offsets
from storage.promises import Promise
from tools.dump.directories import dump
from tools.dump.places import kind_of
from tools.dump.rows import ReadingDisk, Row, Wanted

TOPIC_ID = bytes(range(16))
DIRECTORY_ID = bytes(range(16, 32))
NOW_MS = 1_700_000_000_000


def a_partition(
    data: Path, *, batches: int = 12, of: int = 3, segment_bytes: int = 400, codec: int = 0
) -> Path:
    """Write the partition orders-3 with `batches` batches of `of` records; return its directory."""
    disk = OsDisk()
    log = Log.open(
        disk,
        str(data),
        "orders",
        3,
        TOPIC_ID,
        LogConfig(segment_bytes=segment_bytes, index_interval_bytes=100),
        clean=False,
        recovery_point=0,
        log_start_offset=0,
    )
    for number in range(batches):
        records = [
            Record(0, NOW_MS + 10 * number + place, b"key", b"value-%d" % number)
            for place in range(of)
        ]
        batch = build_batch(
            records, codec=codec, producer_id=7, producer_epoch=0, base_sequence=number * of
        )
        log.append(memoryview(batch), read_batch_header(batch), number // 6, NOW_MS)
    ticket = log.begin_sync(indexes=True)
    assert ticket is not None
    ticket.run()
    log.finish_sync(ticket)
    log.close(clean=True)
    write_offsets(disk, str(data), RECOVERY_POINTS, {("orders", 3): log.recovery_point})
    mark_clean(disk, str(data))
    return data / "orders-3"


def a_promise(synced_end: int = 5) -> Promise:
    return Promise(
        leader_epoch=4,
        session=1,
        voted_for=(1, DIRECTORY_ID),
        log_epoch=4,
        config_epoch=0,
        config_version=2,
        voters=((1, DIRECTORY_ID), (2, bytes(16))),
        synced_end=synced_end,
        log_start_offset=0,
    )


def a_journal(data: Path, *, rounds: int = 3) -> Path:
    """Write a journal with one promise that each round moves; return its path."""
    journal = Journal.found(OsDisk(), str(data), DIRECTORY_ID)
    for number in range(rounds):
        journal.put((TOPIC_ID, 3), a_promise(number))
        ticket = journal.begin_round()
        assert ticket is not None
        ticket.run()
        journal.finish_round(ticket)
    journal.close()
    return data / "promises.journal"


def rows_of(path: Path, wanted: Wanted | None = None) -> list[Row]:
    """Return all that a dump says of a path."""
    disk = ReadingDisk()
    kind = kind_of(disk, str(path))
    assert kind is not None, f"{path} is nothing of ours"
    return list(dump(disk, str(path), kind, wanted or Wanted()))


def of_kind(rows: list[Row], kind: str) -> list[Row]:
    return [row for row in rows if row.kind == kind]


def values(rows: list[Row], kind: str, name: str) -> list[object]:
    """Return one field of all rows of a kind."""
    return [row.fields[name] for row in of_kind(rows, kind)]


def flip(path: Path, byte: int, mask: int = 1) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[byte] ^= mask
    path.write_bytes(content)
