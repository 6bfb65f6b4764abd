"""`mesh dump` and Kafka's own dump tool read the same out of the same files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.interop import toolchain
from tests.interop.flights.producer import Flight, create_topic
from tests.interop.flights.rows import read_rows
from tests.interop.jvm import JvmBroker, run_tool
from tests.tools.dump.places import a_partition, flip, of_kind, rows_of, values
from tools.dump.rows import Row, Wanted

pytestmark = pytest.mark.skipif(toolchain.java_missing() is not None, reason="no Java or Maven")

VERIFY = Wanted(verify=True)
BATCH = {
    "baseOffset": "base_offset",
    "lastOffset": "last_offset",
    "count": "records",
    "baseSequence": "base_sequence",
    "producerId": "producer_id",
    "producerEpoch": "producer_epoch",
    "partitionLeaderEpoch": "leader_epoch",
    "position": "byte",
    "size": "size",
    "compresscodec": "codec",
    "crc": "crc",
    "isvalid": "crc_right",
    "isTransactional": "transactional",
    "isControl": "control",
    "CreateTime": "max_timestamp_ms",
}
"""What Kafka's tool calls a batch's facts, and what ours calls them."""
PRODUCER = {
    "producerId": "producer_id",
    "producerEpoch": "producer_epoch",
    "coordinatorEpoch": "coordinator_epoch",
    "lastSequence": "last_sequence",
    "lastOffset": "last_offset",
    "offsetDelta": "offset_delta",
    "timestamp": "timestamp_ms",
}


def _kafka(files: list[Path]) -> tuple[list[str], str]:
    """What Kafka's tool prints of files: lines, and its complaints."""
    result = run_tool(
        "org.apache.kafka.tools.DumpLogSegments", "--files", ",".join(map(str, files))
    )
    return result.stdout.splitlines(), result.stderr


def _facts(line: str, names: dict[str, str]) -> dict[str, str]:
    found = dict(re.findall(r"(\w+): (\S+)", line.replace("Timestamp", "timestamp")))
    return {ours: found[theirs].lower().rstrip(",") for theirs, ours in names.items()}


def _same(row: Row, names: dict[str, str]) -> dict[str, str]:
    return {name: str(row.fields[name]).lower() for name in names.values()}


def _files(directory: Path) -> list[Path]:
    kinds = {".log", ".index", ".timeindex", ".snapshot"}
    return sorted(path for path in directory.iterdir() if path.suffix in kinds)


def _assert_alike(directory: Path) -> list[Row]:
    """Compare what both say of a partition's directory; return what ours says."""
    printed, _ = _kafka(_files(directory))
    ours = [row for path in _files(directory) for row in rows_of(path, VERIFY)]
    batches = [_facts(line, BATCH) for line in printed if line.startswith("baseOffset: ")]
    assert sorted(map(str, batches)) == sorted(str(_same(r, BATCH)) for r in of_kind(ours, "batch"))
    offsets = [line for line in printed if re.fullmatch(r"offset: \d+ position: \d+", line)]
    told = [
        f"offset: {r.fields['offset']} position: {r.fields['position']}"
        for r in of_kind(ours, "index")
    ]
    assert sorted(offsets) == sorted(told)
    times = [line for line in printed if re.fullmatch(r"timestamp: \d+ offset: \d+", line)]
    told = [
        f"timestamp: {r.fields['timestamp_ms']} offset: {r.fields['offset']}"
        for r in of_kind(ours, "timeindex")
    ]
    assert sorted(times) == sorted(told)
    producers = [_facts(line, PRODUCER) for line in printed if line.startswith("producerId: ")]
    told_producers = [_same(row, PRODUCER) for row in of_kind(ours, "producer")]
    assert sorted(map(str, producers)) == sorted(map(str, told_producers))
    assert batches
    return ours


@pytest.mark.parametrize("codec", [0, 4])
def test_both_read_our_files_alike(codec: int, tmp_path: Path) -> None:
    """Offsets, counts, bytes, sums, indexes and producers of our own segments."""
    rows = _assert_alike(a_partition(tmp_path, batches=40, codec=codec))
    assert len(of_kind(rows, "index")) > 5
    assert len(of_kind(rows, "producer")) > 0
    assert of_kind(rows, "problem") == []


def test_both_give_the_same_verdict_on_sums(tmp_path: Path) -> None:
    """A flipped bit in a record: the same batches are wrong for both, and for us it is damage."""
    directory = a_partition(tmp_path, batches=12)
    for log in sorted(directory.glob("*.log"))[:2]:
        flip(log, 100)
    rows = _assert_alike(directory)
    assert values(rows, "batch", "crc_right").count(False) == 2
    assert values(rows, "problem", "byte") == [0, 0]


@pytest.mark.parametrize(("suffix", "byte"), [(".index", 3), (".timeindex", 7)])
def test_both_complain_of_an_index_entry(suffix: str, byte: int, tmp_path: Path) -> None:
    """An entry that points elsewhere is a mismatch for both."""
    directory = a_partition(tmp_path, batches=12)
    path = min(directory.glob(f"*{suffix}"))
    flip(path, byte)
    printed, complaints = _kafka([path])
    assert "ismatch" in complaints + "\n".join(printed)
    assert "damaged" in values(rows_of(path), "problem", "state")


def test_both_read_kafkas_files_alike(jvm: JvmBroker, tmp_path: Path) -> None:
    """What Kafka's broker wrote is sound for us, and every batch of it is known alike."""
    create_topic(jvm.bootstrap, "dumped", 1, {"segment.bytes": str(1 << 20)})
    rows = list(read_rows(10_000))
    Flight(jvm.bootstrap, "dumped", rows, "zstd", partition_count=1).produce()
    copy = tmp_path / "dumped-0"
    shutil.copytree(jvm.log_directory / "dumped-0", copy)
    shown = _assert_alike(copy)
    damages = [row for row in of_kind(shown, "problem") if row.fields["state"] == "damaged"]
    assert damages == []
    assert sum(int(str(n)) for n in values(shown, "batch", "records")) == 10_000
