"""A node that joined: until the registry is replicated it is a member, and serves no clients."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import trio

from mesh.model.histogram import Histogram
from mesh.model.statistics import NodeFacts, Rates, Statistics
from mesh.node.admin import Admin
from mesh.node.control import SOCKET_NAME, Command, Control, Fields, RefusedCommandError
from mesh.node.joining import JoinError, become_member
from mesh.node.mesh_port import MeshSide, PeerPort
from mesh.node.options import (
    Address,
    ControlSocketError,
    ListenError,
    NodeOptions,
    Ready,
)
from mesh.node.store import Store
from mesh.node.tape import Tape
from mesh.version import VERSION
from storage.disk import Disk, DiskError
from storage.meta import Meta, read_meta

if TYPE_CHECKING:
    from mesh.runtime.sealing import Seal
from mesh.runtime.ports import Listener, Runtime

log = logging.getLogger("mesh.node")

FOUNDER_ID = 1
WATCH_MS = 1_000
_NEVER = Histogram().latency()


def is_of_member(disk: Disk, directory: str) -> bool:
    """Whether a data directory is that of a node which joined.

    Raises:
        BadMeta, NewerFormat, DiskError: it is not known.
    """
    meta = read_meta(disk, directory)
    return meta is not None and meta.node_id != FOUNDER_ID


async def listen(runtime: Runtime, address: Address, option: str) -> Listener:
    """Bind and listen. Raises ListenError."""
    try:
        return await runtime.listen(*address)
    except OSError as error:
        raise ListenError(address, error, option) from error


async def listen_locally(runtime: Runtime, data_directory: str) -> Listener:
    """Listen for commands in the data directory. Raises ControlSocketError."""
    path = f"{data_directory}/{SOCKET_NAME}"
    try:
        return await runtime.listen_locally(path)
    except OSError as error:
        raise ControlSocketError(path, error) from error


def node_facts(meta: Meta, options: NodeOptions, address: str) -> NodeFacts:
    """Return what of a node does not change while it runs."""
    return NodeFacts(
        cluster_id=str(meta.cluster_id),
        node_id=meta.node_id,
        directory_id=str(meta.directory_id),
        address=address,
        host=options.host or platform.node(),
        rack=options.rack,
        version=VERSION,
    )


def side_commands(side: MeshSide) -> Mapping[str, Command]:
    """Return the commands that change a node's membership."""

    def expel(request: Mapping[str, object], peer: str) -> Fields:
        del peer
        node_id = request.get("node")
        if type(node_id) is not int:
            raise RefusedCommandError('`expel` needs a "node", the id of a dead member')
        try:
            side.expel(node_id)
        except ValueError as error:
            raise RefusedCommandError(str(error)) from None
        return {"node": node_id, "state": "left"}

    def leave(request: Mapping[str, object], peer: str) -> Fields:
        del request, peer
        raise RefusedCommandError(
            "node 1 holds all partitions and gives node ids, so it cannot leave its mesh yet"
        )

    def reload_keys(request: Mapping[str, object], peer: str) -> Fields:
        del request, peer
        try:
            return {"keys": list(side.reload_keys())}
        except ValueError as error:
            raise RefusedCommandError(str(error)) from None

    return {"expel": expel, "leave": leave, "reload_keys": reload_keys}


class _MemberCollector:
    """Takes pictures of a node that serves no clients."""

    def __init__(
        self, facts: NodeFacts, side: MeshSide, store: Store, runtime: Runtime, tape: Tape
    ) -> None:
        self._facts = facts
        self._side = side
        self._store = store
        self._runtime = runtime
        self._tape = tape
        self._started_ms = runtime.now().monotonic_ms
        self.draining = False

    def statistics(self) -> Statistics:
        now, usage = self._runtime.now(), self._runtime.usage()
        reasons: tuple[str, ...] = ()
        try:
            size, free = self._store.disk_bytes()
        except DiskError as error:
            size, free = 0, 0
            reasons = (f"the disk cannot be asked for its free room: {error}",)
        if not self._side.membership.joined:
            reasons += ("the mesh that this node is a member of is not found",)
        return Statistics(
            node=self._facts,
            at_ms=now.monotonic_ms,
            wall_ms=now.wall_ms,
            uptime_ms=now.monotonic_ms - self._started_ms,
            draining=self.draining,
            reasons=reasons,
            connections=0,
            requests_waiting=0,
            unsent_bytes=0,
            in_flight_bytes=0,
            topics=0,
            partitions=0,
            partitions_by_state={"leader": 0, "follower": 0, "leaderless": 0},
            partitions_not_ok=(),
            partitions_unsynced=0,
            producer_ids=0,
            registry_entries={"topics": 0, "node_ids": 0, "broker_configs": 0},
            log_bytes=0,
            disk_bytes=size,
            disk_free_bytes=free,
            resident_bytes=usage.resident_bytes,
            cpu_ms=usage.cpu_ms,
            connections_accepted=0,
            connections_failed=0,
            requests=0,
            requests_refused=0,
            bytes_in=0,
            bytes_out=0,
            records_in=0,
            syncs=0,
            elections=0,
            journal_rounds=0,
            errors={},
            recent=Rates(0.0, 0.0, 0.0, 0.0, 0.0),
            append=_NEVER,
            sync=_NEVER,
            apis=(),
            by_topic=(),
            events=self._tape.events(),
            view=self._side.facts(),
        )


def news_of(
    meta: Meta,
    options: NodeOptions,
    port: PeerPort,
    admin: Address,
    statistics: Callable[[], Statistics],
    *,
    listen: Address | None = None,
    advertise: Address | None = None,
) -> Ready:
    """Return what is told once a node runs; without a listener, that it serves no clients."""
    return Ready(
        node_id=meta.node_id,
        cluster_id=str(meta.cluster_id),
        listen=listen,
        admin=admin,
        peer=port.address,
        advertise=advertise,
        data_directory=options.data_directory,
        statistics=statistics,
    )


async def _identity(runtime: Runtime, disk: Disk, options: NodeOptions, seal: Seal | None) -> Meta:
    """Return who the data directory belongs to; an empty one becomes a member's first."""
    directory, wanted = options.data_directory, options.node_id
    meta = read_meta(disk, directory)
    if meta is None:
        return await become_member(runtime, disk, directory, options.join, wanted, seal)
    if wanted not in (None, meta.node_id):
        raise JoinError({directory: f"is the directory of node {meta.node_id}"})
    return meta


async def serve_member(
    admin: Listener,
    port: PeerPort,
    options: NodeOptions,
    ready: Callable[[Ready], None],
    runtime: Runtime,
    disk: Disk,
) -> None:
    """Serve with the ports bound and the data directory ours; an empty one is joined first.

    Raises:
        JoinError: the mesh does not let it in.
        ClashError: another process runs as this node.
        ControlSocketError, DiskError, BadMemoryError: the data directory cannot be used.
    """
    meta = await _identity(runtime, disk, options, port.seal)
    local = await listen_locally(runtime, options.data_directory)
    tape = Tape()
    admin_address = Address(admin.host, admin.port)
    side = MeshSide(
        options,
        meta,
        port,
        runtime,
        disk,
        kafka="",
        admin=str(admin_address),
        claims=None,
        note=lambda kind, text: tape.add(runtime.now().wall_ms, kind, text),
    )
    store = Store(disk, options.data_directory)
    collector = _MemberCollector(node_facts(meta, options, ""), side, store, runtime, tape)
    leaving = False

    def leave(request: Mapping[str, object], peer: str) -> Fields:
        nonlocal leaving
        del request
        leaving = True
        control.ask_stop(f"the command `leave` of {peer}")
        return {"state": "leaving"}

    control = Control(local, {**side_commands(side), "leave": leave})

    async def watch() -> None:
        while True:
            await runtime.sleep_until(runtime.now().monotonic_ms + WATCH_MS)
            side.look(collector.statistics)

    with contextlib.closing(local), runtime.stop_signals() as stop_signal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.serve)
            nursery.start_soon(Admin(admin, runtime, collector.statistics).serve)
            side.start(nursery)
            nursery.start_soon(side.failing)
            nursery.start_soon(watch)
            tape.add(runtime.now().wall_ms, "started", f"node {meta.node_id}")
            ready(news_of(meta, options, port, admin_address, collector.statistics))
            cause = await control.stopping(stop_signal)
            log.info("stopping on %s", cause)
            collector.draining = True
            if leaving:
                await side.leave()
            else:
                side.drain()
            nursery.cancel_scope.cancel()
