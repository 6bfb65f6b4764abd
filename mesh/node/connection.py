"""A client's connection as the core sees it: answers leave in the order of the requests."""

from __future__ import annotations

from collections import deque

from mesh.broker.api import Session
from mesh.broker.purgatory import Parked
from mesh.model.limits import ANSWERS_PENDING_MAX
from mesh.wire import Part


class Place:
    """A place in the order of a connection's answers."""

    __slots__ = (
        "api_key",
        "begun_ns",
        "connection",
        "correlation_id",
        "is_felt",
        "parked",
        "parts",
        "version",
    )

    def __init__(
        self,
        connection: Connection,
        api_key: int,
        version: int,
        correlation_id: int,
        begun_ns: int,
    ) -> None:
        self.connection = connection
        self.api_key = api_key
        self.begun_ns = begun_ns
        self.version = version
        self.correlation_id = correlation_id
        self.is_felt = False
        """Whether its latency tells how busy the node is, and not how little there is to read."""
        self.parts: list[Part] | None = None
        self.parked: Parked | None = None


class Connection:
    """One connection."""

    __slots__ = ("answers", "closed", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.answers: deque[Place] = deque()
        self.closed = False

    @property
    def full(self) -> bool:
        """Whether so many answers are outstanding that nothing more should be read."""
        return len(self.answers) >= ANSWERS_PENDING_MAX
