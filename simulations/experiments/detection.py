"""Slow nodes: detect-interval and detect-latency (Lifeguard, 2018), slow-cpu (its figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.experiments.counting import detection_ms, false_positives, percentile
from simulations.experiments.frame import Cell, Experiment, Figures, Report, Result
from simulations.experiments.trial import Starved, Trial

NODES = 128
QUIET_MS = 15_000
"""Before anything happens."""
LEAST_MS = 120_000
ILL = (1, 4, 8, 12, 16, 20, 24, 28, 32)
STILL_MS = (128, 512, 2_048, 8_192, 16_384, 32_768)
FREE_MS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384)
REPETITIONS = 10
WHOLE = len(ILL) * len(STILL_MS) * len(FREE_MS) * REPETITIONS


def _interval_cells(which: str) -> list[Cell]:
    ill: Sequence[int] = ILL
    free: Sequence[int] = FREE_MS
    repetitions = 1
    if which == "small":
        return [Cell({"C": 4, "D": 512, "I": 1_024}, 1)]
    if which == "sample":
        # Means over these three are those over all nine; the intervals differ too much to choose.
        ill = (4, 16, 28)
    elif which == "all":
        repetitions = REPETITIONS
    return [
        Cell({"C": c, "D": d, "I": i}, seed)
        for seed in range(1, repetitions + 1)
        for c in ill
        for d in STILL_MS
        for i in free
    ]


def _interval_cell(cell: Cell, machine: str) -> Figures:
    count, still_ms, free_ms = (int(cell.knobs[name]) for name in "CDI")
    trial = Trial(cell.seed, machine)
    trial.agreed(NODES)
    ill = trial.rng.sample(range(1, NODES + 1), count)
    cycle = still_ms + free_ms
    cycles = -(-LEAST_MS // cycle)
    end_ms = QUIET_MS + cycles * cycle
    trial.block(ill, QUIET_MS, still_ms, free_ms, end_ms)
    trial.run_until(end_ms)
    everywhere, healthy = false_positives(trial.deaths, ill)
    return {
        "fp": [everywhere],
        "fp_healthy": [healthy],
        "messages": [trial.mesh.datagrams_sent],
        "bytes": [trial.mesh.bytes_sent],
    }


def _interval_report(results: Sequence[Result], machine: str) -> Report:
    def scaled(name: str, chosen: Sequence[Result]) -> float:
        return sum(r.figures[name][0] for r in chosen) / max(1, len(chosen)) * WHOLE

    def row(title: str, chosen: Sequence[Result]) -> tuple[str, ...]:
        fp, healthy = scaled("fp", chosen), scaled("fp_healthy", chosen)
        messages = scaled("messages", chosen) / 1e6
        return (title, f"{len(chosen)}", f"{fp:,.0f}", f"{healthy:,.0f}", f"{messages:,.0f} M")

    rows = [
        ("published: SWIM", f"{WHOLE}", "339,002", "1,326", "435 M"),
        ("published: Lifeguard", f"{WHOLE}", "5,193", "25", ""),
        row(machine, results),
    ]
    for still in STILL_MS:
        chosen = [r for r in results if r.cell.knobs["D"] == still]
        if chosen:
            rows.append(row(f"  if all were as D = {still} ms", chosen))
    return Report(
        "detect-interval",
        ("what", "cells", "false positives", "at healthy nodes", "messages"),
        tuple(rows),
        (f"Sums are means of the cells that were run, times {WHOLE}.",),
    )


def _latency_cells(which: str) -> list[Cell]:
    if which == "small":
        return [Cell({"C": 1, "D": 16_384}, 1)]
    ill = (4, 16, 28) if which == "sample" else ILL
    repetitions = {"sample": 2, "once": 1}.get(which, REPETITIONS)
    return [
        Cell({"C": c, "D": d}, seed)
        for seed in range(1, repetitions + 1)
        for c in ill
        for d in STILL_MS
    ]


def _latency_cell(cell: Cell, machine: str) -> Figures:
    count, still_ms = int(cell.knobs["C"]), int(cell.knobs["D"])
    trial = Trial(cell.seed, machine)
    trial.agreed(NODES)
    ill = trial.rng.sample(range(1, NODES + 1), count)
    trial.block(ill, QUIET_MS, still_ms, 1, QUIET_MS + still_ms)
    trial.run_until(QUIET_MS + max(still_ms, 20_000))
    first, full = detection_ms(trial.deaths, ill, NODES - count, QUIET_MS)
    return {"first_ms": first, "full_ms": full}


def _latency_report(results: Sequence[Result], machine: str) -> Report:
    def row(name: str) -> tuple[str, ...]:
        samples = [ms / 1_000 for r in results for ms in r.figures[name]]
        return (
            f"{machine}, {'first' if name == 'first_ms' else 'all'}",
            f"{len(samples)}",
            *(f"{percentile(samples, q):.2f}" for q in (50, 99, 99.9)),
        )

    rows = (
        ("published: SWIM, first", "", "12.45", "17.90", "21.20"),
        row("first_ms"),
        row("full_ms"),
    )
    series = tuple(
        (name, [ms / 1_000 for r in results for ms in r.figures[figure]])
        for name, figure in (("first observer", "first_ms"), ("all observers", "full_ms"))
    )
    columns = ("what, seconds", "found", "p50", "p99", "p99.9")
    return Report("detect-latency", columns, rows, (), series)


SLOW_NODES = 100
NEED = 20
"""How much more CPU an agent needs than bare memberlist on our core: what nobody tells of 2018.

A process that shares its core with 128 others has 4 ms in each 516. Up to ten times our memberlist
gets by with that, and holds nobody dead; from twenty times on it falls behind for good.
"""


def _slow_cells(which: str) -> list[Cell]:
    counts = {"small": (4,), "sample": (1, 4, 8, 16, 24, 32)}.get(which, tuple(range(1, 33)))
    minutes = 0.5 if which == "small" else 5
    needs = (1, 10, NEED) if which == "sample" else (NEED,)
    return [Cell({"k": k, "minutes": minutes, "need": need}, 1) for need in needs for k in counts]


def _slow_cell(cell: Cell, machine: str) -> Figures:
    trial = Trial(cell.seed, machine)
    trial.agreed(SLOW_NODES)
    ill = trial.rng.sample(range(1, SLOW_NODES + 1), int(cell.knobs["k"]))
    end_ms = QUIET_MS + int(cell.knobs["minutes"] * 60_000)
    trial.starve(ill, QUIET_MS, end_ms, Starved(factor=cell.knobs["need"]))
    trial.run_until(end_ms)
    everywhere, healthy = false_positives(trial.deaths, ill)
    return {
        "fp": [everywhere],
        "fp_healthy": [healthy],
        "ill": [sum(death.subject in ill for death in trial.deaths)],
        "messages": [trial.mesh.datagrams_sent],
    }


def _slow_report(results: Sequence[Result], machine: str) -> Report:
    rows = [
        (
            f"{machine}, k = {r.cell.knobs['k']:g}, needs {r.cell.knobs['need']:g}",
            f"{r.figures['fp'][0]:,.0f}",
            f"{r.figures['fp_healthy'][0]:g}",
            f"{r.figures['ill'][0]:,.0f}",
        )
        for r in results
    ]
    published = [
        ("published: SWIM", "some at k = 1, hundreds at k = 4", "", ""),
        ("published: Lifeguard", "first at k = 16", "", ""),
    ]
    notes = (
        "Starved: 4 ms in turn with 128 others that always run, 516 ms for a round.",
        "needs: how much more CPU a datagram takes than memberlist was measured to.",
    )
    columns = ("what", "false positives", "at healthy nodes", "starved ones held dead")
    return Report("slow-cpu", columns, (*published, *rows), notes)


DETECT_INTERVAL = Experiment(
    name="detect-interval",
    about="128 nodes, C of them blocked for D ms again and again: who healthy is held dead?",
    cells=_interval_cells,
    run_cell=_interval_cell,
    report=_interval_report,
)
DETECT_LATENCY = Experiment(
    name="detect-latency",
    about="128 nodes, C of them blocked once for D ms: how long until they are held dead?",
    cells=_latency_cells,
    run_cell=_latency_cell,
    report=_latency_report,
)
SLOW_CPU = Experiment(
    name="slow-cpu",
    about="100 nodes, k of them starved of CPU for 5 minutes: who healthy is held dead?",
    cells=_slow_cells,
    run_cell=_slow_cell,
    report=_slow_report,
)
