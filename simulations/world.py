"""The virtual world: one heap of what will happen, integer time, one seed.

A run is decided by its code, its scenario and its seed. What happened is folded into a hash as it
happens, so two runs are equal if their hashes are.
"""

from __future__ import annotations

import heapq
import platform
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import xxhash

from mesh.version import VERSION

Handler: TypeAlias = Callable[[Any, Any, Any], None]
_HEAD = struct.Struct("<QIB")


class World:
    """Virtual time. Events are `(at_us, sequence, handler, three arguments)`: no closure each."""

    __slots__ = ("_hash", "_heap", "_sequence", "events", "now_us", "seed")

    def __init__(self, seed: int) -> None:
        """Begin at 0 with nothing to do."""
        self.seed = seed
        self.now_us = 0
        self.events = 0
        """How many have happened."""
        self._heap: list[tuple[int, int, Handler, Any, Any, Any]] = []
        self._sequence = 0
        self._hash = xxhash.xxh3_64()

    def rng(self, concern: str) -> random.Random:
        """Return dice for one concern; what others draw does not disturb them."""
        return random.Random(xxhash.xxh3_64_intdigest(f"{self.seed}/{concern}".encode()))

    def at(self, at_us: int, handler: Handler, a: Any = None, b: Any = None, c: Any = None) -> None:
        """Have something happen, now at the earliest; what is due together keeps its order."""
        self._sequence += 1
        when = max(self.now_us, at_us)
        heapq.heappush(self._heap, (when, self._sequence, handler, a, b, c))

    def note(self, node: int, kind: int, data: bytes) -> None:
        """Fold into the trace that something happened to a node."""
        self._hash.update(_HEAD.pack(self.now_us, node, kind) + data)

    @property
    def trace_hash(self) -> str:
        """Of all that happened so far, 16 hex digits."""
        return f"{self._hash.intdigest():016x}"

    @property
    def next_us(self) -> int | None:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else None

    def run_until(self, until_us: int, *, events_max: int = 1 << 62) -> None:
        """Let everything happen that is due up to and including an instant."""
        heap, pop = self._heap, heapq.heappop
        count = 0
        while heap and heap[0][0] <= until_us and count < events_max:
            self.now_us, _, handler, a, b, c = pop(heap)
            count += 1
            handler(a, b, c)
        self.events += count
        if not heap or heap[0][0] > until_us:
            self.now_us = max(self.now_us, until_us)


def provenance() -> str:
    """Return what a trace hash holds for: the commit, if this is a checkout, and Python's minor."""
    root = Path(__file__).parent.parent
    minor = ".".join(platform.python_version_tuple()[:2])
    try:
        found = subprocess.run(  # noqa: S603 - our own words
            ["git", "-C", str(root), "describe", "--always", "--dirty"],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        commit = found.stdout.strip()
    except OSError:
        commit = ""
    return f"{commit or VERSION}, Python {minor}"
