"""From options to a running node: its ports, its data directory, its tasks, and its end."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import trio

from mesh.model.errors import KafkaError
from mesh.model.limits import DRAIN_MS_MAX
from mesh.model.statistics import Statistics
from mesh.model.types import NodeId, Now
from mesh.node.admin import Admin
from mesh.node.control import Control, Fields
from mesh.node.core import Node
from mesh.node.driver import Driver
from mesh.node.link_port import LinkPort
from mesh.node.loggers import ProcessLoggers
from mesh.node.member import (
    identity,
    listen,
    listen_locally,
    news_of,
    node_facts,
    side_commands,
)
from mesh.node.membership import RefusedClaimError
from mesh.node.memory import Memory
from mesh.node.mesh_port import MeshSide, PeerPort, open_peer_port, remember_start
from mesh.node.neighbours import LEAVE_MS_MIN
from mesh.node.options import Address, NodeOptions, Ready, default_admin
from mesh.node.start import open_node
from mesh.node.statistics import Collector, tell_of_the_start
from mesh.node.store import Store, make_directories
from mesh.runtime.ports import Listener, Runtime
from mesh.runtime.trio_runtime import TrioRuntime
from storage.disk import Disk, OsDisk
from storage.meta import Meta

log = logging.getLogger("mesh.node")

POLL_MS = 10
CATCH_UP_MS_MAX = 5_000
"""A node that the mesh does not bring up to date by then serves with what it knows."""
HAND_OVER_MS_MAX = 3_000
"""A little more than a successor has to win."""
LINGER_MS_MAX = 300
"""For clients to make connections to those that lead now: librdkafka begins all over, for more than
a second, if its last one ends before it has another. Three times the back-off that clients have."""
GIVE_AWAY_MS_MAX = 3_600_000
"""For all that a node holds to be copied elsewhere before it leaves."""


class OldDirectoryError(Exception):
    """The data directory is an older copy of itself; the text says how that is known."""


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
    admin_address = options.admin_listen or default_admin(options.listen)
    with contextlib.ExitStack() as listeners:
        listener = await listen(runtime, options.listen, "--listen")
        listeners.callback(listener.close)
        admin = await listen(runtime, admin_address, "--admin-listen")
        listeners.callback(admin.close)
        port = await open_peer_port(runtime, options)
        listeners.callback(port.close)
        make_directories(disk, options.data_directory)
        lock = disk.lock(f"{options.data_directory}/.lock")
        try:
            await _Serving(listener, admin, port, options, ready, runtime, disk).run()
        finally:
            lock.release()


class _Claims:
    """Hands out node ids from the registry, wherever its shard is led."""

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


@dataclass
class _Serving:
    """Serves with the listeners bound and the data directory ours."""

    listener: Listener
    admin: Listener
    port: PeerPort
    options: NodeOptions
    ready: Callable[[Ready], None]
    runtime: Runtime
    disk: Disk
    leaving: bool = False
    _control: Control = field(init=False)

    async def run(self) -> None:
        """Open the node, serve until it is to stop, and close it."""
        runtime, options = self.runtime, self.options
        bound = Address(options.listen.host, self.listener.port)
        advertised = options.advertise or bound
        advertised = Address(advertised.host, advertised.port or bound.port)
        meta = await identity(runtime, self.disk, options, self.port.seal)
        store = Store(self.disk, options.data_directory)
        memory = remember_start(self.disk, options.data_directory)
        node = self._open(store, meta, memory, advertised)
        local = await listen_locally(runtime, options.data_directory)
        # Signals are caught before anybody hears that we are ready, and may send one.
        with contextlib.closing(local), runtime.stop_signals() as stop_signal:
            async with trio.open_nursery() as nursery:
                driver = Driver(node, runtime, nursery)
                side = self._side(meta, memory, node, driver, advertised)
                links = LinkPort(node, driver, runtime, nursery, self.port.address, self.port.seal)
                side.links = links
                control = Control(local, side_commands(side, self._leave, self._wall_ms))
                collector = Collector(
                    node,
                    node_facts(meta, options, str(advertised)),
                    driver.flow,
                    store.disk_bytes,
                    runtime.usage,
                    runtime.now(),
                    side.facts,
                )
                self._control = control

                def picture() -> Statistics:
                    return collector.statistics(runtime.now())

                driver.carry_out(node.begin(runtime.now()))
                side.start(nursery)
                nursery.start_soon(driver.keep_time)
                watch = self._watching(node, driver, side, collector, picture)
                nursery.start_soon(driver.sweep, watch)
                accepting = trio.CancelScope()
                nursery.start_soon(control.serve)
                nursery.start_soon(Admin(self.admin, runtime, picture).serve)
                nursery.start_soon(side.failing)
                now = runtime.now()
                tell_of_the_start(node, was_clean=store.was_clean, wall_ms=now.wall_ms)
                await self._catch_up(node)
                nursery.start_soon(driver.accept, self.listener, accepting)
                at = Address(self.admin.host, self.admin.port)
                self.ready(
                    news_of(
                        meta, options, self.port, at, picture, listen=bound, advertise=advertised
                    )
                )
                cause = await control.stopping(stop_signal)
                log.info("stopping on %s: draining", cause)
                node.meter.tape.add(runtime.now().wall_ms, "stopping", cause)
                finished = await self._end(node, driver, side, links, accepting)
                nursery.cancel_scope.cancel()
        if not finished:
            log.warning("a full disk keeps the end from being a clean one; the next start recovers")
            return
        await runtime.in_thread(lambda: node.close(runtime.boot_id(), runtime.run_together))

    def _open(self, store: Store, meta: Meta, memory: Memory, advertised: Address) -> Node:
        """Return the node, ready for its first event."""
        runtime, options = self.runtime, self.options
        node = open_node(
            store,
            meta,
            options,
            advertised,
            random.Random(runtime.entropy(32)),
            runtime.now(),
            runtime.boot_id(),
            start=memory.start,
            alone=not options.join and not memory.peers,
            together=runtime.run_together,
        )
        node.broker.loggers = ProcessLoggers()
        return node

    def _wall_ms(self) -> int:
        return self.runtime.now().wall_ms

    def _leave(self, request: Mapping[str, object], peer: str) -> Fields:
        """Leave for good: give everything away first."""
        del request
        self.leaving = True
        self._control.ask_stop(f"the command `leave` of {peer}")
        return {"state": "leaving"}

    def _side(
        self, meta: Meta, memory: Memory, node: Node, driver: Driver, advertised: Address
    ) -> MeshSide:
        """Return what makes the node a member."""
        runtime = self.runtime
        side = MeshSide(
            self.options,
            meta,
            self.port,
            runtime,
            self.disk,
            kafka=str(advertised),
            admin=str(Address(self.admin.host, self.admin.port)),
            claims=_Claims(node, driver, runtime),
            note=lambda kind, text: node.meter.tape.add(runtime.now().wall_ms, kind, text),
            memory=memory,
            is_empty=lambda: not node.broker.registry.topics,
        )

        def changed() -> None:
            driver.carry_out(node.neighbours.members_seen(side.members(), runtime.now()))

        side.changed = changed
        driver.give_up = lambda reason: side.stop(OldDirectoryError(reason))
        return side

    def _watching(
        self,
        node: Node,
        driver: Driver,
        side: MeshSide,
        collector: Collector,
        picture: Callable[[], Statistics],
    ) -> Callable[[Now], None]:
        def watch(now: Now) -> None:
            collector.watch(now)
            side.look(picture)
            members = side.members()
            if any(not member.is_live for member in members):  # One may be dead for long enough.
                driver.carry_out(node.neighbours.members_seen(members, now))

        return watch

    async def _catch_up(self, node: Node) -> None:
        """Wait until this node knows what the mesh knows: clients are to be told no old news."""
        until_ms = self.runtime.now().monotonic_ms + CATCH_UP_MS_MAX
        while not node.neighbours.is_caught_up and self.runtime.now().monotonic_ms < until_ms:
            await self.runtime.sleep_until(self.runtime.now().monotonic_ms + POLL_MS)

    async def _linger(self, node: Node, driver: Driver) -> None:
        """Go on telling clients who leads now, if anybody does, until they have gone there."""
        until_ms = self.runtime.now().monotonic_ms + LINGER_MS_MAX
        while (
            driver.has_clients
            and node.neighbours.has_others
            and self.runtime.now().monotonic_ms < until_ms
        ):
            await self.runtime.sleep_until(self.runtime.now().monotonic_ms + POLL_MS)

    async def _end(
        self,
        node: Node,
        driver: Driver,
        side: MeshSide,
        links: LinkPort,
        accepting: trio.CancelScope,
    ) -> bool:
        """Hand over, drain, and leave if that is wanted; say whether the end may be a clean one."""
        runtime = self.runtime
        if self.leaving:
            side.give_away()
            driver.carry_out(node.neighbours.members_seen(side.members(), runtime.now()))
            begun_ms = runtime.now().monotonic_ms
            await runtime.sleep_until(begun_ms + LEAVE_MS_MIN)
            while not node.neighbours.holds_nothing:
                if runtime.now().monotonic_ms >= begun_ms + GIVE_AWAY_MS_MAX:
                    log.warning("not left: others do not hold yet what is here; start it again")
                    self.leaving = False
                    break
                await runtime.sleep_until(runtime.now().monotonic_ms + POLL_MS)
        else:
            side.drain()
        driver.carry_out(node.neighbours.hand_over(runtime.now()))
        until_ms = runtime.now().monotonic_ms + HAND_OVER_MS_MAX
        while node.neighbours.is_handing_over and runtime.now().monotonic_ms < until_ms:
            await runtime.sleep_until(runtime.now().monotonic_ms + 5)
        await self._linger(node, driver)
        accepting.cancel()
        self.listener.close()
        with trio.move_on_after(DRAIN_MS_MAX / 1000):
            await driver.drain()
        if self.leaving:
            await side.leave()
        links.close()  # Or what others say would begin rounds for ever.
        return await driver.finish_rounds()
