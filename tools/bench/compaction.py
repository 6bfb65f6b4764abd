"""`mesh bench compact`: how fast a log of one partition is compacted, without a node around it.

The log is made first, in a temporary directory; then one run after the other compacts it, as fast
as one core goes. Bytes count as they are before compression.
"""

from __future__ import annotations

import random
import resource
import tempfile
import time
from dataclasses import dataclass
from itertools import count

import click

from storage import Codec, Log, LogConfig, OsDisk, Record, build_batch, read_batch_header
from storage.compaction import KEY_MAP_BYTES_MAX
from tools.bench.flags import JSON, collect, failures, tell
from tools.bench.rounds import Figures

BATCH_BYTES = 16_384
"""About what a batch holds: the default batch.size of Kafka's producers."""

KEY_BYTES = 16
MIB = 1 << 20
SEGMENTS = 16
"""Of which the last is not compacted."""


@dataclass(frozen=True, slots=True)
class CompactPlan:
    """What is compacted."""

    record_bytes: int
    """Of a record's value."""
    keys: int
    megabytes: int
    codec: Codec
    key_map_bytes: int
    batch_bytes: int = BATCH_BYTES


def _fill(log: Log, plan: CompactPlan) -> int:
    """Append about as many bytes as the plan says; return how many, before compression."""
    chance = random.Random(1)
    per_batch = max(1, plan.batch_bytes // (plan.record_bytes + KEY_BYTES + 8))
    # Letters of hexadecimal digits: half of it can be compressed away, as of most text.
    text = random.Random(2).randbytes(plan.record_bytes).hex().encode()
    size = 0
    for number in count():
        if size >= plan.megabytes * 1_000_000:
            return size
        records = []
        for _ in range(per_batch):
            key = b"%0*d" % (KEY_BYTES, chance.randrange(plan.keys))
            begin = chance.randrange(plan.record_bytes + 1)
            value = text[begin : begin + plan.record_bytes]
            records.append(Record(-1, 1_700_000_000_000 + number, key, value))
        plain = build_batch(records)
        size += len(plain)
        batch = plain if plan.codec == Codec.NONE else build_batch(records, codec=plan.codec)
        log.append(memoryview(batch), read_batch_header(batch), 0, 0)
    raise AssertionError("count never ends")


def compact_point(plan: CompactPlan) -> Figures:
    """Make a log, compact all of it but its last segment, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as directory:
        config = LogConfig(segment_bytes=plan.megabytes * 1_000_000 // SEGMENTS, compact=True)
        log = Log.open(OsDisk(), directory, "bench", 0, bytes(16), config, clean=False)
        unpacked = _fill(log, plan)
        if (ticket := log.begin_sync(indexes=True)) is not None:
            ticket.run()
            log.finish_sync(ticket)
        before = log.size_bytes
        runs = key_map_bytes = swaps = 0
        dirty = 0
        began, cpu_began = time.perf_counter(), _cpu_s()
        while (dirt := log.dirt(1 << 50, log.log_end_offset)) is not None and dirt.dirty_bytes:
            dirty = dirty or dirt.dirty_bytes
            run = log.begin_compaction(dirt, 1, key_map_bytes=plan.key_map_bytes)
            while log.compaction is not None:
                run.step()
                swaps += run.ready is not None
                log.swap(run)
            runs += 1
            key_map_bytes = max(key_map_bytes, run.keys_bytes)
        wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - cpu_began
        after = log.size_bytes
        log.close(clean=False)
    compacted = unpacked * dirty / before / 1e6
    return {
        "record_bytes": plan.record_bytes,
        "keys": plan.keys,
        "codec": plan.codec.name.lower(),
        "compacted_mb": compacted,
        "mb_s": compacted / wall_s,
        "mb_cpu_s": compacted / cpu_s,
        "runs": runs,
        "segments_written": swaps,
        "key_map_mib": key_map_bytes / MIB,
        "left_percent": 100 * (after - (before - dirty)) / dirty,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_utime + usage.ru_stime


@click.command(
    epilog="""\b
Examples:
  mesh bench compact
  mesh bench compact --record-bytes 100 --keys 1000000 --codec zstd
"""
)
@click.option(
    "--record-bytes",
    type=click.IntRange(1, MIB),
    multiple=True,
    default=(100, 1000),
    help="Of a value; repeat for more. [100 and 1000]",
)
@click.option(
    "--keys",
    type=click.IntRange(1),
    multiple=True,
    default=(10_000, 200_000),
    help="Distinct keys; repeat for more. [10,000 and 200,000]",
)
@click.option(
    "--codec",
    "codecs",
    type=click.Choice([codec.name.lower() for codec in Codec]),
    multiple=True,
    default=("none", "lz4"),
    help="Repeat for more. [none and lz4]",
)
@click.option("--megabytes", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option(
    "--key-map-bytes",
    type=click.IntRange(1),
    default=KEY_MAP_BYTES_MAX,
    show_default=True,
    help="For the newest offset of each key.",
)
@JSON
def compact(
    record_bytes: tuple[int, ...],
    keys: tuple[int, ...],
    codecs: tuple[str, ...],
    megabytes: int,
    key_map_bytes: int,
    as_json: bool,
) -> None:
    """Measure the compaction of a log of one partition, in this process, on one core."""
    plans = [
        CompactPlan(size, key_count, megabytes, Codec[codec.upper()], key_map_bytes)
        for codec in codecs
        for size in record_bytes
        for key_count in keys
    ]
    with failures():
        points = collect(map(compact_point, plans), len(plans))
    settings: dict[str, object] = {"megabytes": megabytes, "key_map_bytes": key_map_bytes}
    tell("compact", [], points, settings, as_json=as_json)
