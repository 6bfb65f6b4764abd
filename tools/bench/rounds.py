"""Points and rounds: what is measured at once, and how two brokers take turns."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from tools.bench.connection import BenchConnection
from tools.bench.figures import Histogram, Round, ratios, summary
from tools.bench.frames import (
    Shape,
    batches_of,
    fetch_answer_places,
    fetch_frame,
    produce_error_at,
    produce_frames,
)
from tools.bench.generator import BenchError, FetchWalk, Job, Worker, connect, drive, run_round
from tools.bench.process import Target, listening_pid

Figures: TypeAlias = "dict[str, object]"
"""One point of the JSON document; names with units, see the commands' help."""

ROUND_BYTES_MAX = 1 << 30
"""A round of large batches ends here, before the disk's write-back is all that is measured."""
LOADED_BYTES = 32 << 20
LOADED_BATCHES_MIN, LOADED_BATCHES_MAX = 32, 20_000
"""What a partition holds before it is fetched: so many bytes, within these counts of batches."""
TOPIC_CONFIGS = {"file.delete.delay.ms": "1000"}
"""Deleted topics should free their disk before the next point."""
LOAD_S_MAX = 120.0
ROUND_REQUESTS_MAX = 10_000_000
"""More answers a round than any broker gives in it; bounds the durations that are kept."""
ONE_BATCH = 1
"""As a fetch's bytes: the first batch comes whole whatever the limit (KIP-74), and no second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The points of one command, and how long each is looked at."""

    shapes: tuple[Shape, ...]
    connections: tuple[int, ...]
    in_flight: tuple[int, ...]
    acks: tuple[int, ...]
    fetch_bytes: tuple[int, ...]
    seconds: float
    rounds: int
    warm_up_s: float


def _one_round(target: Target, workers: Sequence[Worker], jobs: Sequence[Job]) -> Round:
    cpu_before = target.cpu_s
    works = run_round(workers, jobs)
    cpu_after = target.cpu_s
    known = cpu_before is not None and cpu_after is not None
    latencies = Histogram()
    for work in works:
        latencies.merge(work.latencies)
    # One monotonic clock serves all processes of a machine.
    elapsed_ns = max(w.end_ns for w in works) - min(w.begin_ns for w in works)
    return Round(
        requests=sum(w.requests for w in works),
        batch_bytes=sum(w.batch_bytes for w in works),
        seconds=elapsed_ns / 1e9,
        broker_cpu_s=cpu_after - cpu_before if known else None,  # type: ignore[operator]
        rss_mb=target.rss_mb,
        latencies=latencies,
        generator_cpu_s=sum(w.cpu_ns for w in works) / 1e9,
    )


def measure(
    targets: Sequence[Target], workers: Sequence[Worker], jobs: Sequence[Job], plan: Plan
) -> Figures:
    """Warm all targets up, then let them take turns; who begins changes every round."""
    jobs_of = {
        target.name: [
            replace(job, address=target.leaders.get(partition, target.address))
            for partition, job in enumerate(jobs)
        ]
        for target in targets
    }
    if plan.warm_up_s:
        for target in targets:
            short = [replace(job, seconds=plan.warm_up_s) for job in jobs_of[target.name]]
            run_round(workers, short)
    done: dict[str, list[Round]] = {target.name: [] for target in targets}
    for number in range(plan.rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            done[target.name].append(_one_round(target, workers, jobs_of[target.name]))
    figures: Figures = dict(summary(done["mesh"]))
    if "against" in done:
        figures["against"] = summary(done["against"])
        ours, theirs = ([r.req_s for r in done[name]] for name in ("mesh", "against"))
        figures |= ratios(ours, theirs)
    return figures


def produce_points(
    targets: Sequence[Target], workers: Sequence[Worker], plan: Plan
) -> Iterator[Figures]:
    """Measure every point of Produce; each has a topic of its own, one partition a connection."""
    now_ms = time.time_ns() // 1_000_000
    for shape in plan.shapes:
        batches = batches_of(shape, seed=1, timestamp_ms=now_ms)
        size = len(batches[0])
        for acks, count, in_flight in itertools.product(
            plan.acks, plan.connections, plan.in_flight
        ):
            with temporary_topic(targets, partitions=count) as topic:
                jobs = [
                    Job(
                        address=targets[0].address,
                        frames=produce_frames(topic, partition, batches, acks),
                        in_flight=in_flight,
                        seconds=plan.seconds,
                        requests_max=max(1, ROUND_BYTES_MAX // count // size),
                        error_at=produce_error_at(topic),
                        batch_bytes=size,
                    )
                    for partition in range(count)
                ]
                figures = measure(targets, workers[:count], jobs, plan)
            point = {"acks": "all" if acks < 0 else str(acks)}
            yield _described(shape, size, count, in_flight) | point | figures


def fetch_points(
    targets: Sequence[Target], workers: Sequence[Worker], plan: Plan
) -> Iterator[Figures]:
    """Measure every point of Fetch: logs are loaded once a shape, then read round and round."""
    now_ms = time.time_ns() // 1_000_000
    partitions = max(plan.connections)
    for shape in plan.shapes:
        batches = batches_of(shape, seed=1, timestamp_ms=now_ms)
        with temporary_topic(targets, partitions) as topic:
            loaded = max(LOADED_BATCHES_MIN, LOADED_BYTES // len(batches[0]))
            loaded = min(LOADED_BATCHES_MAX, loaded)
            for target, partition in itertools.product(targets, range(partitions)):
                _load(target, topic, partition, batches, loaded)
            for bytes_max, count, in_flight in itertools.product(
                plan.fetch_bytes, plan.connections, plan.in_flight
            ):
                job = Job(
                    address=targets[0].address,
                    frames=(),
                    in_flight=in_flight,
                    seconds=plan.seconds,
                    requests_max=ROUND_REQUESTS_MAX,
                    error_at=0,
                    batch_bytes=len(batches[0]),
                )
                end_offset = loaded * shape.records
                jobs = [
                    _fetching(job, topic, partition, bytes_max, shape.records, end_offset)
                    for partition in range(count)
                ]
                figures = measure(targets, workers[:count], jobs, plan)
                point = {"fetch_bytes_max": bytes_max}
                yield _described(shape, len(batches[0]), count, in_flight) | point | figures


def _fetching(
    job: Job, topic: str, partition: int, bytes_max: int, records: int, end_offset: int
) -> Job:
    """Return the job with its one Fetch request, and with where to look in the answers."""
    frame, offset_at = fetch_frame(topic, partition, bytes_max)
    error_at, records_at = fetch_answer_places(topic)
    walk = FetchWalk(offset_at, records_at, records, end_offset)
    return replace(job, frames=(frame,), error_at=error_at, fetch=walk)


def _load(
    target: Target, topic: str, partition: int, batches: Sequence[bytearray], count: int
) -> None:
    """Produce so many batches; all are committed, and so can be fetched, when this returns."""
    address = target.leaders.get(partition, target.address)
    job = Job(
        address=address,
        frames=produce_frames(topic, partition, batches, acks=-1),
        in_flight=5,
        seconds=LOAD_S_MAX,
        requests_max=count,
        error_at=produce_error_at(topic),
        batch_bytes=len(batches[0]),
    )
    with connect(address) as sock:
        work = drive(sock, job)
    if work.requests < count:
        raise BenchError(f"{address} took {work.requests} batches in {LOAD_S_MAX:.0f} s")


@contextmanager
def temporary_topic(targets: Sequence[Target], partitions: int) -> Iterator[str]:
    """Make a topic on all targets, and delete it in the end."""
    topic = f"mesh-bench-{time.time_ns():x}"
    for target in targets:
        with BenchConnection(target.address) as connection:
            connection.create_topic(topic, partitions, TOPIC_CONFIGS)
            target.leaders, ports = connection.leaders_of(topic)
            pids = (listening_pid(port) for port in ports if port != target.address.port)
            target.others = tuple(pid for pid in pids if pid is not None)
    yield topic
    # Not after a failure: the broker may be gone, and the first error is the one to tell.
    for target in targets:
        with BenchConnection(target.address) as connection:
            connection.delete_topic(topic)


def _described(shape: Shape, batch_bytes: int, connections: int, in_flight: int) -> Figures:
    return {
        "shape": str(shape),
        "records_per_batch": shape.records,
        "value_bytes": shape.value_bytes,
        "batch_bytes": batch_bytes,
        "connections": connections,
        "in_flight": in_flight,
    }


def points_count(plan: Plan, *, fetch: bool) -> int:
    """Return how many points a plan has."""
    kinds = len(plan.fetch_bytes) if fetch else len(plan.acks)
    return len(plan.shapes) * len(plan.connections) * len(plan.in_flight) * kinds
