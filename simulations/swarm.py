"""Random worlds: each seed drops whole classes of faults, and draws how often the others come.

Source of the method: Groce et al., Swarm Testing (2012).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from mesh.gossip import LAN, Clash, JoinFailed, Settings
from simulations.gossip_mesh import GossipMesh, Rhythm
from simulations.invariants import Invariants
from simulations.net import Link, Network
from simulations.recorder import Record, Recorder
from simulations.world import World

SECOND = 1_000_000
NODES_MIN, NODES_MAX = 3, 100
CALM_S, FAULTS_S = 3, 30
REST_S_MAX = 200
"""After the last fault: one with bad links waits 30 s before it comes back, or 60, or 120."""
RETRY_S = 2
CLASSES = (
    "loss",
    "duplicate",
    "reorder",
    "slow",
    "split",
    "one_way",
    "crash",
    "restart",
    "pause",
    "blocked",
    "starved",
    "leave",
    "join",
    "clocks",
    "bad_link",
)
"""Faults that a seed has, or has not, each with even chance."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run."""

    seed: int
    nodes: int
    classes: tuple[str, ...]
    violations: tuple[str, ...]
    trace_hash: str
    virtual_s: float
    real_s: float
    events: int
    rest_s: float
    """From the last fault until all agreed."""
    messages_per_node_s: float
    """Datagrams and frames that a node sent, a second."""
    bytes_per_node_s: float
    """Payload of those."""
    counts: dict[str, int] = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    """Figures to draw; empty unless they were asked for."""

    @property
    def verdict(self) -> str:
        """`ok`, or `violated`."""
        return "violated" if self.violations else "ok"


Progress: TypeAlias = "Callable[[float, int, Mapping[str, int]], None]"
"""Is told the virtual second, the events so far, and how many nodes run, are down, have left."""


class Play:
    """One random world; a subclass plays another story in it."""

    def __init__(
        self,
        seed: int,
        nodes: int | None,
        classes: tuple[str, ...] | None,
        *,
        settings: Settings = LAN,
        progress: Progress | None = None,
    ) -> None:
        """Draw it, with its nodes not yet there."""
        self.world = World(seed)
        self.rng: random.Random = self.world.rng("swarm")
        self.progress = progress
        spread = self.rng.random() ** 2
        drawn = NODES_MIN + int((NODES_MAX - NODES_MIN) * spread)
        self.count = drawn if nodes is None else nodes
        chosen = tuple(one for one in CLASSES if self.rng.random() < 0.5)
        self.classes = chosen if classes is None else classes
        self.net = Network(self.world, Link())
        self.mesh = GossipMesh(self.world, self.net, settings)
        self.invariants = Invariants(self.mesh)
        self.recorder: Recorder | None = None
        self.left: set[int] = set()
        self.seen_effects = 0

    def has(self, name: str) -> bool:
        """Whether this world has a class of faults."""
        return name in self.classes

    def run(self) -> float:
        """Play it; return how long the mesh took to come to rest."""
        self.begin()
        self.befall()
        self.heal()
        for waited in range(REST_S_MAX):
            self.let_pass(1)
            if waited % 3 == 2 and not self.invariants.differences():
                return float(waited + 1)
        self.invariants.at_rest()
        return float(REST_S_MAX)

    def begin(self) -> None:
        """Add the nodes."""
        self.mesh.add_agreed(self.count)
        if self.has("clocks"):
            for node in self.mesh.nodes.values():
                node.rate = 1 + self.rng.uniform(-0.01, 0.01)

    def befall(self) -> None:
        """Let happen what the seed draws."""
        self.let_pass(CALM_S)
        self.make_network_bad()
        for _ in range(FAULTS_S):
            self.one_fault()
            self.let_pass(1)

    def let_pass(self, seconds: int) -> None:
        """Let time pass; who was let in by nobody asks again, as a node does."""
        end_us = self.world.now_us + seconds * SECOND
        if self.recorder is None:
            self.world.run_until(end_us)
        else:
            self.recorder.run_until(end_us)
        if self.progress is not None:
            nodes = self.mesh.nodes.values()
            running = sum(node.up for node in nodes)
            states = {"run": running, "are down": len(nodes) - running - len(self.left)}
            self.progress(end_us / SECOND, self.world.events, {**states, "left": len(self.left)})
        fresh = self.mesh.other[self.seen_effects :]
        self.seen_effects = len(self.mesh.other)
        for at_us, node_id, effect in fresh:
            if isinstance(effect, JoinFailed):
                self.world.at(at_us + RETRY_S * SECOND, self.join_again, node_id)
            elif isinstance(effect, Clash):
                self.invariants.violations.append(f"node {node_id} is to stop: {effect.reason}")

    def join_again(self, node_id: int, _: object, __: object) -> None:
        """Have one whom nobody let in ask again."""
        if self.mesh.nodes[node_id].up:
            self.mesh.join(node_id, self.seeds(node_id))

    def running(self) -> list[int]:
        """Ids of the nodes that run and have not left, ascending."""
        return sorted(
            one for one, node in self.mesh.nodes.items() if node.up and one not in self.left
        )

    def seeds(self, but: int) -> list[int]:
        """Up to three running nodes, drawn, for one to join through."""
        others = [one for one in self.running() if one != but]
        return self.rng.sample(others, min(3, len(others)))

    def make_network_bad(self) -> None:
        """Draw what the network does to all messages, of the classes that there are."""
        rng = self.rng
        self.net.link = Link(
            loss=rng.uniform(0, 0.3) if self.has("loss") else 0.0,
            duplicate=rng.uniform(0, 0.3) if self.has("duplicate") else 0.0,
            reorder=rng.uniform(0, 0.5) if self.has("reorder") else 0.0,
            tail_us=rng.randrange(50_000) if self.has("slow") else 0,
            reset=rng.uniform(0, 0.3) if self.has("loss") else 0.0,
        )

    def one_fault(self) -> None:
        """Draw a fault of the classes that this seed has, or a second without one."""
        rng, mesh = self.rng, self.mesh
        kinds = [one for one in self.classes if one in _FAULTS]
        if not kinds or rng.random() < 0.4:
            return
        kind = rng.choice(kinds)
        if self.recorder is not None:
            self.recorder.mark(kind)
        running = self.running()
        if kind == "restart":
            down = sorted(set(mesh.nodes) - set(running) - self.left)
            if down:
                mesh.restart(rng.choice(down), self.seeds(0))
            elif len(running) > 2:
                one = rng.choice(running)
                mesh.restart(one, self.seeds(one))
            return
        if kind == "join":
            new = max(mesh.nodes) + 1
            if new <= 2 * NODES_MAX:
                mesh.add(new, self.seeds(0))
            return
        if len(running) > 2:
            _FAULTS[kind](self, rng.choice(running))

    def crash(self, one: int) -> None:
        """End a process."""
        self.mesh.crash(one)

    def pause(self, one: int) -> None:
        """Stop a process for some seconds."""
        self.mesh.pause(one)
        self.later(self.resume, one)

    def leave(self, one: int) -> None:
        """Have a node leave for good."""
        self.left.add(one)
        self.mesh.leave(one)

    def blocked(self, one: int) -> None:
        """Keep a process from talking, again and again."""
        self.stutter(one, stops_timers=False)

    def starved(self, one: int) -> None:
        """Keep a process from running, again and again."""
        self.stutter(one, stops_timers=True)

    def stutter(self, one: int, *, stops_timers: bool) -> None:
        """Keep a process still in a rhythm that is drawn."""
        now_us = self.world.now_us
        rhythm = Rhythm(
            begin_us=now_us,
            still_us=self.rng.choice((200, 1_000, 4_000)) * 1_000,
            free_us=self.rng.choice((1, 100, 1_000)) * 1_000,
            end_us=now_us + self.rng.randrange(2, 12) * SECOND,
        )
        self.mesh.set_rhythm(one, rhythm, stops_timers=stops_timers)

    def split(self, one: int) -> None:
        """Cut half of the nodes off for some seconds, sometimes with a bridge between."""
        half = {one, *self.rng.sample(self.running(), len(self.running()) // 2)}
        rest = set(self.mesh.nodes) - half
        if self.rng.random() < 0.3 and rest:  # A bridge reaches both.
            rest.discard(min(rest))
        cuts = self.net.split(half, rest)
        self.later(self.mend, cuts)

    def one_way(self, one: int) -> None:
        """Have a node hear nobody, or be heard by nobody, for some seconds."""
        others = set(self.mesh.nodes) - {one}
        cut = (
            self.net.cut([one], others) if self.rng.random() < 0.5 else self.net.cut(others, [one])
        )
        self.later(self.mend, [cut])

    def bad_link(self, one: int) -> None:
        """Have most of what passes between two nodes be lost, one way."""
        other = self.rng.choice(self.running())
        self.net.links[one, other] = Link(loss=self.rng.uniform(0.5, 1.0))

    def later(self, call: object, argument: object) -> None:
        """Do something with an argument some seconds from now."""
        assert callable(call)
        delay_us = self.rng.randrange(1, 15) * SECOND

        def act(_: object, __: object, ___: object) -> None:
            call(argument)

        self.world.at(self.world.now_us + delay_us, act)

    def resume(self, one: object) -> None:
        """Let a stopped process go on."""
        assert isinstance(one, int)
        if self.mesh.nodes[one].paused:
            self.mesh.resume(one)

    def mend(self, cuts: object) -> None:
        """End cuts."""
        assert isinstance(cuts, list)
        if cuts[0] in self.net.cuts:
            self.net.heal(*cuts)

    def heal(self) -> None:
        """End every fault; who crashed stays away."""
        if self.recorder is not None:
            self.recorder.mark("healed")
        self.net.heal()
        self.net.link = Link()
        self.net.links.clear()
        for node_id, node in self.mesh.nodes.items():
            self.mesh.set_rhythm(node_id, None, stops_timers=False)
            if node.paused:
                self.mesh.resume(node_id)


_FAULTS = {
    "crash": Play.crash,
    "restart": Play.crash,
    "join": Play.crash,
    "pause": Play.pause,
    "leave": Play.leave,
    "blocked": Play.blocked,
    "starved": Play.starved,
    "split": Play.split,
    "one_way": Play.one_way,
    "bad_link": Play.bad_link,
}


def run(
    seed: int,
    nodes: int | None = None,
    classes: tuple[str, ...] | None = None,
    *,
    records: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Play one seed.

    Args:
        seed: decides everything.
        nodes: how many there are at first, at least NODES_MIN; None: as the seed draws.
        classes: the faults that there are; None: as the seed draws.
        records: whether the outcome holds figures to draw; the run is the same.
        progress: is told how far it is, once a virtual second or so.
    """
    return outcome_of(Play(seed, nodes, classes, progress=progress), seed, records=records)


def outcome_of(play: Play, seed: int, *, records: bool) -> Outcome:
    """Play a world, and return what came of it."""
    begun = time.perf_counter()
    if records:
        play.recorder = Recorder(play.mesh)
    rest_s = play.run()
    node_seconds = len(play.mesh.nodes) * play.world.now_us / SECOND
    return Outcome(
        seed=seed,
        nodes=play.count,
        classes=play.classes,
        violations=tuple(play.invariants.violations),
        trace_hash=play.world.trace_hash,
        virtual_s=play.world.now_us / SECOND,
        real_s=time.perf_counter() - begun,
        events=play.world.events,
        rest_s=rest_s,
        messages_per_node_s=round(play.mesh.datagrams_sent / node_seconds, 3),
        bytes_per_node_s=round(play.mesh.bytes_sent / node_seconds, 1),
        counts=dict(play.invariants.counts),
        record=Record() if play.recorder is None else play.recorder.record(),
    )
