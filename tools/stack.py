"""`mesh simulate stack`: whole processes on a simulated network, with faults; for the driver."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click

from simulations.full_stack import CLASSES, FAULTS_S, StackOutcome, run
from simulations.world import provenance
from tools.brokers import seed_range
from tools.errors import Exit
from tools.kafka import json_option
from tools.sweeps import play_all

FORMAT = 1
TOLD_MAX = 20


@click.command(
    name="stack",
    epilog="""\b
Examples:
  mesh simulate stack --seeds 0..20
  mesh simulate stack --seeds 26..27 --class power --class reset
  mesh simulate stack --seeds 0..100 --json

\b
Three nodes run all that `mesh node` runs, tasks and time-outs included, on streams and datagrams
in memory: machines lose power, nodes are killed or stopped in good order, streams break off
mid-frame or hang half-open. Idempotent producers and readers speak Kafka's protocol meanwhile.
Slower than `mesh simulate brokers`, which plays the same machines without trio.
""",
)
@click.option(
    "--seeds", metavar="A..B", default="0..10", show_default=True, help="B is not played."
)
@click.option(
    "--class",
    "classes",
    type=click.Choice(CLASSES),
    multiple=True,
    help="Of faults. [as the seed draws]",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 600),
    default=FAULTS_S,
    show_default=True,
    help="Of virtual time in which something goes wrong again and again.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes. [one for each core]")
@json_option
def stack(
    *, seeds: str, classes: tuple[str, ...], seconds: int, jobs: int | None, as_json: bool
) -> int:
    """Play whole processes, the driver included, through faults under load."""
    play = functools.partial(_play, classes=classes or None, seconds=seconds)
    outcomes = list(play_all(play, seed_range(seeds), jobs or os.cpu_count() or 1))
    outcomes.sort(key=lambda outcome: outcome.seed)
    violated = [outcome for outcome in outcomes if outcome.violations]
    if as_json:
        click.echo(json.dumps(_document(outcomes, violated)))
    else:
        for line in _lines(outcomes, violated, classes, seconds):
            click.echo(line)
    return Exit.VIOLATED if violated else Exit.OK


def _play(seed: int, classes: tuple[str, ...] | None, seconds: int) -> StackOutcome:
    logging.disable(logging.CRITICAL)  # What nodes say of faults, thousands of times.
    return run(seed, classes, seconds=seconds)


def _struck(outcomes: list[StackOutcome]) -> Counter[str]:
    """Return in how many worlds each class of faults struck."""
    return Counter(name for outcome in outcomes for name in outcome.struck)


def _lines(
    outcomes: list[StackOutcome],
    violated: list[StackOutcome],
    classes: tuple[str, ...],
    seconds: int,
) -> Iterator[str]:
    virtual_s = sum(outcome.virtual_s for outcome in outcomes)
    real_s = sum(outcome.real_s for outcome in outcomes)
    yield (
        f"{len(outcomes):,} seeds, {len(violated):,} violated; "
        f"{sum(o.acked for o in outcomes):,} records acknowledged, "
        f"{sum(o.read for o in outcomes):,} read, "
        f"{sum(o.starts for o in outcomes):,} starts of nodes; "
        f"{virtual_s:,.0f} s of virtual time, {virtual_s / max(real_s, 0.001):.1f} times real"
    )
    struck = _struck(outcomes)
    yield "struck in so many of them: " + ", ".join(f"{name} {struck[name]:,}" for name in CLASSES)
    chosen = "".join(f" --class {name}" for name in classes)
    if seconds != FAULTS_S:
        chosen += f" --seconds {seconds}"
    for outcome in violated[:TOLD_MAX]:
        again = f"mesh simulate stack --seeds {outcome.seed}..{outcome.seed + 1}{chosen}"
        yield f"  {again}: {outcome.violations[0]}"
    if len(outcomes) == 1:
        yield f"trace {outcomes[0].trace_hash}"
    yield f"({provenance()})"


def _document(outcomes: list[StackOutcome], violated: list[StackOutcome]) -> dict[str, object]:
    return {
        "format": FORMAT,
        "provenance": provenance(),
        "seeds": len(outcomes),
        "violated": len(violated),
        "acked": sum(outcome.acked for outcome in outcomes),
        "virtual_s": round(sum(outcome.virtual_s for outcome in outcomes), 3),
        "real_s": round(sum(outcome.real_s for outcome in outcomes), 3),
        "struck": dict(_struck(outcomes)),
        "runs": [{**asdict(outcome), "verdict": outcome.verdict} for outcome in outcomes],
    }
