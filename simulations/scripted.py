"""Plays the scenarios that files say: what befalls whom, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mesh.gossip import PROFILES
from simulations.gossip_mesh import NEVER_US, Rhythm
from simulations.net import Cut
from simulations.scenario_file import Fault, Script
from simulations.swarm import SECOND, Outcome, Play, Progress, outcome_of


class Scripted(Play):
    """One run of a scenario; where it leaves a choice, the seed draws."""

    def __init__(
        self, script: Script, seed: int, nodes: int | None, progress: Progress | None = None
    ) -> None:
        """With the nodes that the file says, or more."""
        super().__init__(
            seed,
            script.nodes if nodes is None else max(nodes, script.nodes),
            script.random,
            settings=PROFILES[script.profile],
            progress=progress,
        )
        self._script = script
        self._begun_s = 0

    def begin(self) -> None:
        """Add the nodes, each in its rack."""
        super().begin()
        self.net.link = self._script.link

    def befall(self) -> None:
        """Let happen what the file says, and what the seed draws besides."""
        if self.classes:
            self.make_network_bad()
        for fault in self._script.faults:
            self.world.at(int(fault.at_s * SECOND), self._strike, fault)
        for _ in range(self._script.seconds):
            if self.classes:
                self.one_fault()
            self.let_pass(1)

    def make_network_bad(self) -> None:
        """What is drawn comes on top of what the file says of links."""
        super().make_network_bad()
        said, drawn = self._script.link, self.net.link
        self.net.link = replace(
            said,
            loss=max(said.loss, drawn.loss),
            duplicate=max(said.duplicate, drawn.duplicate),
            reorder=max(said.reorder, drawn.reorder),
            tail_us=max(said.tail_us, drawn.tail_us),
            reset=max(said.reset, drawn.reset),
        )

    def _strike(self, fault: Fault, _: None, __: None) -> None:
        whom = self._whom(fault)
        if self.recorder is not None:
            self.recorder.mark(fault.kind)
        if fault.kind == "split":
            others = set(self.mesh.nodes) - set(whom) - set(fault.bridge)
            self._cut(fault, self.net.split(whom, others))
        elif fault.kind in ("deaf", "mute"):
            cuts = []
            for one in whom:
                others = set(self.mesh.nodes) - {one}
                ends = (others, [one]) if fault.kind == "deaf" else ([one], others)
                cuts.append(self.net.cut(*ends))
            self._cut(fault, cuts)
        elif fault.kind == "join":
            for _number in range(fault.count):
                self.mesh.add(max(self.mesh.nodes) + 1, self.seeds(0))
        else:
            for one in whom:
                self._befall_one(fault, one)

    def _befall_one(self, fault: Fault, one: int) -> None:
        mesh, node = self.mesh, self.mesh.nodes[one]
        match fault.kind:
            case "crash" if node.up:
                mesh.crash(one)
                self._after(fault, lambda: mesh.restart(one, self.seeds(one)))
            case "restart" if one not in self.left:
                mesh.restart(one, self.seeds(one))
            case "pause" if node.up and not node.paused:
                mesh.pause(one)
                self._after(fault, lambda: self.resume(one))
            case "leave" if node.up:
                self.left.add(one)
                mesh.leave(one)
            case "bad-link":
                self._spoil(fault, one)
            case "blocked" | "starved":
                now_us = self.world.now_us
                lasts_us = NEVER_US if fault.for_s is None else int(fault.for_s * SECOND)
                rhythm = Rhythm(
                    now_us, fault.still_ms * 1000, fault.free_ms * 1000, now_us + lasts_us
                )
                mesh.set_rhythm(one, rhythm, stops_timers=fault.kind == "starved")
            case "clock":
                # What its clock shows goes on from where it is.
                now_us = self.world.now_us
                node.skew_us += int(now_us * (node.rate - fault.rate))
                node.rate = fault.rate
            case _:
                pass  # It is down, or has left: nothing can befall it.

    def _spoil(self, fault: Fault, one: int) -> None:
        bad = replace(self.net.link, loss=fault.loss)
        others = fault.to or tuple(set(self.mesh.nodes) - {one})
        pairs = [pair for other in others for pair in ((one, other), (other, one))]
        for pair in pairs:
            self.net.links[pair] = bad

        def mend() -> None:
            for pair in pairs:
                self.net.links.pop(pair, None)

        self._after(fault, mend)

    def _cut(self, fault: Fault, cuts: list[Cut]) -> None:
        self._after(fault, lambda: self.mend(cuts))

    def _after(self, fault: Fault, act: Callable[[], object]) -> None:
        """Have something done when the fault ends, if it does."""
        if fault.for_s is not None:
            end_us = self.world.now_us + int(fault.for_s * SECOND)

            def end(_: object, __: object, ___: object) -> None:
                act()

            self.world.at(end_us, end)

    def _whom(self, fault: Fault) -> list[int]:
        if fault.nodes:
            return list(fault.nodes)
        if fault.rack is not None:
            racks = self._script.racks
            return [one for one in sorted(self.mesh.nodes) if one % racks == fault.rack]
        running = [one for one in self.running() if one not in fault.bridge]
        return sorted(self.rng.sample(running, min(fault.count, len(running))))


def run_script(
    script: Script,
    seed: int,
    nodes: int | None = None,
    *,
    records: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Play one seed of a scenario.

    Args:
        script: the scenario.
        seed: decides what it leaves open.
        nodes: how many there are, if more than it says.
        records: whether the outcome holds figures to draw; the run is the same.
        progress: is told how far it is, once a virtual second or so.
    """
    return outcome_of(Scripted(script, seed, nodes, progress), seed, records=records)
