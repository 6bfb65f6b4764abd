"""A picture as the document of `/status` and `mesh status --json`: scripts lean on its names."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from mesh.metrics.members import member_row, mesh_reasons, reach
from mesh.model.histogram import Latency
from mesh.model.statistics import GroupStatistics, NodeFacts, Statistics

FORMAT = 1
"""Names may be added under one format, never changed or taken away."""


def status_document(now: Statistics) -> dict[str, object]:
    """Return what a node knows of the mesh, and under `here` what it knows of itself alone.

    A node that was told nothing of a mesh has one view, which agrees with itself.
    """
    view = now.view
    reasons = [*now.reasons, *(mesh_reasons(view) if view is not None else ())]
    return {
        "format": FORMAT,
        "at_ms": now.wall_ms,
        "cluster_id": now.node.cluster_id,
        "healthy": not reasons,
        "reasons": reasons,
        "view_hash": view_hash(now.node) if view is None else view.view_hash,
        "agree": True if view is None else view.agree,
        "view_age_ms": 0 if view is None else view.age_ms,
        "uptime_s": now.uptime_ms / 1000,
        "nodes": _nodes(now),
        "partitions_not_ok": [
            {"topic": topic, "partition": partition, "reason": reason}
            for topic, partition, reason in now.partitions_not_ok
        ],
        "groups": [_group(group) for group in now.groups],
        "moves": [asdict(move) for move in now.moves],
        "reach": [[True]] if view is None else reach(view),
        "events": [asdict(event) for event in now.events],
        "here": _here(now),
    }


def view_hash(*members: NodeFacts) -> str:
    """Return a short hash that is the same wherever the same members are seen."""
    text = ";".join(
        f"{member.node_id},{member.directory_id},{member.address}"
        for member in sorted(members, key=lambda member: member.node_id)
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _nodes(now: Statistics) -> list[dict[str, object]]:
    """Return all members; of itself a node knows more than it tells others."""
    if now.view is None:
        return [_node(now)]
    rows = []
    for member in now.view.members:
        row = member_row(member)
        if (held := now.held_by.get(member.node_id)) is not None:
            row["leaders"], row["replicas"] = held
        if member.node_id == now.node.node_id:
            own = {name: value for name, value in _node(now).items() if name not in _GOSSIPED}
            row |= own
        rows.append(row)
    return rows


_GOSSIPED = frozenset({"state", "probe_ms", "suspect_left_ms"})
"""What of this node itself stands in its view."""


def _node(now: Statistics) -> dict[str, object]:
    return {
        "node_id": now.node.node_id,
        "state": "alive",
        "draining": now.draining,
        "address": now.node.address,
        "rack": now.node.rack,
        "host": now.node.host,
        "version": now.node.version,
        "leaders": now.partitions_by_state["leader"],
        "replicas": now.partitions,
        "probe_ms": None,  # Nobody probes itself.
        "suspect_left_ms": None,
        "in_mb_s": round(now.recent.bytes_in_s / 1e6, 3),
        "out_mb_s": round(now.recent.bytes_out_s / 1e6, 3),
        "append_p99_ms": now.append.p99_ms,
        "sync_p99_ms": now.sync.p99_ms,
        "disk_free_bytes": now.disk_free_bytes,
    }


def _group(group: GroupStatistics) -> dict[str, object]:
    fields = asdict(group)
    fields["type"] = fields.pop("kind")
    return fields


def _here(now: Statistics) -> dict[str, object]:
    """Numbers of the answering node; counters since its start, so that two answers make a rate."""
    return {
        "node_id": now.node.node_id,
        "monotonic_ms": now.at_ms,
        "cpu_ms": now.cpu_ms,
        "resident_bytes": now.resident_bytes,
        "connections": now.connections,
        "connections_accepted": now.connections_accepted,
        "connections_failed": now.connections_failed,
        "local_health": 0 if now.view is None else now.view.local_health,
        "gossip": {} if now.view is None else dict(now.view.counters),
        "requests": now.requests,
        "requests_refused": now.requests_refused,
        "requests_waiting": now.requests_waiting,
        "unsent_bytes": now.unsent_bytes,
        "in_flight_bytes": now.in_flight_bytes,
        "bytes_in": now.bytes_in,
        "bytes_out": now.bytes_out,
        "records_in": now.records_in,
        "syncs": now.syncs,
        "elections": now.elections,
        "journal_rounds": now.journal_rounds,
        "compactions": now.compactions,
        "compaction_failures": now.compaction_failures,
        "compaction_ms": now.compaction_ms,
        "compaction_bytes_in": now.compaction_bytes_in,
        "compaction_bytes_out": now.compaction_bytes_out,
        "recent": asdict(now.recent),
        "append": _latency(now.append),
        "sync": _latency(now.sync),
        "topic_count": now.topics,
        "partition_count": now.partitions,
        "partitions_by_state": dict(now.partitions_by_state),
        "partitions_unsynced": now.partitions_unsynced,
        "producer_ids": now.producer_ids,
        "groups_by_state": dict(now.groups_by_state),
        "group_count": sum(now.groups_by_state.values()),
        "group_members": now.group_members,
        "offset_commits": now.offset_commits,
        "rebalances": now.rebalances,
        "registry_entries": dict(now.registry_entries),
        "log_bytes": now.log_bytes,
        "disk_bytes": now.disk_bytes,
        "disk_free_bytes": now.disk_free_bytes,
        "errors": dict(now.errors),
        "apis": [
            {
                "api": api.name,
                "requests": sum(api.versions.values()),
                "versions": {str(version): count for version, count in api.versions.items()},
                **_latency(api.latency),
            }
            for api in now.apis
        ],
        "topics": [{"topic": topic.name, **_without_name(asdict(topic))} for topic in now.by_topic],
    }


def _without_name(fields: dict[str, object]) -> dict[str, object]:
    del fields["name"]
    return fields


def _latency(latency: Latency) -> dict[str, object]:
    """Return the quantiles of the last minute; null where nothing was observed."""
    return {
        "count": latency.count,
        "p50_ms": latency.p50_ms,
        "p99_ms": latency.p99_ms,
        "p999_ms": latency.p999_ms,
    }
