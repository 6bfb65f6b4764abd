"""What a broker costs before and between requests: start to first record, and idleness."""

import contextlib
import os
import shlex
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mesh.model.errors import ErrorCode
from mesh.node.options import Address
from mesh.wire.schemas.produce import ProduceResponse
from tools.bench.connection import BenchConnection
from tools.bench.figures import ratios
from tools.bench.frames import PRODUCE_VERSION, Shape, batches_of, produce_request
from tools.bench.generator import BenchError
from tools.bench.process import Target, child_environment, cpu_s, node_command, rss_mb, stop
from tools.bench.rounds import Figures

START_S_MAX = 60.0
POLL_S = 0.001
SETTLE_S = 3.0
"""After a start or a load: housekeeping of the first seconds is not idleness."""
TOPIC = "mesh-bench-start"


Process: TypeAlias = "subprocess.Popen[bytes]"


@contextlib.contextmanager
def _node(address: Address, options: Sequence[str]) -> Iterator[Process]:
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as data:
        process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
            node_command(data, address, options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=child_environment(),
        )
        try:
            yield process
        finally:
            stop(process)


@contextlib.contextmanager
def _command(command: str) -> Iterator[Process]:
    """Run somebody's start command in a session of its own, and end all of that session."""
    process = subprocess.Popen(  # noqa: S603 - the user's own command
        shlex.split(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        stop(process)


def _first_acknowledged(address: Address, process: Process) -> None:
    """Return once a record, produced with acks=all to a topic that did not exist, is answered.

    Raises:
        BenchError: not in `START_S_MAX`, or never, since the process failed.
    """
    deadline = time.monotonic() + START_S_MAX
    batch = batches_of(Shape(1, 100), seed=1, timestamp_ms=time.time_ns() // 1_000_000)[0]
    request = produce_request(TOPIC, 0, batch, acks=-1)
    while True:
        _still_hoping(process, deadline)
        try:
            with BenchConnection(address) as connection:
                while not connection.leaders(TOPIC, auto_create=True):
                    _still_hoping(process, deadline)
                while True:
                    answer = connection.call(request, PRODUCE_VERSION, ProduceResponse)
                    code = answer.responses[0].partition_responses[0].error_code
                    if code == ErrorCode.NONE:
                        return
                    _still_hoping(process, deadline)
        except OSError:
            continue  # It does not listen yet.


def _still_hoping(process: Process, deadline: float) -> None:
    """Pause, unless there is nothing left to wait for. A starter that left with 0 is no failure."""
    if process.poll():
        raise BenchError(f"the broker ended with status {process.returncode} before it served")
    if time.monotonic() > deadline:
        raise BenchError(f"no record was acknowledged in {START_S_MAX:.0f} s")
    time.sleep(POLL_S)


def _timed(address: Address, starting: contextlib.AbstractContextManager[Process]) -> float:
    begin = time.monotonic()
    with starting as process:
        _first_acknowledged(address, process)
        return (time.monotonic() - begin) * 1000


def start_point(
    address: Address,
    options: Sequence[str],
    against: tuple[Address, str] | None,
    rounds: int,
) -> Figures:
    """Measure exec to first acknowledged record, on an empty directory each time.

    Args:
        address: a free one, for our own node.
        options: further flags of `mesh node`.
        against: where the other broker will listen, and the command that makes it so.
        rounds: starts of each, in turns.
    """
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours.append(_timed(address, _node(address, options)))
        if against:
            theirs.append(_timed(against[0], _command(against[1])))
    figures = _start_figures(ours)
    if against:
        figures["against"] = _start_figures(theirs)
        figures |= ratios(theirs, ours)
    return figures


def _start_figures(durations_ms: Sequence[float]) -> Figures:
    return {
        "first_ack_ms": statistics.median(durations_ms),
        "first_ack_ms_min": min(durations_ms),
        "first_ack_ms_max": max(durations_ms),
    }


def idle_point(targets: Sequence[Target], seconds: float) -> Figures:
    """Measure resident memory and CPU of brokers that nobody talks to.

    Raises:
        BenchError: a target is not a process of this machine, or ends.
    """
    for target in targets:
        _cpu_s(target)  # Nobody should wait for an error that can be told now.
    time.sleep(SETTLE_S)
    before = [_cpu_s(target) for target in targets]
    time.sleep(seconds)
    figures: Figures = {}
    for target, begin in zip(targets, before, strict=True):
        percent = (_cpu_s(target) - begin) / seconds * 100
        found: Figures = {"rss_mb": rss_mb(target.pid or 0), "cpu_percent": percent}
        figures |= found if target.name == "mesh" else {target.name: found}
    return figures


def _cpu_s(target: Target) -> float:
    spent = cpu_s(target.pid) if target.pid else None
    if spent is None:
        raise BenchError(f"{target.address}: no process of this machine is known; give its --pid")
    return spent
