"""Virtual nodes of the gossip level: the node's own machine, a virtual network, and faults."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from mesh.gossip import (
    LAN,
    Call,
    Changed,
    Doubted,
    Effect,
    Gossip,
    HasLeft,
    Known,
    Me,
    Member,
    Send,
    Settings,
    State,
    Value,
)
from mesh.gossip.member import DIRECTORY, HOST, PEER, RACK
from mesh.runtime.sealing import CALL_OVERHEAD_BYTES, OVERHEAD_BYTES, RefusedSealError, Seal
from simulations.net import Network
from simulations.world import World

CLUSTER_ID = bytes(range(16))
SOCKET_DATAGRAMS_MAX = 512
"""That a process which does not run has waiting; the kernel drops what comes after."""
NEVER_US = 1 << 62
PORT = 9093
DATAGRAM, FRAME, ANSWER, WAKE, FAULT = range(5)
"""Kinds of what is traced."""


class Machine(Protocol):
    """What a virtual node is built around; `mesh.gossip.Gossip` is one."""

    @property
    def wake_at_ms(self) -> int:
        """When `woken` wants to be called."""

    def received(self, data: bytes, source: str, now_ms: int) -> list[Effect]:
        """A datagram came."""

    def called(self, data: bytes, source: str, now_ms: int) -> tuple[bytes | None, list[Effect]]:
        """A frame came on a stream."""

    def answered(self, call_id: int, data: bytes | None, now_ms: int) -> list[Effect]:
        """A call has ended."""

    def woken(self, now_ms: int) -> list[Effect]:
        """`wake_at_ms` has come."""

    def join(self, seeds: Sequence[str], now_ms: int) -> list[Effect]:
        """Become a member."""

    def leave(self, now_ms: int) -> list[Effect]:
        """Leave for good."""

    def write(self, entries: Mapping[str, Value | None], now_ms: int) -> list[Effect]:
        """Change the own map."""


Make: TypeAlias = "Callable[[Me, Settings, random.Random, int, Known | None], Machine]"


def gossamer(
    me: Me, settings: Settings, rng: random.Random, now_ms: int, known: Known | None
) -> Gossip:
    """Make the real machine."""
    return Gossip(me, settings, rng, now_ms, known=known)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A process that is kept from running, or from sending and receiving, again and again."""

    begin_us: int
    still_us: int
    """It stands still for so long,"""
    free_us: int
    """and then runs for so long."""
    end_us: int = NEVER_US

    def free_at(self, now_us: int) -> int:
        """Return when it may go on; now, if it may."""
        if not self.begin_us <= now_us < self.end_us:
            return now_us
        phase = (now_us - self.begin_us) % (self.still_us + self.free_us)
        if phase >= self.still_us:
            return now_us
        return min(self.end_us, now_us - phase + self.still_us)


class VirtualNode:
    """One node: a machine that comes and goes, its clock, and what keeps it from running."""

    __slots__ = (
        "address",
        "bytes_sent",
        "calls",
        "datagrams_sent",
        "ended_us",
        "entries",
        "events",
        "machine",
        "node_id",
        "paused",
        "rate",
        "rhythm",
        "rhythm_stops_timers",
        "seal",
        "skew_us",
        "start",
        "up",
        "waiting",
        "wake_us",
    )

    def __init__(self, node_id: int, address: str, entries: Mapping[str, Value]) -> None:
        """Not yet running."""
        self.node_id = node_id
        self.address = address
        self.entries = entries
        self.machine: Machine | None = None
        self.start = 0
        self.up = False
        self.paused = False
        self.waiting: deque[tuple[Any, ...]] = deque()
        """What came while it was paused."""
        self.rhythm: Rhythm | None = None
        self.rhythm_stops_timers = False
        self.seal: Seal | None = None
        """Of its present start."""
        self.skew_us = 0
        self.rate = 1.0
        self.wake_us = NEVER_US
        self.calls = 0
        self.ended_us: int | None = None
        """When its process last ended as by `kill -9`."""
        self.datagrams_sent = 0
        self.bytes_sent = 0
        self.events = 0

    def local_ms(self, now_us: int) -> int:
        """Return what its monotonic clock says."""
        if self.rate == 1.0 and not self.skew_us:
            return now_us // 1000
        return int(now_us * self.rate + self.skew_us) // 1000

    def world_us(self, local_ms: int) -> int:
        """Return when its clock will say so."""
        if self.rate == 1.0 and not self.skew_us:
            return local_ms * 1000
        return int((local_ms * 1000 - self.skew_us) / self.rate) + 1


Watcher: TypeAlias = "Callable[[VirtualNode, Changed], None]"


class GossipMesh:
    """Nodes of one world; what they do goes through its network."""

    def __init__(
        self,
        world: World,
        net: Network,
        settings: Settings = LAN,
        make: Make = gossamer,
        *,
        key: bytes | None = None,
    ) -> None:
        """Without a node; with a cluster key every datagram is sealed."""
        self.world = world
        self.net = net
        self.settings = settings
        if key is not None:
            room = settings.datagram_bytes_max - OVERHEAD_BYTES
            self.settings = replace(settings, datagram_bytes_max=room)
        self._key = key
        self._make = make
        self.nodes: dict[int, VirtualNode] = {}
        self._by_address: dict[str, VirtualNode] = {}
        self.watchers: list[Watcher] = []
        """Called with each change of a belief: who believes, and what."""
        self.after_event: list[Callable[[VirtualNode], None]] = []
        """Called after each event at a node."""
        self.other: list[tuple[int, int, Effect]] = []
        """(at, node, effect) of all effects that are no message and no change."""
        self.dropped = 0
        self.refused = 0
        """Datagrams whose seal was not good: repeated, or of another key."""

    # Nodes

    def entries_of(self, node_id: int, *, rack: str = "", host: str = "") -> dict[str, Value]:
        """Return what the map of a node begins with."""
        entries: dict[str, Value] = {
            PEER: f"10.{node_id >> 16}.{node_id >> 8 & 255}.{node_id & 255}:{PORT}",
            DIRECTORY: node_id.to_bytes(16, "big"),
        }
        if rack:
            entries[RACK] = rack
        if host:
            entries[HOST] = host
        return entries

    def add(
        self,
        node_id: int,
        seeds: Sequence[int] = (),
        *,
        known: Known | None = None,
        entries: Mapping[str, Value] | None = None,
    ) -> VirtualNode:
        """Add a node and start it; it joins through others, or knows the mesh already."""
        entries = self.entries_of(node_id) if entries is None else entries
        node = VirtualNode(node_id, str(entries[PEER]), entries)
        self.nodes[node_id] = node
        self._by_address[node.address] = node
        self.start(node_id, seeds, known=known)
        return node

    def add_agreed(self, count: int) -> None:
        """Add nodes 1 to `count`, all of which know all; what they share is held once."""
        maps = {node_id: self.entries_of(node_id) for node_id in range(1, count + 1)}
        known = Known(
            {
                node_id: Member(node_id, 1, 0, State.ALIVE, 1, MappingProxyType(entries))
                for node_id, entries in maps.items()
            }
        )
        for node_id, entries in maps.items():
            self.add(node_id, known=known, entries=entries)

    def start(self, node_id: int, seeds: Sequence[int] = (), *, known: Known | None = None) -> None:
        """Start the process of a node, for the first time or again."""
        node = self.nodes[node_id]
        node.start += 1
        node.up, node.paused = True, False
        node.waiting.clear()
        node.calls += 1_000_000  # Answers to an earlier process find nobody.
        me = Me(cluster_id=CLUSTER_ID, node_id=node_id, start=node.start, entries=node.entries)
        rng = self.world.rng(f"node {node_id} start {node.start}")
        now_ms = node.local_ms(self.world.now_us)
        if self._key is not None:
            node.seal = Seal([self._key], rng.randbytes)
        node.machine = self._make(me, self.settings, rng, now_ms, known)
        self.world.note(node_id, FAULT, b"start")
        effects: list[Effect] = []
        if seeds:
            addresses = [self.nodes[seed].address for seed in seeds]
            effects = node.machine.join(addresses, now_ms)
        self._carry_out(node, effects)

    def join(self, node_id: int, seeds: Sequence[int]) -> None:
        """Have a running node ask others to let it in."""
        addresses = [self.nodes[seed].address for seed in seeds]
        self.ask(node_id, lambda machine, now_ms: machine.join(addresses, now_ms))

    def ask(self, node_id: int, call: Callable[[Machine, int], list[Effect]]) -> None:
        """Have the node call its machine; nothing happens if it does not run."""
        node = self.nodes[node_id]
        if node.up and node.machine is not None:
            self._carry_out(node, call(node.machine, node.local_ms(self.world.now_us)))

    # Faults

    def crash(self, node_id: int) -> None:
        """End a process as `kill -9` does."""
        node = self.nodes[node_id]
        node.up = node.paused = False
        node.ended_us = self.world.now_us
        node.machine = None
        node.wake_us = NEVER_US
        node.waiting.clear()
        self.world.note(node_id, FAULT, b"crash")

    def restart(self, node_id: int, seeds: Sequence[int]) -> None:
        """Start a process again; its start counter is higher, its map empty, its view gone."""
        self.crash(node_id)
        self.start(node_id, seeds)

    def pause(self, node_id: int) -> None:
        """Stop a process as SIGSTOP does: what comes waits, as far as a socket holds it."""
        self.nodes[node_id].paused = True
        self.world.note(node_id, FAULT, b"pause")

    def resume(self, node_id: int) -> None:
        """Let it run again: first what came meanwhile, then what time has brought."""
        node = self.nodes[node_id]
        node.paused = False
        self.world.note(node_id, FAULT, b"resume")
        waiting, node.waiting = node.waiting, deque()
        for handler, a, b, c in waiting:
            self.world.at(self.world.now_us, handler, a, b, c)
        self._rearm(node)

    def leave(self, node_id: int) -> None:
        """Have a node leave for good; its process ends once the mesh was told."""
        self.ask(node_id, lambda machine, now_ms: machine.leave(now_ms))

    def set_rhythm(self, node_id: int, rhythm: Rhythm | None, *, stops_timers: bool) -> None:
        """Keep a process from running (or, but for timers, from talking) in a rhythm."""
        node = self.nodes[node_id]
        node.rhythm, node.rhythm_stops_timers = rhythm, stops_timers
        self.world.note(node_id, FAULT, repr(rhythm).encode())
        self._rearm(node)

    # What nodes do

    def _carry_out(self, node: VirtualNode, effects: list[Effect]) -> None:
        world, net = self.world, self.net
        for effect in effects:
            if type(effect) is Send:
                to, data = effect
                if node.seal is not None:
                    data = node.seal.seal(data, world.now_us // 1000)
                node.datagrams_sent += 1
                node.bytes_sent += len(data)
                target = self._by_address.get(to)
                if target is None:
                    continue
                begin_us = world.now_us
                if node.rhythm is not None and not node.rhythm_stops_timers:
                    begin_us = node.rhythm.free_at(begin_us)
                for delay_us in net.delays(node.node_id, target.node_id):
                    world.at(begin_us + delay_us, self._deliver, target, data, node.address)
            elif type(effect) is Changed:
                for watcher in self.watchers:
                    watcher(node, effect)
            elif type(effect) is Call:
                self._call(node, effect)
            elif type(effect) is not Doubted:  # For people alone, and there are very many.
                self.other.append((world.now_us, node.node_id, effect))
                if type(effect) is HasLeft:
                    node.up = False
        node.events += 1
        self._rearm(node)
        for check in self.after_event:
            check(node)

    def _rearm(self, node: VirtualNode) -> None:
        """Have the machine woken when it wants to be; a later wish leaves the earlier event."""
        if node.machine is None or not node.up:
            return
        wake_us = node.world_us(node.machine.wake_at_ms)
        if wake_us < self.world.now_us:
            wake_us = self.world.now_us
        if wake_us < node.wake_us:
            node.wake_us = wake_us
            self.world.at(wake_us, self._wake, node, node.start)

    def _wake(self, node: VirtualNode, start: int, _: None) -> None:
        if start != node.start or not node.up or self.world.now_us < node.wake_us:
            return
        node.wake_us = NEVER_US
        machine = node.machine
        if node.paused or machine is None:
            return
        if node.rhythm is not None and node.rhythm_stops_timers:
            free_us = node.rhythm.free_at(self.world.now_us)
            if free_us > self.world.now_us:
                node.wake_us = free_us
                self.world.at(free_us, self._wake, node, start)
                return
        now_ms = node.local_ms(self.world.now_us)
        if machine.wake_at_ms <= now_ms:
            self.world.note(node.node_id, WAKE, b"")
            self._carry_out(node, machine.woken(now_ms))
        else:
            self._rearm(node)

    def _waits(self, node: VirtualNode, handler: Any, a: Any, b: Any, c: Any) -> bool:
        """Whether a node cannot take something in now; then it will, later."""
        if node.paused:
            if len(node.waiting) < SOCKET_DATAGRAMS_MAX:
                node.waiting.append((handler, a, b, c))
            else:
                self.dropped += 1
            return True
        if node.rhythm is not None:
            free_us = node.rhythm.free_at(self.world.now_us)
            if free_us > self.world.now_us:
                self.world.at(free_us, handler, a, b, c)
                return True
        return False

    def _deliver(self, node: VirtualNode, data: bytes, source: str) -> None:
        machine = node.machine
        if machine is None or not node.up:
            return
        if (node.paused or node.rhythm is not None) and self._waits(
            node, self._deliver, node, data, source
        ):
            return
        world = self.world
        if node.seal is not None:
            try:
                data = node.seal.open(data, world.now_us // 1000)
            except RefusedSealError:
                self.refused += 1
                return
        world.note(node.node_id, DATAGRAM, data)
        self._carry_out(node, machine.received(data, source, node.local_ms(world.now_us)))

    # Calls on streams

    def _call(self, node: VirtualNode, call: Call) -> None:
        world = self.world
        node.bytes_sent += len(call.data) + (CALL_OVERHEAD_BYTES if node.seal is not None else 0)
        node.datagrams_sent += 1
        begin_us = world.now_us
        world.at(begin_us + call.timeout_ms * 1000, self._answer, node, (node.start, call.call_id))
        if node.rhythm is not None and not node.rhythm_stops_timers:
            begin_us = node.rhythm.free_at(begin_us)
        target = self._by_address.get(call.to)
        took = None if target is None else self.net.call_us(node.node_id, target.node_id)
        if target is not None and took is not None:
            begin_us += took[0]
            world.at(begin_us, self._ask, target, (node, node.start, call, took[1]))

    def _ask(self, target: VirtualNode, asked: tuple[VirtualNode, int, Call, int], _: None) -> None:
        node, start, call, back_us = asked
        machine = target.machine
        if machine is None or not target.up:  # The port is closed: refused at once.
            self.world.at(self.world.now_us + back_us, self._answer, node, (start, call.call_id))
            return
        if self._waits(target, self._ask, target, asked, None):
            return
        self.world.note(target.node_id, FRAME, call.data)
        now_ms = target.local_ms(self.world.now_us)
        answer, effects = machine.called(call.data, node.address, now_ms)
        self._carry_out(target, effects)
        if answer is not None:
            target.bytes_sent += len(answer)
            target.datagrams_sent += 1
        if self.net.cuts and self.net.is_cut(target.node_id, node.node_id):
            return
        at_us = self.world.now_us
        if target.rhythm is not None and not target.rhythm_stops_timers:
            at_us = target.rhythm.free_at(at_us)
        self.world.at(at_us + back_us, self._answer, node, (start, call.call_id), answer)

    def _answer(self, node: VirtualNode, asked: tuple[int, int], data: bytes | None) -> None:
        start, call_id = asked
        machine = node.machine
        if machine is None or not node.up or start != node.start:
            return
        if data is not None and self._waits(node, self._answer, node, asked, data):
            return
        if data is None and node.paused:
            self._waits(node, self._answer, node, asked, data)
            return
        self.world.note(node.node_id, ANSWER, data or b"")
        now_ms = node.local_ms(self.world.now_us)
        self._carry_out(node, machine.answered(call_id, data, now_ms))

    # Sums

    @property
    def datagrams_sent(self) -> int:
        """By all nodes, frames of calls and their answers counted as one each."""
        return sum(node.datagrams_sent for node in self.nodes.values())

    @property
    def bytes_sent(self) -> int:
        """Payload of those."""
        return sum(node.bytes_sent for node in self.nodes.values())
