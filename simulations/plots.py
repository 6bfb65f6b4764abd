"""Plots of what experiments found; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulations.experiments.frame import Report

SUFFIXES = (".png", ".svg")


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


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotError(
            "plots need matplotlib, which is not installed: `pip install gossamer-mesh[plot]`"
        ) from error
    return Figure(figsize=(8, 4.5), layout="constrained")


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
        ranked = sorted(samples)
        shares = [100 * place / len(ranked) for place in range(1, len(ranked) + 1)]
        if ranked:
            axes.step(ranked, shares, where="post", label=f"{name} ({len(ranked):,})")
    axes.set_title(report.title)
    axes.set_xlabel("seconds")
    axes.set_ylabel("share of all, %")
    axes.set_ylim(0, 101)
    axes.set_xlim(left=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
