"""What every member program in Python has in common: its words on stdout, its orders on stdin.

A program takes one argument, the JSON of `Config`, and obeys lines on its standard input: `stop`
(leave in good order), `stall` (stop polling), `go`. When the input ends it stops too, so that no
member outlives its story.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from tests.interop.members.events import (
    Assigned,
    Committed,
    Committing,
    Ended,
    Event,
    Failed,
    Lost,
    Paused,
    Refused,
    Resumed,
    Revoked,
    Rows,
    render,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a member is told at its start; times in milliseconds."""

    bootstrap: str
    topic: str
    group: str
    name: str
    protocol: str
    """`range`, `cooperative-sticky` (and what else the library has), or `consumer`."""
    instance: str | None = None
    """`group.instance.id` of a static member."""
    session_ms: int = 3000
    heartbeat_ms: int = 500
    poll_ms_max: int = 5000
    """`max.poll.interval.ms`: a member that stalls for longer is put out of its group."""
    turn_rows: int = 50
    turn_ms: int = 60
    """At most this many rows, then a pause as long as this: the member's speed."""
    commit_ms: int = 200

    def to_json(self) -> str:
        """Return it as the argument of a program."""
        return json.dumps(asdict(self))


class Member:
    """Bookkeeping of one member: what it has processed, what it has committed."""

    def __init__(self) -> None:
        """Read the configuration from the command line, and orders from now on."""
        self.config = Config(**json.loads(sys.argv[1]))
        self.stops = False
        self.stalls = False
        self.held: set[int] = set()
        self._speaks = threading.Lock()
        self._orders: queue.Queue[str] = queue.Queue()
        self._runs: dict[int, tuple[int, int, int]] = {}
        self._done: dict[int, int] = {}
        self._numbers = 0
        self._commit_at = time.monotonic()
        threading.Thread(target=self._read_orders, daemon=True).start()

    def _read_orders(self) -> None:
        for line in sys.stdin:
            self._orders.put(line.strip())
        self._orders.put("stop")

    def say(self, kind: type[Event], **fields: object) -> None:
        """Print one event of now."""
        with self._speaks:
            line = render(kind, {"at_us": time.time_ns() // 1000, **fields})
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def rest(self, wait_s: float | None = None) -> None:
        """Pause until the next turn, obeying orders; while it stalls, until told to go on."""
        rested_at = time.monotonic() + (self.config.turn_ms / 1000 if wait_s is None else wait_s)
        while not self.stops:
            left_s = rested_at - time.monotonic()
            try:
                order = self._orders.get(timeout=None if self.stalls else max(0.0, left_s))
            except queue.Empty:
                return
            if order == "stop":
                self.stops = True
            elif order == "stall":
                self.stalls = True
                self.say(Paused)
            elif order == "go":
                self.stalls = False
                self.say(Resumed)

    def row(self, partition: int, offset: int, value: bytes | None) -> None:
        """Process one row."""
        run = self._runs.get(partition)
        if run is not None and run[1] + 1 != offset:
            self._flush(partition)
            run = None
        first, crc = (offset, 0) if run is None else (run[0], run[2])
        self._runs[partition] = (first, offset, zlib.crc32(value or b"", crc))

    def flush(self) -> None:
        """Say what was processed since the last time."""
        for partition in list(self._runs):
            self._flush(partition)

    def _flush(self, partition: int) -> None:
        first, last, crc = self._runs.pop(partition)
        self.say(Rows, partition=partition, first=first, last=last, crc=crc)
        self._done[partition] = last + 1

    def assigned(self, partitions: Iterable[int]) -> None:
        """Say that partitions were given to us."""
        self.flush()
        given = sorted(partitions)
        self.held |= set(given)
        self.say(Assigned, partitions=given)

    def revoked(self, partitions: Iterable[int]) -> None:
        """Say that we are done with partitions."""
        self._drop(Revoked, partitions)

    def lost(self, partitions: Iterable[int]) -> None:
        """Say that partitions were taken from us unasked."""
        self._drop(Lost, partitions)

    def _drop(self, kind: type[Event], partitions: Iterable[int]) -> None:
        self.flush()
        gone = sorted(partitions)
        self.held -= set(gone)
        for partition in gone:
            self._done.pop(partition, None)
        self.say(kind, partitions=gone)

    def is_due(self) -> bool:
        """Whether it is time to commit, and there is something to commit."""
        return time.monotonic() >= self._commit_at and bool(self._done)

    def to_commit(self, partitions: Iterable[int] | None = None) -> dict[int, int]:
        """Return partition → offset of what is processed and not committed; of these, or all."""
        self.flush()
        chosen = set(self._done if partitions is None else partitions)
        return {p: offset for p, offset in self._done.items() if p in chosen}

    def begin_commit(self, offsets: dict[int, int]) -> int:
        """Say what we are about to commit; return the commit's number."""
        self._numbers += 1
        self._commit_at = time.monotonic() + self.config.commit_ms / 1000
        self.say(Committing, number=self._numbers, offsets=sorted(offsets.items()))
        return self._numbers

    def end_commit(self, number: int, offsets: dict[int, int], error: str | None) -> None:
        """Say what came of it (None: it was acknowledged)."""
        if error is not None:
            self.say(Refused, number=number, error=error[:300])
            return
        self.say(Committed, number=number)
        for partition, offset in offsets.items():
            if self._done.get(partition) == offset:
                del self._done[partition]

    def commit(self, offsets: dict[int, int], call: Callable[[], str | None]) -> None:
        """Commit by a call that returns what went wrong, or None."""
        if offsets:
            self.end_commit(self.begin_commit(offsets), offsets, call())

    def failed(self, error: str) -> None:
        """Say that the client gave up; the program ends."""
        self.flush()
        self.say(Failed, error=error[:300])

    def ended(self) -> None:
        """Say that we left in good order."""
        self.say(Ended)
