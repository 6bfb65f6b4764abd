"""What `mesh group describe` shows: tables for people, JSON for machines. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.client import GroupsUnservedError, MemberState, TopicPartition
from tools.group.lag import GroupLag, PartitionLag, names
from tools.screen import duration
from tools.view import printable

MEMBER_WIDTH_MIN = 12
RANGE_MIN = 3
"""Partitions in a row from which on they are told as a range."""


def group_json(found: GroupLag | GroupsUnservedError) -> dict[str, object]:
    """Return a group as one object of `groups[]`; its names are kept."""
    if isinstance(found, GroupsUnservedError):
        return {
            "group": found.group,
            "state": "Unknown",
            "members": None,
            "lag": None,
            "lag_ms": None,
            "blocked_by": unserved(found),
        }
    state = found.state
    return {
        "group": state.group,
        "type": state.kind,
        "state": state.state,
        "protocol_type": state.protocol_type,
        "assignor": state.assignor,
        "coordinator": state.coordinator,
        "group_epoch": state.group_epoch,
        "members": len(state.members),
        "lag": found.lag,
        "lag_ms": found.lag_ms,
        "blocked_by": "; ".join(found.blocked_by) or None,
        "rate_window_ms": found.window_ms,
        "consume_s": _rounded(found.consume_s),
        "produce_s": _rounded(found.produce_s),
        "catch_up_ms": found.catch_up_ms,
        "partitions": [_partition_json(part) for part in found.partitions],
        "member_states": [_member_json(member) for member in state.members],
    }


def _partition_json(part: PartitionLag) -> dict[str, object]:
    return {
        "topic": part.partition.topic,
        "partition": part.partition.partition,
        "committed_offset": part.committed,
        "log_start_offset": part.first,
        "high_watermark": part.end,
        "lag": part.lag,
        "lag_ms": part.lag_ms,
        "consume_s": _rounded(part.consume_s),
        "produce_s": _rounded(part.produce_s),
        "member_id": part.member.member_id if part.member else None,
    }


def _member_json(member: MemberState) -> dict[str, object]:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "member_epoch": member.member_epoch,
        "topics": list(member.topics),
        "pattern": member.pattern,
        "assigned": _places_json(member.assigned),
        "target": _places_json(member.target),
    }


def _places_json(places: Sequence[TopicPartition] | None) -> list[dict[str, object]] | None:
    if places is None:
        return None
    return [{"topic": place.topic, "partition": place.partition} for place in places]


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def unserved(error: GroupsUnservedError) -> str:
    """Return in words why a group cannot be described now."""
    return f"its coordinator answers {error.code.name}"


def group_lines(
    found: GroupLag | GroupsUnservedError, *, members: bool, width: int | None
) -> list[str]:
    """Return what people are told of a group.

    Args:
        found: the group, or why nothing is known of it.
        members: tell of its members instead of its partitions.
        width: columns to fit into; None where nobody looks at them, as in a pipe.
    """
    if isinstance(found, GroupsUnservedError):
        return [f"{printable(found.group)}  state unknown", f"  blocked by: {unserved(found)}"]
    lines = [_headline(found), *(f"  {line}" for line in _verdict(found))]
    lines += [f"  blocked by: {printable(cause)}" for cause in found.blocked_by]
    rows = _member_rows(found) if members else _partition_rows(found)
    return [*lines, *table_lines(rows, width)] if len(rows) > 1 else lines


def _headline(found: GroupLag) -> str:
    state = found.state
    words = [printable(state.group), f"{state.kind} group", state.state]
    if state.group_epoch is not None:
        words.append(f"epoch {state.group_epoch}")
    if state.assignor:
        words.append(printable(state.assignor))
    count = len(state.members)
    words += [f"{count:,} member{'s' * (count != 1)}", f"coordinator {state.coordinator}"]
    return "  ".join(words)


def _verdict(found: GroupLag) -> list[str]:
    if found.lag is None:
        lines = ["nothing is committed yet"]
    elif found.lag == 0:
        lines = ["lag 0: caught up"]
    else:
        old = "" if found.lag_ms is None else f", the oldest {duration(found.lag_ms)} old"
        lines = [f"lag {found.lag:,} record{'s' * (found.lag != 1)}{old}"]
    fresh = [part for part in found.partitions if part.lag is None and part.end != part.first]
    if held := sum((part.end or 0) - (part.first or 0) for part in fresh):
        lines.append(
            f"no committed offset in {names(p.partition for p in fresh)} ({held:,} records)"
        )
    if found.consume_s is None or found.produce_s is None:
        return lines
    rates = f"{_rate(found.consume_s)} committed, {_rate(found.produce_s)} written"
    line = f"{rates}, over {found.window_ms / 1000:.1f} s"
    if found.lag and found.catch_up_ms is not None:
        line += f": caught up in {duration(max(1_000, found.catch_up_ms))}"
    elif found.lag:
        line += ": never at this rate"
    return [*lines, line]


def _rate(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:,.1f}/s" if 0 < rate < 9.95 else f"{rate:,.0f}/s"


def _partition_rows(found: GroupLag) -> list[tuple[str, ...]]:
    rated = found.window_ms > 0
    heads = ("PARTITION", "COMMITTED", "END", "LAG", "LAG TIME")
    rows = [(*heads, *(("READ", "WRITTEN") if rated else ()), "MEMBER")]
    for part in found.partitions:
        cells = (
            str(part.partition),
            _number(part.committed),
            _number(part.end),
            _number(part.lag),
            "-" if part.lag_ms is None else duration(part.lag_ms),
        )
        rates = (_rate(part.consume_s), _rate(part.produce_s)) if rated else ()
        rows.append((*cells, *rates, part.member.member_id if part.member else "-"))
    return rows


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value}"


def _member_rows(found: GroupLag) -> list[tuple[str, ...]]:
    new = found.state.group_epoch is not None
    rows = [("MEMBER", "CLIENT", "HOST", "INSTANCE", *(("EPOCH",) if new else ()), "PARTITIONS")]
    for member in found.state.members:
        epoch = (_number(member.member_epoch),) if new else ()
        holds = "?" if member.assigned is None else short(member.assigned)
        if member.target is not None and member.target != member.assigned:
            holds += f" -> {short(member.target)}"
        instance = member.instance_id or "-"
        rows.append((member.member_id, member.client_id, member.host, instance, *epoch, holds))
    return rows


def short(places: Sequence[TopicPartition]) -> str:
    """Return partitions in few characters, as `flights:0-3,7 orders:1`; `-` for none."""
    by_topic: dict[str, list[int]] = {}
    for topic, index in sorted(places):
        by_topic.setdefault(topic, []).append(index)
    return " ".join(f"{name}:{_ranges(found)}" for name, found in by_topic.items()) or "-"


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) >= RANGE_MIN else ",".join(map(str, run)) for run in runs
    )


def table_lines(rows: Sequence[tuple[str, ...]], width: int | None) -> list[str]:
    """Return rows in columns, heads first; texts of strangers do nothing to a terminal.

    Where a width is given, the widest column of text gives way to it, but keeps its start.
    """
    cells = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None and (over := sum(widths) + 2 * (len(widths) - 1) - width) > 0:
        widest = max(range(len(widths)), key=lambda index: widths[index])
        widths[widest] = max(MEMBER_WIDTH_MIN, widths[widest] - over)
    return [
        "  ".join(
            _cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
