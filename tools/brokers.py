"""`mesh simulate brokers`: whole nodes under load in virtual worlds, with faults and invariants."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click

from simulations.broker_swarm import CLASSES, BrokerOutcome, run
from simulations.world import provenance
from tools.errors import CommandError, Exit
from tools.kafka import json_option
from tools.sweeps import play_all

FORMAT = 1
SEEDS_MAX = 1_000_000
TOLD_MAX = 20


@click.command(
    name="brokers",
    epilog="""\b
Examples:
  mesh simulate brokers --seeds 0..100
  mesh simulate brokers --seeds 7..8 --nodes 5
  mesh simulate brokers --seeds 0..1000 --class kill --class split --json

\b
Three or five whole nodes with Kafka's frames, disks that forget, links that break: idempotent
producers and readers go on meanwhile. Nothing acknowledged may be lost, twice, or read otherwise.
""",
)
@click.option(
    "--seeds", metavar="A..B", default="0..20", show_default=True, help="B is not played."
)
@click.option("--nodes", type=click.IntRange(3, 9), help="At first. [3 or 5, as the seed draws]")
@click.option(
    "--class",
    "classes",
    type=click.Choice(CLASSES),
    multiple=True,
    help="Of faults. [as the seed draws]",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes. [one for each core]")
@json_option
def brokers(
    *, seeds: str, nodes: int | None, classes: tuple[str, ...], jobs: int | None, as_json: bool
) -> int:
    """Play whole nodes through faults under load, and hold them to what must hold."""
    play = functools.partial(_play, nodes=nodes, classes=classes or None)
    outcomes = list(play_all(play, seed_range(seeds), jobs or os.cpu_count() or 1))
    outcomes.sort(key=lambda outcome: outcome.seed)
    violated = [outcome for outcome in outcomes if outcome.violations]
    if as_json:
        click.echo(json.dumps(_document(outcomes, violated)))
    else:
        chosen = "" if nodes is None else f" --nodes {nodes}"
        chosen += "".join(f" --class {name}" for name in classes)
        for line in _lines(outcomes, violated, chosen):
            click.echo(line)
    return Exit.VIOLATED if violated else Exit.OK


def seed_range(text: str) -> range:
    """Return what `A..B` names, B not included."""
    found = re.fullmatch(r"(\d{1,12})\.\.(\d{1,12})", text)
    if found is None or not int(found[1]) < int(found[2]) <= int(found[1]) + SEEDS_MAX:
        raise CommandError(
            f"--seeds {text} is no range of seeds",
            status=Exit.USAGE,
            do=f"write A..B with A below B, at most {SEEDS_MAX:,} apart; B is not played",
        )
    return range(int(found[1]), int(found[2]))


def _play(seed: int, nodes: int | None, classes: tuple[str, ...] | None) -> BrokerOutcome:
    logging.disable(logging.CRITICAL)  # What nodes say of torn tails, thousands of times.
    return run(seed, nodes, classes)


def _struck(outcomes: list[BrokerOutcome]) -> Counter[str]:
    """Return in how many worlds worth counting each class of faults struck."""
    return Counter(name for outcome in outcomes if outcome.counts for name in outcome.struck)


def _lines(
    outcomes: list[BrokerOutcome], violated: list[BrokerOutcome], chosen: str
) -> Iterator[str]:
    counted = sum(outcome.counts for outcome in outcomes)
    virtual_s = sum(outcome.virtual_s for outcome in outcomes)
    real_s = sum(outcome.real_s for outcome in outcomes)
    yield (
        f"{len(outcomes):,} seeds, {len(violated):,} violated; {counted:,} with at least 3 changes "
        f"of leaders and 1,000 acknowledged records"
    )
    yield (
        f"{sum(o.acked for o in outcomes):,} records acknowledged, "
        f"{sum(o.read for o in outcomes):,} read, {sum(o.commits for o in outcomes):,} offsets "
        "committed, "
        f"{sum(o.leader_changes for o in outcomes):,} changes of leaders; "
        f"{virtual_s:,.0f} s of virtual time, {virtual_s / max(real_s, 0.001):.1f} times real"
    )
    struck = _struck(outcomes)
    yield "struck in so many of them: " + ", ".join(f"{name} {struck[name]:,}" for name in CLASSES)
    for outcome in violated[:TOLD_MAX]:
        again = f"mesh simulate brokers --seeds {outcome.seed}..{outcome.seed + 1}{chosen}"
        yield f"  {again}: {outcome.violations[0]}"
    yield f"({provenance()})"


def _document(outcomes: list[BrokerOutcome], violated: list[BrokerOutcome]) -> dict[str, object]:
    return {
        "format": FORMAT,
        "provenance": provenance(),
        "seeds": len(outcomes),
        "violated": len(violated),
        "counted": sum(outcome.counts for outcome in outcomes),
        "acked": sum(outcome.acked for outcome in outcomes),
        "leader_changes": sum(outcome.leader_changes for outcome in outcomes),
        "virtual_s": round(sum(outcome.virtual_s for outcome in outcomes), 3),
        "real_s": round(sum(outcome.real_s for outcome in outcomes), 3),
        "struck": dict(_struck(outcomes)),
        "runs": [{**asdict(outcome), "verdict": outcome.verdict} for outcome in outcomes],
    }
