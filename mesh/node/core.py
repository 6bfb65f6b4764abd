"""The node as a machine: events in, effects out; no clock, socket, thread or dice inside.

It holds the logs directly (appends and reads are synchronous calls that the page cache answers);
everything else that touches the world is an effect, carried out by the driver in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from storage.log import SyncTicket

from mesh.broker.api import Answer, CloseConnectionError, Request, Session
from mesh.broker.broker import Broker
from mesh.broker.handlers import HANDLERS, refuse_version
from mesh.broker.partition import Partition
from mesh.broker.purgatory import Parked
from mesh.model.limits import ANSWERS_PENDING_MAX
from mesh.model.types import Now
from mesh.wire import Message, Part, WireError, decode, encode_response, read_request_header

Round: TypeAlias = "list[tuple[Partition, SyncTicket]]"


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send these pieces to a connection, after all that was sent to it before."""

    connection: Connection
    parts: list[Part]


@dataclass(frozen=True, slots=True)
class HangUp:
    """Effect: close a connection and log why, in one line."""

    connection: Connection
    cause: str


@dataclass(frozen=True, slots=True)
class Sync:
    """Effect: bring a round to the disk in threads, then call `Node.synced` with it."""

    round: Round


@dataclass(frozen=True, slots=True)
class Work:
    """Effect: run this blocking piece of disk work in a thread; nothing waits for it."""

    run: Callable[[], object]
    about: str


Effect: TypeAlias = Send | HangUp | Sync | Work


class _Answer:
    """A place in the order of a connection's answers."""

    __slots__ = ("parked", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] | None = None
        self.parked: Parked | None = None


class Connection:
    """A client connection as the core sees it: answers leave in the order of the requests."""

    __slots__ = ("answers", "closed", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.answers: deque[_Answer] = deque()
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether so many answers are outstanding that nothing more should be read."""
        return len(self.answers) >= ANSWERS_PENDING_MAX


class Node:
    """Composes the machines of one node."""

    def __init__(self, broker: Broker) -> None:
        """Around a broker whose logs are open (see `mesh.node.start`)."""
        self.broker = broker
        self._effects: list[Effect] = []
        self._ready: dict[Connection, None] = {}
        self._round_running = False
        self._session_count = 0
        self.requests_count = 0

    # Events

    def connected(self, peer: str) -> Connection:
        """A client connected."""
        self._session_count += 1
        return Connection(Session(self._session_count, peer))

    def closed(self, connection: Connection) -> None:
        """A connection is gone; nothing more is sent to it and its waiters are dropped."""
        connection.closed = True
        for answer in connection.answers:
            if answer.parked is not None:
                answer.parked.abandon()
        connection.answers.clear()

    def frames(
        self, connection: Connection, frames: Sequence[memoryview], now: Now
    ) -> list[Effect]:
        """Requests arrived; the frames need to stay valid only during this call."""
        for frame in frames:
            if connection.closed:
                break
            try:
                self._handle(connection, frame, now)
            except (WireError, CloseConnectionError) as error:
                self._flush(connection)
                self._hang_up(connection, str(error))
        return self._settle(now)

    def synced(self, round_: Round, now: Now) -> list[Effect]:
        """A sync round is on disk."""
        self._round_running = False
        self.broker.finish_sync(round_)
        return self._settle(now)

    def woken(self, now: Now) -> list[Effect]:
        """The instant that `wake_at_ms` named has come."""
        self.broker.deadlines.fire(now)
        return self._settle(now)

    @property
    def wake_at_ms(self) -> int | None:
        """Monotonic instant at which to call `woken`; it may change with every event."""
        return self.broker.deadlines.next_ms()

    # Inside

    def _handle(self, connection: Connection, frame: memoryview, now: Now) -> None:
        header, position = read_request_header(frame)
        self.requests_count += 1
        version = header.api_version
        request = Request(connection.session, header.api_key, version, header.client_id, now)
        result: Answer
        if (handler := HANDLERS.get(header.api_key)) is None or not handler.serves(version):
            # Raises for all but ApiVersions, which is answered in a form that all can read.
            result, version = refuse_version(request), 0
        else:
            body = decode(handler.request, frame, position, version)
            result = handler.handle(self.broker, request, body)
        if result is None:
            return
        answer = _Answer()
        connection.answers.append(answer)
        correlation_id = header.correlation_id

        def finish(response: Message) -> None:
            answer.parts = encode_response(response, version, correlation_id)
            self._ready[connection] = None

        if isinstance(result, Message):
            finish(result)
        else:
            answer.parked = self.broker.park(result, finish)

    def _settle(self, now: Now) -> list[Effect]:
        """Let everything follow from the event, and hand over the effects."""
        self.broker.settle(now)
        for connection in self._ready:
            self._flush(connection)
        self._ready.clear()
        if self.broker.fsync and self.broker.has_unsynced and not self._round_running:
            self._effects.append(Sync(self.broker.begin_sync()))
            self._round_running = True
        effects, self._effects = self._effects, []
        return effects

    def _flush(self, connection: Connection) -> None:
        """Send every answer that no unfinished one stands before."""
        answers = connection.answers
        parts: list[Part] = []
        while answers and (ready := answers[0].parts) is not None:
            answers.popleft()
            parts += ready
        if parts and not connection.closed:
            self._effects.append(Send(connection, parts))

    def _hang_up(self, connection: Connection, cause: str) -> None:
        self.closed(connection)
        self._effects.append(HangUp(connection, cause))
