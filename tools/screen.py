"""The live screen of `mesh top` and `mesh node --live`: one drawing for both, from two views.

It is drawn to fit: what a small terminal has no room for is left out, topics and events last.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from mesh.node.options import Ready
from tools.matrix import matrix_lines
from tools.view import (
    Change,
    EventView,
    GroupProgress,
    NodeView,
    Quantiles,
    View,
    change,
    view_untrusted,
)

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

REDRAW_S = 0.5
LINE_S = 10.0
WIDE = 120
"""From this width on the numbers stand in four columns instead of two."""
STATES = ("alive", "suspect", "dead", "left")
MEMBER_LINES_MAX = 4
"""Of members, several on each; the worst stand first."""
MATRIX_LEAVES = 18
"""Lines that the matrix of who reaches whom leaves to what is there besides."""
EVENTS_MIN = 4
LIVE_LINES_MAX = 24
"""Below a node's own log lines the screen takes no more."""
TOPIC_HEADS = ("parts", "in/s", "out/s", "records/s", "size")
TOPIC_WIDTH = 10
GROUP_HEADS = (("members", 9), ("lag", 12), ("lag time", 13), ("read/s", 10))
"""Each with the width of its column."""
STATE_WIDTH = 21
"""Kafka's longest state is CompletingRebalance."""
GAP = "    "


async def watch(ready: Ready) -> None:
    """Show the node's status until cancelled."""
    if sys.stdout.isatty():
        await _watch_on_terminal(ready)
    else:
        await _watch_in_lines(ready)


def view_of(ready: Ready) -> View:
    """Return what the node's admin port would tell now."""
    from mesh.metrics import status_document

    return view_untrusted(status_document(ready.statistics()))


async def _watch_in_lines(ready: Ready) -> None:
    before = view_of(ready)
    while True:
        await trio.sleep(LINE_S)
        after = view_of(ready)
        if _moved(before, after):  # An idle node fills no log.
            click.echo(status_line(after, change(before, after)))
        before = after


def _moved(before: View, after: View) -> bool:
    one, other = before.here, after.here
    return (one.requests, one.connections) != (other.requests, other.connections)


async def _watch_on_terminal(ready: Ready) -> None:
    # Drawing goes to a thread: whoever stops the terminal (Ctrl-S) must not stop the node.
    in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
    live: Live = await in_thread(_start_live)
    try:
        before: View | None = None
        while True:
            after = view_of(ready)
            await in_thread(_draw, live, before, after)
            before = after
            await trio.sleep(REDRAW_S)
    finally:
        live.stop()


def _start_live() -> Live:
    from rich.live import Live  # 100 ms to import: after the node is ready, and only for a screen

    live = Live(auto_refresh=False)
    live.start()
    return live


def _draw(live: Live, before: View | None, after: View) -> None:
    size = live.console.size
    height = min(size.height - 1, LIVE_LINES_MAX)
    live.update(picture(before, after, size.width, height), refresh=True)


def picture(before: View | None, now: View, width: int, height: int, hint: str = "") -> Text:
    """Return the screen, at most `height` lines of at most `width` columns each."""
    from rich.text import Text

    lines = screen_lines(before, now, width, height, hint)
    text = Text(no_wrap=True, overflow="crop", end="")
    for index, (line, style) in enumerate(lines):
        text.append(("\n" if index else "") + line, style)
    return text


Line = tuple[str, str]
"""A line without its end, and rich's name of its style."""


def screen_lines(
    before: View | None, now: View, width: int, height: int, hint: str = ""
) -> list[Line]:
    """Return the lines of the screen: verdict, numbers, topics, groups, the newest events."""
    moved = change(before, now)
    lines = [_headline(now, width, hint)]
    lines += [(f"  {reason}", "red") for reason in now.reasons[:2]]
    lines += _members(now, width, height - MATRIX_LEAVES)
    lines += [(f"  {topic}-{index}: {why}", "red") for topic, index, why in now.not_ok[:2]]
    lines += [(line, "") for line in _numbers(now, moved, width)]
    left = height - len(lines)
    events_wanted = len(now.events)
    topics_wanted = len(moved.topics) + 2  # A blank line and the heads.
    events_room = min(events_wanted + 1, max(EVENTS_MIN + 1, left - topics_wanted))
    rest = left - events_room
    groups_wanted = len(_groups(now, moved, width, sys.maxsize))
    groups_room = min(groups_wanted, max(rest - topics_wanted, rest // 2))
    lines += _topics(now, moved, width, rest - groups_room)
    lines += _groups(now, moved, width, groups_room)
    lines += _events(now.events, height - len(lines))
    return [(line[:width], style) for line, style in lines[:height]]


def _headline(now: View, width: int, hint: str) -> Line:
    own = next((node for node in now.nodes if node.node_id == now.here.node_id), None)
    words = [f"node {now.here.node_id}"]
    if own is not None:
        clients = f"clients at {own.address}" if own.address else f"peers at {own.peer}"
        words = [f"gossamer {own.version}", *words, clients]
    words.append(f"up {duration(now.uptime_ms)}")
    verdict = "healthy" if now.healthy else "NOT HEALTHY"
    line = "  ".join([*words, verdict])
    if len(line) > width:  # Of all words the verdict must not be cut off.
        line = "  ".join([verdict, *words])
    if hint and len(line) + len(hint) + 2 <= width:
        line = line.ljust(width - len(hint)) + hint
    return line, "bold" if now.healthy else "bold red"


def view_line(view: View) -> str:
    """Return what members believe, and whether they believe the same."""
    counts = Counter(node.state for node in view.nodes)
    states = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    agreement = "all agree" if view.agree else "they do NOT agree yet"
    return f"{states}; view {view.view_hash}, {duration(view.view_age_ms)} old, {agreement}"


def state_of(node: NodeView) -> str:
    """Return a member's state, a suspicion with the time that it still has."""
    if node.suspect_left_ms is not None:
        return f"{node.state} {node.suspect_left_ms / 1000:.1f} s"
    return "draining" if node.draining and node.state == "alive" else node.state


def _members(now: View, width: int, matrix_room: int) -> list[Line]:
    """Return the members: how many in which state, then one by one as far as lines go, worst first.

    A mesh of one has nothing to tell.
    """
    if len(now.nodes) < 2:
        return []
    lines = [(view_line(now), "" if now.agree else "yellow")]
    order = {"suspect": 0, "dead": 1, "alive": 2}
    cells = []
    for node in sorted(now.nodes, key=lambda node: (order.get(node.state, 9), node.node_id)):
        probe = "" if node.probe_ms is None else f" {probe_time(node.probe_ms)}"
        load = "" if node.load_percent is None else f" {node.load_percent} %"
        cells.append(f"{node.node_id} {state_of(node)}{probe}{load}")
    cell_width = max(map(len, cells))
    per_line = max(1, (width + len(GAP)) // (cell_width + len(GAP)))
    rows = [cells[start : start + per_line] for start in range(0, len(cells), per_line)]
    for row in rows[:MEMBER_LINES_MAX]:
        lines.append((GAP.join(cell.ljust(cell_width) for cell in row).rstrip(), ""))
    if (left := len(cells) - MEMBER_LINES_MAX * per_line) > 0:
        lines.append((f"and {left:,} more", "dim"))
    return lines + [(line, "dim") for line in matrix_lines(now, width, matrix_room)]


def _numbers(now: View, moved: Change, width: int) -> list[str]:
    here, rates = now.here, moved.rates
    cpu = "-" if moved.cpu_percent is None else f"{moved.cpu_percent:.0f} %"
    cells = [
        ("requests/s", f"{rates.requests_s:,.0f}"),
        ("connections", f"{here.connections:,}"),
        ("in", f"{size(rates.bytes_in_s)}/s"),
        ("waiting", f"{here.requests_waiting:,}"),
        ("out", f"{size(rates.bytes_out_s)}/s"),
        ("cpu", cpu),
        ("records in/s", f"{rates.records_in_s:,.0f}"),
        ("memory", size(here.resident_bytes)),
        ("syncs/s", f"{rates.syncs_s:,.0f}"),
        ("logs", size(here.log_bytes)),
        ("topics", f"{here.topics:,} / {here.partitions:,}"),
        ("disk free", f"{size(here.disk_free_bytes)} of {size(here.disk_bytes)}"),
    ]
    columns = 4 if width >= WIDE else 2
    cell_width = (width - len(GAP) * (columns - 1)) // columns
    lines = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        texts = [f"{name:<13}{value:>{max(cell_width - 13, 1)}}" for name, value in row]
        lines.append(GAP.join(texts))
    append = _of_last_minute("append", here.append)
    sync = _of_last_minute("sync", here.sync)
    return [*lines, append + GAP + sync] if width >= WIDE else [*lines, append, sync]


def _of_last_minute(name: str, told: Quantiles) -> str:
    values = (("p50", told.p50_ms), ("p99", told.p99_ms), ("p999", told.p999_ms))
    return f"{name:<13}" + "".join(f"{which} {milliseconds(ms):<12}" for which, ms in values)


def _topics(now: View, moved: Change, width: int, room: int) -> list[Line]:
    """Return the table of topics in so many lines, a blank one first; nothing if too few."""
    if room < 3 or not moved.topics:
        return []
    longest = max(len(row.topic.name) for row in moved.topics)
    name_width = max(min(width - len(TOPIC_HEADS) * TOPIC_WIDTH, longest + 2), 12)
    heads = "".join(f"{head:>{TOPIC_WIDTH}}" for head in TOPIC_HEADS)
    lines = [("", ""), (f"{'topic':<{name_width}}{heads}", "dim")]
    shown = moved.topics
    if len(shown) > room - 2:
        shown = shown[: room - 3]
    for row in shown:
        values = (
            f"{row.topic.partitions:,}",
            size(row.bytes_in_s),
            size(row.bytes_out_s),
            f"{row.records_in_s:,.0f}",
            size(row.topic.log_bytes),
        )
        cells = "".join(f"{value:>{TOPIC_WIDTH}}" for value in values)
        lines.append((f"{_cut(row.topic.name, name_width - 1):<{name_width}}{cells}", ""))
    if (others := now.here.topics - len(shown)) > 0:
        lines.append((f"and {others:,} more", "dim"))
    return lines


def _groups(now: View, moved: Change, width: int, room: int) -> list[Line]:
    """Return the table of groups in so many lines, a blank one first; nothing if too few.

    What blocks a group stands in a line below it.
    """
    if room < 3 or not moved.groups:
        return []
    longest = max(len(row.group.name) for row in moved.groups)
    cells_width = sum(cell_width for _, cell_width in GROUP_HEADS) + STATE_WIDTH
    name_width = max(min(width - cells_width, longest + 2), 12)
    heads = "".join(f"{head:>{cell_width}}" for head, cell_width in GROUP_HEADS)
    lines = [("", ""), (f"{'group':<{name_width}}{'state':<{STATE_WIDTH}}{heads}", "dim")]
    shown = 0
    for row in moved.groups:
        told = _group(row, name_width)
        others = now.here.group_count > shown + 1
        if len(lines) + len(told) + others > room:
            break
        lines += told
        shown += 1
    if (left := now.here.group_count - shown) > 0:
        lines.append((f"and {left:,} more", "dim"))
    return lines


def _group(row: GroupProgress, name_width: int) -> list[Line]:
    group = row.group
    values = (
        f"{group.members:,}",
        "-" if group.lag is None else f"{group.lag:,}",
        "-" if group.lag_ms is None else duration(group.lag_ms),
        "-" if row.read_s is None else f"{row.read_s:,.0f}",
    )
    cells = "".join(
        f"{value:>{cell_width}}" for value, (_, cell_width) in zip(values, GROUP_HEADS, strict=True)
    )
    name = f"{_cut(group.name, name_width - 1):<{name_width}}"
    style = "yellow" if group.blocked_by else ""
    lines = [(f"{name}{_cut(group.state, STATE_WIDTH - 1):<{STATE_WIDTH}}{cells}", style)]
    if group.blocked_by:
        lines.append((f"  blocked by: {group.blocked_by}", style))
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _events(events: tuple[EventView, ...], room: int) -> list[Line]:
    """Return the newest events in so many lines, a blank one first and the newest last."""
    if room < 2 or not events:
        return []
    return [("", ""), *((_event(event), _colour(event)) for event in events[-(room - 1) :])]


def _event(event: EventView) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event.at_ms / 1000))
    often = f" (x{event.count:,})" if event.count > 1 else ""
    return f"{at}  {event.kind.replace('_', ' ')}{often}: {event.text}"


def _colour(event: EventView) -> str:
    return "yellow" if event.kind in ("disk_full", "slow_sync", "connection_closed") else ""


def status_line(now: View, moved: Change) -> str:
    """Return the numbers that matter most in one line."""
    here, rates = now.here, moved.rates
    return (
        f"up {duration(now.uptime_ms)}, {here.connections:,} connections, "
        f"{rates.requests_s:,.0f} requests/s, in {size(rates.bytes_in_s)}/s, "
        f"out {size(rates.bytes_out_s)}/s, {here.topics:,} topics, "
        f"{here.partitions:,} partitions, logs {size(here.log_bytes)}, "
        f"disk free {size(here.disk_free_bytes)}"
    )


def probe_time(ms: float | None) -> str:
    """Return a probe's round trip for people: it is measured in whole milliseconds, smoothed."""
    return "<1 ms" if ms is not None and ms < 1 else milliseconds(ms)


def milliseconds(ms: float | None) -> str:
    """Return a latency for people: `-`, `12 µs`, `1.5 ms`, `340 ms`, `2.1 s`."""
    if ms is None:
        return "-"
    if ms < 0.9995:
        return f"{ms * 1000:.0f} µs"
    if ms < 999.5:
        return f"{ms:.1f} ms" if ms < 9.95 else f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s"


def size(count: float) -> str:
    """Return bytes for people, in steps of 1000: `0 B`, `999 B`, `1.5 kB`, `12 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.1f} {unit}" if unit != "B" and count < 9.95 else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(ms: int) -> str:
    """Return a duration for people in its two largest units: `59 s`, `2 min 5 s`, `3 d 4 h`."""
    seconds = ms // 1000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"
