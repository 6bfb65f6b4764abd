"""A story: members come, go, stall and die, the broker too, and in the end all must be well."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Protocol

from tests.interop.flights.ledger import Ledger
from tests.interop.members.clients import Client
from tests.interop.members.events import (
    Assigned,
    Ended,
    Event,
    Failed,
    Killed,
    Lost,
    NonsenseError,
    Paused,
    Resumed,
    Revoked,
    Rows,
    parse,
)
from tests.interop.members.history import anomalies, repeated_count
from tests.interop.members.member import Config
from tests.interop.members.observer import Observer

PROGRESS_WAIT_S = 60
END_WAIT_S = 30


class StoryError(Exception):
    """The story does not go on; the text says where it stands."""


class Broker(Protocol):
    """What a story needs of a broker: `JvmBroker` and `MeshNode` are such."""

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:PORT`, the same after a restart."""

    @property
    def port(self) -> int:
        """The port of it."""

    @property
    def log_directory(self) -> Path:
        """Its `<topic>-<partition>` directories are inside."""

    def kill(self) -> None:
        """End it as `kill -9` does."""

    def restart(self) -> None:
        """Start it again on what it left; return once it answers."""


@dataclass(slots=True)
class _Process:
    """One member's process, and what it said."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    reader: threading.Thread


@dataclass(slots=True)
class Outcome:
    """What came of a story."""

    anomalies: list[str]
    row_count: int
    repeated_count: int
    """Rows that were processed again, because they were not committed yet."""
    taken_s: float
    histories: dict[str, list[Event]] = field(default_factory=dict)


class Story:
    """One group on one topic, and everything that is done to its members."""

    def __init__(self, broker: Broker, ledger: Ledger, client: Client, config: Config) -> None:
        """Prepare; members are like `client` and `config`, but for their names."""
        self.broker = broker
        self.ledger = ledger
        self.client = client
        self.config = config
        self.histories: dict[str, list[Event]] = {}
        self.observer = Observer(broker.bootstrap, config.group, ledger.topic, len(ledger.ends()))
        self._processes: dict[str, _Process] = {}
        self._events: queue.Queue[tuple[str, Event | None]] = queue.Queue()
        self._seen = [bytearray(end) for end in ledger.ends()]
        self._seen_count = 0
        self._gone: set[str] = set()
        self._failed: set[str] = set()
        self._may_give_up: set[str] = set()
        self._began_at = time.monotonic()

    def join(self, name: str, instance: str | None = None, client: Client | None = None) -> None:
        """Start a member, of the story's client or of another one."""
        config = replace(self.config, name=name, instance=instance)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 – closed with the process, in `close`
        process = subprocess.Popen(
            (client or self.client).command(config),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        reader = threading.Thread(target=self._read, args=(name, process))
        self.histories[name] = []
        self._processes[name] = _Process(process, errors, reader)
        reader.start()

    def joined(self, *names: str) -> None:
        """Return once each of these members was given partitions (or none, but in good order)."""
        self.wait(f"{', '.join(names)} joined", lambda: all(map(self._is_assigned, names)))

    def _is_assigned(self, name: str) -> bool:
        return any(isinstance(event, Assigned) for event in self.histories[name])

    def _read(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                self._events.put((name, parse(line)))
            except NonsenseError as nonsense:
                self._events.put((name, Failed(time.time_ns() // 1000, str(nonsense))))
        self._events.put((name, None))

    def _order(self, name: str, order: str) -> None:
        pipe = self._processes[name].process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # Its end is noticed by its silence.
            pipe.write(order.encode() + b"\n")
            pipe.flush()

    def held(self, name: str) -> set[int]:
        """Return the partitions that a member has, as far as it has told."""
        partitions: set[int] = set()
        for event in self.histories[name]:
            match event:
                case Assigned(partitions=given):
                    partitions |= set(given)
                case Revoked(partitions=gone) | Lost(partitions=gone):
                    partitions -= set(gone)
                case _:
                    pass
        return partitions

    def changes(self, name: str) -> int:
        """Return how often a member was told that its assignment changed."""
        told = (it for it in self.histories[name] if isinstance(it, Assigned | Revoked | Lost))
        return sum(it.partitions != () for it in told)

    def gives_up(self, name: str) -> None:
        """Return once a member was fenced, and its client gave up."""
        self.wait(f"{name} is fenced", lambda: name in self._failed)

    def expect_to_give_up(self, name: str) -> None:
        """From now on a member may be fenced."""
        self._may_give_up.add(name)

    def leave(self, name: str) -> None:
        """Have a member leave in good order; return once it has."""
        self._order(name, "stop")
        self.wait(f"{name} leaves", lambda: name in self._gone)

    def stall(self, name: str) -> None:
        """Have a member stop polling; its client goes on with heartbeats."""
        self._order(name, "stall")

    def go(self, name: str) -> None:
        """Have it go on."""
        self._order(name, "go")

    def freeze(self, name: str) -> None:
        """Have the member's whole process stand still."""
        self._note(name, Paused)
        self._processes[name].process.send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Have it go on."""
        self._note(name, Resumed)
        self._processes[name].process.send_signal(signal.SIGCONT)

    def crash(self, name: str) -> None:
        """End a member with `kill -9`."""
        self._gone.add(name)
        self._processes[name].process.kill()
        self._processes[name].process.wait()
        self._note(name, Killed)

    def _note(self, name: str, kind: type[Paused | Resumed | Killed]) -> None:
        self.histories[name].append(kind(time.time_ns() // 1000))

    def kill_broker(self) -> None:
        """End the broker with `kill -9`, and start it again."""
        self.broker.kill()
        self.broker.restart()

    def until(self, share: float) -> None:
        """Return once this share of the rows was processed, at least once each."""
        self.wait(
            f"{share:.0%} are processed",
            lambda: self._seen_count >= share * self.ledger.acknowledged_count,
        )

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Return once something holds.

        Raises:
            StoryError: no row was processed, and it did not come to hold, for PROGRESS_WAIT_S; or
                a client gave up.
        """
        deadline = time.monotonic() + PROGRESS_WAIT_S
        while not holds():
            before = self._seen_count
            try:
                self._take(*self._events.get(timeout=0.2))
            except queue.Empty:
                pass
            if failed := self._failed - self._may_give_up:
                raise StoryError(f"{sorted(failed)} gave up, before {what}:\n{self.describe()}")
            if self._seen_count > before:
                deadline = time.monotonic() + PROGRESS_WAIT_S
            if time.monotonic() > deadline:
                raise StoryError(f"no progress until {what}:\n{self.describe()}")

    def _take(self, name: str, event: Event | None) -> None:
        if event is None:
            if name not in self._gone:
                words = f"ended with {self._processes[name].process.wait()}: {self._words(name)}"
                event = Failed(time.time_ns() // 1000, words)
            else:
                return
        self.histories[name].append(event)
        if isinstance(event, Ended | Failed):
            self._gone.add(name)
        if isinstance(event, Failed):
            self._failed.add(name)
        if isinstance(event, Rows) and event.partition < len(self._seen):
            seen = self._seen[event.partition]
            new = seen.count(0, event.first, event.last + 1)
            seen[event.first : event.last + 1] = b"\1" * (event.last + 1 - event.first)
            self._seen_count += new

    def describe(self) -> str:
        """Say where the story stands: the last words of each member, and what is committed."""
        lines = [f"{self._seen_count} of {self.ledger.acknowledged_count} rows processed"]
        for name, events in self.histories.items():
            lines.append(f"{name}: {self._words(name)}")
            lines += [f"    {event}" for event in events[-8:]]
        lines += [str(self.observer.observations[-1:]), *self.observer.errors[-3:]]
        return "\n".join(lines)

    def _words(self, name: str) -> str:
        """Return the end of what a member wrote to its standard error."""
        errors = self._processes[name].errors
        errors.seek(0)
        return errors.read()[-2000:].decode(errors="replace")

    def _has_committed_all(self) -> bool:
        observed = self.observer.ask()
        ends = {partition: end for partition, end in enumerate(self.ledger.ends()) if end > 0}
        return observed is not None and dict(observed.offsets) == ends

    def finish(self) -> Outcome:
        """Wait until all is processed and committed, let everybody leave, and judge."""
        self.until(1.0)
        self.wait("all is committed", self._has_committed_all)
        for name in self._processes:
            self._order(name, "stop")
        self.wait("all have left", lambda: self._gone >= self._processes.keys())
        self.observer.ask()
        found = anomalies(
            self.histories,
            self.observer.observations,
            self.ledger,
            tells_its_assignment=self.client.tells_its_assignment,
            may_give_up=frozenset(self._may_give_up),
        )
        return Outcome(
            found,
            self._seen_count,
            repeated_count(self.histories),
            time.monotonic() - self._began_at,
            self.histories,
        )

    def close(self) -> None:
        """End whatever still runs."""
        for member in self._processes.values():
            member.process.kill()
            member.process.wait()
            member.reader.join()
            assert member.process.stdin is not None
            assert member.process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                member.process.stdin.close()
            member.process.stdout.close()
            member.errors.close()
        self.observer.stop()


@contextlib.contextmanager
def story(broker: Broker, ledger: Ledger, client: Client, config: Config) -> Iterator[Story]:
    """Tell a story; whatever happens, nobody survives it."""
    told = Story(broker, ledger, client, config)
    told.observer.start()
    try:
        yield told
    finally:
        told.close()
