"""The bench's answer: a Markdown table for people, one JSON document for machines."""

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence

from mesh.version import VERSION
from tools.bench.process import Target
from tools.bench.rounds import Figures

FORMAT = 1
"""Raised when a name in the document changes its meaning; new names do not count."""

Column = tuple[str, str, str]
"""Heading, key of the point, format of its number."""

_COSTS: tuple[Column, ...] = (
    ("req/s", "req_s", ",.0f"),
    ("MB/s", "mb_s", ".1f"),
    ("p50 ms", "p50_ms", ".3f"),
    ("p99 ms", "p99_ms", ".3f"),
    ("CPU µs/req", "cpu_us_per_req", ".1f"),
    ("CPU s/GB", "cpu_s_per_gb", ".2f"),
    ("RSS MB", "rss_mb", ".0f"),
)
_START: tuple[Column, ...] = (
    ("first ack ms", "first_ack_ms", ".0f"),
    ("min", "first_ack_ms_min", ".0f"),
    ("max", "first_ack_ms_max", ".0f"),
)
_IDLE: tuple[Column, ...] = (("RSS MB", "rss_mb", ".0f"), ("CPU %", "cpu_percent", ".2f"))
_FAILOVER: tuple[Column, ...] = (
    ("events", "events", "d"),
    ("p50 ms", "p50_ms", ".0f"),
    ("p99 ms", "p99_ms", ".0f"),
    ("max ms", "max_ms", ".0f"),
)
_PARTITIONS: tuple[Column, ...] = (
    ("all led after s", "led_s", ".2f"),
    ("CPU %", "cpu_percent", ".2f"),
    ("mean", "cpu_percent_mean", ".2f"),
    ("RSS MB", "rss_mb", ".0f"),
)
_COMMITS: tuple[Column, ...] = (
    ("commits/s", "commits_s", ",.0f"),
    ("req/s", "req_s", ",.0f"),
    ("p50 ms", "p50_ms", ".3f"),
    ("p99 ms", "p99_ms", ".3f"),
    ("CPU µs/commit", "cpu_us_per_commit", ".1f"),
    ("RSS MB", "rss_mb", ".0f"),
)
_JOIN: tuple[Column, ...] = (
    ("all assigned ms", "assigned_ms", ".0f"),
    ("min", "assigned_ms_min", ".0f"),
    ("max", "assigned_ms_max", ".0f"),
    ("requests", "requests", ",.0f"),
    ("CPU ms", "cpu_ms", ".0f"),
)
_GROUPS: tuple[Column, ...] = (
    ("groups", "groups", ",d"),
    ("commits/s", "commits_s", ",.0f"),
    ("bytes/group", "bytes_per_group", ",.0f"),
    ("bytes/group loaded", "bytes_per_group_loaded", ",.0f"),
    ("ready ms", "ready_ms", ",.0f"),
    ("loaded ms", "loaded_ms", ",.0f"),
    ("others wait at most ms", "others_wait_ms_max", ".1f"),
)
_HEARTBEATS: tuple[Column, ...] = (
    ("heartbeats/s", "heartbeats_s", ",.0f"),
    ("CPU %", "beating_cpu_percent", ".2f"),
    ("p99 ms", "p99_ms", ".1f"),
    ("silent CPU %", "silent_cpu_percent", ".2f"),
    ("RSS MB", "rss_mb", ".0f"),
    ("bytes/member", "bytes_per_member", ",.0f"),
)
_COMPACT: tuple[Column, ...] = (
    ("MB", "compacted_mb", ",.0f"),
    ("MB/s", "mb_s", ",.0f"),
    ("MB/CPU s", "mb_cpu_s", ",.0f"),
    ("runs", "runs", ",d"),
    ("key map MiB", "key_map_mib", ".1f"),
    ("left %", "left_percent", ".1f"),
)
_PLACEMENT: tuple[Column, ...] = (
    ("ms", "place_ms", ".0f"),
    ("longest piece ms", "slice_ms_max", ".1f"),
    ("replicas max/share", "replicas_max_to_share", ".3f"),
    ("leaders max/share", "leaders_max_to_share", ".3f"),
    ("join", "join_to_ideal", ".2f"),
    ("leave", "leave_to_ideal", ".2f"),
    ("weight", "weight_to_ideal", ".2f"),
    ("rack loss", "rack_loss_to_ideal", ".2f"),
    ("leaders: join", "join_leaders_to_ideal", ".2f"),
    ("leave", "leave_leaders_to_ideal", ".2f"),
    ("topic %", "topic_moved_percent", ".2f"),
    ("above cap", "above_cap", "d"),
)
_GOSSIP: tuple[Column, ...] = (
    ("node s/s", "node_seconds_s", ",.0f"),
    ("messages/node s", "messages_node_s", ".2f"),
    ("bytes/node s", "bytes_node_s", ".0f"),
    ("RSS MB", "rss_mb", ".0f"),
)
_WORLD: tuple[Column, ...] = (
    ("times real", "times_real", ".1f"),
    ("produce/s", "produce_s", ".0f"),
    ("fetch/s", "fetch_s", ".0f"),
    ("events/s", "events_s", ",.0f"),
    ("µs/event", "us_per_event", ".1f"),
)
_TABLES: dict[str, tuple[Column, ...]] = {
    "start": _START,
    "idle": _IDLE,
    "failover": _FAILOVER,
    "partitions": _PARTITIONS,
    "commits": _COMMITS,
    "join": _JOIN,
    "groups": _GROUPS,
    "heartbeats": _HEARTBEATS,
    "compact": _COMPACT,
    "placement": _PLACEMENT,
    "gossip": _GOSSIP,
    "world": _WORLD,
}
_POINT = (
    ("event", "event"),
    ("state", "state"),
    ("batch", "shape"),
    ("conn", "connections"),
    ("in flight", "in_flight"),
    ("acks", "acks"),
    ("fetch bytes", "fetch_bytes_max"),
    ("protocol", "protocol"),
    ("members", "members"),
    ("nodes", "nodes"),
    ("partitions", "partitions"),
    ("racks", "racks"),
    ("weights", "weights"),
    ("key", "key"),
    ("value bytes", "record_bytes"),
    ("keys", "keys"),
    ("codec", "codec"),
)


def document(
    bench: str,
    targets: Sequence[Target],
    points: Sequence[Figures],
    settings: Mapping[str, object],
) -> str:
    """Return the JSON document."""
    return json.dumps(
        {
            "format": FORMAT,
            "bench": bench,
            "version": VERSION,
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            **settings,
            "targets": [{"name": t.name, "address": str(t.address), "pid": t.pid} for t in targets],
            "points": list(points),
        },
        indent=2,
    )


def table(bench: str, points: Sequence[Figures]) -> str:
    """Return a Markdown table: one row per point and broker."""
    columns = _TABLES.get(bench, _COSTS)
    names = [(h, key) for h, key in _POINT if any(key in point for point in points)]
    compared = any("against" in point for point in points)
    headings = [h for h, _ in names] + (["broker"] if compared else [])
    headings += [h for h, _, _ in columns] + (["ratio (min to max)"] if compared else [])
    rows = [headings]
    for point in points:
        place = [str(point[key]) for _, key in names]
        rows.append([*place, *(["mesh"] if compared else []), *_cells(point, columns)])
        other = point.get("against")
        if isinstance(other, dict):
            rows[-1].append(_ratio(point))
            rows.append([""] * len(place) + ["against", *_cells(other, columns), ""])
    return _aligned(rows, left=len(names) + compared)


def _cells(figures: Mapping[str, object], columns: Iterable[Column]) -> list[str]:
    cells = []
    for _, key, form in columns:
        value = figures.get(key)
        cells.append(format(value, form) if isinstance(value, int | float) else "-")
    return cells


def _ratio(point: Figures) -> str:
    found = [point.get(key) for key in ("ratio", "ratio_min", "ratio_max")]
    numbers = [value for value in found if isinstance(value, float)]
    if len(numbers) < 3:
        return "-"
    return "{:.2f} ({:.2f} to {:.2f})".format(*numbers)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rules = ["-" * w if i < left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rules)} |")
    return "\n".join(lines)
