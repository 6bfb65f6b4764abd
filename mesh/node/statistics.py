"""Makes the frozen pictures of one node, and watches it once a second for what they cannot hold.

A picture is made only when somebody asks; it costs about a microsecond for each partition. The
watch costs the same however many there are.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from mesh.broker.group_survey import GroupSurvey
from mesh.model.errors import ErrorCode
from mesh.model.histogram import TURN_MS, Histogram
from mesh.model.limits import DISK_RESERVE_BYTES
from mesh.model.statistics import (
    ApiStatistics,
    NodeFacts,
    Statistics,
    TopicStatistics,
    ViewFacts,
    rates,
)
from mesh.model.types import Now
from mesh.node.core import Node
from mesh.node.meter import VERSION_BITS
from mesh.node.moves import Moves
from mesh.runtime.ports import Usage
from mesh.wire import API_NAMES
from storage.disk import DiskError

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.groups import Groups
    from mesh.broker.partition import Partition

log = logging.getLogger("mesh.node")

NODES_TOLD_MAX = 10
"""Nodes that a reason names."""
NOT_OK_MAX = 100
"""Partitions that a picture tells of because clients cannot use them; the states count all."""
TOPICS_MAX = 1_000
"""Topics that a picture tells of one by one: those with the most traffic since the start."""
RECENT_SAMPLES = 11
"""One a second: recent rates are those of the last ten seconds."""
SYNC_STUCK_MS = 10_000
"""A sync that runs for so long makes the node unhealthy: nothing is acknowledged meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What the driver counts: bytes and connections."""

    started_ms: int
    """Monotonic instant of the start."""
    draining: bool
    sync_begun_ms: int | None
    """Monotonic instant at which the sync round that is under way began."""
    connections: int
    requests_waiting: int
    unsent_bytes: int
    in_flight_bytes: int
    connections_accepted: int
    connections_failed: int
    bytes_in: int
    bytes_out: int
    syncs: int


class _Sample(NamedTuple):
    at_ms: int
    requests: int
    records_in: int
    bytes_in: int
    bytes_out: int
    syncs: int


class Collector:
    """Takes pictures of one node."""

    def __init__(
        self,
        node: Node,
        facts: NodeFacts,
        flow: Callable[[], Flow],
        disk_bytes: Callable[[], tuple[int, int]],
        usage: Callable[[], Usage],
        now: Now,
        view: Callable[[], ViewFacts] | None = None,
    ) -> None:
        """`flow`, `view`, and `disk_bytes` for size and free room, are asked again and again."""
        self._node = node
        self._view = view
        self._facts = facts
        self._flow = flow
        self._disk_bytes = disk_bytes
        self._usage = usage
        self._samples: deque[_Sample] = deque([self._sample(flow(), now)], RECENT_SAMPLES)
        self._turned_ms = now.monotonic_ms
        self._disk_was_full = False
        self._survey = GroupSurvey()
        self._moves = Moves()

    def watch(self, now: Now) -> None:
        """Look once a second: for the rates, the windows, and a disk that fills or empties."""
        self._samples.append(self._sample(self._flow(), now))
        if now.monotonic_ms - self._turned_ms >= TURN_MS:
            self._turned_ms = now.monotonic_ms
            self._node.meter.turn()
        _, free, _ = self._disk()
        full = free < DISK_RESERVE_BYTES
        if full != self._disk_was_full:
            self._disk_was_full = full
            kind = "disk_full" if full else "disk_has_room"
            self._node.meter.tape.add(now.wall_ms, kind, f"{free:,} bytes are free")

    def _sample(self, flow: Flow, now: Now) -> _Sample:
        return _Sample(
            now.monotonic_ms,
            self._node.meter.requests,
            self._node.broker.records_in_count,
            flow.bytes_in,
            flow.bytes_out,
            flow.syncs,
        )

    def _disk(self) -> tuple[int, int, str | None]:
        """Return size, free room, and why they are not known; then they count as nothing."""
        try:
            return *self._disk_bytes(), None
        except DiskError as error:
            return 0, 0, f"the disk cannot be asked for its free room: {error}"

    def statistics(self, now: Now) -> Statistics:
        """Return a picture of now."""
        node, flow = self._node, self._flow()
        broker, meter, registry = node.broker, node.meter, node.broker.registry
        partitions = broker.partitions.values()
        size, free, unknown = self._disk()
        usage = self._usage()
        groups = self._survey.look(broker, now)
        return Statistics(
            node=self._facts,
            at_ms=now.monotonic_ms,
            wall_ms=now.wall_ms,
            uptime_ms=now.monotonic_ms - flow.started_ms,
            draining=flow.draining,
            reasons=_reasons(flow, now, free, unknown) + _unserved(broker) + _growing(node),
            connections=flow.connections,
            requests_waiting=flow.requests_waiting,
            unsent_bytes=flow.unsent_bytes,
            in_flight_bytes=flow.in_flight_bytes,
            topics=len(registry.topics),
            partitions=len(partitions),
            partitions_by_state=_by_state(partitions, broker.groups.leaderless),
            partitions_not_ok=_not_ok(broker.groups.leaderless, broker.damaged),
            partitions_unsynced=broker.groups.unsynced_count,
            producer_ids=sum(len(partition.log.producers) for partition in partitions),
            registry_entries={
                "topics": len(registry.topics),
                "node_ids": len(registry.node_ids),
                "broker_configs": sum(map(len, registry.broker_configs.values())),
            },
            log_bytes=sum(partition.log.size_bytes for partition in partitions),
            disk_bytes=size,
            disk_free_bytes=free,
            resident_bytes=usage.resident_bytes,
            cpu_ms=usage.cpu_ms,
            connections_accepted=flow.connections_accepted,
            connections_failed=flow.connections_failed,
            requests=meter.requests,
            requests_refused=meter.refused,
            bytes_in=flow.bytes_in,
            bytes_out=flow.bytes_out,
            records_in=broker.records_in_count,
            syncs=flow.syncs,
            elections=broker.groups.elections_count,
            journal_rounds=meter.journal_rounds,
            compactions=meter.compactions,
            compaction_failures=meter.compaction_failures,
            compaction_ms=meter.compaction_us // 1000,
            compaction_bytes_in=meter.compaction_bytes_in,
            compaction_bytes_out=meter.compaction_bytes_out,
            errors={_error_name(code): count for code, count in sorted(meter.errors.items())},
            recent=rates(self._samples[0], self._sample(flow, now)),
            append=meter.append.latency(),
            sync=meter.sync.latency(),
            apis=_apis(meter.by_version, meter.by_api),
            by_topic=_by_topic(partitions),
            events=meter.tape.events(),
            groups=groups.groups,
            groups_by_state=groups.by_state,
            group_members=groups.members,
            offset_commits=broker.coordinators.offset_commits_count,
            rebalances=broker.coordinators.rebalances_count,
            moves=self._moves.look(partitions, now.monotonic_ms),
            held_by=_held_by(broker),
            view=None if self._view is None else self._view(),
        )


def tell_of_the_start(node: Node, *, was_clean: bool, wall_ms: int) -> None:
    """Put on the tape what the node opened, and what a crash had left to check."""
    found = [partition.log.recovered for partition in node.broker.partitions.values()]
    topics = len(node.broker.registry.topics)
    node.meter.tape.add(wall_ms, "started", f"{topics:,} topics, {len(found):,} partitions")
    checked = [log for log in found if log.scanned_bytes or log.truncated_bytes]
    if checked and not was_clean:
        scanned = sum(log.scanned_bytes for log in checked)
        cut = sum(log.truncated_bytes for log in checked)
        text = f"{len(checked):,} logs after a crash: {scanned:,} bytes checked, {cut:,} cut off"
        node.meter.tape.add(wall_ms, "recovered", text)
    if losses := node.broker.groups.losses:
        partition, log_end = losses[0]
        text = (
            f"the machine went down while {len(losses):,} partitions acknowledged from the page "
            f"cache: records may be missing, as of {partition.name} from offset {log_end} on"
        )
        node.meter.tape.add(wall_ms, "loss_possible", text)
        log.warning("%s", text)


def _reasons(flow: Flow, now: Now, free: int, unknown: str | None) -> tuple[str, ...]:
    reasons = []
    if flow.draining:
        reasons.append("the node is stopping: it answers what it has and takes nothing new")
    if unknown is not None:
        reasons.append(unknown)
    elif free < DISK_RESERVE_BYTES:
        reasons.append(
            f"the disk is full: {free:,} bytes are free, and {DISK_RESERVE_BYTES:,} are kept for "
            "the node itself; producers are refused until something is deleted"
        )
    if flow.sync_begun_ms is not None:
        waited_ms = now.monotonic_ms - flow.sync_begun_ms
        if waited_ms > SYNC_STUCK_MS:
            reasons.append(
                f"the disk has not finished a sync for {waited_ms / 1000:.0f} s; nothing is "
                "acknowledged meanwhile"
            )
    return tuple(reasons)


def _unserved(broker: Broker) -> tuple[str, ...]:
    reasons = []
    if broker.damaged:
        count = len(broker.damaged)
        reasons.append(f"{count:,} partitions are not served, because their logs are damaged")
    groups = broker.groups
    if not groups.admitted:
        reasons.append(
            "no other member has answered this node since it started, so it neither votes nor "
            "leads: its disk might be an old copy"
        )
    if groups.leaderless:
        reasons.append(f"{len(groups.leaderless):,} partitions have no leader{_missing(groups)}")
    return tuple(reasons)


def _growing(node: Node) -> tuple[str, ...]:
    reasons = []
    if not node.neighbours.is_caught_up:
        reasons.append(
            "the node does not follow all of the registry, so what it tells of topics may be old"
        )
    if count := node.neighbours.lacking_voters:
        text = "partitions have fewer voters than the members could give them"
        reasons.append(f"{count:,} {text}: these are being added")
    return tuple(reasons)


def _missing(groups: Groups) -> str:
    """Return which voters of partitions without a leader are not there, as the end of a reason."""
    away = {
        voter.node_id
        for partition in groups.leaderless
        for voter in partition.group.holding.promise.config.voters
        if voter != groups.me and not groups.links.is_there(voter.node_id)
    }
    nodes = ", ".join(map(str, sorted(away)[:NODES_TOLD_MAX]))
    return f"; of their voters these are not reached: {nodes}" if away else ""


def _held_by(broker: Broker) -> dict[int, tuple[int, int]]:
    """Count what other nodes lead and hold, topics' partitions only."""
    found: dict[int, list[int]] = {node_id: [0, 0] for node_id in broker.members}
    for topic in broker.registry.topics.values():
        for index in range(topic.partition_count):
            owner = broker.owner(topic, index)
            if owner.node_id in found:
                found[owner.node_id][0] += 1
            for node_id in owner.replicas:
                if node_id in found:
                    found[node_id][1] += 1
    return {node_id: (leads, holds) for node_id, (leads, holds) in found.items()}


def _by_state(
    partitions: Collection[Partition], leaderless: Collection[Partition]
) -> dict[str, int]:
    leaders = sum(partition.leads for partition in partitions)
    # The registry's own partitions may be among them; clients are told of topics' only.
    unled = sum(not partition.leads and partition in leaderless for partition in partitions)
    return {"leader": leaders, "follower": len(partitions) - leaders - unled, "leaderless": unled}


def _not_ok(
    leaderless: Iterable[Partition], damaged: Mapping[tuple[str, int], str]
) -> tuple[tuple[str, int, str], ...]:
    found = chain(
        ((topic, index, reason) for (topic, index), reason in damaged.items()),
        ((partition.topic, partition.index, "no leader is known") for partition in leaderless),
    )
    return tuple(islice(found, NOT_OK_MAX))


def _apis(
    by_version: Mapping[int, int], by_api: Mapping[int, Histogram]
) -> tuple[ApiStatistics, ...]:
    versions: dict[int, dict[int, int]] = {}
    for number, count in sorted(by_version.items()):
        key, version = number >> VERSION_BITS, number & (1 << VERSION_BITS) - 1
        versions.setdefault(key, {})[version] = count
    return tuple(
        ApiStatistics(
            name=API_NAMES[key],
            versions=counts,
            latency=by_api.get(key, _NOTHING_YET).latency(),
        )
        for key, counts in versions.items()
    )


_NOTHING_YET = Histogram()
"""Of an API whose first answer has not left yet."""


def _by_topic(partitions: Iterable[Partition]) -> tuple[TopicStatistics, ...]:
    by_topic: dict[str, list[Partition]] = {}
    for partition in partitions:
        by_topic.setdefault(partition.topic, []).append(partition)
    rows: Iterable[TopicStatistics] = (
        TopicStatistics(
            name=name,
            partitions=len(found),
            log_bytes=sum(partition.log.size_bytes for partition in found),
            bytes_in=sum(partition.bytes_in for partition in found),
            bytes_out=sum(partition.bytes_out for partition in found),
            records_in=sum(partition.records_in for partition in found),
            batches_in=sum(partition.batches_in for partition in found),
            fetches=sum(partition.fetches for partition in found),
        )
        for name, found in by_topic.items()
    )
    if len(by_topic) > TOPICS_MAX:
        rows = heapq.nlargest(TOPICS_MAX, rows, key=lambda row: row.bytes_in + row.bytes_out)
    return tuple(sorted(rows, key=lambda row: row.name))


def _error_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)  # Which would be a fault of ours; the answer has left all the same.
