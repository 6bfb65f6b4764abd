"""`mesh status`: is it well, and if not, why; for people, for scripts, and for whoever waits."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence

import click

from mesh.node.options import Address
from tools.admin import UnreachableError, admin_address, admin_option, fetch_document
from tools.errors import Exit
from tools.kafka import json_option
from tools.matrix import matrix_lines
from tools.screen import duration, milliseconds, probe_time, size, state_of, view_line
from tools.view import NodeView, View, view_untrusted

WATCH_S = 1.0
POLL_S = 0.1
GROUPS_TOLD_MAX = 5
"""Groups that something blocks; `mesh top` shows more of them."""


@click.command(
    epilog="""\b
Examples:
  mesh status
  mesh status --json | jq .reasons
  mesh status --watch
  mesh status --matrix | less -S
  mesh status --exit-when-healthy --timeout 30 && run-the-job
  mesh status --admin 10.0.0.7:9094

\b
The exit status is 10 if the mesh is not healthy. The names in the JSON document are kept:
docs/architecture.md.
"""
)
@admin_option
@json_option
@click.option(
    "--matrix",
    is_flag=True,
    help="Draw who reaches whom whole, however wide; else what fits, or what is wrong.",
)
@click.option("--watch", is_flag=True, help="Tell it anew every second, until Ctrl-C.")
@click.option("--exit-when-healthy", is_flag=True, help="Wait until it is, also for the node.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=86_400),
    default=60.0,
    show_default=True,
    help="How long --exit-when-healthy waits.",
)
def status(
    *,
    admin: str,
    as_json: bool,
    matrix: bool,
    watch: bool,
    exit_when_healthy: bool,
    timeout: float,
) -> int:
    """Tell whether the mesh is healthy, as a node of it sees it."""
    if watch and exit_when_healthy:
        raise click.UsageError("--watch and --exit-when-healthy exclude each other")
    address = admin_address(admin)
    if watch:
        try:
            _watch(address, as_json=as_json, matrix=matrix)
        except KeyboardInterrupt:
            return Exit.OK  # Which is how it is meant to end.
    document = _wait(address, timeout) if exit_when_healthy else fetch_document(address)
    _tell(document, as_json=as_json, matrix=matrix)
    return Exit.OK if document["healthy"] else Exit.UNHEALTHY


def _tell(document: dict[str, object], *, as_json: bool, matrix: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        click.echo("\n".join(status_lines(view_untrusted(document), whole_matrix=matrix)))


def _wait(address: Address, timeout_s: float) -> dict[str, object]:
    """Return the document once it is healthy, or the last one when the time is up.

    Raises:
        UnreachableError: nobody answered to the end.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            document = fetch_document(address)
        except UnreachableError:
            if time.monotonic() >= deadline:
                raise
        else:
            if document["healthy"] or time.monotonic() >= deadline:
                return document
        time.sleep(POLL_S)


def _watch(address: Address, *, as_json: bool, matrix: bool) -> None:
    """Tell it every second, for ever; who is away for a while is waited for."""
    on_terminal = sys.stdout.isatty() and not as_json
    while True:
        try:
            document = fetch_document(address)
        except UnreachableError as error:
            if on_terminal:
                click.clear()
            click.echo(error.wrong, err=not on_terminal)
        else:
            if on_terminal:
                click.clear()
            _tell(document, as_json=as_json, matrix=matrix)
            if not as_json and not on_terminal:
                click.echo()
        sys.stdout.flush()
        time.sleep(WATCH_S)


MATRIX_LINES_MAX = 34
WHOLE = 1_000_000
"""Columns and lines in which every matrix fits."""


def status_lines(view: View, *, whole_matrix: bool = False) -> list[str]:
    """Return what people are told: the verdict, its reasons, and a line for each node.

    Args:
        view: what is told of.
        whole_matrix: draw who reaches whom also where it is wider or higher than a screen.
    """
    lines = [f"cluster {view.cluster_id}: {'healthy' if view.healthy else 'NOT healthy'}"]
    lines += [f"  {reason}" for reason in view.reasons]
    heads = ("node", "state", "clients at", "peers at", "probe", "leads", "holds", "in", "out")
    lines += _table([(*heads, "append p99", "sync p99", "disk free"), *map(_row, view.nodes)])
    lines.append(view_line(view))
    width, height = shutil.get_terminal_size().columns, MATRIX_LINES_MAX
    if whole_matrix:
        width = height = WHOLE
    lines += matrix_lines(view, width, height)
    lines += [f"{topic}-{index}: {reason}" for topic, index, reason in view.not_ok]
    here = view.here
    lines.append(
        f"node {here.node_id} is up {duration(view.uptime_ms)}, holds {here.topics:,} topics with "
        f"{here.partitions:,} partitions and {size(here.log_bytes)}, and has "
        f"{here.connections:,} connections"
    )
    return lines + _groups(view)


def _groups(view: View) -> list[str]:
    """Return what is told of groups: how many, and those that something blocks."""
    here = view.here
    if not here.group_count:
        return []
    states = ", ".join(f"{count:,} {state}" for state, count in here.groups_by_state.items())
    groups = f"{here.group_count:,} group{'s' * (here.group_count != 1)} ({states})"
    members = f"{here.group_members:,} member{'s' * (here.group_members != 1)}"
    lines = [f"{groups} with {members}"]
    for group in [group for group in view.groups if group.blocked_by][:GROUPS_TOLD_MAX]:
        lag = "" if group.lag is None else f" ({group.lag:,} records behind)"
        lines.append(f"  group {group.name}{lag}: {group.blocked_by}")
    return lines


def _row(node: NodeView) -> tuple[str, ...]:
    if node.disk_free_bytes is not None:
        disk_free = size(node.disk_free_bytes)
    else:
        disk_free = "-" if node.disk_free_percent is None else f"{node.disk_free_percent} %"
    return (
        str(node.node_id),
        state_of(node),
        node.address or "-",
        node.peer or "-",
        probe_time(node.probe_ms),
        "-" if node.leaders is None else f"{node.leaders:,}",
        "-" if node.replicas is None else f"{node.replicas:,}",
        "-" if node.in_mb_s is None else f"{size(node.in_mb_s * 1e6)}/s",
        "-" if node.out_mb_s is None else f"{size(node.out_mb_s * 1e6)}/s",
        milliseconds(node.append_p99_ms),
        milliseconds(node.sync_p99_ms),
        disk_free,
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
