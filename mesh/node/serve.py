"""From options to a running node: its ports, its data directory, its tasks, and its end."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from uuid import UUID

import trio

from mesh.model.errors import KafkaError
from mesh.model.limits import DRAIN_MS_MAX
from mesh.model.statistics import Statistics
from mesh.model.types import NodeId, Now
from mesh.node.admin import Admin
from mesh.node.control import Control
from mesh.node.core import Node
from mesh.node.driver import Driver
from mesh.node.founding import identify
from mesh.node.loggers import ProcessLoggers
from mesh.node.member import (
    is_of_member,
    listen,
    listen_locally,
    news_of,
    node_facts,
    serve_member,
    side_commands,
)
from mesh.node.membership import RefusedClaimError
from mesh.node.mesh_port import MeshSide, PeerPort, open_peer_port
from mesh.node.options import Address, NodeOptions, Ready, default_admin
from mesh.node.start import open_node
from mesh.node.statistics import Collector, tell_of_the_start
from mesh.node.store import Store, make_directories, run_together
from mesh.runtime.ports import Listener, Runtime
from mesh.runtime.trio_runtime import TrioRuntime
from storage.disk import Disk, OsDisk
from storage.meta import FILE_NAME as META_NAME
from storage.meta import Meta

log = logging.getLogger("mesh.node")


async def serve(
    options: NodeOptions,
    *,
    ready: Callable[[Ready], None],
    runtime: Runtime | None = None,
    disk: Disk | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT; then drain, sync, and return.

    Args:
        options: what the node is told.
        ready: called once clients can connect, or, at a node that serves none, once it runs.
        runtime: the world; the real one if not given.
        disk: where the data directory is; the real one if not given.

    Raises:
        ListenError: a listener could not be bound; no data was touched.
        RingError: there are no keys in the cluster key file; no data was touched.
        JoinError: the mesh that it was to join does not let it in; no data was touched.
        ClashError: another process runs as this node.
        StrayError: it founded a mesh where another one knows a member of its own.
        ControlSocketError: the data directory takes no Unix socket.
        Locked, ForeignDirectoryError, BadMeta, BadMemoryError, DamagedLog, DamagedRecordError,
        UnfitNodeError, ReadOnly, DiskError: the data directory cannot be used.
        SyncFailed: a sync failed while serving; what was acknowledged is on disk.
    """
    runtime = TrioRuntime() if runtime is None else runtime
    runtime.raise_file_limit()
    disk = OsDisk() if disk is None else disk
    joins = bool(options.join) and not disk.exists(f"{options.data_directory}/{META_NAME}")
    is_member = joins or is_of_member(disk, options.data_directory)
    admin_address = options.admin_listen or default_admin(options.listen)
    with contextlib.ExitStack() as listeners:
        listener = None
        if not is_member:
            listener = await listen(runtime, options.listen, "--listen")
            listeners.callback(listener.close)
        admin = await listen(runtime, admin_address, "--admin-listen")
        listeners.callback(admin.close)
        port = await open_peer_port(runtime, options)
        listeners.callback(port.close)
        make_directories(disk, options.data_directory)
        lock = disk.lock(f"{options.data_directory}/.lock")
        try:
            if listener is None:
                await serve_member(admin, port, options, ready, runtime, disk)
            else:
                await _serve_on(listener, admin, port, options, ready, runtime, disk)
        finally:
            lock.release()


class _FounderClaims:
    """Hands out node ids from the registry of the founder."""

    def __init__(self, node: Node, driver: Driver, runtime: Runtime) -> None:
        self._node = node
        self._driver = driver
        self._runtime = runtime

    def claim(self, directory_id: bytes, wanted: NodeId | None) -> NodeId | None:
        """Return the id of a directory once that is durable."""
        try:
            given, effects = self._node.claim_node_id(
                str(UUID(bytes=directory_id)), wanted, self._runtime.now()
            )
        except KafkaError as error:
            raise RefusedClaimError(f"the registry does not take the claim: {error}") from error
        self._driver.carry_out(effects)
        return given


async def _serve_on(
    listener: Listener,
    admin: Listener,
    port: PeerPort,
    options: NodeOptions,
    ready: Callable[[Ready], None],
    runtime: Runtime,
    disk: Disk,
) -> None:
    """Serve with the listeners bound and the data directory ours."""
    bound = Address(options.listen.host, listener.port)
    advertised = options.advertise or bound
    advertised = Address(advertised.host, advertised.port or bound.port)
    meta = identify(disk, options.data_directory, runtime.entropy)
    store = Store(disk, options.data_directory)
    rng = random.Random(runtime.entropy(32))
    boot_id = runtime.boot_id()
    node = open_node(store, meta, options, advertised, rng, runtime.now(), boot_id)
    node.broker.loggers = ProcessLoggers()
    facts, admin_at = node_facts(meta, options, str(advertised)), Address(admin.host, admin.port)
    local = await listen_locally(runtime, options.data_directory)
    # Signals are caught before anybody hears that we are ready, and may send one.
    with contextlib.closing(local), runtime.stop_signals() as stop_signal:
        async with trio.open_nursery() as nursery:
            driver = Driver(node, runtime, nursery)
            driver.carry_out(node.begin(runtime.now()))
            side = _side(options, meta, port, runtime, disk, admin_at, advertised, node, driver)
            control = Control(local, side_commands(side))
            world = (store.disk_bytes, runtime.usage, runtime.now())
            collector = Collector(node, facts, driver.flow, *world, side.facts)

            def picture() -> Statistics:
                return collector.statistics(runtime.now())

            def watch(now: Now) -> None:
                collector.watch(now)
                side.look(picture)

            nursery.start_soon(driver.keep_time)
            nursery.start_soon(driver.sweep, watch)
            accepting = trio.CancelScope()
            nursery.start_soon(driver.accept, listener, accepting)
            nursery.start_soon(control.serve)
            nursery.start_soon(Admin(admin, runtime, picture).serve)
            side.start(nursery)
            nursery.start_soon(side.failing)
            tell_of_the_start(node, was_clean=store.was_clean, wall_ms=runtime.now().wall_ms)
            ready(
                news_of(meta, options, port, admin_at, picture, listen=bound, advertise=advertised)
            )
            cause = await control.stopping(stop_signal)
            log.info("stopping on %s: draining", cause)
            node.meter.tape.add(runtime.now().wall_ms, "stopping", cause)
            side.drain()
            accepting.cancel()
            listener.close()
            with trio.move_on_after(DRAIN_MS_MAX / 1000):
                await driver.drain()
            finished = await driver.finish_rounds()
            nursery.cancel_scope.cancel()
    if not finished:
        log.warning("a full disk keeps the end from being a clean one; the next start recovers")
        return
    await runtime.in_thread(lambda: node.close(boot_id, run_together))


def _side(
    options: NodeOptions,
    meta: Meta,
    port: PeerPort,
    runtime: Runtime,
    disk: Disk,
    admin: Address,
    advertised: Address,
    node: Node,
    driver: Driver,
) -> MeshSide:
    """Return the founder's side of the mesh: it gives node ids, and serves clients."""
    return MeshSide(
        options,
        meta,
        port,
        runtime,
        disk,
        kafka=str(advertised),
        admin=str(admin),
        claims=_FounderClaims(node, driver, runtime),
        note=lambda kind, text: node.meter.tape.add(runtime.now().wall_ms, kind, text),
        is_empty=lambda: not node.broker.registry.topics,
    )
