"""Whole nodes in the virtual world: the core with its disk, links that keep order, Kafka frames.

What a driver does with sockets and threads is done here with events: a round of syncs takes its
time, a frame takes its delay, a link that breaks loses what was on its way. Gossip is not played:
each node is told who is a member, a while after it changed.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from mesh.links import BadFrameError, Hello, Welcome
from mesh.model.types import NodeId, Now
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
from mesh.node.founding import identify
from mesh.node.members import MemberSeen
from mesh.node.neighbours import LEAVE_MS_MIN
from mesh.node.options import Address, Durability, NodeOptions
from mesh.node.start import open_node
from mesh.node.store import Store, make_directories
from mesh.version import VERSION
from simulations.disk import SimulatedCrash, SimulatedDisk, one_by_one
from simulations.world import World
from storage.disk import FileSlice, SyncFailed
from storage.journal import Journal
from storage.meta import Meta, read_meta, write_meta

WALL_MS = 1_700_000_000_000
DIRECTORY = "/data"
BOOT_ID = bytes(range(16))
PORT = 9092


@dataclass(slots=True, kw_only=True)
class Delays:
    """How long things take, in microseconds: from, to."""

    frame: tuple[int, int] = (100, 400)
    sync: tuple[int, int] = (200, 2_000)
    journal: tuple[int, int] = (200, 1_000)
    connect: tuple[int, int] = (5_000, 60_000)
    gossip: tuple[int, int] = (20_000, 200_000)


class VirtualNode:
    """One process and its machine: what survives a crash is the disk."""

    def __init__(
        self, cluster: Cluster, node_id: NodeId, seed: int, config: dict[str, str]
    ) -> None:
        """A machine that is switched off."""
        self.cluster = cluster
        self.node_id = node_id
        self.disk = SimulatedDisk(seed)
        self.config = config
        self.starts = 0
        self.node: Node | None = None
        self.links: dict[NodeId, bool] = {}
        """Links that we want: whether each is open."""
        self.clients: dict[Connection, Callable[[bytes | None], None]] = {}
        self.given_up = ""
        self.paused = False
        """Whether the process stands still while time goes on; what comes for it waits."""
        self.crash_in: int | None = None
        """After so many more effects the machine stops."""
        self.waiting: list[Callable[[], None]] = []
        """What comes for it while it stands still."""
        self._wake_at_ms: int | None = None

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self.node is not None

    def start(self) -> None:
        """Start the process on what the disk holds."""
        cluster, now = self.cluster, self.cluster.now
        self.starts += 1
        rng = cluster.world.rng(f"node {self.node_id} start {self.starts}")
        make_directories(self.disk, DIRECTORY)
        meta = self._identify(rng)
        options = NodeOptions(
            data_directory=DIRECTORY, durability=cluster.durability, config=dict(self.config)
        )
        alone = self.node_id == 1 and not cluster.has_joined
        self.node = open_node(
            Store(self.disk, DIRECTORY),
            meta,
            options,
            Address(f"n{self.node_id}", PORT),
            rng,
            now,
            BOOT_ID,
            start=self.starts,
            alone=alone,
            together=one_by_one,
        )
        self.links = {}
        self._wake_at_ms = None
        self.carry_out(self.node.begin(now))
        cluster.membership_changed()

    def pause(self) -> None:
        """Let the process stand still, as a machine that swaps or a virtual one that moves."""
        self.paused = True

    def resume(self) -> None:
        """Let it go on: all that waited comes at once."""
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            self.happen(call)

    def happen(self, call: Callable[[], None]) -> None:
        """Let an event happen to the process: now, when it goes on, or never if it ends."""
        if self.paused:
            self.waiting.append(call)
            return
        try:
            call()
        except SimulatedCrash:
            self.stop(crash=True)
        except SyncFailed:  # The process ends; what it covered is in the page cache, as if clean.
            self.stop(crash=False)
        if self.node is not None:
            self.cluster.looked_at(self)

    def _identify(self, rng: random.Random) -> Meta:
        if self.node_id == 1:
            return identify(self.disk, DIRECTORY, rng.randbytes)
        meta = read_meta(self.disk, DIRECTORY)
        if meta is None:
            directory_id = UUID(bytes=rng.randbytes(16), version=4)
            founder = self.cluster.nodes[1]
            assert founder.node is not None, "the founder is there when others join"
            cluster_id = UUID(founder.node.broker.cluster_id)
            meta = Meta(cluster_id, directory_id, self.node_id, VERSION)
            Journal.found(self.disk, DIRECTORY, directory_id.bytes, {}).close()
            write_meta(self.disk, DIRECTORY, meta)
            founder.happen(lambda: founder.give_id(str(directory_id), self.node_id))
        return meta

    def give_id(self, directory_id: str, node_id: NodeId) -> None:
        """Have the registry write down whose id this is."""
        if self.node is not None:
            _, effects = self.node.claim_node_id(directory_id, node_id, self.cluster.now)
            self.carry_out(effects)

    def stop(self, *, crash: bool) -> None:
        """End the process; with `crash` the machine, too, so that what was not synced may go."""
        self.node = None
        self.paused, self.crash_in, self.waiting = False, None, []
        self.disk.syncs_fail = False
        for answer in list(self.clients.values()):
            answer(None)
        self.clients.clear()
        if crash:
            self.disk.crash()
        else:
            self.disk.kill()
        for other in self.cluster.nodes.values():
            self.cluster.break_link(self.node_id, other.node_id)
            self.cluster.break_link(other.node_id, self.node_id)
        self.cluster.membership_changed()

    # Events

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the core decided."""
        cluster = self.cluster
        for effect in effects:
            if self.crash_in is not None:
                self.crash_in -= 1
                if self.crash_in < 0:
                    raise SimulatedCrash("the simulated machine stops between two effects")
            match effect:
                case Send(connection, parts):
                    answer = self.clients.get(connection)
                    if answer is not None:
                        answer(b"".join(bytes_of(part) for part in parts))
                case Tell(node_id, parts):
                    frame = b"".join(bytes_of(part) for part in parts)
                    cluster.send(self.node_id, node_id, frame)
                case Sync():
                    cluster.after("sync", self, self._synced, effect)
                case WriteJournal():
                    cluster.after("journal", self, self._journaled, effect)
                case Work():
                    cluster.after("sync", self, self._worked, effect)
                case HangUp(connection, _):
                    answer = self.clients.pop(connection, None)
                    if answer is not None:
                        answer(None)
                case WantLinks(addresses):
                    self._want_links(sorted(addresses))
                case Compact():
                    cluster.after("sync", self, self._compacted, effect)
                case GiveUp(reason):
                    self.given_up = reason
        self._watch()

    def _watch(self) -> None:
        """See to it that the core is woken when it wants to be."""
        if self.node is None:
            return
        at_ms = self.node.wake_at_ms
        if self._wake_at_ms is None or at_ms < self._wake_at_ms:
            self._wake_at_ms = at_ms
            self.cluster.world.at(at_ms * 1000, self._woken, self.node, at_ms)

    def _woken(self, node: Node, at_ms: int, _: object) -> None:
        if node is self.node:
            self.happen(lambda: self._wake(node, at_ms))

    def _wake(self, node: Node, at_ms: int) -> None:
        if node is self.node and at_ms == self._wake_at_ms:
            self._wake_at_ms = None
            self.carry_out(node.woken(self.cluster.now))

    def _synced(self, sync: Sync) -> None:
        assert self.node is not None, "what a process began ends with it"
        for _, ticket in sync.round:
            ticket.run()
        if sync.journal is not None:
            sync.journal.run()
        if sync.after is not None:
            sync.after()
        self.carry_out(self.node.synced(sync, self.cluster.now))

    def _journaled(self, effect: WriteJournal) -> None:
        assert self.node is not None, "what a process began ends with it"
        effect.ticket.run()
        self.carry_out(self.node.journaled(effect.ticket, self.cluster.now))

    def _worked(self, work: Work) -> None:
        assert self.node is not None, "what a process began ends with it"
        work.run()
        self.carry_out(self.node.worked(work, self.cluster.now))

    def _compacted(self, effect: Compact) -> None:
        assert self.node is not None, "what a process began ends with it"
        effect.run.step()
        self.carry_out(self.node.compacted(effect, self.cluster.now))

    # Links

    def _want_links(self, wanted: list[NodeId]) -> None:
        for node_id in wanted:
            if node_id not in self.links:
                self.links[node_id] = False
                self.connect_soon(node_id)

    def connect_soon(self, node_id: NodeId) -> None:
        """Try to open a link a little later, again and again until it is open."""
        if self.node is not None:
            self.cluster.after("connect", self, self._connect, node_id)

    def _connect(self, node_id: NodeId) -> None:
        cluster, other = self.cluster, self.cluster.nodes.get(node_id)
        if self.links.get(node_id, True):
            return
        cut = cluster.is_cut(self.node_id, node_id)
        if other is None or other.node is None or other.paused or cut:
            self.connect_soon(node_id)
            return
        assert self.node is not None, "who connects is there"
        hello = self.node.neighbours.introductions.hello(node_id, f"n{self.node_id}:1")
        answers: list[Welcome | str] = []
        other.happen(lambda: other.greeted(hello, answers))
        if not answers or isinstance(answers[0], str) or not other.is_up:
            self.connect_soon(node_id)
            return
        self.links[node_id] = True
        cluster.link_made(self.node_id, node_id)
        self.carry_out(self.node.neighbours.welcomed(answers[0], cluster.now))

    def greeted(self, hello: Hello, answers: list[Welcome | str]) -> None:
        """A node opens a link."""
        assert self.node is not None, "who is greeted is there"
        neighbours, now = self.node.neighbours, self.cluster.now
        answer, effects = neighbours.answer_hello(hello, now)
        self.carry_out(effects)
        answers.append(answer)

    def hear_end(self, sender: NodeId) -> None:
        """A node's link to us has ended."""
        if self.node is not None:
            self.carry_out(self.node.neighbours.link_lost(sender, self.cluster.now))

    def lose_link(self, node_id: NodeId) -> None:
        """Our link to a node has ended."""
        if self.node is not None and self.links.get(node_id):
            self.links[node_id] = False
            self.carry_out(self.node.neighbours.link_closed(node_id, self.cluster.now))
            self.connect_soon(node_id)

    def receive(self, sender: NodeId, frame: bytes) -> None:
        """A frame came over a link."""
        if self.node is not None:
            number = self.cluster.link_number(sender, self.node_id)
            self.happen(lambda: self._receive(sender, number, frame))

    def _receive(self, sender: NodeId, number: int, frame: bytes) -> None:
        if self.node is None or number != self.cluster.link_number(sender, self.node_id):
            return
        try:
            effects = self.node.neighbours.link_frames(
                sender, [memoryview(bytearray(frame))], self.cluster.now
            )
        except BadFrameError as error:
            raise AssertionError(f"a node said what is no frame: {error}") from error
        self.carry_out(effects)

    # Clients

    def connect_client(self, answer: Callable[[bytes | None], None]) -> Connection | None:
        """Open a connection; `answer` gets bytes, or None when it ends."""
        if self.node is None:
            return None
        connection = self.node.connected("10.0.0.9:1")
        self.clients[connection] = answer
        return connection

    def request(self, connection: Connection, frame: bytes) -> None:
        """A client's request has come."""
        if self.node is not None:
            self.happen(lambda: self._request(connection, frame))

    def _request(self, connection: Connection, frame: bytes) -> None:
        if self.node is not None and connection in self.clients:
            frames = [memoryview(bytearray(frame))]
            self.carry_out(self.node.frames(connection, frames, self.cluster.now))


@dataclass(slots=True)
class _Link:
    number: int = 0
    """Counts how often it was made: what was sent over an earlier one never comes."""
    last_at_us: int = 0
    is_open: bool = False


class Cluster:
    """Some nodes, and what lies between them."""

    def __init__(
        self,
        seed: int,
        *,
        delays: Delays | None = None,
        durability: Durability = "disk",
        config: dict[str, str] | None = None,
    ) -> None:
        """A world without nodes."""
        self.world = World(seed)
        self.delays = delays or Delays()
        self.durability: Durability = durability
        self.config = config or {}
        self.nodes: dict[NodeId, VirtualNode] = {}
        self.has_joined = False
        self.left: set[NodeId] = set()
        self.gone: dict[NodeId, VirtualNode] = {}
        """Machines that are switched off for good; whoever is not in `left` counts as dead."""
        self.draining: dict[NodeId, int] = {}
        """Who gives away what it holds, and leaves then."""
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._links: dict[tuple[NodeId, NodeId], _Link] = {}
        self._rng = self.world.rng("delays")
        self._dead_since: dict[NodeId, int] = {}
        self.frames = 0
        self.watchers: list[Callable[[VirtualNode], None]] = []
        """Called after every event, with the node that it happened to."""

    def looked_at(self, node: VirtualNode) -> None:
        """Something happened to a node: hold it to what must hold."""
        for watch in self.watchers:
            watch(node)

    @property
    def now(self) -> Now:
        """Both clocks."""
        ms = self.world.now_us // 1000
        return Now(ms, WALL_MS + ms)

    def add(self, node_id: NodeId) -> VirtualNode:
        """Switch a new machine on."""
        node = VirtualNode(self, node_id, self.world.seed * 1000 + node_id, self.config)
        self.nodes[node_id] = node
        if node_id != 1:
            self.has_joined = True
        node.start()
        return node

    def run_ms(self, ms: int) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_us + ms * 1000)

    def until(self, done: Callable[[], bool], ms_max: int, step_ms: int = 5) -> bool:
        """Let time pass until something holds; False if it does not in time."""
        end_us = self.world.now_us + ms_max * 1000
        while not done():
            if self.world.now_us >= end_us:
                return False
            self.run_ms(step_ms)
        return True

    # What takes time

    def after(
        self, what: str, node: VirtualNode, call: Callable[..., None], argument: object
    ) -> None:
        """Do something of a process later, unless the process has ended by then."""
        delay_us = self._rng.randint(*getattr(self.delays, what))
        process = node.node
        self.world.at(self.world.now_us + delay_us, self._do, node, process, (call, argument))

    def _do(
        self, node: VirtualNode, process: Node, todo: tuple[Callable[..., None], object]
    ) -> None:
        if node.node is process:
            node.happen(lambda: self._do_now(node, process, todo))

    def _do_now(
        self, node: VirtualNode, process: Node, todo: tuple[Callable[..., None], object]
    ) -> None:
        if node.node is process:
            todo[0](todo[1])

    # Links

    def is_cut(self, sender: NodeId, to: NodeId) -> bool:
        """Whether nothing gets from one node to another."""
        return (sender, to) in self._cut or (to, sender) in self._cut

    @property
    def is_split(self) -> bool:
        """Whether anything is cut off from anything."""
        return bool(self._cut)

    def cut(self, sender: NodeId, to: NodeId) -> None:
        """Let nothing get from one node to another; nobody is told."""
        self._cut.add((sender, to))

    def lose(self, node_id: NodeId, *, told: bool) -> None:
        """A node's machine is gone for good, with its disk.

        Args:
            node_id: of the node.
            told: whether somebody says so to the mesh; otherwise it is found dead.
        """
        lost = self.nodes.pop(node_id)
        if lost.is_up:
            lost.stop(crash=True)
        self.draining.pop(node_id, None)
        if told:
            self.left.add(node_id)
        self.gone[node_id] = lost
        self.membership_changed()

    def drain(self, node_id: NodeId) -> None:
        """Have a node give away what it holds."""
        self.draining[node_id] = self.now.monotonic_ms
        self.membership_changed()

    def depart(self) -> None:
        """Let those leave that have given away all."""
        for node_id, since_ms in sorted(self.draining.items()):
            node = self.nodes[node_id].node
            is_known = self.now.monotonic_ms - since_ms >= LEAVE_MS_MIN
            if is_known and node is not None and node.neighbours.holds_nothing:
                self.lose(node_id, told=True)

    @property
    def new_id(self) -> NodeId:
        """Of the next node that joins."""
        return max((*self.nodes, *self.gone)) + 1

    def heal(self) -> None:
        """Let everything through again; links that were cut are made anew."""
        cut, self._cut = self._cut, set()
        for sender, to in sorted(cut):
            self.break_link(sender, to)
            self.break_link(to, sender)

    def link_number(self, sender: NodeId, to: NodeId) -> int:
        """Return which link between two this is."""
        link = self._links.get((sender, to))
        return 0 if link is None else link.number

    def link_made(self, sender: NodeId, to: NodeId) -> None:
        """A link is open."""
        link = self._links.setdefault((sender, to), _Link())
        link.number += 1
        link.is_open = True

    def break_link(self, sender: NodeId, to: NodeId) -> None:
        """End a link; both sides notice."""
        link = self._links.get((sender, to))
        if link is None:
            return
        link.number += 1
        link.is_open = False
        for node_id, lost in ((sender, False), (to, True)):
            virtual = self.nodes.get(node_id)
            if virtual is None or virtual.node is None:
                continue
            if lost:
                virtual.happen(functools.partial(virtual.hear_end, sender))
            elif virtual.links.get(to):
                virtual.happen(functools.partial(virtual.lose_link, to))

    def send(self, sender: NodeId, to: NodeId, frame: bytes) -> None:
        """Send a frame over a link; the order is kept."""
        self.frames += 1
        link = self._links.setdefault((sender, to), _Link())
        if not link.is_open:
            return
        at_us = self.world.now_us + self._rng.randint(*self.delays.frame)
        link.last_at_us = max(link.last_at_us, at_us)
        self.world.at(link.last_at_us, self._deliver, (sender, to), link.number, frame)

    def _deliver(self, ends: tuple[NodeId, NodeId], number: int, frame: bytes) -> None:
        sender, to = ends
        if self._links[ends].number != number or ends in self._cut:
            return
        virtual = self.nodes.get(to)
        if virtual is not None and virtual.node is not None:
            self.world.note(to, 1, frame[:64])
            virtual.receive(sender, frame)

    # Membership, as an oracle that is late

    def membership_changed(self) -> None:
        """Have all know, each after a while, who is a member."""
        now_ms = self.now.monotonic_ms
        for node_id, virtual in {**self.nodes, **self.gone}.items():
            if virtual.is_up:
                self._dead_since.pop(node_id, None)
            else:
                self._dead_since.setdefault(node_id, now_ms)
        for virtual in self.nodes.values():
            if virtual.is_up:
                self.after("gossip", virtual, self._tell_members, virtual)

    def _tell_members(self, virtual: VirtualNode) -> None:
        assert virtual.node is not None, "who is told is there"
        seen = []
        for node_id, other in sorted({**self.nodes, **self.gone}.items()):
            meta = read_meta(other.disk, DIRECTORY)
            if meta is None or node_id in self.left:
                continue
            seen.append(
                MemberSeen(
                    node_id,
                    str(meta.directory_id),
                    f"n{node_id}:1",
                    f"n{node_id}",
                    PORT,
                    None,
                    "",
                    0 if node_id in self.draining else 100,
                    self._dead_since.get(node_id),
                )
            )
        virtual.carry_out(virtual.node.neighbours.members_seen(seen, self.now))


def bytes_of(part: object) -> bytes:
    """Return the bytes of a piece of an answer."""
    if isinstance(part, FileSlice):
        return part.read()
    assert isinstance(part, bytes | bytearray | memoryview), "a part of an answer"
    return bytes(part)
