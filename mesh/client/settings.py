"""What a caller can set, with every bound and time-out by its name, and how a client fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import TopicPartition
from storage.compression import Codec

Chance: TypeAlias = Callable[[], float]
"""A number in [0, 1); the driver hands in the world's, a test its own."""


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_bootstrap(text: str) -> list[Address]:
    """Return the addresses of `HOST:PORT[,HOST:PORT…]`; an IPv6 host stands in brackets.

    Raises:
        ValueError: no address, an empty host, or a port outside 1 to 65535.
    """
    addresses = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        host, colon, port = item.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"{item!r} is not HOST:PORT")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"port {port} of {item!r} is not between 1 and 65535")
        addresses.append(Address(host, int(port)))
    if not addresses:
        raise ValueError("no HOST:PORT given")
    return addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Bounds of one client; the defaults are those of Kafka's Java clients unless said."""

    client_id: str = "gossamer"
    connect_ms_max: int = 10_000
    """From the first SYN to the answer of ApiVersions."""
    request_ms_max: int = 30_000
    """From the call to its answer, all attempts together; for a Produce or Fetch, one attempt."""
    backoff_ms_min: int = 100
    backoff_ms_max: int = 1_000
    """Pause before attempt n + 1: min · 2ⁿ, at most max, ± 20 % (KIP-580)."""
    metadata_ms_max: int = 300_000
    """Older metadata is asked for anew, so that new partitions are seen."""
    response_bytes_max: int = 128 << 20
    """A peer that announces a longer answer is hung up on."""
    reach: Callable[[Address], Address] | None = None
    """Where to connect for an address that brokers tell, for example through a tunnel."""

    def backoff_ms(self, attempt: int, chance: Chance) -> int:
        """Return the pause before the next attempt; attempt counts from 0."""
        pause = min(self.backoff_ms_min << min(attempt, 20), self.backoff_ms_max)
        return int(pause * (0.8 + 0.4 * chance()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """How records are gathered and sent."""

    acks: int = -1
    """-1: all in sync; 1: the leader; 0: no answer, so losses stay unseen."""
    idempotent: bool | None = None
    """Every record once and in order. None: yes where acks is -1, the only case it may be."""
    codec: Codec = Codec.NONE
    linger_ms: int = 5
    """A batch that is not full waits this long for more records."""
    batch_bytes_max: int = 256 << 10
    """Before compression; a larger record travels alone. Java's 16 KiB costs it throughput."""
    request_bytes_max: int = 1 << 20
    """Batches of several partitions share a request up to this."""
    in_flight_max: int = 5
    """Requests without an answer per broker; a broker remembers five batches for idempotence."""
    buffer_bytes_max: int = 32 << 20
    """Records without an outcome; `send` waits for room."""
    delivery_ms_max: int = 120_000
    """From `send` to its outcome, retries included."""

    def __post_init__(self) -> None:
        """Refuse what no broker or no promise allows, with ValueError."""
        if self.acks not in (-1, 0, 1):
            raise ValueError(f"acks is -1 (all), 0 or 1, not {self.acks}")
        if self.idempotent and self.acks != -1:
            raise ValueError("an idempotent producer needs acks=all")
        if not 1 <= self.in_flight_max <= 5:
            raise ValueError(f"in_flight_max is 1 to 5, not {self.in_flight_max}")
        for name in ("batch_bytes_max", "request_bytes_max", "buffer_bytes_max", "delivery_ms_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive")
        if self.linger_ms < 0:
            raise ValueError("linger_ms must not be negative")

    @property
    def is_idempotent(self) -> bool:
        """What `idempotent` comes to."""
        return self.acks == -1 if self.idempotent is None else self.idempotent


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """How much is fetched at once and how long a broker may wait for it."""

    fetch_wait_ms_max: int = 500
    """How long a broker holds a Fetch that has less than fetch_bytes_min."""
    fetch_bytes_min: int = 1
    fetch_bytes_max: int = 16 << 20
    partition_bytes_max: int = 1 << 20
    """Soft, as Kafka's are: a first batch comes whole however large it is (KIP-74)."""
    buffer_bytes_max: int = 32 << 20
    """No further Fetch while this much was fetched and not yet taken."""
    committed_only: bool = False
    """Leave out records of transactions that are open or were given up."""
    reset: Literal["earliest", "latest", "nearest"] | None = None
    """Where to go on from an offset that is not in the log (any more); None: an error."""
    stuck_ms_max: int = 60_000
    """A partition that only gives errors for so long ends the reader with the last one."""


class ClientError(Exception):
    """Anything that keeps the client from what it was asked, other than a broker's error code."""


class CannotConnectError(ClientError):
    """Nobody answers as a Kafka broker at the address."""


class ConnectionLostError(ClientError):
    """The connection ended, or was ended after a time-out, before the answer came."""


class UnsupportedApiError(ClientError):
    """This broker does not serve the API at any version that we speak."""


class BufferTooSmallError(ClientError):
    """One record is larger than the producer's whole buffer."""


class UnknownTopicError(KafkaError):
    """The cluster has no such topic or partition."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)


class DeliveryError(KafkaError):
    """Records that were not, or perhaps not, written; its text says which.

    `maybe_written` is true when an attempt went out and no answer told its fate.
    """

    def __init__(
        self,
        partition: TopicPartition,
        count: int,
        code: ErrorCode,
        *,
        maybe_written: bool,
        why: str,
    ) -> None:
        fate = "may or may not have been written" if maybe_written else "were not written"
        super().__init__(code, f"{count} record(s) for {partition} {fate}: {why}")
        self.partition = partition
        self.maybe_written = maybe_written
