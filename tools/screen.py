"""What `mesh node --live` shows: a small table on a terminal, plain lines anywhere else.

Everything is drawn from two `Statistics` snapshots; nothing here asks the node for more.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from mesh.model.statistics import Rates, Statistics, rates
from mesh.node.options import Ready

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

REDRAW_S = 0.5
LINE_S = 10.0


async def watch(ready: Ready) -> None:
    """Show the node's status until cancelled."""
    if sys.stdout.isatty():
        await _watch_on_terminal(ready)
    else:
        await _watch_in_lines(ready)


async def _watch_in_lines(ready: Ready) -> None:
    before = ready.statistics()
    while True:
        await trio.sleep(LINE_S)
        after = ready.statistics()
        if _moved(before, after):  # An idle node fills no log.
            click.echo(status_line(after, rates(before, after)))
        before = after


def _moved(before: Statistics, after: Statistics) -> bool:
    return (before.requests, before.connections) != (after.requests, after.connections)


async def _watch_on_terminal(ready: Ready) -> None:
    # Drawing goes to a thread: whoever stops the terminal (Ctrl-S) must not stop the node.
    in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
    live: Live = await in_thread(_start_live)
    try:
        before = ready.statistics()
        while True:
            after = ready.statistics()
            await in_thread(_draw, live, ready, after, rates(before, after))
            before = after
            await trio.sleep(REDRAW_S)
    finally:
        live.stop()


def _start_live() -> Live:
    from rich.live import Live  # 100 ms to import: after the node is ready, and only for a screen

    live = Live(auto_refresh=False)
    live.start()
    return live


def _draw(live: Live, ready: Ready, now: Statistics, change: Rates) -> None:
    live.update(table(ready, now, change), refresh=True)


def table(ready: Ready, now: Statistics, change: Rates) -> Table:
    """Return the screen: what the node is, what it does, what it holds."""
    from rich.table import Table

    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        grid.add_column(style="dim")
        grid.add_column(justify="right", min_width=14)  # so that nothing jumps as numbers grow
    grid.add_row("node", str(ready.node_id), "clients at", str(ready.advertise))
    grid.add_row("up", duration(now.uptime_ms), "connections", f"{now.connections:,}")
    grid.add_row("requests/s", f"{change.requests_s:,.0f}", "waiting", f"{now.requests_waiting:,}")
    grid.add_row(
        "in", size(change.bytes_in_s) + "/s", "records in/s", f"{change.records_in_s:,.0f}"
    )
    grid.add_row("out", size(change.bytes_out_s) + "/s", "syncs/s", f"{change.syncs_s:,.0f}")
    grid.add_row("topics", f"{now.topics:,}", "partitions", f"{now.partitions:,}")
    grid.add_row("logs", size(now.log_bytes), "disk free", size(now.disk_free_bytes))
    return grid


def status_line(now: Statistics, change: Rates) -> str:
    """Return the same in one line."""
    return (
        f"up {duration(now.uptime_ms)}, {now.connections:,} connections, "
        f"{change.requests_s:,.0f} requests/s, in {size(change.bytes_in_s)}/s, "
        f"out {size(change.bytes_out_s)}/s, {now.topics:,} topics, "
        f"{now.partitions:,} partitions, logs {size(now.log_bytes)}, "
        f"disk free {size(now.disk_free_bytes)}"
    )


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
