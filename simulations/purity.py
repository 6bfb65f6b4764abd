"""Catches, by name, a machine that reaches for the world while it is simulated."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

MACHINES = ("mesh.gossip", "mesh.placement", "mesh.replication", "mesh.groups", "mesh.registry")
"""Rooms that are given time and dice, and have no others."""

_INSTEAD = {
    "time": "the time that is passed in",
    "random": "the dice that are passed in",
    "os": "the dice that are passed in",
    "threading": "an effect; the driver picks the thread",
}
_FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (time, "time"),
    (time, "time_ns"),
    (time, "monotonic"),
    (time, "monotonic_ns"),
    (time, "perf_counter"),
    (time, "perf_counter_ns"),
    (time, "sleep"),
    (random, "random"),
    (random, "randrange"),
    (random, "randint"),
    (random, "choice"),
    (random, "shuffle"),
    (random, "sample"),
    (random, "uniform"),
    (random, "getrandbits"),
    (os, "urandom"),
    (threading.Thread, "start"),
)


class ImpureError(AssertionError):
    """A machine did what only a driver may; its text names both."""


@contextlib.contextmanager
def guarded(machines: tuple[str, ...] = MACHINES) -> Iterator[None]:
    """Let nothing in these rooms reach for clocks, threads or dice that all share.

    Raises:
        ImpureError: in the machine that tries, at the place where it tries.
    """
    with contextlib.ExitStack() as undo:
        for owner, name in _FORBIDDEN:
            real = getattr(owner, name)
            setattr(owner, name, _watching(owner, name, real, machines))
            undo.callback(setattr, owner, name, real)
        yield


def _watching(
    owner: Any, name: str, real: Callable[..., Any], machines: tuple[str, ...]
) -> Callable[..., Any]:
    label = getattr(owner, "__name__", "") or str(owner)
    instead = _INSTEAD["threading" if owner is threading.Thread else label]

    def call(*args: Any, **named: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if any(caller == room or caller.startswith(f"{room}.") for room in machines):
            raise ImpureError(f"{caller} reaches for {label}.{name}; instead: {instead}")
        return real(*args, **named)

    return call
