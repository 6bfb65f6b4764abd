"""Offset commits: how many a second a broker keeps, and how large their topic grows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mesh.wire import encode_request, encode_response
from mesh.wire.schemas.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from tools.bench.connection import OFFSETS_TOPIC, BenchConnection
from tools.bench.frames import CLIENT_ID, SENTINEL_CODE, joined
from tools.bench.generator import Job, Worker, run_round
from tools.bench.process import Target, cpu_s, rss_mb
from tools.bench.rounds import ROUND_REQUESTS_MAX, Figures, Plan, measure, temporary_topic

COMMIT_VERSION = 9
"""The last that names topics by name."""
GROUPS_PER_CONNECTION = 16
"""So that all connections together reach most of the 50 partitions of the offsets' topic."""


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """The points of `mesh bench commits`."""

    connections: tuple[int, ...]
    in_flight: tuple[int, ...]
    partitions: tuple[int, ...]
    """Offsets in one request."""
    seconds: float
    rounds: int
    warm_up_s: float

    @property
    def count(self) -> int:
        """How many points there are."""
        return len(self.connections) * len(self.in_flight) * len(self.partitions)


def commit_frames(
    topic: str, group_ids: Sequence[str], partitions: int, offset: int = 1
) -> tuple[bytes, ...]:
    """Return one OffsetCommit request per group, as one without members may send it.

    Args:
        topic: has at least so many partitions.
        group_ids: of equal length, if frames are to be so.
        partitions: offsets in a request, of the partitions 0, 1 and so on.
        offset: the first group's; each has the next one.
    """
    return tuple(
        joined(
            encode_request(
                OffsetCommitRequest(
                    group_id=group_id,
                    topics=[
                        OffsetCommitRequestTopic(
                            name=topic,
                            partitions=[
                                OffsetCommitRequestPartition(
                                    partition_index=index, committed_offset=number
                                )
                                for index in range(partitions)
                            ],
                        )
                    ],
                ),
                COMMIT_VERSION,
                0,
                CLIENT_ID,
            )
        )
        for number, group_id in enumerate(group_ids, offset)
    )


def commit_error_at(topic: str, partitions: int) -> int:
    """Return where the first partition's error code stands in the answer to such a request."""
    answered = [
        OffsetCommitResponsePartition(partition_index=index, error_code=SENTINEL_CODE)
        for index in range(partitions)
    ]
    answer = OffsetCommitResponse(
        topics=[OffsetCommitResponseTopic(name=topic, partitions=answered)]
    )
    frame = joined(encode_response(answer, COMMIT_VERSION, 0))
    return frame.index(SENTINEL_CODE.to_bytes(2, "big"))


def groups_of(connection: int, count: int = GROUPS_PER_CONNECTION) -> list[str]:
    """Return the groups for which a connection commits; nobody else does."""
    return [f"mesh-bench-{connection:02}-{number:06}" for number in range(count)]


def _job(
    target: Target, topic: str, connection: int, in_flight: int, partitions: int, seconds: float
) -> Job:
    return Job(
        address=target.address,
        frames=commit_frames(topic, groups_of(connection), partitions),
        in_flight=in_flight,
        seconds=seconds,
        requests_max=ROUND_REQUESTS_MAX,
        error_at=commit_error_at(topic, partitions),
        batch_bytes=0,
    )


def _with_commits(figures: Figures, partitions: int) -> Figures:
    """Say per commit what was measured per request."""
    for one in (figures, figures.get("against")):
        if isinstance(one, dict):
            req_s, cpu_us = one["req_s"], one["cpu_us_per_req"]
            assert isinstance(req_s, float)
            one["commits_s"] = req_s * partitions
            if isinstance(cpu_us, float):
                one["cpu_us_per_commit"] = cpu_us / partitions
    return figures


def commit_points(
    targets: Sequence[Target], workers: Sequence[Worker], plan: CommitPlan
) -> Iterator[Figures]:
    """Measure every point; all commit to the same topic, each connection for its own groups."""
    common = Plan((), (), (), (), (), plan.seconds, plan.rounds, plan.warm_up_s)
    group_ids = [group for c in range(max(plan.connections)) for group in groups_of(c)]
    for target in targets:
        with BenchConnection(target.address) as connection:
            connection.wait_for_coordinators(group_ids)
    with temporary_topic(targets, max(plan.partitions)) as topic:
        for partitions, count, in_flight in itertools.product(
            plan.partitions, plan.connections, plan.in_flight
        ):
            jobs = [
                _job(targets[0], topic, number, in_flight, partitions, plan.seconds)
                for number in range(count)
            ]
            figures = measure(targets, workers[:count], jobs, common)
            place = {"connections": count, "in_flight": in_flight, "partitions": partitions}
            yield place | _with_commits(figures, partitions)


def watch(
    target: Target,
    workers: Sequence[Worker],
    rate: float,
    seconds: float,
    every_s: float,
    tell: Callable[[Figures], None],
) -> None:
    """Commit at a rate, and tell how large the offsets' topic is every so often.

    Args:
        target: the broker.
        workers: one a connection.
        rate: offsets a second, of all connections together.
        seconds: how long in all.
        every_s: seconds between two looks.
        tell: takes what was found at each.
    """
    group_ids = [group for c in range(len(workers)) for group in groups_of(c)]
    with BenchConnection(target.address) as connection:
        connection.wait_for_coordinators(group_ids)
        begin, commits = time.monotonic(), 0
        with temporary_topic([target], 1) as topic:
            jobs = [
                replace(_job(target, topic, number, 64, 1, every_s), rate_per_s=rate / len(workers))
                for number in range(len(workers))
            ]
            for _ in range(max(1, round(seconds / every_s))):
                before_s, before = cpu_s(target.pid or 0), time.monotonic()
                works = run_round(workers, jobs)
                done, took = sum(work.requests for work in works), time.monotonic() - before
                commits += done
                after_s, share = cpu_s(target.pid or 0), None
                if before_s is not None and after_s is not None:
                    share = (after_s - before_s) / took * 100
                tell(
                    {
                        "at_s": time.monotonic() - begin,
                        "commits": commits,
                        "commits_s": done / took,
                        "topic_bytes": connection.topic_bytes(OFFSETS_TOPIC),
                        "cpu_percent": share,
                        "rss_mb": rss_mb(target.pid or 0),
                    }
                )
