"""The load: one process per connection, a raw socket, frames that were built before.

It must cost less than what it measures. A request is two patched integers and a send; an answer
is read into one buffer and judged by a few of its bytes. Each process first connects, then waits
for `go`, so that all begin together. No part of the wire room is loaded here.
"""

import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from mesh.node.options import Address
from tools.bench.figures import Histogram

TIMEOUT_S = 30.0
"""A broker that says nothing for so long is broken; the round then fails."""
FRAME_BYTES_MAX = 8 << 20
PAUSE_S = 0.0005
"""Between two looks whether a request is due, where there are to be only so many a second."""
_CORRELATION_AT = 8  # after length (int32), key and version (int16 each)
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")


class BenchError(Exception):
    """The broker gave an answer that is no success, or none; the text says which."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one connection does in one round."""

    address: Address
    frames: tuple[bytes, ...]
    """Requests with their length prefix, sent in turn; each holds other payloads."""
    in_flight: int
    seconds: float
    requests_max: int
    """The round ends after so many requests, or when the time is up."""
    error_at: int
    """Where in an answer (from its length prefix) the error code stands."""
    batch_bytes: int
    """Of each batch that is produced or fetched; the same for all."""
    fetch: "FetchWalk | None" = None
    rate_per_s: float | None = None
    """At most so many requests a second, evenly; None: as many as are answered."""


@dataclass(frozen=True, slots=True)
class FetchWalk:
    """How to walk a log of equal batches, again and again."""

    offset_at: int
    """Where in the request the fetch offset stands."""
    records_at: int
    """Where in the answer the compact length of the records stands."""
    records_per_batch: int
    end_offset: int


@dataclass(slots=True)
class Work:
    """What one connection did."""

    requests: int
    batch_bytes: int
    begin_ns: int
    end_ns: int
    cpu_ns: int
    latencies: Histogram


class _Answers:
    """Cuts answers out of what arrives, in one buffer that never grows."""

    __slots__ = ("_begin", "_buffer", "_end", "_socket", "_view")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray(2 * FRAME_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._begin = self._end = 0

    def next(self) -> memoryview:
        """Wait for one answer; it is valid until the next call."""
        if self._begin == self._end:
            self._begin = self._end = 0
        self._need(4)
        size = 4 + _INT32.unpack_from(self._buffer, self._begin)[0]
        if not 8 <= size <= FRAME_BYTES_MAX:
            raise BenchError(f"an answer of {size} bytes")
        if self._begin + size > len(self._buffer):
            rest = self._end - self._begin
            self._buffer[:rest] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, rest
        self._need(size)
        begin = self._begin
        self._begin += size
        return self._view[begin : begin + size]

    def _need(self, count: int) -> None:
        while self._end - self._begin < count:
            received = self._socket.recv_into(self._view[self._end :])
            if not received:
                raise BenchError("the broker closed the connection")
            self._end += received


def connect(address: Address) -> socket.socket:
    """Return a connected socket that sends at once and gives up after `TIMEOUT_S`."""
    sock = socket.create_connection(address, timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def drive(sock: socket.socket, job: Job) -> Work:
    """Keep `in_flight` requests under way until the round ends, then wait for what is left.

    Raises:
        BenchError: an answer is no success, or does not come.
    """
    try:
        return _drive(sock, job)
    except TimeoutError:
        raise BenchError(f"the broker said nothing for {TIMEOUT_S:.0f} s") from None
    except ConnectionError:
        raise BenchError("the broker closed the connection") from None


def _drive(sock: socket.socket, job: Job) -> Work:
    clock = time.monotonic_ns
    answers = _Answers(sock)
    frames = [bytearray(frame) for frame in job.frames]
    walk = job.fetch
    # Each slot in flight walks the log by itself, from another place.
    per_slot = walk.end_offset // walk.records_per_batch // job.in_flight if walk else 0
    cursors = [i * per_slot * walk.records_per_batch if walk else 0 for i in range(job.in_flight)]
    sent_at_ns: deque[int] = deque()
    durations_ns: list[int] = []
    sent, due, batches = 0, job.requests_max, 0
    begin_ns, cpu_ns = clock(), time.process_time_ns()
    until_ns = begin_ns + int(job.seconds * 1e9)
    while True:
        now_ns = clock()
        if job.rate_per_s is not None:
            due = min(job.requests_max, 1 + int((now_ns - begin_ns) * job.rate_per_s / 1e9))
            if not sent_at_ns and sent >= due and now_ns < until_ns and sent < job.requests_max:
                time.sleep(PAUSE_S)
                continue
        while len(sent_at_ns) < job.in_flight and now_ns < until_ns and sent < due:
            frame = frames[sent % len(frames)]
            _INT32.pack_into(frame, _CORRELATION_AT, sent)
            if walk:
                _INT64.pack_into(frame, walk.offset_at, cursors[sent % job.in_flight])
            sent += 1
            sent_at_ns.append(clock())
            sock.sendall(frame)
        if not sent_at_ns:
            break
        answer = answers.next()
        durations_ns.append(clock() - sent_at_ns.popleft())
        number = len(durations_ns) - 1
        _judge(answer, number, job.error_at)
        if walk:
            slot = number % job.in_flight
            count = _batches(answer, walk, job.batch_bytes)
            cursors[slot] += count * walk.records_per_batch
            if cursors[slot] >= walk.end_offset:
                cursors[slot] = 0
            batches += count
        else:
            batches += 1
    end_ns = clock()
    work = Work(sent, batches * job.batch_bytes, begin_ns, end_ns, 0, Histogram())
    work.cpu_ns = time.process_time_ns() - cpu_ns
    work.latencies.add_all(durations_ns)
    return work


def _judge(answer: memoryview, correlation_id: int, error_at: int) -> None:
    if _INT32.unpack_from(answer, 4)[0] != correlation_id:
        raise BenchError(f"request {correlation_id} got another's answer")
    if len(answer) < error_at + 2:
        raise BenchError(f"an answer of only {len(answer)} bytes")
    code = _INT16.unpack_from(answer, error_at)[0]
    if code:
        raise BenchError(f"the broker answered with error code {code}")


def _batches(answer: memoryview, walk: FetchWalk, batch_bytes: int) -> int:
    """Return how many whole batches the answer holds; the last may be cut by the broker."""
    size = shift = 0
    for byte in answer[walk.records_at : walk.records_at + 5]:
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    count = (size - 1) // batch_bytes  # compact lengths are one more than the length
    if count < 1:
        raise BenchError("a fetch came back without records")
    return count


class Worker:
    """One process that drives one connection, round after round."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(far_end,), daemon=True)
        self._process.start()
        far_end.close()

    def prepare(self, job: Job) -> None:
        """Send the job; the process connects and waits."""
        self._pipe.send(job)

    def ready(self) -> None:
        """Wait until it is connected."""
        self._receive()

    def go(self) -> None:
        """Let it begin."""
        self._pipe.send(None)

    def result(self) -> Work:
        """Wait for the end of its round.

        Raises:
            BenchError: what went wrong there.
        """
        result = self._receive()
        assert isinstance(result, Work)
        return result

    def _receive(self) -> object:
        try:
            received = self._pipe.recv()
        except EOFError:
            raise BenchError("a load process died") from None
        if isinstance(received, BenchError):
            raise received
        return received

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()


def _serve(pipe: "Connection[object, object]") -> None:
    """Run jobs until the other end closes the pipe or Ctrl-C ends us both."""
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        assert isinstance(job, Job)
        try:
            with connect(job.address) as sock:
                pipe.send("connected")
                pipe.recv()
                pipe.send(drive(sock, job))
        except BenchError as error:
            pipe.send(error)
        except OSError as error:
            pipe.send(BenchError(f"{job.address}: {error}"))
        except (EOFError, KeyboardInterrupt):
            return


def run_round(workers: Sequence[Worker], jobs: Sequence[Job]) -> list[Work]:
    """Run one job per worker, all begun together."""
    pairs = list(zip(workers, jobs, strict=True))
    for worker, job in pairs:
        worker.prepare(job)
    for worker, _ in pairs:
        worker.ready()
    for worker, _ in pairs:
        worker.go()
    return [worker.result() for worker, _ in pairs]
