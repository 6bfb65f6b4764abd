"""Joins and news: bootstrap (Rapid, 2018), loss-join (SWIM, 2002), spread."""

from __future__ import annotations

from collections.abc import Sequence

from mesh.gossip import Changed
from simulations.experiments.counting import percentile
from simulations.experiments.frame import Cell, Experiment, Figures, Report, Result
from simulations.experiments.trial import Trial
from simulations.gossip_mesh import VirtualNode
from simulations.net import Link


def _bootstrap_cells(which: str) -> list[Cell]:
    counts = {"small": (50,), "sample": (1_000,)}.get(which, (1_000, 1_500, 2_000))
    repetitions = 5 if which == "all" else 1
    return [Cell({"N": n}, seed) for seed in range(1, repetitions + 1) for n in counts]


def _bootstrap_cell(cell: Cell, machine: str) -> Figures:
    count = int(cell.knobs["N"])
    trial = Trial(cell.seed, machine)
    trial.join(1, ())
    trial.run_until(10_000)
    for node_id in range(2, count + 1):
        trial.join(node_id, (1,))
    sizes: set[int] = set()
    done_ms = float("nan")
    for step in range(1, 1_501):
        trial.run_until(10_000 + step * 100)
        if step % 10 == 0:
            sizes.update(trial.views.values())
        if min(trial.views.values()) == count:
            done_ms = trial.now_ms - 10_000
            break
    return {"done_s": [done_ms / 1_000], "sizes": [len(sizes)]}


def _bootstrap_report(results: Sequence[Result], machine: str) -> Report:
    rows = [
        ("published: memberlist, N = 2,000", "95", "1,858"),
        ("published: Rapid, N = 2,000", "about 45", "4 to 8"),
        *(
            (
                f"{machine}, N = {r.cell.knobs['N']:,.0f}",
                f"{r.figures['done_s'][0]:.1f}",
                f"{r.figures['sizes'][0]:g}",
            )
            for r in results
        ),
    ]
    return Report(
        "bootstrap", ("what", "seconds until all see all", "view sizes seen"), tuple(rows), ()
    )


LOSS_NODES = 17
JOIN_MS = 2_000
STABLE_MS = 175_000


def _loss_cells(which: str) -> list[Cell]:
    if which == "small":
        return [Cell({"loss": 0.1, "stable_s": 20}, 1)]
    seeds = 20 if which == "all" else 5
    stable_s = STABLE_MS // 1_000
    return [
        Cell({"loss": loss, "stable_s": stable_s}, seed)
        for loss in (0.1, 0.25)
        for seed in range(1, seeds + 1)
    ]


def _loss_cell(cell: Cell, machine: str) -> Figures:
    trial = Trial(cell.seed, machine, Link(loss=cell.knobs["loss"]))
    trial.join(1, ())
    for node_id in range(2, LOSS_NODES + 1):
        trial.run_until((node_id - 1) * JOIN_MS)
        trial.join(node_id, tuple(range(1, node_id))[:3])
    joined_ms = LOSS_NODES * JOIN_MS
    trial.run_until(joined_ms)
    least = min(trial.views.values())
    deaths_before = len(trial.deaths)
    for second in range(int(cell.knobs["stable_s"])):
        trial.run_until(joined_ms + second * 1_000)
        if second >= 10:
            least = min(least, *trial.views.values())
    return {
        "least": [least],
        "end": [min(trial.views.values())],
        "deaths": [len(trial.deaths) - deaths_before],
    }


def _loss_report(results: Sequence[Result], machine: str) -> Report:
    rows = [("published: SWIM, 10 % loss", "", "12", "")]
    for loss in sorted({r.cell.knobs["loss"] for r in results}):
        chosen = [r for r in results if r.cell.knobs["loss"] == loss]
        stable = sum(r.figures["least"][0] == LOSS_NODES for r in chosen)
        rows.append(
            (
                f"{machine}, {loss:.0%} loss",
                f"{stable} of {len(chosen)}",
                f"{min(r.figures['least'][0] for r in chosen):g}",
                f"{sum(r.figures['deaths'][0] for r in chosen):g}",
            )
        )
    columns = ("what", "runs that stay at 17", "smallest view", "false deaths")
    return Report("loss-join", columns, tuple(rows), ())


SPREAD_MS_MAX = 20_000
WARM_MS = 10_000
"""Before the news: members learn from some probes how much their network loses."""


def _spread_cells(which: str) -> list[Cell]:
    counts = {"small": (100,), "sample": (100, 1_000)}.get(which, (100, 1_000, 10_000))
    losses = (0.0,) if which == "small" else (0.0, 0.1, 0.25)
    seeds = 1 if which in ("small", "once") else 5
    return [
        Cell({"N": n, "loss": loss}, seed)
        for n in counts
        for loss in losses
        for seed in range(1, 1 + (1 if n > 1_000 else seeds))
    ]


def _spread_cell(cell: Cell, machine: str) -> Figures:
    count = int(cell.knobs["N"])
    trial = Trial(cell.seed, machine, Link(loss=cell.knobs["loss"]))
    trial.agreed(count)
    trial.run_until(WARM_MS)
    writer = 1 + trial.rng.randrange(count)
    told: dict[int, float] = {writer: 0.0}
    begun_ms = trial.now_ms

    def watch(node: VirtualNode, changed: Changed) -> None:
        if changed.after.node_id == writer:
            told.setdefault(node.node_id, trial.now_ms - begun_ms)

    trial.mesh.watchers.append(watch)
    trial.mesh.subject = writer
    trial.mesh.ask(writer, lambda m, now_ms: m.write({"load": 7}, now_ms))
    while len(told) < count and trial.now_ms < begun_ms + SPREAD_MS_MAX:
        trial.run_until(trial.now_ms + 10)
    trial.run_until(max(trial.now_ms, begun_ms + 1_000))
    return {
        "last_s": [max(told.values()) / 1_000 if len(told) == count else float("nan")],
        "sends": [trial.mesh.news_sent / count],
        "curve_ms": sorted(told.values())[:: max(1, count // 200)],
    }


def _spread_report(results: Sequence[Result], machine: str) -> Report:
    rows = [
        (f"published, N = {n}", last, "", sends)
        for n, last, sends in (
            ("100", "0.66", "12"),
            ("1,000", "0.98", "16"),
            ("10,000", "1.21", "20"),
        )
    ]
    for n, loss in dict.fromkeys((r.cell.knobs["N"], r.cell.knobs["loss"]) for r in results):
        chosen = [r for r in results if (r.cell.knobs["N"], r.cell.knobs["loss"]) == (n, loss)]
        sends = sum(r.figures["sends"][0] for r in chosen) / len(chosen)
        rows.append(
            (
                f"{machine}, N = {n:,.0f}, loss {loss:.0%}",
                f"{percentile([r.figures['last_s'][0] for r in chosen], 50):.3f}",
                f"{max(r.figures['last_s'][0] for r in chosen):.3f}",
                f"{sends:.1f}",
            )
        )
    columns = ("what", "last node, s: median", "worst seed", "payload sends a node")
    curves: dict[str, list[float]] = {}
    for r in results:
        name = f"N = {r.cell.knobs['N']:,.0f}, loss {r.cell.knobs['loss']:.0%}"
        curves.setdefault(name, []).extend(ms / 1_000 for ms in r.figures["curve_ms"])
    return Report("spread", columns, tuple(rows), (), tuple(curves.items()))


BOOTSTRAP = Experiment(
    name="bootstrap",
    about="one seed, N - 1 join at once after 10 s: how long until all see all?",
    cells=_bootstrap_cells,
    run_cell=_bootstrap_cell,
    report=_bootstrap_report,
)
LOSS_JOIN = Experiment(
    name="loss-join",
    about="17 nodes join one by one where datagrams get lost: do all stay?",
    cells=_loss_cells,
    run_cell=_loss_cell,
    report=_loss_report,
)
SPREAD = Experiment(
    name="spread",
    about="one node changes its map: when does the last one know, at how many sends?",
    cells=_spread_cells,
    run_cell=_spread_cell,
    report=_spread_report,
)
