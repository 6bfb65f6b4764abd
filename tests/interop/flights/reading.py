"""A group that reads a topic while it is written; its members are those of `../members`."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import IO

from confluent_kafka import Consumer, TopicPartition

from tests.interop.flights.ledger import Ledger
from tests.interop.flights.write_confluent import QUIET
from tests.interop.flights.writers import Pause
from tests.interop.members.clients import CLIENTS
from tests.interop.members.events import (
    Ended,
    Event,
    Failed,
    NonsenseError,
    Observed,
    Refused,
    Rows,
    parse,
)
from tests.interop.members.history import anomalies, repeated_count
from tests.interop.members.member import Config

ASK_WAIT_S = 20


class Reading:
    """Members of one group, in several libraries, as processes."""

    def __init__(self, clients: Sequence[str], config: Config, partition_count: int) -> None:
        """Start a member of each client; `config` is theirs but for the name."""
        self.histories: dict[str, list[Event]] = {}
        self.longest = [Pause() for _ in range(partition_count)]
        """Of each partition, between rows."""
        self._config = config
        self._seen: list[set[int]] = [set() for _ in range(partition_count)]
        self._seen_count = 0
        self._read_at = [time.monotonic()] * partition_count
        self._lock = threading.Lock()
        self._moved = threading.Event()
        self._processes: dict[str, tuple[subprocess.Popen[bytes], IO[bytes], threading.Thread]] = {}
        for name in clients:
            self._start(name)

    def _start(self, name: str) -> None:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 – closed with the process
        process = subprocess.Popen(
            CLIENTS[name].command(replace(self._config, name=name)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        reader = threading.Thread(target=self._read, args=(name, process))
        self.histories[name] = []
        self._processes[name] = (process, errors, reader)
        reader.start()

    def _read(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = parse(line)
            except NonsenseError as nonsense:
                event = Failed(time.time_ns() // 1000, str(nonsense))
            with self._lock:
                self._note(name, event)

    def _note(self, name: str, event: Event) -> None:
        self.histories[name].append(event)
        if isinstance(event, Rows):
            now = time.monotonic()
            place = f"{event.partition}@{event.first} by {name}"
            self.longest[event.partition].note(self._read_at[event.partition], now, place)
            self._read_at[event.partition] = now
            seen = self._seen[event.partition]
            before = len(seen)
            seen.update(range(event.first, event.last + 1))
            self._seen_count += len(seen) - before

    def begin(self) -> None:
        """Measure waits from now on."""
        self._read_at = [time.monotonic()] * len(self._read_at)

    def pause(self, wait_s: float) -> None:
        """Wait a moment for somebody who looks again and again."""
        self._moved.wait(wait_s)

    @property
    def seen_count(self) -> int:
        """How many rows were processed, each counted once."""
        return self._seen_count

    @property
    def repeated_count(self) -> int:
        """How many were processed again."""
        return repeated_count(self.histories)

    @property
    def refusals(self) -> list[str]:
        """Why commits were refused."""
        return [
            f"{name}: {event.error}"
            for name, events in self.histories.items()
            for event in events
            if isinstance(event, Refused)
        ]

    @property
    def wrong(self) -> str | None:
        """What went wrong with a member's client, or None."""
        for name, (process, errors, reader) in self._processes.items():
            last = self.histories[name][-1:]
            if any(isinstance(event, Failed) for event in last):
                return f"{name} gave up: {last}"
            if not reader.is_alive() and not any(isinstance(event, Ended) for event in last):
                errors.seek(0)
                words = errors.read()[-2000:].decode(errors="replace")
                return f"{name} ended with {process.wait()}: {words}"
        return None

    def stop(self) -> None:
        """Tell all members to leave in good order."""
        for process, _, _ in self._processes.values():
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"stop\n")
                process.stdin.flush()

    @property
    def ended(self) -> bool:
        """Whether all have left."""
        return not any(reader.is_alive() for _, _, reader in self._processes.values())

    def committed(self) -> dict[int, int]:
        """Return what the group has committed, by partition."""
        settings = {"bootstrap.servers": self._config.bootstrap, "group.id": self._config.group}
        consumer = Consumer(settings, logger=QUIET)
        try:
            wanted = [TopicPartition(self._config.topic, p) for p in range(len(self._seen))]
            told = consumer.committed(wanted, ASK_WAIT_S)
        finally:
            consumer.close()
        return {place.partition: place.offset for place in told if place.offset >= 0}

    def anomalies(self, ledger: Ledger, committed: dict[int, int]) -> list[str]:
        """Return all that is wrong with what the members did; see `history.anomalies`."""
        now_us = time.time_ns() // 1000
        observed = Observed(now_us, now_us, tuple(sorted(committed.items())))
        return anomalies(self.histories, [observed], ledger)

    def close(self) -> None:
        """End whatever still runs, by its process id."""
        for process, errors, reader in self._processes.values():
            process.kill()
            process.wait()
            reader.join()
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            errors.close()
