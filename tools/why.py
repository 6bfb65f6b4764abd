"""`mesh why node ID`: why a member is in the state that it is, as a node saw it happen."""

from __future__ import annotations

import json
import time

import click

from tools.admin import admin_address, admin_option, fetch_json, not_ours
from tools.errors import CommandError, Exit
from tools.kafka import json_option
from tools.screen import duration
from tools.view import BadStatusError, Table, printable

FORMAT = 1


@click.group(
    epilog="""\b
Examples:
  mesh why node 3
"""
)
def why() -> None:
    """Tell why something is as it is."""


@why.command(
    epilog="""\b
Examples:
  mesh why node 3
  mesh why node 3 --json | jq .because
  mesh why node 3 --admin 10.0.0.7:9094

\b
It is what one node saw since it was started; another one (--admin) may have seen more.
"""
)
@click.argument("node_id", metavar="ID", type=click.IntRange(1, 2**31 - 1))
@admin_option
@json_option
def node(*, node_id: int, admin: str, as_json: bool) -> int:
    """Tell why a member is alive, suspect, dead or gone: who says so, since when, what it said."""
    address = admin_address(admin)
    status, document = fetch_json(address, f"/why/{node_id}")
    if status != 200:
        raise CommandError(
            f"the node at {address} does not tell: {printable(str(document))}",
            status=Exit.REFUSED,
            do="`mesh status` lists its members; another node may remember more (--admin)",
        )
    try:
        lines = why_lines_untrusted(document)
    except BadStatusError as error:
        raise not_ours(address, str(error)) from error
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else "\n".join(lines))
    return Exit.OK


def why_lines_untrusted(document: object) -> list[str]:
    """Return what people are told of a document of `/why/ID`.

    Raises:
        BadStatusError: it is none, or one of a later format.
    """
    table = Table(document, "")
    if table.integer("format") != FORMAT:
        raise BadStatusError(f"it has format {table.integer('format')}, we know {FORMAT}")
    at_ms, since_ms = table.integer("at_ms"), table.integer_or_none("since_ms")
    since = "since before what is remembered"
    if since_ms is not None:
        since = f"since {_clock(since_ms)} ({duration(max(0, at_ms - since_ms))})"
    subject, seen_by = table.integer("node_id"), table.integer("told_by")
    lines = [f"node {subject} {_is(table.text('state'))}, {since}, as node {seen_by} sees it"]
    lines += [f"  {reason}" for reason in table.texts("because")]
    events = table.tables("events")
    if events:
        lines.append("what happened, as that node saw it:")
    lines += [
        f"  {_clock(event.integer('at_ms'))}  {event.text('kind'):<8}  {event.text('text')}"
        for event in events
    ]
    return lines


def _is(state: str) -> str:
    return "has left" if state == "left" else f"is {state}"


def _clock(wall_ms: int) -> str:
    """Return a time of day; with the date if it was another day. Raises BadStatusError."""
    try:
        then, now = time.localtime(wall_ms / 1000), time.localtime()
        return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)
    except (ValueError, OverflowError, OSError) as error:
        raise BadStatusError("a time in it is none") from error
