"""Blocking calls side by side, for whoever may block: before anything is served, or in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mesh.model.limits import SYNC_THREADS_MAX


def run_together(runs: Sequence[Callable[[], None]]) -> None:
    """Run blocking calls in a few threads: the file system merges their journal commits."""
    if len(runs) <= 1:
        for run in runs:
            run()
        return
    with ThreadPoolExecutor(SYNC_THREADS_MAX) as pool:
        for done in [pool.submit(run) for run in runs]:
            done.result()
