"""Files on disk, byte for byte as Kafka writes them."""

from __future__ import annotations

import struct

from storage import LogConfig
from tests.storage.builders import TOPIC_ID, a_batch, a_disk, a_log, append, sync


def test_a_partitions_files_are_kafkas() -> None:
    """Names and bytes of every file of a small log are worked out by hand here."""
    disk = a_disk()
    size = len(a_batch(3, value=bytes(30)))
    log = a_log(disk, config=LogConfig(segment_bytes=4 * size, index_interval_bytes=size))
    times = [100, 300, 200, 250, 400]
    stored = []
    for number, time in enumerate(times):
        batch = a_batch(3, times=[time - 1, time, time - 2], value=bytes(30))
        append(log, batch, leader_epoch=number // 3)
        stored.append(bytes(batch))
    sync(log, indexes=True)
    log.close(clean=True)
    files = {name: disk.read_file(f"{log.directory}/{name}") for name in
             disk.list_directory(log.directory)}  # fmt: skip
    first, second = "00000000000000000000", "00000000000000000012"
    assert files == {
        # Batches as they came, but for offset and leader epoch.
        f"{first}.log": b"".join(stored[:4]),
        f"{second}.log": stored[4],
        # Batch 2 begins after more than one interval: its last offset, where it begins.
        f"{first}.index": struct.pack(">ii", 8, 2 * size),
        f"{second}.index": b"",
        # The largest time so far (in batch 1, last offset 5); it never grows in this segment.
        f"{first}.timeindex": struct.pack(">qi", 300, 5),
        f"{second}.timeindex": struct.pack(">qi", 400, 2),
        "00000000000000000015.snapshot": struct.pack(">hIi", 1, 0x48674BC7, 0),
        "leader-epoch-checkpoint": b"0\n2\n0 0\n1 9\n",
        # URL-safe base64 of the 16 bytes, unpadded.
        "partition.metadata": b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw",
    }
    assert bytes(range(16)) == TOPIC_ID
    assert [struct.unpack_from(">q", batch)[0] for batch in stored] == [0, 3, 6, 9, 12]
    assert [struct.unpack_from(">i", batch, 12)[0] for batch in stored] == [0, 0, 0, 1, 1]


def test_index_entries_keep_their_distance() -> None:
    """Between two entries lies more than the interval, and no more than it needs."""
    log = a_log(config=LogConfig(index_interval_bytes=1000))
    size = len(a_batch(value=bytes(100)))
    for number in range(100):
        append(log, a_batch(value=bytes(100), times=[number + 1]))
    offsets = log._segments[0].offsets
    positions = [offsets[number][1] for number in range(len(offsets))]
    steps = [after - before for before, after in zip([0, *positions], positions, strict=False)]
    assert len(positions) > 5
    assert all(1000 < step <= 1000 + size for step in steps)


def test_a_deleted_partition_has_kafkas_name() -> None:
    """<topic>-<partition>.<32 digits>-delete, never longer than a file name may be."""
    disk = a_disk()
    for topic in ("orders", "o" * 249):
        log = type(log_of := a_log(disk)).open(
            disk, "/data", topic, 3, TOPIC_ID, log_of.config, clean=False
        )
        append(log, a_batch())
        remove = log.delete()
        (name,) = disk.list_directory("/data")
        stem, _, suffix = name.rpartition(".")
        assert stem == f"{topic}-3"[: 255 - len(suffix) - 1]
        assert suffix.endswith("-delete")
        assert len(suffix) == 32 + len("-delete")
        assert len(name) <= 255
        remove()
        assert disk.list_directory("/data") == []
