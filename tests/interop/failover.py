"""`python -m tests.interop.failover`: `mesh bench failover` as other clients see it.

The same nodes and the same events, but the record is written by a program of another library (those
of `flights/writers.py`), one at a time: it gets a row, and says when that is acknowledged.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from tests.interop.flights.writers import WRITERS, WritingClient
from tools.bench.failover import TOPIC, failover_point
from tools.bench.flags import tell
from tools.bench.generator import BenchError

EVENTS = ("kill", "stop")
VALUE = bytes(100)


class _Program:
    """One process that writes what it is given."""

    def __init__(self, client: WritingClient, process: subprocess.Popen[bytes]) -> None:
        self._client = client
        self._process = process
        self._number = 0

    def write(self) -> None:
        """Have one record acknowledged.

        Raises:
            BenchError: the client gave it up, or ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._number += 1
        row = b"%d -1 %d\n%b\n" % (self._number, len(VALUE), VALUE)
        self._process.stdin.write(row)
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        words = line.split()
        if len(words) != 3 or words[0] != b"%d" % self._number or not words[2].isdigit():
            said = line.decode(errors="replace").strip() or "its program ended"
            raise BenchError(f"{self._client.name}: {said}")


def writing(client: WritingClient) -> Callable[[str], AbstractContextManager[_Program]]:
    """Return what starts a library's program, and ends it."""

    @contextmanager
    def run(bootstrap: str) -> Iterator[_Program]:
        process = subprocess.Popen(
            [*client.command(), bootstrap, TOPIC, client.codec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _Program(client, process)
        finally:
            process.kill()
            process.communicate()

    return run


def main(arguments: Sequence[str]) -> int:
    """Measure them one after the other; return 0 unless one could not be measured."""
    parser = argparse.ArgumentParser(prog="failover", description=__doc__)
    parser.add_argument("--client", choices=list(WRITERS), action="append", help="[all]")
    parser.add_argument("--event", choices=EVENTS, action="append", help="[all]")
    parser.add_argument("--count", type=int, default=10, help="events of a kind")
    wanted = parser.parse_args(arguments)
    status = 0
    for name in wanted.client or WRITERS:
        client = WRITERS[name]
        if (reason := client.missing()) is not None:
            print(f"skipped   {name}: {reason}", flush=True)
            continue
        try:
            points = [
                failover_point(event, wanted.count, [], writing(client))
                for event in wanted.event or EVENTS
            ]
        except BenchError as error:
            print(f"failed    {name}: {error}", flush=True)
            status = 1
            continue
        tell("failover", [], points, {"client": name, "nodes": 3}, as_json=False)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
