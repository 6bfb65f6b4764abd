"""Random worlds: each seed drops whole classes of faults, and draws how often the others come.

Source of the method: Groce et al., Swarm Testing (2012).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from mesh.gossip import LAN, Clash, JoinFailed
from simulations.gossip_mesh import GossipMesh, Rhythm
from simulations.invariants import Invariants
from simulations.net import Link, Network
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

    @property
    def verdict(self) -> str:
        """`ok`, or `violated`."""
        return "violated" if self.violations else "ok"


class _Swarm:
    """One random world."""

    def __init__(self, seed: int, nodes: int | None, classes: tuple[str, ...] | None) -> None:
        self.world = World(seed)
        self.rng: random.Random = self.world.rng("swarm")
        spread = self.rng.random() ** 2
        drawn = NODES_MIN + int((NODES_MAX - NODES_MIN) * spread)
        self.count = drawn if nodes is None else nodes
        chosen = tuple(one for one in CLASSES if self.rng.random() < 0.5)
        self.classes = chosen if classes is None else classes
        self.net = Network(self.world, Link())
        self.mesh = GossipMesh(self.world, self.net, LAN)
        self.invariants = Invariants(self.mesh)
        self.left: set[int] = set()
        self.seen_effects = 0

    def has(self, name: str) -> bool:
        return name in self.classes

    def run(self) -> float:
        """Play it; return how long the mesh took to come to rest."""
        self.mesh.add_agreed(self.count)
        if self.has("clocks"):
            for node in self.mesh.nodes.values():
                node.rate = 1 + self.rng.uniform(-0.01, 0.01)
        self.let_pass(CALM_S)
        self.make_network_bad()
        for _ in range(FAULTS_S):
            self.one_fault()
            self.let_pass(1)
        self.heal()
        for waited in range(REST_S_MAX):
            self.let_pass(1)
            if waited % 3 == 2 and not self.invariants.differences():
                return float(waited + 1)
        self.invariants.at_rest()
        return float(REST_S_MAX)

    def let_pass(self, seconds: int) -> None:
        """Let time pass; who was let in by nobody asks again, as a node does."""
        self.world.run_until(self.world.now_us + seconds * SECOND)
        fresh = self.mesh.other[self.seen_effects :]
        self.seen_effects = len(self.mesh.other)
        for at_us, node_id, effect in fresh:
            if isinstance(effect, JoinFailed):
                self.world.at(at_us + RETRY_S * SECOND, self.join_again, node_id)
            elif isinstance(effect, Clash):
                self.invariants.violations.append(f"node {node_id} is to stop: {effect.reason}")

    def join_again(self, node_id: int, _: object, __: object) -> None:
        if self.mesh.nodes[node_id].up:
            self.mesh.join(node_id, self.seeds(node_id))

    def running(self) -> list[int]:
        return sorted(
            one for one, node in self.mesh.nodes.items() if node.up and one not in self.left
        )

    def seeds(self, but: int) -> list[int]:
        others = [one for one in self.running() if one != but]
        return self.rng.sample(others, min(3, len(others)))

    def make_network_bad(self) -> None:
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
        self.mesh.crash(one)

    def pause(self, one: int) -> None:
        self.mesh.pause(one)
        self.later(self.resume, one)

    def leave(self, one: int) -> None:
        self.left.add(one)
        self.mesh.leave(one)

    def blocked(self, one: int) -> None:
        self.stutter(one, stops_timers=False)

    def starved(self, one: int) -> None:
        self.stutter(one, stops_timers=True)

    def stutter(self, one: int, *, stops_timers: bool) -> None:
        now_us = self.world.now_us
        rhythm = Rhythm(
            begin_us=now_us,
            still_us=self.rng.choice((200, 1_000, 4_000)) * 1_000,
            free_us=self.rng.choice((1, 100, 1_000)) * 1_000,
            end_us=now_us + self.rng.randrange(2, 12) * SECOND,
        )
        self.mesh.set_rhythm(one, rhythm, stops_timers=stops_timers)

    def split(self, one: int) -> None:
        half = {one, *self.rng.sample(self.running(), len(self.running()) // 2)}
        rest = set(self.mesh.nodes) - half
        if self.rng.random() < 0.3 and rest:  # A bridge reaches both.
            rest.discard(min(rest))
        cuts = self.net.split(half, rest)
        self.later(self.mend, cuts)

    def one_way(self, one: int) -> None:
        others = set(self.mesh.nodes) - {one}
        cut = (
            self.net.cut([one], others) if self.rng.random() < 0.5 else self.net.cut(others, [one])
        )
        self.later(self.mend, [cut])

    def bad_link(self, one: int) -> None:
        other = self.rng.choice(self.running())
        self.net.links[one, other] = Link(loss=self.rng.uniform(0.5, 1.0))

    def later(self, call: object, argument: object) -> None:
        assert callable(call)
        delay_us = self.rng.randrange(1, 15) * SECOND

        def act(_: object, __: object, ___: object) -> None:
            call(argument)

        self.world.at(self.world.now_us + delay_us, act)

    def resume(self, one: object) -> None:
        assert isinstance(one, int)
        if self.mesh.nodes[one].paused:
            self.mesh.resume(one)

    def mend(self, cuts: object) -> None:
        assert isinstance(cuts, list)
        if cuts[0] in self.net.cuts:
            self.net.heal(*cuts)

    def heal(self) -> None:
        """End every fault; who crashed stays away."""
        self.net.heal()
        self.net.link = Link()
        self.net.links.clear()
        for node_id, node in self.mesh.nodes.items():
            self.mesh.set_rhythm(node_id, None, stops_timers=False)
            if node.paused:
                self.mesh.resume(node_id)


_FAULTS = {
    "crash": _Swarm.crash,
    "restart": _Swarm.crash,
    "join": _Swarm.crash,
    "pause": _Swarm.pause,
    "leave": _Swarm.leave,
    "blocked": _Swarm.blocked,
    "starved": _Swarm.starved,
    "split": _Swarm.split,
    "one_way": _Swarm.one_way,
    "bad_link": _Swarm.bad_link,
}


def run(seed: int, nodes: int | None = None, classes: tuple[str, ...] | None = None) -> Outcome:
    """Play one seed.

    Args:
        seed: decides everything.
        nodes: how many there are at first, at least NODES_MIN; None: as the seed draws.
        classes: the faults that there are; None: as the seed draws.
    """
    begun = time.perf_counter()
    swarm = _Swarm(seed, nodes, classes)
    rest_s = swarm.run()
    node_seconds = len(swarm.mesh.nodes) * swarm.world.now_us / SECOND
    return Outcome(
        seed=seed,
        nodes=swarm.count,
        classes=swarm.classes,
        violations=tuple(swarm.invariants.violations),
        trace_hash=swarm.world.trace_hash,
        virtual_s=swarm.world.now_us / SECOND,
        real_s=time.perf_counter() - begun,
        events=swarm.world.events,
        rest_s=rest_s,
        messages_per_node_s=round(swarm.mesh.datagrams_sent / node_seconds, 3),
        bytes_per_node_s=round(swarm.mesh.bytes_sent / node_seconds, 1),
        counts=dict(swarm.invariants.counts),
    )
