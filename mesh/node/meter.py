"""What a node counts while it works: written by the core and the driver, read by snapshots.

It reads no clock: the driver says when an event began and when its answers had left. Nothing that
a node decides depends on it but the rate at which replicas that lag are fed (`throttle.py`): a
wrong rate costs time, and nothing else.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from mesh.model.histogram import Histogram
from mesh.node.tape import Tape
from mesh.wire import Message, error_codes

LEFT_MAX = 16_384
"""Answers of one event whose latency is noted; the others of it are only counted."""
VERSION_BITS: Final = 16


class Meter:
    """Counters and histograms of one node."""

    __slots__ = (
        "append",
        "begun_ns",
        "by_api",
        "by_version",
        "compaction_bytes_in",
        "compaction_bytes_out",
        "compaction_failures",
        "compaction_us",
        "compactions",
        "errors",
        "felt",
        "journal_rounds",
        "left",
        "refused",
        "sync",
        "tape",
    )

    def __init__(self) -> None:
        """With nothing counted."""
        self.tape = Tape()
        self.append = Histogram()
        self.sync = Histogram()
        self.refused = 0
        self.journal_rounds = 0
        self.compactions = self.compaction_failures = self.compaction_us = 0
        self.compaction_bytes_in = self.compaction_bytes_out = 0
        self.by_version: dict[int, int] = {}
        """API key and version as one number (`key << 16 | version`) → requests."""
        self.by_api: dict[int, Histogram] = {}
        self.felt = Histogram()
        """Of produces, and of fetches that waited for no records: a busy node makes these long."""
        self.errors: dict[int, int] = {}
        self.begun_ns = 0
        """When the event that the core is handling began, on the driver's fine clock."""
        self.left: deque[tuple[int, int, bool]] = deque(maxlen=LEFT_MAX)
        """API key and `begun_ns` of requests whose answers the core has handed over, and whether
        they are among those that count as `felt`."""

    @property
    def requests(self) -> int:
        """Requests so far, served or not."""
        return sum(self.by_version.values()) + self.refused

    def settle(self, now_ns: int) -> None:
        """The answers that were handed over have left."""
        left, by_api = self.left, self.by_api
        while left:
            api_key, begun_ns, is_felt = left.popleft()
            if api_key not in by_api:
                by_api[api_key] = Histogram()
            took_us = (now_ns - begun_ns) // 1000
            by_api[api_key].observe(took_us)
            if is_felt:
                self.felt.observe(took_us)

    def count_errors(self, response: Message) -> None:
        """Count the error codes in an answer."""
        for code in error_codes(response):
            self.errors[code] = self.errors.get(code, 0) + 1

    def turn(self) -> None:
        """Let the windows move on."""
        for histogram in (self.append, self.sync, *self.by_api.values()):
            histogram.turn()
