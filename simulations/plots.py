"""Plots of what runs and experiments found; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from simulations.experiments.frame import Report
from simulations.swarm import Outcome

SUFFIXES = (".png", ".svg")
MARKS_MAX, LABELS_MAX = 100, 25
"""Faults that are marked in a curve, and of which the name is told."""


class PlotError(ValueError):
    """Nothing can be drawn; the text is for people."""


def check(path: Path) -> None:
    """Find out whether a plot can be drawn, before hours of work for it.

    Raises:
        PlotError: matplotlib is missing, or the suffix is none of SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(f"{path} is no plot: its name must end in {' or '.join(SUFFIXES)}")
    _figure()


def _figure(size: tuple[float, float] = (8, 4.5)) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(
            "plots need matplotlib, which is not installed: `pip install gossamer-mesh[plot]`"
        ) from error
    return Figure(figsize=size, layout="constrained")


def draw(report: Report, path: Path) -> None:
    """Draw which share of all samples came by when, a curve for each series.

    For detections that is their distribution, for news its convergence.

    Raises:
        PlotError: matplotlib is missing, the suffix is unknown, or there are no samples.
    """
    check(path)
    if not any(samples for _, samples in report.series):
        raise PlotError(f"{report.title} has nothing to draw: its figures are in its table")
    figure = _figure()
    axes = figure.add_subplot()
    for name, samples in report.series:
        _distribution(axes, samples, name)
    axes.set_title(report.title)
    axes.set_xlabel("seconds")
    axes.legend()
    figure.savefig(path, dpi=120)


def draw_runs(title: str, outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw how views converge, when crashes are found, and what each node says.

    Of one run the first is a curve over its time, of many the distribution of how long they took
    to come to rest.

    Args:
        title: above all.
        outcomes: at least one; each with its record.
        path: .png or .svg.

    Raises:
        PlotError: matplotlib is missing, or the suffix is unknown.
    """
    check(path)
    figure = _figure((13, 4.2))
    figure.suptitle(title)
    first, second, third = figure.subplots(1, 3)
    if len(outcomes) == 1:
        _convergence(first, outcomes[0])
    else:
        _distribution(first, [one.rest_s for one in outcomes], "runs")
        first.set_title("at rest after the last fault")
        first.set_xlabel("seconds")
    found = [s for one in outcomes for s in one.record.detections_s]
    second.set_title("a crash is found, by each of the others")
    second.set_xlabel("seconds after it")
    if found:
        _distribution(second, found, "observers")
        second.legend(loc="lower right")
    else:
        second.text(0.5, 0.5, "nobody crashed", ha="center", transform=second.transAxes)
    load = sorted((one for each in outcomes for one in each.record.load), reverse=True)
    shares = [100 * place / max(1, len(load) - 1) for place in range(len(load))]
    third.set_title("what each node sends")
    third.set_xlabel("share of the nodes, loudest first, %")
    third.set_ylabel("messages a second")
    third.plot(shares, [messages for messages, _ in load], label="messages")
    third.set_ylim(bottom=0)
    other = third.twinx()
    other.set_ylabel("bytes a second")
    other.plot(shares, sorted((size for _, size in load), reverse=True), "C1--", label="bytes")
    other.set_ylim(bottom=0)
    third.legend(handles=[*third.get_lines(), *other.get_lines()], loc="upper right")
    third.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120)


def _convergence(axes: Any, outcome: Outcome) -> None:
    record = outcome.record
    axes.plot([s for s, _ in record.convergence], [100 * share for _, share in record.convergence])
    axes.set_title("nodes that believe what most do")
    axes.set_xlabel("virtual seconds")
    axes.set_ylabel("%")
    axes.set_ylim(0, 104)
    for at_s, _ in record.marks[:MARKS_MAX]:
        axes.axvline(at_s, color="C3", alpha=0.35, linewidth=0.8)
    for at_s, what in record.marks[:LABELS_MAX]:
        axes.annotate(what, (at_s, 3), rotation=90, fontsize=7, color="C3", ha="right", va="bottom")
    axes.grid(visible=True, alpha=0.3)


def _distribution(axes: Any, samples: Iterable[float], name: str) -> None:
    ranked = sorted(samples)
    shares = [100 * place / len(ranked) for place in range(1, len(ranked) + 1)]
    if ranked:
        axes.step(ranked, shares, where="post", label=f"{name} ({len(ranked):,})")
    axes.set_ylabel("share of all, %")
    axes.set_ylim(0, 101)
    axes.set_xlim(left=0)
    axes.grid(visible=True, alpha=0.3)
