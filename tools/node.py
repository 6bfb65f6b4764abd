"""`mesh node`: options in, one line when ready, and a status for every way to fail."""

import errno
import os
import re
import time
from typing import TYPE_CHECKING

import click

from mesh.node.options import (
    Address,
    ControlSocketError,
    ListenError,
    NodeOptions,
    Ready,
    parse_address,
)
from tools.errors import CommandError, Exit, alone
from tools.options import node_options, node_settings, set_up_logs

if TYPE_CHECKING:
    from mesh.node.joining import JoinError
    from mesh.node.memory import BadMemoryError
    from mesh.node.mesh_port import ClashError, StrayError
    from mesh.runtime.ring import RingError


@click.command(
    epilog="""\b
Examples:
  mesh node
  mesh node --live --data ./n1 --listen 127.0.0.1:9192
  mesh node --data ./n2 --listen 127.0.0.1:9102 --join 127.0.0.1:9093
  mesh node --listen 0.0.0.0:9092 --advertise broker.example.org
  mesh node -o log.retention.hours=24 -o num.partitions=6
  MESH_DURABILITY=memory mesh node --config mesh.toml

\b
Every flag is also a variable (--log-level is MESH_LOG_LEVEL) and a key of the TOML file;
so is every Kafka name (MESH_LOG_RETENTION_MS, log.retention.ms = 1000). Flags win over
variables, variables over the file.
"""
)
@click.option("--data", metavar="DIR", help="All of this node; made if needed. [./mesh-data]")
@click.option("--listen", metavar="HOST:PORT", help="For Kafka clients. [127.0.0.1:9092]")
@click.option(
    "--admin-listen",
    metavar="HOST:PORT",
    help="For metrics, health and status. [127.0.0.1, two ports after --listen]",
)
@click.option(
    "--join", metavar="HOST:PORT", multiple=True, help="A member's peer port; then remembered."
)
@click.option("--node-id", metavar="ID", help="That a new member would have. [the next one]")
@click.option(
    "--peer-listen",
    metavar="HOST:PORT",
    help="For other members, UDP and TCP. [loopback, one port after --listen]",
)
@click.option(
    "--cluster-key-file",
    metavar="FILE",
    help="Keys that seal what members say; `mesh key new FILE` makes one.",
)
@click.option(
    "--insecure-peers", is_flag=True, help="Let other machines reach a peer port without a key."
)
@click.option("--profile", metavar="local|lan|wan", help="Times of the gossip. [by --peer-listen]")
@click.option("--advertise", metavar="HOST[:PORT]", help="What clients are told. [as --listen]")
@click.option("--rack", metavar="NAME", help="Failure domain, told to clients.")
@click.option("--host", metavar="NAME", help="Failure domain below the rack. [host name]")
@click.option("--weight", metavar="NUMBER", help="Share of partitions beside others. [100]")
@click.option(
    "--durability",
    metavar="disk|memory",
    help="acks=all answers when the disk has it, or the page cache. [disk]",
)
@click.option(
    "-o", "assignments", metavar="NAME=VALUE", multiple=True, help="A Kafka broker config."
)
@click.option("--config", metavar="FILE", envvar="MESH_CONFIG", help="Options in TOML.")
@click.option("--log-level", metavar="debug|info|warning|error", help="[info]")
@click.option("--log-format", metavar="text|json", help="[text]")
@click.option("--live", is_flag=True, help="Show what the node does, on this screen.")
def node(
    *,
    assignments: tuple[str, ...],
    config: str | None,
    live: bool,
    join: tuple[str, ...],
    insecure_peers: bool,
    **flags: str | None,
) -> None:
    """Run one node until SIGTERM or Ctrl-C.

    On an empty directory it founds a mesh of one, or becomes a member where --join says.
    """
    flags |= {"join": ",".join(join) or None, "insecure_peers": "true" if insecure_peers else None}
    named = {name.replace("_", "-"): value for name, value in flags.items()}
    settings = node_settings(named, assignments, os.environ, config)
    options = node_options(settings)
    debug = bool(click.get_current_context().find_root().params.get("debug"))
    set_up_logs(settings, traces=debug)
    serve_until_stopped(options, live=live)


def serve_until_stopped(options: NodeOptions, *, live: bool) -> None:
    """Run the node in this process; returns after it has drained and synced.

    Raises:
        CommandError: it could not start, or had to stop.
    """
    import trio  # after the options were checked, so that a wrong flag is told at once

    from mesh.node.serve import serve

    async def announce(news: Ready) -> None:
        try:
            click.echo(ready_line(news, ms_since_exec()))
            if live:
                from tools.screen import watch

                await watch(news)
        except OSError:
            pass  # Whoever read our lines went away; clients are still here.

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            # In a task, so that the node already listens for SIGTERM when the line is read.
            await serve(options, ready=lambda news: nursery.start_soon(announce, news))
            nursery.cancel_scope.cancel()

    try:
        trio.run(run)
    except BaseExceptionGroup as group:  # whatever leaves a nursery comes in one
        explained = explain(alone(group), options)
        if explained is None:
            raise
        raise explained from group


def explain(error: BaseException, options: NodeOptions) -> CommandError | None:
    """Return what a failure of the node means for whoever started it; None if it is our fault."""
    from mesh.node.founding import ForeignDirectoryError
    from mesh.node.joining import JoinError
    from mesh.node.memory import BadMemoryError
    from mesh.node.mesh_port import ClashError, StrayError
    from mesh.node.serve import OldDirectoryError
    from mesh.registry import DamagedRecordError, NewerRecordError, UnfitNodeError
    from mesh.runtime.ring import RingError
    from storage.disk import DiskError, Locked, SyncFailed
    from storage.errors import JournalError, LogError, NewerFormat

    data = options.data_directory
    match error:
        case ListenError() | RingError():
            return _cannot_listen(error)
        case ControlSocketError():
            return CommandError(
                f"the data directory {data} cannot be used: {error}",
                status=Exit.DISK,
                do="see what is there, or use a directory on a file system that takes sockets",
            )
        case StrayError():
            return _stray(error, data)
        case OldDirectoryError():
            return _old_directory(error, data)
        case JoinError() | ClashError() | BadMemoryError():
            return _no_member(error, data)
        case Locked():
            return _locked(data)
        case SyncFailed():
            return CommandError(
                f"a sync to disk failed, so the node stopped: {error}",
                status=Exit.DISK,
                kept="what was acknowledged with acks=all before is on disk",
                do="see the kernel's log for the disk; then start the node again",
            )
        case DiskError():
            return CommandError(
                f"the disk cannot be used: {error}",
                status=Exit.DISK,
                do="see that the directory is there, may be written and has room",
            )
        case UnfitNodeError():
            return CommandError(
                f"this node cannot be a member of its mesh: {error}",
                status=Exit.DATA,
                kept="nothing was changed",
                do="start it with the release and the directory that the mesh knows",
            )
        case NewerFormat() | NewerRecordError():
            return CommandError(
                f"the data directory {data} is not ours to open: {error}",
                status=Exit.DATA,
                kept="nothing was touched",
                do="start it with the release that wrote it, or a later one",
            )
        case JournalError():
            return _promises_unknown(error)
        case LogError() | ForeignDirectoryError() | DamagedRecordError():
            return CommandError(
                f"the data in {data} cannot be used: {error}",
                status=Exit.DATA,
                kept="nothing was changed",
                do="bring the file back from a copy",
            )
        case _:
            return None


def _promises_unknown(error: BaseException) -> CommandError:
    return CommandError(
        f"what this node promised the mesh is not known: {error}",
        status=Exit.DATA,
        kept="nothing was changed; the logs are as they were",
        do="bring the file back from a copy that is not older; without it this directory "
        "must not serve again, or what others count on could be lost",
    )


def _locked(data: str) -> CommandError:
    return CommandError(
        f"another process runs on the data directory {data}",
        status=Exit.LOCKED,
        kept="nothing was touched",
        do="stop it, or give this node a directory of its own with --data DIR",
    )


def _old_directory(error: Exception, data: str) -> CommandError:
    return CommandError(
        f"the data directory {data} cannot be used: {error}",
        status=Exit.DATA,
        kept="nothing more is written to it",
        do="start the node on the newest copy; without one, join as a new node with an empty "
        "directory, and have the mesh forget this one (`mesh leave --node ID`)",
    )


def _stray(error: "StrayError", data: str) -> CommandError:
    """Say what to do where a mesh was founded that nobody may have wanted."""
    forget = f"have that one forget it (`mesh leave --data THEIRS --node {error.node_id}`)"
    if error.node_id == 1:
        do = (
            "start it on the directory that it had. If that is lost, let it join as a new node "
            f"(`mesh node --join MEMBER`), and {forget}"
        )
    else:
        do = (
            f"join that mesh with an empty directory and --join {error.address}; if a mesh of its "
            f"own is meant, {forget}, and start it again"
        )
    return CommandError(
        f"this node founded a mesh of its own on {data}, but {error}",
        status=Exit.DATA,
        kept=f"what clients wrote to it meanwhile is in {data}",
        do=do,
    )


def _no_member(error: "JoinError | ClashError | BadMemoryError", data: str) -> CommandError:
    from mesh.node.memory import BadMemoryError
    from mesh.node.mesh_port import ClashError

    if isinstance(error, ClashError):
        return CommandError(
            f"this node must not run: {error}",
            status=Exit.LOCKED,
            kept="the other process goes on; nothing here was changed",
            do="if this data directory is a copy, remove it and join with an empty one",
        )
    if isinstance(error, BadMemoryError):
        return CommandError(
            f"how often this node was started is not known: {error}",
            status=Exit.DATA,
            kept="nothing was changed",
            do="bring the file back from a copy, or write a start into it that is higher than any "
            "before",
        )
    told = "; ".join(f"{address} {reason}" for address, reason in error.reasons.items())
    if "cluster key" in told:
        do = "give --cluster-key-file what the members of that mesh give it, or nothing if they do"
        status = Exit.REFUSED
    elif error.refused:
        do = f"see that --join names the mesh that {data} belongs to, or use an empty directory"
        status = Exit.REFUSED
    else:
        do = "give --join the peer address of a member that runs (its ready line tells it)"
        status = Exit.CONNECT
    return CommandError(
        f"the mesh did not let this node in: {told}",
        status=status,
        kept="nothing was changed, here or there",
        do=do,
    )


def _cannot_listen(error: "ListenError | RingError") -> CommandError:
    kept = "no data was touched"
    if not isinstance(error, ListenError):
        do = "give --cluster-key-file a copy of the file that the other members have"
        return CommandError(str(error), status=Exit.USAGE, kept=kept, do=do)
    if error.cause.errno == errno.EADDRINUSE:
        wrong = f"another process already listens on {error.address}"
        do = f"stop it, or give this node another port with {error.option} HOST:PORT"
    else:
        wrong = str(error)
        do = f"give {error.option} an address of this machine and a port that you may use"
    return CommandError(wrong, status=Exit.LISTEN, kept=kept, do=do)


def ready_line(news: Ready, start_ms: float) -> str:
    """Return the one line that says the node serves; `parse_ready_line` reads it."""
    if news.listen is None:
        clients = "serves no clients yet"
    else:
        told = f" (told as {news.advertise})" if news.advertise != news.listen else ""
        clients = f"clients at {news.listen}{told}"
    return (
        f"node {news.node_id} is ready: {clients}, peers at {news.peer}, "
        f"admin at {news.admin}, "
        f"cluster {news.cluster_id}, started in {start_ms / 1000:.2f} s, "
        f"data in {news.data_directory}"
    )


def parse_ready_line(line: str) -> Address | None:
    """Return where the node listens; None if the line says something else."""
    found = re.match(r"node \d+ is ready: clients at (\S+?)(?:,| \()", line)
    return parse_address(found[1]) if found else None


def parse_admin_address(line: str) -> Address | None:
    """Return where the ready line says that the admin port is; None if it says nothing of it."""
    found = re.match(r"node \d+ is ready: .*?, admin at (\S+),", line)
    return parse_address(found[1]) if found else None


def parse_peer_address(line: str) -> Address | None:
    """Return where the ready line says that the peer port is; None if it says nothing of it."""
    found = re.match(r"node \d+ is ready: .*?, peers at (\S+),", line)
    return parse_address(found[1]) if found else None


def ms_since_exec() -> float:
    """Return the milliseconds since this process was made; the kernel counts in steps of 10."""
    with open("/proc/self/stat", "rb") as file:
        # Field 22 of proc(5), counted after the name, which may hold spaces and brackets.
        started_ticks = int(file.read().rpartition(b")")[2].split()[19])
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return max(0.0, uptime_s - started_ticks / os.sysconf("SC_CLK_TCK")) * 1000
