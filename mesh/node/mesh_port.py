"""A node's side of the mesh: its peer port, its membership, and what is told of both."""

from __future__ import annotations

import logging
import platform
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import trio

from mesh.broker.handlers.api_versions import own_table
from mesh.gossip import (
    NOT_ASKED,
    OTHER_MESH,
    PROFILES,
    UNANSWERED,
    Changed,
    Clash,
    Effect,
    Gossip,
    HasLeft,
    Me,
    Member,
    Refused,
    Sought,
    State,
    Value,
)
from mesh.gossip.effects import JoinFailed
from mesh.gossip.member import (
    ADMIN,
    APPEND_MS,
    DIRECTORY,
    DISK_FREE,
    DRAINING,
    HOST,
    KAFKA,
    LOAD,
    MOVES,
    PEER,
    RACK,
    SERVES,
    SPEAKS,
    SYNC_MS,
    UNREACHED,
    VERSION,
    WEIGHT,
)
from mesh.gossip.messages import SPEAKS as SPOKEN
from mesh.model.statistics import MemberFacts, Statistics, ViewFacts
from mesh.node.joining import JoinError
from mesh.node.members import MemberSeen
from mesh.node.membership import FOUNDER_ID, Claims, Membership
from mesh.node.memory import PEERS_MAX, Memory, Place, read_memory, write_memory
from mesh.node.options import (
    Address,
    ListenError,
    NodeOptions,
    default_peer,
    is_loopback,
    parse_address,
)
from mesh.node.peers import LinkServer, Peers
from mesh.runtime.ports import Datagrams, Listener, Runtime
from mesh.runtime.ring import RingError, read_ring
from mesh.runtime.sealing import OVERHEAD_BYTES, Seal
from mesh.version import VERSION as RELEASE
from storage.disk import Disk, DiskError
from storage.meta import Meta

log = logging.getLogger("mesh.node")

BIND_ATTEMPTS = 16
"""For a port that the system picks: it must be free for datagrams and for streams."""
LEAVE_S_MAX = 5.0
WATCH_MS = 1_000
ID_BYTES = 16
EXPECTED_MS = 3_600_000
"""After so long nobody is remembered who was not heard of since the start."""
STRAY_MS = 60_000
"""Members look for one that they lost every few seconds."""


class ClashError(Exception):
    """Another process runs as this node."""

    def __init__(self, node_id: int, address: str, reason: str) -> None:
        super().__init__(f"another process at {address} runs as node {node_id}: {reason}")
        self.node_id = node_id
        self.address = address


class StrayError(Exception):
    """This node began a mesh of its own where members of another one know one of theirs."""

    def __init__(self, node_id: int, address: str) -> None:
        super().__init__(
            f"a member of another mesh, at {address}, looks here for its node {node_id}"
        )
        self.node_id = node_id
        self.address = address


def is_final(reasons: Sequence[tuple[str, str]], asked: Collection[str]) -> bool:
    """Whether a join that failed is not to be tried again: everybody refused who was asked.

    That somebody else is now where a member was is no refusal of anybody who was named with
    --join: a node that holds data must not end because an address has another user.

    Args:
        reasons: of each seed its address, and what it said, or that it did not answer.
        asked: those of them that were named with --join; the others are remembered.
    """
    return bool(reasons) and all(
        reason not in (UNANSWERED, NOT_ASKED)
        and (seed in asked or not reason.startswith(OTHER_MESH))
        for seed, reason in reasons
    )


def is_stray(node_id: int, *, members: int, start: int, age_ms: int, is_empty: bool) -> bool:
    """Whether a node that another mesh takes for one of its members should not have begun a mesh.

    That is what a member does whose data directory was lost, or is not mounted: it founds a mesh
    of its own, and clients that find it write into nothing. So it stops, with an error, before
    much is written, and again at each start while it is empty: a supervisor that starts it again
    must not be what decides. One that holds topics since an earlier start, or for a minute, or has
    members, goes on: whoever reuses an address must not end a mesh that is in use. A mesh without
    a key trusts its peer port (it is on loopback, or said to be), so one member's word is enough.

    Args:
        node_id: its own.
        members: that it knows, itself included.
        start: how often it was started, this time included.
        age_ms: since this start.
        is_empty: whether it holds no topic.
    """
    return (
        node_id == FOUNDER_ID and members == 1 and (is_empty or (start == 1 and age_ms < STRAY_MS))
    )


def remember_start(disk: Disk, data_directory: str) -> Memory:
    """Count a start of this node, durably, before anything is said in it; return what is known.

    Raises:
        BadMemoryError: what earlier starts left is damaged.
        DiskError: it cannot be read or written.
    """
    before = read_memory(disk, data_directory)
    memory = replace(before, start=before.start + 1)
    write_memory(disk, data_directory, memory)
    return memory


def _nothing() -> None:
    """Nobody wants to know."""


class PeerPort:
    """The peer port, bound for datagrams and for streams."""

    def __init__(self, datagrams: Datagrams, listener: Listener, seal: Seal | None) -> None:
        """Both have one number; what is said there is sealed, or plain."""
        self.datagrams = datagrams
        self.listener = listener
        self.seal = seal
        self.address = Address(listener.host, listener.port)

    def close(self) -> None:
        """Take no more."""
        self.datagrams.close()
        self.listener.close()


async def open_peer_port(runtime: Runtime, options: NodeOptions) -> PeerPort:
    """Bind the peer port.

    Raises:
        ListenError: it cannot be bound.
        RingError: there are no keys in the cluster key file.
    """
    key_file = options.cluster_key_file
    seal = None if key_file is None else Seal(read_ring(key_file), runtime.entropy)
    guarded = options.insecure_peers or seal is not None
    wanted = options.peer_listen or default_peer(options.listen, guarded=guarded)
    for attempt in range(BIND_ATTEMPTS):
        try:
            listener = await runtime.listen(*wanted)
        except OSError as error:
            raise ListenError(wanted, error, "--peer-listen") from error
        try:
            datagrams = await runtime.datagrams(wanted.host, listener.port)
            return PeerPort(datagrams, listener, seal)
        except OSError as error:
            listener.close()
            if wanted.port or attempt == BIND_ATTEMPTS - 1:
                raise ListenError(wanted, error, "--peer-listen") from error
    raise AssertionError("the last attempt returns or raises")


class MeshSide:
    """Runs one node's membership; the rest of the node asks it and is told by it."""

    def __init__(
        self,
        options: NodeOptions,
        meta: Meta,
        port: PeerPort,
        runtime: Runtime,
        disk: Disk,
        *,
        kafka: str,
        admin: str,
        claims: Claims | None,
        note: Callable[[str, str], None],
        memory: Memory,
        is_empty: Callable[[], bool] = lambda: False,
    ) -> None:
        """Around what this start is; then `start`.

        Args:
            options: what the node was told.
            meta: who it is.
            port: its peer port.
            runtime: the world.
            disk: holds its data directory.
            kafka: what clients are told, or nothing.
            admin: where the admin port is.
            claims: hands out node ids, at the founder.
            note: is told of events.
            memory: of this start, as `remember_start` returned it.
            is_empty: whether this node holds nothing of clients.
        """
        self._memory = memory
        self._disk, self._directory = disk, options.data_directory
        self.links: LinkServer | None = None
        """Takes streams that are links; set before `start`."""
        self.changed: Callable[[], None] = _nothing
        """Called when what is believed of a member changed."""
        self._dead_since: dict[int, int] = {}
        self._is_news = False
        """Whether members are to be written down at the next look."""
        self._runtime = runtime
        self._port = port
        self._key_file = options.cluster_key_file
        self._note = note
        self._is_empty = is_empty
        self._stop = trio.Event()
        self._left = trio.Event()
        self._cause: Exception | None = None
        self._peers: Peers | None = None
        self._asked = tuple(map(str, options.join))
        me = Me(
            cluster_id=meta.cluster_id.bytes,
            node_id=meta.node_id,
            start=self._memory.start,
            entries=_entries(options, meta, port.address, kafka, admin),
        )
        profile = options.profile or ("local" if is_loopback(port.address.host) else "lan")
        self._begun_ms = now_ms = runtime.now().monotonic_ms
        rng = random.Random(runtime.entropy(32))
        settings = PROFILES[profile]
        if port.seal is not None:
            room = settings.datagram_bytes_max - OVERHEAD_BYTES
            settings = replace(settings, datagram_bytes_max=room)
        gossip = Gossip(me, settings, rng, now_ms)
        self.membership = Membership(gossip, me.cluster_id, claims, note, now_ms)

    @property
    def node_id(self) -> int:
        """Of this node."""
        return self.membership.gossip.node_id

    def start(self, nursery: trio.Nursery) -> None:
        """Serve the peer port, and join who was named or remembered."""
        self._peers = Peers(
            self.membership,
            self._runtime,
            nursery,
            self._port.datagrams,
            self._port.listener,
            self._told,
            self._port.seal,
            self.links,
        )
        self._peers.start()
        seeds = tuple(dict.fromkeys((*self._asked, *self._memory.peers)))
        own = str(self._port.address)
        seeds = tuple(seed for seed in seeds if seed != own)
        self._do(self.membership.join(seeds, self._now_ms))

    async def failing(self) -> None:
        """Wait until this node may not go on as a member.

        Raises:
            ClashError, JoinError, StrayError: why.
        """
        await self._stop.wait()
        assert self._cause is not None, "a cause stops it"
        raise self._cause

    async def leave(self) -> None:
        """Tell the mesh that this node leaves for good; returns once it was told."""
        self._do(self.membership.leave(self._now_ms))
        with trio.move_on_after(LEAVE_S_MAX):
            await self._left.wait()

    def expel(self, node_id: int) -> None:
        """Have a dead member count as left.

        Raises:
            ValueError: with a text for people.
        """
        self._do(self.membership.expel(node_id, self._now_ms))

    def reload_keys(self) -> tuple[str, ...]:
        """Read the cluster key file again; return the names of its keys, the sealing one first.

        Raises:
            ValueError: with a text for people; the keys are as they were.
        """
        if self._port.seal is None or self._key_file is None:
            raise ValueError("this node was started without --cluster-key-file")
        try:
            keys = read_ring(self._key_file)
        except RingError as error:
            raise ValueError(f"{error}; the keys of before are in use") from error
        self._port.seal.use(keys)
        log.info("the cluster keys are %s; the first one seals", ", ".join(self._port.seal.ids))
        return self._port.seal.ids

    def drain(self) -> None:
        """Tell the mesh that this node stops, and means to come back."""
        self._do(self.membership.drain(self._now_ms))

    def look(self, picture: Callable[[], Statistics]) -> None:
        """Tell the mesh how this node is, if it is time to; call it about once a second."""
        if self._is_news:
            self._remember()
        if not self.membership.is_time_to_tell(self._now_ms):
            return
        statistics = picture()
        share = statistics.disk_free_bytes / max(1, statistics.disk_bytes)
        self._do(
            self.membership.tell_of_itself(
                self._now_ms,
                cpu_ms=statistics.cpu_ms,
                disk_free_share=share,
                append_p99_ms=statistics.append.p99_ms,
                sync_p99_ms=statistics.sync.p99_ms,
            )
        )

    def members(self) -> list[MemberSeen]:
        """Return the members that have not left, as the core takes them.

        One that was a member before this node's start, and that nobody has heard of since, may be
        yet to come: it is taken for dead since the start, and keeps its place as the dead do.
        """
        found = []
        heard_of = set()
        for seen in self.membership.gossip.picture(self._now_ms).members:
            member, entries = seen.member, seen.member.entries
            heard_of.add(member.node_id)
            directory_id = entries.get(DIRECTORY)
            if member.state is State.LEFT or type(directory_id) is not bytes:
                continue
            if len(directory_id) != ID_BYTES:
                continue
            try:
                host, port = parse_address(str(entries.get(KAFKA, "")))
            except ValueError:
                host, port = "", 0
            rack = entries.get(RACK)
            found.append(
                MemberSeen(
                    member.node_id,
                    str(UUID(bytes=directory_id)),
                    member.address,
                    host,
                    port,
                    None if rack is None else str(rack),
                    str(entries.get(HOST, "")),
                    _number(entries, WEIGHT) or 0,
                    None if member.live else self._dead_since.get(member.node_id, self._now_ms),
                    bool(entries.get(DRAINING)),
                    _number(entries, MOVES) or 0,
                    serves if type(serves := entries.get(SERVES)) is bytes else b"",
                )
            )
        return found

    def pause_moves(self, wall_ms: int, *, paused: bool) -> None:
        """Tell all to begin no more copies, or to go on: the newest word of any member counts."""
        at_s = wall_ms // 1000
        entries = {MOVES: at_s if paused else -at_s}
        self._do(self.membership.gossip.write(entries, self._now_ms))
        self.changed()

    def give_away(self) -> None:
        """Tell all that this node is to hold nothing any more."""
        self._do(self.membership.gossip.write({WEIGHT: 0}, self._now_ms))

    def stop(self, cause: Exception) -> None:
        """End the node for this cause."""
        self._fail(cause)

    def facts(self) -> ViewFacts:
        """Return what this node believes of the mesh."""
        counters = {} if self._peers is None else dict(self._peers.counters)
        return view_facts(self.membership, self._now_ms, counters)

    @property
    def _now_ms(self) -> int:
        return self._runtime.now().monotonic_ms

    def _do(self, effects: list[Effect]) -> None:
        if self._peers is not None:
            self._peers.carry_out(effects)

    def _told(self, effect: Effect) -> None:
        match effect:
            case Changed(before, after):
                if after.live:
                    self._dead_since.pop(after.node_id, None)
                else:
                    self._dead_since.setdefault(after.node_id, self._now_ms)
                if before is None or _for_memory(before) != _for_memory(after):
                    self._remember(soon=True)
                self.changed()
            case HasLeft():
                self._left.set()
            case Clash(node_id, address, reason):
                self._fail(ClashError(node_id, address, reason))
            case JoinFailed(reasons):
                if is_final(reasons, self._asked) and not self.membership.joined:
                    self._fail(JoinError(dict(reasons)))
            case Sought(node_id, address):
                if is_stray(
                    self.node_id,
                    members=self.membership.gossip.load["members"],
                    start=self._memory.start,
                    age_ms=self._now_ms - self._begun_ms,
                    is_empty=self._is_empty(),
                ):
                    self._fail(StrayError(node_id, address))
            case Refused(source, reason):
                log.warning("%s %s", source, reason, extra={"peer": source})
            case _:
                pass

    def _fail(self, cause: Exception) -> None:
        self._cause = self._cause or cause
        self._stop.set()

    def _remember(self, *, soon: bool = False) -> None:
        """Write down who is there; a crash before the next time costs nothing but that.

        Args:
            soon: at the next look, unless it is one of the few addresses that are remembered: a
                thousand that join are not to be a thousand writes.
        """
        gone = self.membership.left_addresses
        known = dict.fromkeys((*self.membership.peers, *self._memory.peers))
        peers = tuple(peer for peer in known if peer not in gone)[:PEERS_MAX]
        self._is_news = soon and set(peers) == set(self._memory.peers)
        if self._is_news:
            return
        # Whoever left while this node was down is heard of soon after its start, or never again.
        settled = self._now_ms - self._begun_ms > EXPECTED_MS
        places = tuple(
            Place(one.node_id, one.directory_id, one.peer, one.rack, one.machine, one.weight)
            for one in sorted(self.members())
            if one.dead_since_ms != self._begun_ms or not settled
        )
        memory = Memory(self._memory.start, peers, places)
        if set(peers) == set(self._memory.peers) and places == self._memory.places:
            return
        self._memory = memory
        try:
            write_memory(self._disk, self._directory, memory)
        except DiskError as error:
            log.warning("who the other members are is not remembered: %s", error)


def _for_memory(member: Member) -> tuple[object, ...]:
    """Return what of a member is remembered."""
    told = (member.entries.get(key) for key in (DIRECTORY, RACK, HOST, WEIGHT))
    return (member.address, member.state is State.LEFT, *told)


def _entries(
    options: NodeOptions, meta: Meta, peer: Address, kafka: str, admin: str
) -> Mapping[str, Value]:
    entries: dict[str, Value] = {
        PEER: str(peer),
        ADMIN: admin,
        DIRECTORY: meta.directory_id.bytes,
        HOST: options.host or platform.node() or "unknown",
        WEIGHT: options.weight,
        VERSION: RELEASE,
        SPEAKS: list(SPOKEN),
        SERVES: own_table(),
    }
    if kafka:
        entries[KAFKA] = kafka
    if options.rack is not None:
        entries[RACK] = options.rack
    return entries


def view_facts(membership: Membership, now_ms: int, counters: Mapping[str, int]) -> ViewFacts:
    """Return what a node believes of the mesh, in plain words and numbers."""
    picture = membership.gossip.picture(now_ms)
    own = membership.gossip.node_id
    unreached = tuple(seen.member.node_id for seen in picture.members if not seen.reached)
    members = []
    for seen in picture.members:
        member, entries = seen.member, seen.member.entries
        told = entries.get(UNREACHED, [])
        others = (
            tuple(one for one in told if isinstance(one, int)) if isinstance(told, list) else ()
        )
        rack = entries.get(RACK)
        members.append(
            MemberFacts(
                node_id=member.node_id,
                state=member.state.name.lower(),
                draining=bool(entries.get(DRAINING)),
                address=str(entries.get(KAFKA, "")),
                peer=member.address,
                admin=str(entries.get(ADMIN, "")),
                rack=None if rack is None else str(rack),
                host=str(entries.get(HOST, "")),
                weight=_number(entries, WEIGHT) or 0,
                version=str(entries.get(VERSION, "")),
                probe_ms=seen.probe_ms,
                suspect_left_ms=seen.suspect_left_ms,
                unreached=unreached if member.node_id == own else others,
                load_percent=_number(entries, LOAD),
                disk_free_percent=_number(entries, DISK_FREE),
                append_p99_ms=_number(entries, APPEND_MS),
                sync_p99_ms=_number(entries, SYNC_MS),
                start=member.start,
                incarnation=member.incarnation,
            )
        )
    return ViewFacts(
        members=tuple(members),
        view_hash=f"{picture.view_hash:016x}",
        agree=picture.agree,
        age_ms=picture.changed_ms,
        local_health=picture.local_health,
        counters={**picture.counters, **counters},
        history=membership.history,
    )


def _number(entries: Mapping[str, Value], name: str) -> int | None:
    value = entries.get(name)
    return value if type(value) is int else None
