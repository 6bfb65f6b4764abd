"""One world of an experiment: nodes of either machine, who held whom dead, and what it cost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import cbor2

from mesh.gossip import Changed, Effect, Known, Me, Send, Settings, State
from mesh.gossip.messages import NEWS
from simulations.experiments.counting import Death
from simulations.experiments.process import ProcessMesh
from simulations.gossip_mesh import Machine, Make, Rhythm, VirtualNode, gossamer
from simulations.net import Link, Network
from simulations.plain_swim import ALIVE, GOROUTINES, PlainSwim
from simulations.world import World

MS = 1_000
"""Microseconds."""


def plain(
    me: Me, settings: Settings, rng: random.Random, now_ms: int, known: Known | None
) -> Machine:
    """Make a machine of plain SWIM."""
    del settings
    return PlainSwim(me, None, rng, now_ms, known=known)


class Starved(NamedTuple):
    """A process that shares a core with others which always want it."""

    busy_count: int = 128
    slice_us: int = 4_000
    """How long each runs: a tick of Linux's clock, where one slice of that many would be less."""
    factor: float = 1.0
    """How much more CPU it needs than our measured memberlist on our core."""


MAKES: dict[str, Make] = {"gossamer": gossamer, "plain": plain}


class _Mesh(ProcessMesh):
    """Counts, when asked to, the datagrams that carry news of one member."""

    subject = 0
    news_sent = 0

    def _carry_out(self, node: VirtualNode, effects: list[Effect]) -> None:
        if self.subject:
            sends = [effect.data for effect in effects if type(effect) is Send]
            self.news_sent += sum(_tells_of(data, self.subject) for data in sends)
        super()._carry_out(node, effects)


def _tells_of(data: bytes, subject: int) -> bool:
    """Whether a datagram of either machine carries news of a member."""
    found = cbor2.loads(data)
    if type(found[0]) is int:  # Ours: a head, and items at its end.
        return found[0] == NEWS and any(item[0] == subject for item in found[7])
    return any(message[0] == ALIVE and message[1] == subject for message in found)


class Trial:
    """A mesh under observation."""

    def __init__(self, seed: int, machine: str, link: Link | None = None) -> None:
        """Without a node."""
        self.world = World(seed)
        self.net = Network(self.world, link)
        self.mesh = _Mesh(self.world, self.net, make=MAKES[machine])
        self.rng = self.world.rng("experiment")
        self.deaths: list[Death] = []
        self.views: dict[int, int] = {}
        """How many live members each node knows, itself included."""
        self.mesh.watchers.append(self._watch)

    def agreed(self, count: int) -> None:
        """Begin with nodes 1 to `count`, all of which know all."""
        self.mesh.add_agreed(count)
        self.views = dict.fromkeys(range(1, count + 1), count)

    def join(self, node_id: int, seeds: Sequence[int]) -> None:
        """Add a node that joins through others."""
        self.views[node_id] = 1
        self.mesh.add(node_id, seeds)

    @property
    def now_ms(self) -> float:
        """Virtual time."""
        return self.world.now_us / MS

    def run_until(self, at_ms: float) -> None:
        """Let time pass."""
        self.world.run_until(int(at_ms * MS))

    def _watch(self, node: VirtualNode, changed: Changed) -> None:
        before, after, _ = changed
        if after.node_id == node.node_id:
            return
        was = before is not None and before.state <= State.SUSPECT
        lives = after.state <= State.SUSPECT
        if was != lives:
            self.views[node.node_id] = self.views.get(node.node_id, 1) + (1 if lives else -1)
        if after.state is State.DEAD and (before is None or before.state is not State.DEAD):
            self.deaths.append(Death(self.now_ms, node.node_id, after.node_id))

    def block(
        self, ill: Sequence[int], begin_ms: int, still_ms: int, free_ms: int, end_ms: int
    ) -> None:
        """Hold up what some send and receive, in lock-step and in a rhythm; their timers run."""
        cycle = still_ms + free_ms
        for at_ms in range(begin_ms, end_ms, cycle):
            for node_id in ill:
                self.world.at(at_ms * MS, self._stall, node_id)
                self.world.at(min(end_ms, at_ms + still_ms) * MS, self._unstall, node_id)
        self.mesh.take_time(ill)
        rhythm = Rhythm(begin_ms * MS, still_ms * MS, free_ms * MS, end_ms * MS)
        for node_id in ill:
            self.mesh.set_rhythm(node_id, rhythm, stops_timers=False)

    def _stall(self, node_id: int, _: object, __: object) -> None:
        machine = self.mesh.nodes[node_id].machine
        if isinstance(machine, PlainSwim):
            self.mesh.ask(node_id, lambda _, now_ms: machine.stall(now_ms))

    def _unstall(self, node_id: int, _: object, __: object) -> None:
        machine = self.mesh.nodes[node_id].machine
        if isinstance(machine, PlainSwim):
            self.mesh.ask(node_id, lambda _, now_ms: machine.unstall(now_ms))
            for goroutine in self.rng.sample(GOROUTINES, len(GOROUTINES)):
                self.world.at(self.world.now_us, self._step, node_id, machine, goroutine)

    def _step(self, node_id: int, machine: PlainSwim, goroutine: str) -> None:
        more = False

        def step(_: Machine, now_ms: int) -> list[Effect]:
            nonlocal more
            effects, more = machine.step(goroutine, now_ms)
            return effects

        self.mesh.ask(node_id, step)
        if more:
            at_us = self.world.now_us + self.mesh.send_us
            self.world.at(at_us, self._step, node_id, machine, goroutine)

    def starve(self, ill: Sequence[int], begin_ms: int, end_ms: int, cpu: Starved) -> None:
        """Let some have a core only in turn with many others; nothing of them runs in between."""
        self.mesh.take_time(ill, factor=cpu.factor, alone=False)
        turn_us = (cpu.busy_count + 1) * cpu.slice_us
        for node_id in ill:
            phase_us = self.rng.randrange(turn_us)
            rhythm = Rhythm(
                begin_ms * MS + phase_us, turn_us - cpu.slice_us, cpu.slice_us, end_ms * MS
            )
            self.mesh.set_rhythm(node_id, rhythm, stops_timers=True)
