"""What a handler is: the table that ApiVersions is derived from, and the shapes of an answer.

A handler file declares one `Handler` for one API key. It is a plain function
`(broker, request, body) -> answer`; it never touches a socket, a clock or a file by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from mesh.model.types import NodeId, Now
from mesh.wire import Message

if TYPE_CHECKING:
    from mesh.broker.broker import Broker
    from mesh.broker.purgatory import Waiter

M = TypeVar("M", bound=Message)


class CloseConnectionError(Exception):
    """The peer broke the protocol, or Kafka's documented answer is to hang up.

    The one argument is the cause, for one log line; it never holds record contents.
    """


@dataclass(slots=True)
class Session:
    """What the broker knows of one client connection."""

    id: int
    """Unique within this run of the node."""
    peer: str
    """`host:port` of the other side, for logs."""
    client_software: str = ""
    """Name and version that the client gave in ApiVersions, if it did."""


@dataclass(slots=True)
class Request:
    """Everything about a request that is not its body."""

    session: Session
    api_key: int
    api_version: int
    client_id: str | None
    now: Now
    asked: NodeId | None = None
    """The node that the client asked, if that one handed the request on."""
    order: int = 0
    """Then: which of the requests that node ever handed on it is. It may come more than once."""


Answer: TypeAlias = "Message | Waiter | None"
"""A response; or a waiter that has one later; or None: no response at all (Produce, acks=0)."""


@dataclass(frozen=True, slots=True)
class Handler(Generic[M]):
    """One row of the table of what this node serves."""

    key: int
    versions: tuple[int, int]
    """First and last version served, inclusive."""
    request: type[M]
    handle: Callable[[Broker, Request, M], Answer]
    advertised_min: int | None = None
    """Lowest version told in ApiVersions where that differs (docs/protocol.md R1)."""

    def serves(self, version: int) -> bool:
        """Whether this version is implemented."""
        return self.versions[0] <= version <= self.versions[1]

    @property
    def advertised(self) -> tuple[int, int]:
        """First and last version told in ApiVersions."""
        first, last = self.versions
        return first if self.advertised_min is None else self.advertised_min, last
