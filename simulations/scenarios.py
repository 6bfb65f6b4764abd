"""Named random worlds of the gossip level: which faults there are; the seed draws the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from simulations.swarm import CLASSES


class Scenario(NamedTuple):
    """A world that can be played with any seed."""

    name: str
    about: str
    classes: tuple[str, ...] | None
    """None: each seed has other classes."""


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
"""By name."""
