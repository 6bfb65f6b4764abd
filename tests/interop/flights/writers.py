"""Three clients that write rows, each as a process that is told rows and tells what became of them.

The forms of what they read and print are in `write_confluent.py`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop import jvm, toolchain
from tests.interop.flights.ledger import DifferenceError, Ledger
from tests.interop.flights.rows import Row

CLIENTS = Path(__file__).parent / "clients"
FEED_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class WritingClient:
    """One library: how its writer is started, and why it cannot be (None: it can)."""

    name: str
    command: Callable[[], list[str]]
    missing: Callable[[], str | None]
    codec: str


def _java() -> list[str]:
    classes = toolchain.java_build(CLIENTS / "java")
    command = jvm.java("WriteFlights", heap="256m")
    command[command.index("-cp") + 1] += f":{classes}"
    command.insert(1, "-XX:TieredStopAtLevel=1")  # It lives for a minute.
    return command


WRITERS = {
    client.name: client
    for client in (
        WritingClient(
            "confluent-kafka",
            lambda: [sys.executable, "-m", "tests.interop.flights.write_confluent"],
            lambda: None,
            "lz4",
        ),
        WritingClient("java", _java, toolchain.java_missing, "snappy"),
        WritingClient(
            "franz-go",
            lambda: [str(toolchain.go_build(CLIENTS / "go-writer"))],
            toolchain.go_missing,
            "zstd",
        ),
    )
}


def shares(rows: Sequence[Row], count: int) -> list[list[int]]:
    """Return the indexes of the rows of each of so many writers: all rows of a key are one's."""
    found: list[list[int]] = [[] for _ in range(count)]
    owner: dict[bytes, int] = {}
    for index, row in enumerate(rows):
        # Keys in turn as they come; rows without a key have no order, so anybody's.
        key = row.key if row.key is not None else b"%d" % index
        found[owner.setdefault(key, len(owner) % count)].append(index)
    return found


@dataclass(slots=True)
class Pause:
    """How long something waited, until when, and what."""

    length_s: float = 0.0
    ended_at: float = 0.0
    what: str = ""

    def note(self, since: float, now: float, what: str) -> None:
        """Keep the longest."""
        if now - since > self.length_s:
            self.length_s, self.ended_at, self.what = now - since, now, what


class Writer:
    """One process, which gets its rows at an even pace."""

    def __init__(
        self,
        client: WritingClient,
        bootstrap: str,
        ledger: Ledger,
        indexes: Sequence[int],
        lock: threading.Lock,
    ) -> None:
        """Start the process; `feed` gives it rows.

        Args:
            client: the library.
            bootstrap: addresses of brokers.
            ledger: shared by all writers of a topic; acknowledgements are noted in it.
            indexes: which of the ledger's rows are this one's, in their order.
            lock: held while the ledger changes, shared like it.
        """
        self.client = client
        self.failures: list[str] = []
        self.given_count = 0
        self.acknowledged_count = 0
        self.longest = Pause()
        """Between acknowledgements of one partition."""
        self._ledger = ledger
        self._indexes = indexes
        self._lock = lock
        self._acknowledged_at: dict[int, float] = {}
        self._stopped = threading.Event()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 – closed with the process
        self._process = subprocess.Popen(
            [*client.command(), bootstrap, ledger.topic, client.codec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._feeder: threading.Thread | None = None

    def feed(self, duration_s: float) -> None:
        """Give it its rows from now on, spread evenly over so many seconds, or as it takes them."""
        self._feeder = threading.Thread(target=self._feed, args=(duration_s,))
        self._feeder.start()

    @property
    def done(self) -> bool:
        """Whether all is acknowledged and the process has ended."""
        return not self._reader.is_alive() and self.acknowledged_count == len(self._indexes)

    @property
    def wrong(self) -> str | None:
        """What went wrong: words of the client, or that it ended early; or None."""
        if self.failures:
            return f"{self.client.name}: {len(self.failures)} failures, {self.failures[:3]}"
        if not self._reader.is_alive() and not self.done:
            return f"{self.client.name} ended with {self._process.wait()}: {self.words()}"
        return None

    def words(self) -> str:
        """Return the end of what it wrote to its standard error."""
        self._errors.seek(0)
        return self._errors.read()[-2000:].decode(errors="replace")

    def _feed(self, duration_s: float) -> None:
        assert self._process.stdin is not None
        began_at = time.monotonic()
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            while self.given_count < len(self._indexes) and not self._stopped.is_set():
                share = (time.monotonic() - began_at) / duration_s
                due = min(len(self._indexes), int(share * len(self._indexes)) + 1)
                pipe.write(b"".join(map(self._row, self._indexes[self.given_count : due])))
                pipe.flush()
                self.given_count = due
                self._stopped.wait(FEED_PAUSE_S)

    def _row(self, index: int) -> bytes:
        key, value = self._ledger.rows[index]
        key_size = -1 if key is None else len(key)
        return b"%d %d %d\n%b%b\n" % (index, key_size, len(value), key or b"", value)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.decode(errors="replace").split(maxsplit=2)
            try:
                index, partition, offset = map(int, words)
            except ValueError:
                self.failures.append(line.decode(errors="replace").strip())
                continue
            with self._lock:
                self._note(index, partition, offset)

    def _note(self, index: int, partition: int, offset: int) -> None:
        now = time.monotonic()
        self.longest.note(self._acknowledged_at.get(partition, now), now, f"{partition}@{offset}")
        self._acknowledged_at[partition] = now
        try:
            self._ledger.acknowledge(index, partition, offset)
        except DifferenceError as difference:
            self.failures.append(str(difference))
        self.acknowledged_count += 1

    def close(self) -> None:
        """End it, by its process id, if it still runs."""
        self._stopped.set()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._feeder is not None:
            self._feeder.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
