"""The trio program around the core: sockets, disk completions and deadlines become events.

One nursery, one task per connection that receives; an answer is sent by whoever has it, and only
what the kernel does not take at once goes to a task of its own. Only fsync and other blocking
disk work run in threads.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Callable, Sequence
from struct import Struct
from typing import assert_never, cast

import trio

from mesh.model.limits import (
    DRAIN_MS_MAX,
    FRAME_STALL_MS,
    RECEIVE_BYTES,
    REMOVAL_THREADS_MAX,
    REQUESTS_AT_ONCE_MAX,
    SWEEP_MS,
    SYNC_THREADS_MAX,
)
from mesh.model.types import Now
from mesh.node.admission import Admission
from mesh.node.budget import SMALL_FRAME_BYTES_MAX, Budget, Reservation
from mesh.node.compactor import Compact
from mesh.node.connection import Connection
from mesh.node.core import Node
from mesh.node.effects import (
    Effect,
    GiveUp,
    HangUp,
    Send,
    Sync,
    Tell,
    WantLinks,
    Work,
    WriteJournal,
)
from mesh.node.statistics import Flow
from mesh.runtime.ports import Listener, Outgoing, Runtime, Stream
from storage.disk import DiskError, DiskFull
from storage.journal import JournalTicket

log = logging.getLogger("mesh.node")

SLOW_SYNC_US = 1_000_000
"""A sync round that took longer is told on the event tape."""
STALL_MS = 5_000
"""A disk that has not finished a round by then keeps this node from leading."""
FULL_DISK_MS = 500
"""How long a round of the journal waits before it looks again whether there is room."""
LENGTH_BYTES = 4
_LENGTH = Struct(">i")


class _HungUp(Exception):
    """This side ends the connection; the argument is the cause."""


class _Client:
    """A connection as the driver sees it."""

    __slots__ = ("connection", "head", "in_frame", "last_ms", "out", "resume", "stream", "unsent")

    def __init__(self, stream: Stream, connection: Connection, now_ms: int) -> None:
        self.stream = stream
        self.connection = connection
        self.head = b""
        """Up to three bytes of a length prefix that came in pieces."""
        self.in_frame = False
        self.last_ms = now_ms
        """When bytes last moved, or an answer was still due."""
        self.out: list[Outgoing] = []
        """What the kernel did not take at once; a task is sending it."""
        self.unsent = 0
        """Bytes of `out` when the sweep last looked."""
        self.resume = trio.Event()
        """Set when answers have left; the receiver may look again whether it may go on."""


class Driver:
    """Runs one node on a runtime."""

    def __init__(self, node: Node, runtime: Runtime, nursery: trio.Nursery) -> None:
        """Its tasks live in `nursery`."""
        self._node = node
        self._runtime = runtime
        self._nursery = nursery
        config = node.broker.config
        self._budget = Budget(config.requests_bytes_max)
        self._idle_ms = config.connection_idle_ms_max
        self._frame_bytes_max = min(config.request_bytes_max, self._budget.capacity)
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._clients: dict[Connection, _Client] = {}
        self._draining = False
        self._admission = Admission()
        self._room = trio.Event()
        """Set when a connection has ended, or the bound on them may have changed."""
        self._removals = trio.Semaphore(REMOVAL_THREADS_MAX)
        self._timer_scope = trio.CancelScope()
        self._timer_at_ms = self._started_ms = runtime.now().monotonic_ms
        self._sync_begun_ms: int | None = None
        self._waits_for_room = False
        """Whether a round of the journal has found the disk full, and is tried again and again."""
        self.tell: Callable[[Tell], None] = _no_links
        """Sends a frame over a link."""
        self.want_links: Callable[[WantLinks], None] = _no_links
        """Takes which links there should be."""
        self.give_up: Callable[[str], None] = _ignore
        """Stops the node, for this reason."""
        self._accepted = self._failed = self._bytes_in = self._bytes_out = self._syncs = 0

    # Accepting

    async def accept(self, listener: Listener, scope: trio.CancelScope) -> None:
        """Serve every connection that arrives, until `scope` is cancelled."""
        with scope:
            while True:
                stream = await listener.accept()
                # Looked at only now: the bound may have been lowered meanwhile.
                while not self._admission.has_room(self._node.broker.config):
                    self._room = trio.Event()
                    await self._room.wait()
                self._accepted += 1
                refusal = self._admission.admit(stream.peer, self._node.broker.config)
                if refusal is None:
                    self._nursery.start_soon(self._serve, stream)
                else:
                    self._note_failure(stream.peer, refusal)
                    stream.close()

    async def _serve(self, stream: Stream) -> None:
        now_ms = self._runtime.now().monotonic_ms
        connection = self._node.connected(stream.peer)
        client = _Client(stream, connection, now_ms)
        self._clients[connection] = client
        try:
            while not connection.closed:
                await self._receive(client)
        except _HungUp as error:
            self._note_failure(stream.peer, str(error))
        except (OSError, trio.ClosedResourceError):
            pass  # The peer went away, or we closed it and said so.
        finally:
            self._node.closed(connection)
            del self._clients[connection]
            stream.close()
            self._admission.leave(stream.peer)
            self._room.set()

    # Receiving

    async def _receive(self, client: _Client) -> None:
        """Take what has arrived, and hand every whole frame of it to the core."""
        stream, head = client.stream, client.head
        await stream.readable()
        if client.out or client.connection.full or self._draining:
            await self._wait_for_turn(client)
        # When memory is tight nothing leaves the kernel that has no place reserved here.
        tight = self._budget.tight
        view = room = self._scratch
        if head:
            view[: len(head)] = head
            room = view[len(head) :]
        try:
            count = stream.receive_into(room, peek=tight)
        except BlockingIOError:
            return
        now = self._runtime.now()
        client.last_ms = now.monotonic_ms
        if count == 0:
            raise OSError("the peer closed the connection")
        frames_max = REQUESTS_AT_ONCE_MAX if tight else RECEIVE_BYTES  # All, that is.
        frames, used, length = self._split(view[: len(head) + count], frames_max)
        rest = len(head) + count - used
        client.head = b""
        if tight:
            # Of what follows a length goes along, or a piece of one; never a frame.
            rest = min(rest, LENGTH_BYTES - (length is None))
            if len(frames) == frames_max:
                rest = 0
            stream.receive_into(view[len(head) : used + rest])
        if length is None:
            client.head = bytes(view[used : used + rest])
        self._bytes_in += used
        begun = view[used + LENGTH_BYTES : used + rest]
        if len(frames) > REQUESTS_AT_ONCE_MAX:
            begun = memoryview(bytes(begun))
            await self._hand_over_many(client, frames)
        elif frames:
            self._take(client, frames, now)
        if length is not None and not client.connection.closed:
            await self._receive_long(client, length, begun)

    async def _wait_for_turn(self, client: _Client) -> None:
        """Wait until answers have left and fewer are outstanding; when the node stops, for ever."""
        while client.out or client.connection.full:
            client.resume = trio.Event()
            await client.resume.wait()
        if self._draining:
            await trio.sleep_forever()  # No new requests; what waits is still answered.

    async def _hand_over_many(self, client: _Client, frames: list[memoryview]) -> None:
        """Have requests that lie in the shared buffer handled, a few at a time."""
        now = self._runtime.now()
        with trio.CancelScope() as scope:
            kept = Reservation(RECEIVE_BYTES, granted=_nothing, evict=scope.cancel)
            kept.received = kept.length
            self._budget.take(kept, now.monotonic_ms)
            try:
                # The first are handled where they are, the others are copied out of the way.
                frames[REQUESTS_AT_ONCE_MAX:] = [
                    memoryview(bytearray(frame)) for frame in frames[REQUESTS_AT_ONCE_MAX:]
                ]
                while frames and not client.connection.closed:
                    some = frames[:REQUESTS_AT_ONCE_MAX]
                    del frames[:REQUESTS_AT_ONCE_MAX]
                    self._take(client, some, self._runtime.now())
                    await trio.lowlevel.checkpoint()
                    await self._wait_for_turn(client)
            finally:
                self._budget.release(kept, self._runtime.now().monotonic_ms)
        if scope.cancelled_caught:
            raise _HungUp("it leaves its answers unread while others wait for memory")

    def _split(self, view: memoryview, frames_max: int) -> tuple[list[memoryview], int, int | None]:
        """Return whole frames, the bytes they take, and the length of one that has only begun."""
        frames: list[memoryview] = []
        position, size = 0, len(view)
        while size - position >= LENGTH_BYTES and len(frames) < frames_max:
            (length,) = _LENGTH.unpack_from(view, position)
            if not 0 <= length <= self._frame_bytes_max:
                # TLS and HTTP look like lengths, too: say what the bytes were taken for.
                raise _HungUp(
                    f"a frame announces {length} bytes; the bounds are 0 and "
                    f"{self._frame_bytes_max} (socket.request.max.bytes, "
                    f"queued.max.request.bytes)"
                )
            end = position + LENGTH_BYTES + length
            if end > size:
                return frames, position, length
            frames.append(view[position + LENGTH_BYTES : end])
            position = end
        return frames, position, None

    async def _receive_long(self, client: _Client, length: int, begun: memoryview) -> None:
        """Receive the rest of a frame into memory of its own, once that is reserved.

        `begun`, its first bytes, lies in the shared buffer, which the next await gives away.
        """
        admitted = trio.Event()
        with trio.CancelScope() as scope:
            reservation = Reservation(length, granted=admitted.set, evict=scope.cancel)
            self._budget.request(reservation, self._runtime.now().monotonic_ms)
            try:
                if not admitted.is_set():
                    begun = memoryview(bytes(begun))
                    await admitted.wait()
                client.in_frame = True
                frame = room_for(length)
                have = len(begun)
                frame[:have] = begun
                client.last_ms = self._runtime.now().monotonic_ms
                while have < length:
                    await client.stream.readable()
                    try:
                        count = client.stream.receive_into(frame[have:])
                    except BlockingIOError:
                        continue
                    if count == 0:
                        raise OSError("the peer closed the connection inside a frame")
                    have += count
                    reservation.received = have
                    client.last_ms = self._runtime.now().monotonic_ms
                self._bytes_in += LENGTH_BYTES + length
                self._take(client, [frame], self._runtime.now())
            finally:
                client.in_frame = False
                self._budget.release(reservation, self._runtime.now().monotonic_ms)
        if scope.cancelled_caught:
            raise _HungUp(f"it stalled in a frame of {length} bytes while others wait for memory")

    def _take(self, client: _Client, frames: Sequence[memoryview], now: Now) -> None:
        """Have requests handled; what appended anything counts as an append of so long."""
        broker, meter, ticks_ns = self._node.broker, self._node.meter, self._runtime.ticks_ns
        records_before = broker.records_in_count
        meter.begun_ns = ticks_ns()
        effects = self._node.frames(client.connection, frames, now)
        if broker.records_in_count != records_before:
            meter.append.observe((ticks_ns() - meter.begun_ns) // 1000)
        self.carry_out(effects)

    # Effects

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the core decided, in its order."""
        for effect in effects:
            if isinstance(effect, Send):  # The hot one; `match` costs a microsecond more.
                if (client := self._clients.get(effect.connection)) is not None:
                    # The core makes no other parts than these.
                    self._send(client, cast("list[Outgoing]", effect.parts))
            elif isinstance(effect, Tell):
                self.tell(effect)
            elif isinstance(effect, Sync):
                self._nursery.start_soon(self._sync, effect)
            elif isinstance(effect, WriteJournal):
                self._nursery.start_soon(self._write_journal, effect)
            elif isinstance(effect, HangUp):
                if (client := self._clients.get(effect.connection)) is not None:
                    self._note_failure(client.stream.peer, effect.cause)
                    self._close(client)
            elif isinstance(effect, Work):
                self._nursery.start_soon(self._work, effect)
            elif isinstance(effect, WantLinks):
                self.want_links(effect)
            elif isinstance(effect, GiveUp):
                self.give_up(effect.reason)
            elif isinstance(effect, Compact):
                self._nursery.start_soon(self._compact, effect)
            else:
                assert_never(effect)
        if self._node.meter.left:
            self._node.meter.settle(self._runtime.ticks_ns())
        if self._node.wake_at_ms < self._timer_at_ms:
            self._timer_scope.cancel()

    def _send(self, client: _Client, parts: list[Outgoing]) -> None:
        self._bytes_out += sum(map(len, parts))
        if client.out:
            client.out += parts
            return
        try:
            client.stream.send_now(parts)
        except (OSError, DiskError):
            self._close(client)
            return
        if parts:
            client.out = parts
            self._nursery.start_soon(self._send_rest, client)
        else:
            client.resume.set()

    def _close(self, client: _Client) -> None:
        """End a connection; its receiver finds out and cleans up, whatever it waits for."""
        client.stream.close()
        self._node.closed(client.connection)
        client.resume.set()

    async def _send_rest(self, client: _Client) -> None:
        try:
            await client.stream.send_rest(client.out)
        except (OSError, DiskError, trio.ClosedResourceError):
            self._close(client)
        client.out = []
        client.last_ms = self._runtime.now().monotonic_ms
        client.resume.set()

    async def _sync(self, sync: Sync) -> None:
        """Bring a round to the disk; SyncFailed ends the node, for a retry would lie."""
        self._syncs += 1
        begun_ns = self._runtime.ticks_ns()
        self._sync_begun_ms = self._runtime.now().monotonic_ms
        runs = [ticket.run for _, ticket in sync.round]
        journal = _nothing if sync.journal is None else _unless_full(sync.journal)
        self._node.meter.journal_rounds += sync.journal is not None
        if len(runs) == 1:
            await self._runtime.in_thread(_all_of([runs[0], journal]))
        else:
            if runs:
                async with trio.open_nursery() as nursery:
                    for start in range(min(SYNC_THREADS_MAX, len(runs))):
                        share = runs[start::SYNC_THREADS_MAX]
                        nursery.start_soon(self._runtime.in_thread, _all_of(share))
            if sync.journal is not None:
                await self._runtime.in_thread(journal)
        self._note_sync(len(runs), (self._runtime.ticks_ns() - begun_ns) // 1000)
        if sync.after is not None:
            try:
                await self._runtime.in_thread(sync.after)
            except DiskError as error:
                log.warning("a restart will check more than it needs to: %s", error)
        self.carry_out(self._node.synced(sync, self._runtime.now()))

    def _note_sync(self, count: int, took_us: int) -> None:
        """Note how long a round took; one without a log had only a checkpoint to write."""
        self._sync_begun_ms = None
        if count:
            self._node.meter.sync.observe(took_us)
        if took_us > SLOW_SYNC_US:
            text = f"a sync of {count} logs took {took_us / 1e6:.1f} s"
            self._node.meter.tape.add(self._runtime.now().wall_ms, "slow_sync", text)

    async def _write_journal(self, effect: WriteJournal) -> None:
        """Bring a round of the promise journal to the disk; what rests on it waits for room."""
        self._node.meter.journal_rounds += 1
        while True:
            try:
                await self._runtime.in_thread(effect.ticket.run)
            except DiskFull as error:
                if not self._waits_for_room:
                    log.warning("the promise journal waits for room on the disk: %s", error)
                self._waits_for_room = True
                await self._runtime.sleep_until(self._runtime.now().monotonic_ms + FULL_DISK_MS)
            else:
                break
        self._waits_for_room = False
        self.carry_out(self._node.journaled(effect.ticket, self._runtime.now()))

    async def _work(self, work: Work) -> None:
        try:
            async with self._removals:
                await self._runtime.in_thread(work.run)
        except DiskError as error:
            log.warning("what was deleted stays on the disk until the next start: %s", error)
        self.carry_out(self._node.worked(work, self._runtime.now()))

    async def _compact(self, effect: Compact) -> None:
        """Run a step of a compaction; SyncFailed ends the node, as for a round."""
        begun_ns = self._runtime.ticks_ns()
        effect.run.pace = self._runtime.pace(effect.bytes_per_second)
        await self._runtime.in_thread(effect.run.step)
        self._node.meter.compaction_us += (self._runtime.ticks_ns() - begun_ns) // 1000
        if self._nursery.cancel_scope.cancel_called:
            return  # The logs are about to be closed, which ends the run.
        self.carry_out(self._node.compacted(effect, self._runtime.now()))

    # Time

    async def keep_time(self) -> None:
        """Wake the core when it wants to be woken, for ever."""
        while True:
            self._timer_at_ms = self._node.wake_at_ms
            with trio.CancelScope() as self._timer_scope:
                await self._runtime.sleep_until(self._timer_at_ms)
            now = self._runtime.now()
            if self._timer_at_ms <= now.monotonic_ms:
                self.carry_out(self._node.woken(now))

    async def sweep(self, watch: Callable[[Now], None]) -> None:
        """Close what is idle for too long or stands still in the middle of a frame, for ever.

        `watch` is called as often.
        """
        while True:
            now_ms = self._runtime.now().monotonic_ms
            await self._runtime.sleep_until(now_ms + SWEEP_MS)
            now = self._runtime.now()
            now_ms = now.monotonic_ms
            watch(now)
            if self._sync_begun_ms is not None and now_ms - self._sync_begun_ms > STALL_MS:
                self.carry_out(self._node.neighbours.stalled(now))
            self._budget.evict_stalled(now_ms)
            self._room.set()
            for client in list(self._clients.values()):
                unsent = sum(map(len, client.out))
                waits = bool(client.connection.answers) and not client.out
                if unsent != client.unsent or (waits and not client.in_frame):
                    client.unsent, client.last_ms = unsent, now_ms
                quiet_ms = now_ms - client.last_ms
                if client.in_frame and quiet_ms > FRAME_STALL_MS:
                    cause = f"a frame stood still for {FRAME_STALL_MS} ms"
                    self._note_failure(client.stream.peer, cause)
                    self._close(client)
                elif quiet_ms > self._idle_ms:
                    log.debug("closing an idle connection", extra={"peer": client.stream.peer})
                    self._close(client)

    # The end

    @property
    def has_clients(self) -> bool:
        """Whether any client is connected."""
        return bool(self._clients)

    async def drain(self) -> None:
        """Take no more requests, answer what waits, and wait until that has left.

        The caller bounds the time.
        """
        self._draining = True
        self.carry_out(self._node.drain(self._runtime.now()))
        while any(c.out or c.connection.answers for c in self._clients.values()):
            await self._runtime.sleep_until(self._runtime.now().monotonic_ms + 5)

    async def finish_rounds(self) -> bool:
        """Wait for the rounds that are under way, so that logs can be closed.

        A slow disk takes the time that it takes; False if one waits for room that does not come.
        """
        until_ms = self._runtime.now().monotonic_ms + DRAIN_MS_MAX
        while self._node.is_syncing:
            now_ms = self._runtime.now().monotonic_ms
            if self._waits_for_room and now_ms >= until_ms:
                return False
            await self._runtime.sleep_until(now_ms + 1)
        return True

    def _note_failure(self, peer: str, cause: str) -> None:
        self._failed += 1
        host = peer.rpartition(":")[0]
        self._node.meter.tape.add(
            self._runtime.now().wall_ms, "connection_closed", f"{host}: {cause}"
        )
        log.warning("closing a connection: %s", cause, extra={"peer": peer, "cause": cause})

    def flow(self) -> Flow:
        """Return what went through so far, and what is under way."""
        clients = self._clients.values()
        return Flow(
            started_ms=self._started_ms,
            draining=self._draining,
            sync_begun_ms=self._sync_begun_ms,
            connections=len(clients),
            requests_waiting=sum(len(client.connection.answers) for client in clients),
            unsent_bytes=sum(sum(map(len, client.out)) for client in clients if client.out),
            in_flight_bytes=self._budget.used,
            connections_accepted=self._accepted,
            connections_failed=self._failed,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            syncs=self._syncs,
        )


def _no_links(effect: Tell | WantLinks) -> None:
    """A node without a peer port has no links."""
    del effect


def _ignore(reason: str) -> None:
    """Nothing to stop."""
    del reason


def _nothing() -> None:
    """Nobody waits for this reservation to be granted."""


def room_for(length: int) -> memoryview:
    """Return memory for a frame; a large one takes only the pages that bytes arrive in.

    A bytearray is zeroed, so that it costs all that was announced even if nothing comes.
    """
    if length <= SMALL_FRAME_BYTES_MAX:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def _unless_full(journal: JournalTicket) -> Callable[[], None]:
    """Return what runs a journal's ticket; on a full disk it is tried again, by itself."""

    def run() -> None:
        with contextlib.suppress(DiskFull):
            journal.run()

    return run


def _all_of(runs: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def run() -> None:
        for one in runs:
            one()

    return run
