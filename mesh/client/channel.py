"""One connection to one broker that comes and goes: requests in, answers in the same order. trio.

A channel connects when there is something to send, agrees on versions (ApiVersions, KIP-511),
writes requests in the order of `submit` and matches answers to them. When the connection ends,
what was on its way fails, and what still waited goes over the next one.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from mesh.client.codes import code_of
from mesh.client.settings import (
    Address,
    CannotConnectError,
    Chance,
    ClientError,
    ClientSettings,
    ConnectionLostError,
    UnsupportedApiError,
)
from mesh.model.errors import ErrorCode
from mesh.version import VERSION
from mesh.wire import API_NAMES, Message, Part, WireError, encode_request, read_response
from mesh.wire.schemas.api_versions import ApiVersionsRequest, ApiVersionsResponse

A = TypeVar("A", bound=Message)

RECEIVE_BYTES = 64 << 10
WRITE_BYTES_MAX = 1 << 20
"""Frames that wait together are sent together up to about this much."""
CORRELATION_MASK = 2**31 - 1


@dataclass(slots=True, eq=False)
class Ticket(Generic[A]):
    """A request on its way, and what became of it."""

    request: Message
    answer: type[A]
    expects_answer: bool
    settled: trio.Event
    give_up: Callable[[Ticket[A], str], None]
    version: int = -1
    correlation_id: int = -1
    response: A | None = None
    error: ClientError | WireError | None = None

    async def wait(self, timeout_ms: int) -> A:
        """Return the answer.

        Raises:
            CannotConnectError: no connection came about; nothing was sent.
            ConnectionLostError: it ended first, or timeout_ms went by, which ends it.
            UnsupportedApiError: the broker does not serve this API.
            WireError: the request holds a value that its version cannot carry.
        """
        await self.written(timeout_ms)
        assert self.response is not None
        return self.response

    async def written(self, timeout_ms: int) -> None:
        """Return once a request without an answer was handed to the kernel; raises as `wait`."""
        with trio.move_on_after(timeout_ms / 1000):
            await self.settled.wait()
        if not self.settled.is_set():
            self.give_up(self, f"no answer within {timeout_ms} ms")
        if self.error is not None:
            raise self.error

    def settle(self, error: ClientError | WireError | None = None) -> None:
        """Let the waiting one go on; only the first outcome counts."""
        if not self.settled.is_set():
            self.error = error
            self.settled.set()


class Channel:
    """A queue of requests to one address, with a connection behind it while there is need."""

    def __init__(self, address: Address, settings: ClientSettings, chance: Chance) -> None:
        self.address = address
        self.scope = trio.CancelScope()
        """Cancel it to end `run` for good."""
        self._settings = settings
        self._chance = chance
        self._queue: deque[Ticket[Message]] = deque()
        self._unanswered: deque[Ticket[Message]] = deque()
        self._silent: list[Ticket[Message]] = []
        """Being written, and no answer will come."""
        self._work = trio.Event()
        self._connection = trio.CancelScope()
        self._why_lost = ""
        self._versions: dict[int, tuple[int, int]] = {}
        self._correlation_id = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything here."""
        return not (self._queue or self._unanswered or self._silent)

    def submit(
        self, request: Message, answer: type[A], *, expects_answer: bool = True
    ) -> Ticket[A]:
        """Take a request; those of one channel are sent in the order of these calls.

        Without expects_answer (Produce with acks=0) only `written` may be waited for.
        """
        ticket: Ticket[A] = Ticket(request, answer, expects_answer, trio.Event(), self._give_up)
        self._queue.append(ticket)  # type: ignore[arg-type]  # read back as what it is
        self._work.set()
        return ticket

    async def run(self) -> None:
        """Serve the queue until `scope` is cancelled; never raises for what a peer does."""
        failures = 0
        try:
            with self.scope:
                while True:
                    await self._wait_for_work()
                    try:
                        stream, reader = await self._open()
                    except ClientError as error:
                        while self._queue:
                            self._queue.popleft().settle(error)
                        pause = self._settings.backoff_ms(failures, self._chance)
                        failures += 1
                        await trio.sleep(pause / 1000)
                    else:
                        failures = 0
                        await self._serve(stream, reader)
        finally:
            closed = ConnectionLostError(f"the client of {self.address} was closed")
            for ticket in self._queue:  # _serve has settled those on their way.
                ticket.settle(closed)

    def _give_up(self, ticket: Ticket[A], why: str) -> None:
        """End the connection a ticket is on: later answers could not be matched without it."""
        error = ConnectionLostError(f"{self.address}: {why}")
        waiting: Ticket[Message] = ticket  # type: ignore[assignment]
        if waiting in self._queue:
            self._queue.remove(waiting)
        elif waiting in self._unanswered:
            self._why_lost = why
            self._connection.cancel()
        ticket.settle(error)

    async def _wait_for_work(self) -> None:
        while not self._queue:
            self._work = trio.Event()
            await self._work.wait()

    # Connecting.

    async def _open(self) -> tuple[trio.SocketStream, FrameReader]:
        """Return a connection whose versions are agreed on; raises CannotConnectError."""
        stream: trio.SocketStream | None = None
        reach = self._settings.reach
        address = self.address if reach is None else reach(self.address)
        try:
            with trio.fail_after(self._settings.connect_ms_max / 1000):
                stream = await trio.open_tcp_stream(*address)
                if is_self_connected(stream):
                    raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
                reader = FrameReader(stream, self._settings.response_bytes_max)
                await self._agree(stream, reader)
        except BaseException as error:
            if stream is not None:
                await trio.aclose_forcefully(stream)
            if isinstance(error, trio.TooSlowError):
                text = f"{self.address} gave no answer in {self._settings.connect_ms_max} ms"
            elif isinstance(error, OSError):
                text = f"cannot connect to {self.address}: {_cause(error)}"
            elif isinstance(error, trio.BrokenResourceError | ConnectionLostError | WireError):
                text = f"{self.address} does not answer as a Kafka broker: {error}"
            else:
                raise
            raise CannotConnectError(text) from error
        return stream, reader

    async def _agree(self, stream: trio.SocketStream, reader: FrameReader) -> None:
        """Learn the broker's versions; one that is older tells which ApiVersions it speaks."""
        version = ApiVersionsRequest.VERSIONS[1]
        request = ApiVersionsRequest(
            client_software_name="gossamer", client_software_version=VERSION
        )
        while True:
            parts = encode_request(request, version, 0, self._settings.client_id)
            await stream.send_all(_joined(parts))
            frame = await reader.next()
            if frame[4:6] != int(ErrorCode.UNSUPPORTED_VERSION).to_bytes(2):
                break
            if version == 0:
                raise WireError("it refuses every version of ApiVersions")
            version = max(0, min(_version_served(frame), version - 1))
        response = read_response(ApiVersionsResponse, frame, version)[1]
        if response.error_code:
            raise WireError(f"it answers ApiVersions with {code_of(response.error_code).name}")
        self._versions = {
            item.api_key: (item.min_version, item.max_version) for item in response.api_keys
        }

    def _version(self, request: Message) -> int:
        """Return the highest version that both sides speak."""
        name = API_NAMES[request.API_KEY]
        if request.API_KEY not in self._versions:
            raise UnsupportedApiError(f"{self.address} does not serve {name}")
        ours, theirs = request.VERSIONS, self._versions[request.API_KEY]
        version = min(ours[1], theirs[1])
        if version < max(ours[0], theirs[0]):
            raise UnsupportedApiError(
                f"{self.address} serves {name} versions {theirs[0]} to {theirs[1]}, "
                f"we speak {ours[0]} to {ours[1]}"
            )
        return version

    # While connected.

    async def _serve(self, stream: trio.SocketStream, reader: FrameReader) -> None:
        self._why_lost = "the broker closed the connection"
        try:
            async with trio.open_nursery() as nursery:
                self._connection = nursery.cancel_scope
                nursery.start_soon(self._write, stream)
                nursery.start_soon(self._read, reader)
        finally:
            lost = ConnectionLostError(f"{self.address}: {self._why_lost}")
            for ticket in (*self._unanswered, *self._silent):
                ticket.settle(lost)
            self._unanswered.clear()
            self._silent.clear()
            await trio.aclose_forcefully(stream)

    async def _write(self, stream: trio.SocketStream) -> None:
        while True:
            await self._wait_for_work()
            data = bytearray()
            while self._queue and len(data) < WRITE_BYTES_MAX:
                ticket = self._queue.popleft()
                try:
                    data += self._encode(ticket)
                except (UnsupportedApiError, WireError) as error:
                    ticket.settle(error)
                    continue
                if ticket.expects_answer:
                    self._unanswered.append(ticket)
                else:
                    self._silent.append(ticket)
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._why_lost = f"cannot send: {_cause(error)}"
                self._connection.cancel()
                return
            for ticket in self._silent:
                ticket.settle()
            self._silent.clear()

    def _encode(self, ticket: Ticket[Message]) -> bytes:
        ticket.version = self._version(ticket.request)
        self._correlation_id = (self._correlation_id + 1) & CORRELATION_MASK
        ticket.correlation_id = self._correlation_id
        return _joined(
            encode_request(
                ticket.request, ticket.version, ticket.correlation_id, self._settings.client_id
            )
        )

    async def _read(self, reader: FrameReader) -> None:
        try:
            while True:
                frame = await reader.next()
                if not self._unanswered:
                    raise WireError("an answer that nobody asked for")
                ticket = self._unanswered[0]
                correlation_id, ticket.response = read_response(
                    ticket.answer, frame, ticket.version
                )
                if correlation_id != ticket.correlation_id:
                    raise WireError(f"answer {correlation_id} instead of {ticket.correlation_id}")
                self._unanswered.popleft().settle()
        except (WireError, ConnectionLostError, trio.BrokenResourceError) as error:
            self._why_lost = _cause(error)
            self._connection.cancel()


class FrameReader:
    """Cuts what arrives into frames; a large one is received straight into its own memory."""

    __slots__ = ("_bytes_max", "_pending", "_stream")

    def __init__(self, stream: trio.SocketStream, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._pending = bytearray()

    async def next(self) -> memoryview:
        """Return the next frame without its length prefix; nobody else holds its memory.

        Raises:
            ConnectionLostError: the stream ended.
            WireError: the announced length is negative or above the bound.
            trio.BrokenResourceError: the connection was reset.
        """
        while len(self._pending) < 4:
            self._pending += await self._receive()
        length = int.from_bytes(self._pending[:4], "big", signed=True)
        if not 4 <= length <= self._bytes_max:
            raise WireError(f"a frame of {length} bytes, not 4 to {self._bytes_max}")
        frame = bytearray(length)
        filled = min(length, len(self._pending) - 4)
        frame[:filled] = self._pending[4 : 4 + filled]
        del self._pending[: 4 + filled]
        view = memoryview(frame)
        while filled < length:
            try:
                count = await self._stream.socket.recv_into(view[filled:])
            except OSError as error:
                raise ConnectionLostError(_cause(error)) from error
            if count == 0:
                raise ConnectionLostError("the broker closed the connection within an answer")
            filled += count
        return view

    async def _receive(self) -> bytes:
        data = await self._stream.receive_some(RECEIVE_BYTES)
        if not data:
            raise ConnectionLostError("the broker closed the connection")
        return bytes(data)


def is_self_connected(stream: trio.SocketStream) -> bool:
    """Whether both ends are one socket.

    Linux connects a socket to itself when the port it drew is the one it calls and nobody
    listens there; a client that calls a dead broker again and again would take its port.
    """
    local: object = stream.socket.getsockname()
    remote: object = stream.socket.getpeername()
    return local == remote


def _version_served(refusal: memoryview) -> int:
    """Return the highest version of ApiVersions that a refusal names, in version 0 (KIP-511).

    One that cannot be read names none; every broker speaks version 0.
    """
    try:
        response = read_response(ApiVersionsResponse, refusal, 0)[1]
    except WireError:
        return 0
    keys = (item for item in response.api_keys if item.api_key == ApiVersionsRequest.API_KEY)
    return max((item.max_version for item in keys), default=0)


def _joined(parts: Sequence[Part]) -> bytes:
    """Return one frame; what we send is bytes, never a slice of a file."""
    return b"".join(part for part in parts if isinstance(part, bytes | bytearray | memoryview))


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of an error, in a few words."""
    while (inner := error.__cause__) is not None:
        error = inner
    if isinstance(error, BaseExceptionGroup):
        return _cause(error.exceptions[0])
    if isinstance(error, OSError) and error.errno is not None:
        known = error.errno in errno.errorcode  # Name look-ups have numbers of their own.
        return os.strerror(error.errno) if known else str(error.strerror)
    return str(error) or type(error).__name__
