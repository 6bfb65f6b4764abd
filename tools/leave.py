"""`mesh leave`: a node of this machine leaves its mesh for good, or a dead one counts as left."""

from __future__ import annotations

import click

from tools.stop import command, data_option, timeout_option, wait_for_end


@click.command(
    epilog="""\b
Examples:
  mesh leave --data ./n2
  mesh leave --data ./n1 --node 3

\b
A node that only stops (`mesh stop`, SIGTERM) is expected back. It speaks to the node over
control.sock in its data directory, so only the user that runs the node may.
"""
)
@data_option
@click.option(
    "--node",
    "node_id",
    metavar="ID",
    type=click.IntRange(min=1),
    help="Not that node itself, but this dead one, which will not come back.",
)
@timeout_option
def leave(*, data: str, node_id: int | None, timeout: float) -> None:
    """Leave the mesh for good: the others forget this node."""
    if node_id is not None:
        command(data, "expel", node=node_id)
        click.echo(f"node {node_id} counts as left")
        return
    command(data, "leave")
    kept = "it tells the others, and will end by itself"
    wait_for_end(data, timeout, "still leaves", kept)
    click.echo(f"the node on {data} has left its mesh")
