"""`mesh moves`: what is being copied to other nodes, and to stop and go on with that."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from mesh.node.options import parse_address
from tools.admin import UnreachableError, admin_address, admin_option, fetch_document
from tools.kafka import json_option
from tools.screen import size
from tools.stop import command, data_option
from tools.view import printable

FORMAT = 1


@click.group(
    epilog="""\b
Examples:
  mesh moves list
  mesh moves pause --data ./n1
  mesh moves resume --data ./n1
"""
)
def moves() -> None:
    """Watch, stop and resume what brings replicas to other nodes."""


@moves.command(
    name="list",
    epilog="""\b
Examples:
  mesh moves list
  mesh moves list --json
""",
)
@admin_option
@json_option
def list_moves(*, admin: str, as_json: bool) -> None:
    """List the copies under way, as every member tells of those that it leads."""
    document = fetch_document(admin_address(admin))
    found = list(_moves_of(document))
    unreached = []
    for node in _rows(document, "nodes"):
        where = str(node.get("admin") or "")
        here = document.get("here")
        own = here.get("node_id") if isinstance(here, dict) else None
        if node.get("state") not in ("alive", "suspect") or node.get("node_id") == own:
            continue
        try:
            found += _moves_of(fetch_document(parse_address(where)))
        except (UnreachableError, ValueError):
            unreached.append(node.get("node_id"))
    if as_json:
        rows = {"format": FORMAT, "moves": found, "unreached": unreached}
        click.echo(json.dumps(rows))
        return
    for row in found:
        eta = row.get("eta_ms")
        left = "" if not isinstance(eta, int) else f", {eta / 1000:.0f} s left"
        click.echo(
            f"{printable(str(row['topic']))}-{row['partition']} to node {row['to']}: "
            f"{size(_count(row, 'bytes_left'))} of "
            f"{size(_count(row, 'bytes_total'))}{left}"
        )
    if not found:
        click.echo("nothing is being moved")
    for node_id in unreached:
        click.echo(f"node {node_id} does not tell what it moves", err=True)


@moves.command(
    epilog="""\b
Examples:
  mesh moves pause --data ./n1
"""
)
@data_option
def pause(*, data: str) -> None:
    """Begin no further copies, in the whole mesh, until they are resumed."""
    command(data, "pause_moves")
    click.echo("no more copies are begun; those under way end")


@moves.command(
    epilog="""\b
Examples:
  mesh moves resume --data ./n1
"""
)
@data_option
def resume(*, data: str) -> None:
    """Go on with what was paused."""
    command(data, "resume_moves")
    click.echo("copies go on")


def _moves_of(document: dict[str, object]) -> Iterable[dict[str, object]]:
    return _rows(document, "moves")


def _rows(document: dict[str, object], name: str) -> list[dict[str, object]]:
    rows = document.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _count(row: dict[str, object], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0
