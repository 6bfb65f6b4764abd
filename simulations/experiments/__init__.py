"""The experiments of the literature, repeated with our machine and with plain SWIM."""

from pathlib import Path
from types import MappingProxyType

from simulations.experiments.detection import DETECT_INTERVAL, DETECT_LATENCY, SLOW_CPU
from simulations.experiments.failures import RAPID_FAULTS
from simulations.experiments.frame import (
    MACHINES,
    WHICH,
    Experiment,
    Progress,
    Report,
    ResultsError,
    run_experiment,
)
from simulations.experiments.growth import BOOTSTRAP, LOSS_JOIN, SPREAD

EXPERIMENTS = MappingProxyType(
    {
        experiment.name: experiment
        for experiment in (
            DETECT_INTERVAL,
            DETECT_LATENCY,
            SLOW_CPU,
            SPREAD,
            LOSS_JOIN,
            BOOTSTRAP,
            RAPID_FAULTS,
        )
    }
)


def run(
    name: str,
    which: str = "small",
    machine: str = "gossamer",
    results_path: Path | None = None,
    progress: Progress | None = None,
    *,
    processes: int = 1,
) -> Report:
    """Run cells of one experiment, those that `results_path` holds left out; report on all.

    Args:
        name: one of EXPERIMENTS.
        which: one of WHICH; `small` takes seconds.
        machine: one of MACHINES.
        results_path: JSON lines; read first, appended to after each cell, so that a run can go on.
        progress: called after each cell.
        processes: how many cells at a time, each in a process of its own.

    Raises:
        ResultsError: the file holds something else.
    """
    return run_experiment(
        EXPERIMENTS[name], which, machine, results_path, progress, processes=processes
    )


__all__ = [
    "EXPERIMENTS",
    "MACHINES",
    "WHICH",
    "Experiment",
    "Progress",
    "Report",
    "ResultsError",
    "run",
]
