"""Scenarios of the gossip level by name: random worlds, and stories that files tell."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from simulations.scenario_file import Script, parse_script
from simulations.scripted import run_script
from simulations.swarm import CLASSES, Outcome, Progress, run


class Scenario(NamedTuple):
    """A world that can be played with any seed."""

    name: str
    about: str
    classes: tuple[str, ...] | None
    """None: each seed has other classes."""
    script: Script | None = None
    """What a file tells; None: all is drawn."""

    def play(
        self,
        seed: int,
        nodes: int | None = None,
        *,
        records: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:
        """Play one seed of it; see `simulations.swarm.run`."""
        if self.script is not None:
            return run_script(self.script, seed, nodes, records=records, progress=progress)
        return run(seed, nodes, self.classes, records=records, progress=progress)


def scripted(script: Script) -> Scenario:
    """Return the scenario that a file tells."""
    return Scenario(script.name, script.about, script.random, script)


@cache
def told() -> Mapping[str, Scenario]:
    """Return the stories that come with this package, by name."""
    found = {}
    for file in sorted((files("simulations") / "scripts").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            name = file.name.removesuffix(".toml")
            found[name] = scripted(parse_script(file.read_text(), file.name, name))
    return found


def _rows() -> list[Scenario]:
    return [
        Scenario("swarm", "each seed has other classes of faults, at other rates", None),
        Scenario("calm", "nothing happens", ()),
        Scenario("loss", "datagrams are lost, streams break off", ("loss",)),
        Scenario("disorder", "datagrams come twice, and late", ("duplicate", "reorder")),
        Scenario("slow-links", "delays have a long tail", ("slow",)),
        Scenario("split", "the network splits, sometimes with a bridge between", ("split",)),
        Scenario("one-way", "a node hears nobody, or is heard by nobody", ("one_way",)),
        Scenario("bad-links", "some links lose most of what they carry", ("bad_link",)),
        Scenario("crash", "processes end as by kill -9, and stay away", ("crash",)),
        Scenario("restart", "processes end, and come back as new starts", ("crash", "restart")),
        Scenario("pause", "processes stop for seconds and go on", ("pause",)),
        Scenario("blocked", "processes cannot send or receive, again and again", ("blocked",)),
        Scenario("starved", "processes get the processor now and then", ("starved",)),
        Scenario("leave", "nodes leave for good", ("leave",)),
        Scenario("join", "nodes join", ("join",)),
        Scenario("churn", "nodes join, leave, crash and come back", ("join", "leave", "restart")),
        Scenario("clocks", "clocks run at other rates", ("clocks",)),
        Scenario("everything", "all of it at once", CLASSES),
    ]


SCENARIOS: Mapping[str, Scenario] = {row.name: row for row in _rows()}
"""Random worlds, by name."""


def every_scenario() -> Mapping[str, Scenario]:
    """Return all that can be played by name: random worlds, then stories."""
    return {**SCENARIOS, **told()}
