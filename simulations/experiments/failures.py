"""rapid-faults: crashes, links that flip, and lossy senders among 1,000 nodes (Rapid, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.experiments.counting import false_positives
from simulations.experiments.frame import Cell, Experiment, Figures, Report, Result
from simulations.experiments.trial import MS, Trial
from simulations.net import Link

CRASH, FLIP, EGRESS = range(3)
NAMES = ("10 crash", "10 deaf 20 s on, 20 s off", "10 lose 80 % of what they send")
BEGIN_MS = 5_000
FLIP_MS = 20_000


def _cells(which: str) -> list[Cell]:
    count, seconds = (100, 30) if which == "small" else (1_000, 200)
    kinds = (CRASH,) if which == "small" else (CRASH, FLIP, EGRESS)
    seeds = 5 if which == "all" else 1
    return [
        Cell({"N": count, "ill": 10, "fault": kind, "seconds": seconds}, seed)
        for seed in range(1, seeds + 1)
        for kind in kinds
    ]


def _cell(cell: Cell, machine: str) -> Figures:
    count, kind = int(cell.knobs["N"]), int(cell.knobs["fault"])
    trial = Trial(cell.seed, machine)
    trial.agreed(count)
    ill = trial.rng.sample(range(1, count + 1), int(cell.knobs["ill"]))
    trial.run_until(BEGIN_MS)
    _begin(trial, kind, ill)
    healthy = [node_id for node_id in range(1, count + 1) if node_id not in ill]
    done_ms, entered_again = float("nan"), 0
    for step in range(1, int(cell.knobs["seconds"]) * 5 + 1):
        trial.run_until(BEGIN_MS + step * 200)
        views = [trial.views[node_id] for node_id in healthy]
        if done_ms != done_ms and max(views) == count - len(ill):
            done_ms = trial.now_ms - BEGIN_MS
        elif done_ms == done_ms and max(views) > count - len(ill):
            entered_again += 1
    return {
        "done_s": [done_ms / 1_000],
        "again_s": [entered_again / 5],
        "fp": [false_positives(trial.deaths, ill)[1]],
    }


def _begin(trial: Trial, kind: int, ill: Sequence[int]) -> None:
    net = trial.net
    if kind == CRASH:
        for node_id in ill:
            trial.mesh.crash(node_id)
    elif kind == EGRESS:
        net.out_of.update(dict.fromkeys(ill, Link(loss=0.8)))
    else:

        def flip(*_: object) -> None:
            if net.cuts:
                net.heal()
            else:
                net.cut(range(len(trial.views) + 1), ill)
            trial.world.at(trial.world.now_us + FLIP_MS * MS, flip)

        flip()


def _report(results: Sequence[Result], machine: str) -> Report:
    rows = [
        ("published: memberlist", "oscillates, or never", "", ""),
        ("published: Rapid", "about 10 s after detection", "", ""),
        *(
            (
                f"{machine}, {NAMES[int(r.cell.knobs['fault'])]}",
                f"{r.figures['done_s'][0]:.1f}",
                f"{r.figures['again_s'][0]:.1f}",
                f"{r.figures['fp'][0]:g}",
            )
            for r in results
        ),
    ]
    columns = ("what", "all healthy without the ill, s", "back again for s", "healthy held dead")
    return Report("rapid-faults", columns, tuple(rows), ())


RAPID_FAULTS = Experiment(
    name="rapid-faults",
    about="1,000 nodes, 10 of them crash, or hear nothing now and then, or lose what they send",
    cells=_cells,
    run_cell=_cell,
    report=_report,
)
