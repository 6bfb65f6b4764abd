"""Many seeds in processes of their own, with what is done told on a terminal's stderr."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Protocol, TypeVar

import click

PROGRESS_S = 1.0


class Played(Protocol):
    """What came of one seed."""

    @property
    def violations(self) -> tuple[str, ...]:
        """What did not hold."""


P = TypeVar("P", bound=Played)


def play_all(
    play: Callable[[int], P], seeds: range, jobs: int, *, at_once: int = 16, name: str = ""
) -> Iterator[P]:
    """Yield the outcome of every seed, whichever is done first.

    Raises RuntimeError if a seed raises anything; says which and where.

    Args:
        play: plays one; it is sent to other processes.
        seeds: all of them.
        jobs: processes.
        at_once: seeds that wait for each process.
        name: of what is played, for the terminal.
    """
    begun = shown = time.monotonic()
    violated = 0
    prefix = f"{name}: " if name else ""
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for start in range(0, len(seeds), at_once * jobs):
            some = seeds[start : start + at_once * jobs]
            futures = [pool.submit(_played, play, seed) for seed in some]
            for done, future in enumerate(as_completed(futures), start + 1):
                outcome = future.result()
                violated += bool(outcome.violations)
                yield outcome
                if sys.stderr.isatty() and time.monotonic() - shown > PROGRESS_S:
                    shown = time.monotonic()
                    left_s = (shown - begun) / done * (len(seeds) - done)
                    text = f"{prefix}{done:,} of {len(seeds):,} seeds, {violated:,} violated"
                    click.echo(f"\r\x1b[K{text}; {left_s:,.0f} s to go", nl=False, err=True)
    clear_line()


def _played(play: Callable[[int], P], seed: int) -> P:
    """Play a seed; what it raises comes back as text, for not every error can be sent."""
    try:
        return play(seed)
    except Exception:  # noqa: BLE001 - of every kind
        raise RuntimeError(f"seed {seed}:\n{traceback.format_exc()}") from None


def clear_line() -> None:
    """Take back what stands on a terminal's last line."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
