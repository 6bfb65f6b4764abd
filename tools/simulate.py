"""`mesh simulate`: the node's own membership in virtual worlds, with faults and invariants."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from simulations import plots
from simulations.experiments import EXPERIMENTS, MACHINES, WHICH, ResultsError
from simulations.experiments import run as run_experiment
from simulations.scenario_file import ScenarioError, read_script
from simulations.scenarios import Scenario, every_scenario, scripted
from simulations.swarm import NODES_MAX, NODES_MIN, Outcome
from simulations.world import provenance
from tools.brokers import brokers
from tools.errors import CommandError, Exit, nearest
from tools.kafka import json_option
from tools.stack import stack
from tools.sweeps import clear_line, play_all

FORMAT = 1
TOLD_MAX = 20
"""Violated runs that are told one by one."""
SEEDS_MAX = 10_000_000
AT_ONCE = 64
"""Seeds that are handed to each process at a time, so that none waits for the last one."""

_NODES = click.option(
    "--nodes",
    metavar="N",
    type=click.IntRange(NODES_MIN, NODES_MAX),
    help="At first. [as the seed draws, or the file says]",
)
_PLOT = click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw convergence, detection and load, .png or .svg.",
)


@click.group(
    epilog="""\b
Examples:
  mesh simulate list
  mesh simulate run split --nodes 20 --seed 7
  mesh simulate run rack-loss --plot rack-loss.png
  mesh simulate run my-scenario.toml
  mesh simulate sweep swarm --seeds 0..1000
  mesh simulate brokers --seeds 0..100
  mesh simulate stack --seeds 0..20
  mesh simulate experiment detect-latency --cells sample

\b
A run is its code, its scenario and its seed: the same on every machine, by the trace hash.
"""
)
def simulate() -> None:
    """Play membership, and whole nodes, through faults in virtual time."""


@simulate.command(
    name="list",
    epilog="""\b
Examples:
  mesh simulate list
  mesh simulate list --json
""",
)
@json_option
def list_scenarios(*, as_json: bool) -> None:
    """List the scenarios."""
    rows = every_scenario().values()
    if as_json:
        found = [{"name": row.name, "about": row.about} for row in rows]
        click.echo(json.dumps({"format": FORMAT, "scenarios": found}))
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(f"{row.name:<{width}}  {row.about}")


@simulate.command(
    name="run",
    epilog="""\b
Examples:
  mesh simulate run split --nodes 20 --seed 7
  mesh simulate run swarm --seed 99 --json
  mesh simulate run storm --plot storm.png
  mesh simulate run my-scenario.toml

\b
A name that ends in .toml is a file of yours; docs/simulate.md tells what may stand in it.
""",
)
@click.argument("scenario")
@_NODES
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@_PLOT
@json_option
def run_one(
    *, scenario: str, nodes: int | None, seed: int, plot: Path | None, as_json: bool
) -> int:
    """Play one seed of a scenario."""
    row = _scenario(scenario)
    _check_plot(plot)
    outcome = row.play(
        seed, nodes, records=True, progress=_show_run if sys.stderr.isatty() else None
    )
    clear_line()
    if plot is not None:
        plots.draw_runs(f"{row.name}, {outcome.nodes} nodes, seed {seed}", [outcome], plot)
    document = _document(row, outcome)
    if as_json:
        click.echo(json.dumps(document))
    else:
        for line in _lines(row, outcome):
            click.echo(line)
    return Exit.VIOLATED if outcome.violations else Exit.OK


@simulate.command(
    epilog="""\b
Examples:
  mesh simulate sweep swarm --seeds 0..1000
  mesh simulate sweep all --nodes 5 --seeds 0..20 --json
"""
)
@click.argument("scenario")
@_NODES
@click.option("--seeds", metavar="A..B", default="0..100", show_default=True, help="Without B.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes. [one for each core]")
@_PLOT
@json_option
def sweep(
    *,
    scenario: str,
    nodes: int | None,
    seeds: str,
    jobs: int | None,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Play many seeds of a scenario, or of `all`, on all cores."""
    rows = every_scenario().values() if scenario == "all" else [_scenario(scenario)]
    first, end = _seeds(seeds)
    _check_plot(plot)
    begun = time.monotonic()
    results = []
    for row in rows:
        processes = jobs or os.cpu_count() or 1
        play = functools.partial(row.play, nodes=nodes, records=plot is not None)
        played = play_all(play, range(first, end), processes, at_once=AT_ONCE, name=row.name)
        outcomes = list(played)
        results.append((row, outcomes))
        if not as_json:
            for line in _sweep_lines(row, outcomes, nodes):
                click.echo(line)
    if plot is not None:
        title = f"{scenario}, seeds {seeds}" + ("" if nodes is None else f", {nodes} nodes")
        plots.draw_runs(title, [one for _, outcomes in results for one in outcomes], plot)
    violated = sum(bool(one.violations) for _, outcomes in results for one in outcomes)
    if as_json:
        document = {
            "format": FORMAT,
            "provenance": provenance(),
            "real_s": round(time.monotonic() - begun, 3),
            "violated": violated,
            "scenarios": [_sweep_document(row, outcomes) for row, outcomes in results],
        }
        click.echo(json.dumps(document))
    return Exit.VIOLATED if violated else Exit.OK


@simulate.command(
    epilog="""\b
Examples:
  mesh simulate experiment
  mesh simulate experiment detect-latency --cells sample --plot latency.png
  mesh simulate experiment detect-interval --cells all --resume interval.jsonl --jobs 2
  mesh simulate experiment detect-interval --cells sample --machine plain
"""
)
@click.argument("name", required=False)
@click.option("--cells", type=click.Choice(WHICH), default="small", show_default=True)
@click.option("--machine", type=click.Choice(MACHINES), default="gossamer", show_default=True)
@click.option(
    "--resume",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep results here, line by line, and run only what is not there yet.",
)
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the figures, .png or .svg.",
)
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True)
@json_option
def experiment(
    *,
    name: str | None,
    cells: str,
    machine: str,
    resume: Path | None,
    plot: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Repeat an experiment of the literature, or list them; docs/experiments.md tells of them."""
    if name is None:
        for row in EXPERIMENTS.values():
            click.echo(f"{row.name:<16}{row.about}")
        return
    if name not in EXPERIMENTS:
        guess = nearest(name, frozenset(EXPERIMENTS))
        raise CommandError(
            f"there is no experiment {name!r}",
            status=Exit.USAGE,
            do=f"did you mean {guess}?" if guess else "`mesh simulate experiment` lists them",
        )

    def progress(done: int, count: int, last: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{name}: {done:,} of {count:,} ({last}) ", nl=False, err=True)

    try:
        if plot is not None:
            plots.check(plot)
        report = run_experiment(name, cells, machine, resume, progress, processes=jobs)
        if plot is not None:
            plots.draw(report, plot)
    except (ResultsError, plots.PlotError) as error:
        raise CommandError(str(error), status=Exit.USAGE) from error
    if sys.stderr.isatty():
        click.echo(err=True)
    if as_json:
        fields = {"experiment": name, "cells": cells, "machine": machine, **asdict(report)}
        click.echo(json.dumps({"format": FORMAT, "provenance": provenance(), **fields}))
        return
    click.echo(report.text())
    click.echo(f"({provenance()}, {machine}, cells: {cells})")


simulate.add_command(brokers)
simulate.add_command(stack)


def _check_plot(plot: Path | None) -> None:
    """Find out before any work whether it can be drawn."""
    try:
        if plot is not None:
            plots.check(plot)
    except plots.PlotError as error:
        raise CommandError(str(error), status=Exit.USAGE) from error


def _show_run(second: float, events: int, states: Mapping[str, int]) -> None:
    nodes = ", ".join(f"{count:,} {state}" for state, count in states.items())
    click.echo(f"\r\x1b[K{second:.0f} s, {events:,} events; {nodes}", nl=False, err=True)


def _scenario(name: str) -> Scenario:
    if name.endswith(".toml"):
        try:
            return scripted(read_script(Path(name)))
        except ScenarioError as error:
            raise CommandError(str(error), status=Exit.USAGE) from error
    found = every_scenario().get(name)
    if found is None:
        guess = nearest(name, frozenset({*every_scenario(), "all"}))
        raise CommandError(
            f"there is no scenario {name!r}",
            status=Exit.USAGE,
            do=f"did you mean {guess}?" if guess else "`mesh simulate list` tells what there is",
        )
    return found


def _seeds(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,12})\.\.(\d{1,12})", text)
    if found is None or not int(found[1]) < int(found[2]) <= int(found[1]) + SEEDS_MAX:
        raise CommandError(
            f"--seeds {text} is no range of seeds",
            status=Exit.USAGE,
            do=f"write A..B with A below B, at most {SEEDS_MAX:,} apart; B is not played",
        )
    return int(found[1]), int(found[2])


def _document(row: Scenario, outcome: Outcome) -> dict[str, object]:
    fields = asdict(outcome)
    del fields["counts"], fields["record"]
    record = outcome.record
    return {
        "format": FORMAT,
        "scenario": row.name,
        "verdict": outcome.verdict,
        "provenance": provenance(),
        **fields,
        **{f"{name}_count": count for name, count in outcome.counts.items()},
        "convergence": record.convergence,
        "marks": record.marks,
        "detections_s": record.detections_s,
        "load": record.load,
    }


def _lines(row: Scenario, outcome: Outcome) -> list[str]:
    classes = ", ".join(outcome.classes) or ("as told" if row.script else "no faults")
    lines = [
        f"{row.name}, seed {outcome.seed}: {outcome.verdict}",
        f"  {outcome.nodes} nodes; {classes}",
        (
            f"  {outcome.virtual_s:.0f} s in {outcome.real_s:.2f} s, {outcome.events:,} events; "
            f"at rest {outcome.rest_s:.0f} s after the last fault"
        ),
        (
            f"  {outcome.messages_per_node_s:.2f} messages, {outcome.bytes_per_node_s:.0f} bytes a "
            f"node and second; {outcome.counts.get('deaths', 0):,} findings of death, "
            f"{outcome.counts.get('false_deaths', 0):,} of them of running nodes"
        ),
        f"  trace {outcome.trace_hash} ({provenance()})",
    ]
    if found := sorted(outcome.record.detections_s):
        last = found[min(len(found) - 1, int(0.99 * len(found)))]
        middle = found[len(found) // 2]
        lines.insert(-1, f"  crashes are found after {middle:.1f} s (median), {last:.1f} s (p99)")
    return lines + [f"  VIOLATED {violation}" for violation in outcome.violations]


def _sweep_lines(row: Scenario, outcomes: list[Outcome], nodes: int | None) -> list[str]:
    violated = sorted((one for one in outcomes if one.violations), key=lambda one: one.seed)
    rests = sorted(one.rest_s for one in outcomes)
    real_s = sum(one.real_s for one in outcomes)
    lines = [
        (
            f"{row.name}: {len(outcomes):,} seeds, {len(violated):,} violated; at rest after "
            f"{rests[len(rests) // 2]:.0f} s in the middle, {rests[-1]:.0f} s at most; "
            f"{sum(one.events for one in outcomes):,} events in {real_s:.0f} s of processors"
        )
    ]
    size = "" if nodes is None else f" --nodes {nodes}"
    for one in violated[:TOLD_MAX]:
        lines.append(f"  mesh simulate run {row.name}{size} --seed {one.seed}: {one.violations[0]}")
    if len(violated) > TOLD_MAX:
        lines.append(f"  and {len(violated) - TOLD_MAX:,} more")
    return lines


def _sweep_document(row: Scenario, outcomes: list[Outcome]) -> dict[str, object]:
    violated = [one for one in outcomes if one.violations]
    rests = sorted(one.rest_s for one in outcomes)
    return {
        "scenario": row.name,
        "seeds": len(outcomes),
        "violated_seeds": sorted(one.seed for one in violated),
        "rest_p50_s": rests[len(rests) // 2],
        "rest_max_s": rests[-1],
        "events": sum(one.events for one in outcomes),
        "processor_s": round(sum(one.real_s for one in outcomes), 3),
    }
