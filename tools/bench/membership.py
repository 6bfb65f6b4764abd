"""How long members take to share a topic out, and what they cost once they have."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tools.bench.connection import BenchConnection
from tools.bench.figures import Histogram, ratios
from tools.bench.generator import BenchError
from tools.bench.members import (
    AMember,
    ClassicMember,
    ConsumerMember,
    Crew,
    GroupOf,
    complete,
    files_needed,
)
from tools.bench.process import Target, cpu_s, rss_mb
from tools.bench.rounds import Figures, temporary_topic

JOIN_SESSION_MS = 45_000
SILENT_SESSION_MS = 1_800_000
"""The longest that brokers allow by default: whoever is silent stays a member."""
JOIN_S_MAX = 60.0
GATHER_S_MAX = 180.0
MEMBERS_PER_GROUP = 10
AT_ONCE = 50
"""Members that begin before the answers to earlier ones are heard."""
SETTLE_S = 2.0
LOOK_S = 0.2


@contextmanager
def _crew(target: Target, groups: Sequence[GroupOf], each: int, protocol: str) -> Iterator[Crew]:
    with BenchConnection(target.address) as connection:
        connection.wait_for_coordinators([group.group_id for group in groups])
    kind = ClassicMember if protocol == "classic" else ConsumerMember
    files_needed(len(groups) * each)
    members: list[AMember] = [kind(target.address, g) for g in groups for _ in range(each)]
    crew = Crew(members)
    try:
        crew.greet()
        yield crew
    finally:
        crew.close()


def _one_join(
    target: Target, topic: str, members: int, partitions: int, protocol: str, heartbeat_s: float
) -> tuple[float, int, float | None]:
    """Return milliseconds from the first request to the last assignment, requests, CPU in ms."""
    group_id = f"mesh-bench-{time.time_ns():x}"
    group = GroupOf(group_id, topic, partitions, JOIN_SESSION_MS, heartbeat_s)
    with _crew(target, [group], members, protocol) as crew:
        before_s, begin = cpu_s(target.pid or 0), time.monotonic()
        crew.begin(at_once=members)
        if not crew.run(JOIN_S_MAX, lambda: complete(crew.members, partitions)):
            raise BenchError(f"{target.name}: no common assignment in {JOIN_S_MAX:.0f} s")
        took_ms = (time.monotonic() - begin) * 1000
        after_s, requests = cpu_s(target.pid or 0), crew.requests
        crew.leave()
    cost = None if before_s is None or after_s is None else (after_s - before_s) * 1000
    return took_ms, requests, cost


def join_point(
    targets: Sequence[Target],
    members: int,
    partitions: int,
    protocol: str,
    heartbeat_s: float,
    rounds: int,
) -> Figures:
    """Have members join, round after round, each time as a new group.

    Args:
        targets: take turns.
        members: of the group.
        partitions: of the topic that they read.
        protocol: `classic` or `consumer`.
        heartbeat_s: between two heartbeats of a member that waits for news.
        rounds: of each target; one before does not count.
    """
    done: dict[str, list[tuple[float, int, float | None]]] = {t.name: [] for t in targets}
    with temporary_topic(targets, partitions) as topic:
        for number in range(-1, rounds):
            for target in targets if number % 2 == 0 else reversed(targets):
                found = _one_join(target, topic, members, partitions, protocol, heartbeat_s)
                if number >= 0:
                    done[target.name].append(found)
    figures: Figures = {"protocol": protocol, "members": members, "partitions": partitions}
    figures |= _joins(done["mesh"])
    if "against" in done:
        figures["against"] = _joins(done["against"])
        ours, theirs = ([took for took, _, _ in done[name]] for name in ("mesh", "against"))
        figures |= ratios(theirs, ours)
    return figures


def _joins(rounds: Sequence[tuple[float, int, float | None]]) -> Figures:
    durations = [took for took, _, _ in rounds]
    costs = [cost for _, _, cost in rounds if cost is not None]
    return {
        "assigned_ms": statistics.median(durations),
        "assigned_ms_min": min(durations),
        "assigned_ms_max": max(durations),
        "requests": statistics.median(requests for _, requests, _ in rounds),
        "cpu_ms": statistics.mean(costs) if costs else None,
    }


def heartbeats_point(
    targets: Sequence[Target], members: int, interval_s: float, seconds: float
) -> Figures:
    """Measure what connected members cost a broker: while they beat, and while they are silent.

    Raises:
        BenchError: a target is no process of this machine.
    """
    figures: Figures = {"members": members}
    with temporary_topic(targets, MEMBERS_PER_GROUP) as topic:
        for target in targets:
            found = _heartbeats(target, topic, members, interval_s, seconds)
            figures |= found if target.name == "mesh" else {target.name: found}
    return figures


def _heartbeats(
    target: Target, topic: str, members: int, interval_s: float, seconds: float
) -> Figures:
    groups = [
        GroupOf(
            f"mesh-bench-{time.time_ns():x}-{number}",
            topic,
            MEMBERS_PER_GROUP,
            SILENT_SESSION_MS,
            interval_s,
        )
        for number in range(members // MEMBERS_PER_GROUP)
    ]
    before_mb = _known(target, rss_mb(target.pid or 0))
    with _crew(target, groups, MEMBERS_PER_GROUP, "classic") as crew:
        crew.begin(AT_ONCE)
        if not _gathered(crew):
            raise BenchError(f"{target.name}: not all are members in {GATHER_S_MAX:.0f} s")
        crew.spread(interval_s)
        crew.run(SETTLE_S)
        crew.timed, crew.heartbeats = True, 0
        begin, begin_s = time.monotonic(), _known(target, cpu_s(target.pid or 0))
        crew.run(seconds)
        took, spent_s = time.monotonic() - begin, _known(target, cpu_s(target.pid or 0)) - begin_s
        latencies = Histogram()
        latencies.add_all(crew.durations_ns)
        time.sleep(SETTLE_S)
        begin_s = _known(target, cpu_s(target.pid or 0))
        time.sleep(seconds)
        silent_s = _known(target, cpu_s(target.pid or 0)) - begin_s
        after_mb = _known(target, rss_mb(target.pid or 0))
        return {
            "heartbeats_s": crew.heartbeats / took,
            "beating_cpu_percent": spent_s / took * 100,
            "p50_ms": latencies.percentile_ms(50),
            "p99_ms": latencies.percentile_ms(99),
            "silent_cpu_percent": silent_s / seconds * 100,
            "rss_mb": after_mb,
            "bytes_per_member": (after_mb - before_mb) * 1e6 / members,
        }


def _gathered(crew: Crew) -> bool:
    """Let the members join until each group is whole; say whether they are in time."""
    end = time.monotonic() + GATHER_S_MAX
    groups: dict[str, list[AMember]] = {}
    for member in crew.members:
        groups.setdefault(member.group.group_id, []).append(member)
    while not all(complete(group, MEMBERS_PER_GROUP) for group in groups.values()):
        if time.monotonic() > end:
            return False
        crew.run(LOOK_S)
    return True


def _known(target: Target, value: float | None) -> float:
    if value is None:
        raise BenchError(f"{target.address}: no process of this machine is known; give its --pid")
    return value
