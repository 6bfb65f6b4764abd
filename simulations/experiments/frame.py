"""What all experiments share: cells, figures, results that are kept line by line, a report."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

Figures: TypeAlias = dict[str, list[float]]
"""Of one cell: lists, so that a report can put samples of all cells together."""
Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with how many cells are done, of how many, and which was the last."""
MACHINES = ("gossamer", "plain")
WHICH = ("small", "sample", "once", "all")
"""A moment; a part that stands for the whole; one repetition of the whole; all of it."""


class Cell(NamedTuple):
    """One run: its knobs and its seed."""

    knobs: dict[str, float]
    seed: int

    @property
    def key(self) -> str:
        """Its name: the same cell has the same one."""
        return " ".join(
            [*(f"{name}={value:g}" for name, value in self.knobs.items()), f"seed={self.seed}"]
        )


class Result(NamedTuple):
    """What one cell gave."""

    cell: Cell
    figures: Figures


@dataclass(frozen=True, slots=True)
class Report:
    """A table beside what was published."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    series: tuple[tuple[str, list[float]], ...] = ()
    """Samples in seconds by name, for a plot of their shares."""

    def text(self) -> str:
        """Return it for a terminal."""
        table = [self.columns, *self.rows]
        widths = [max(len(row[place]) for row in table) for place in range(len(self.columns))]
        lines = [self.title]
        for row in table:
            padded = (word.ljust(width) for word, width in zip(row, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table of the literature."""

    name: str
    about: str
    cells: Callable[[str], list[Cell]]
    """Of one of WHICH."""
    run_cell: Callable[[Cell, str], Figures]
    """With the name of a machine; deterministic."""
    report: Callable[[Sequence[Result], str], Report]


class ResultsError(ValueError):
    """A file of results cannot be used; the text is for people."""


def kept(path: Path, experiment: str, machine: str) -> dict[str, Figures]:
    """Return what a file holds of one experiment and machine, by the key of its cell.

    Raises:
        ResultsError: a line is no result.
    """
    found: dict[str, Figures] = {}
    if not path.exists():
        return found
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            ours = (entry["experiment"], entry["machine"]) == (experiment, machine)
            key, figures = entry["cell"], entry["figures"]
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # Torn when a run was ended; that cell runs again.
            raise ResultsError(
                f"line {number} of {path} is no result of an experiment; nothing was changed: "
                "remove that line, or name another file"
            ) from error
        if ours:
            found[key] = figures
    return found


def _run_one(task: tuple[Experiment, Cell, str]) -> Result:
    experiment, cell, machine = task
    return Result(cell, experiment.run_cell(cell, machine))


def run_experiment(
    experiment: Experiment,
    which: str,
    machine: str,
    results_path: Path | None,
    progress: Progress | None = None,
    *,
    processes: int = 1,
) -> Report:
    """Run the cells that `results_path` does not hold yet, add them to it, and report on all."""
    cells = experiment.cells(which)
    have = {} if results_path is None else kept(results_path, experiment.name, machine)
    results = [Result(cell, have[cell.key]) for cell in cells if cell.key in have]
    tasks = [(experiment, cell, machine) for cell in cells if cell.key not in have]

    def take(found: Iterable[Result]) -> None:
        for result in found:
            results.append(result)
            if results_path is not None:
                _keep(results_path, experiment.name, machine, result)
            if progress is not None:
                progress(len(results), len(cells), result.cell.key)

    if processes > 1 and len(tasks) > 1:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            take(pool.imap_unordered(_run_one, tasks))
    else:
        take(map(_run_one, tasks))
    order = {cell.key: place for place, cell in enumerate(cells)}
    results.sort(key=lambda result: order[result.cell.key])
    return experiment.report(results, machine)


def _keep(path: Path, experiment: str, machine: str, result: Result) -> None:
    entry = {
        "experiment": experiment,
        "machine": machine,
        "cell": result.cell.key,
        "figures": result.figures,
    }
    text = path.read_text() if path.exists() else ""
    with path.open("a") as file:
        file.write(("" if not text or text.endswith("\n") else "\n") + json.dumps(entry) + "\n")
