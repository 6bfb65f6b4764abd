"""The two kinds of visitors of a node under abuse: the one who behaves, and those who do not."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.interop.differential.batches import batch
from tests.interop.differential.talk import Connection, Talk

WAIT_S = 30


class Producer:
    """A producer that does everything right, and sees whether it is served."""

    def __init__(self, port: int, word: str) -> None:
        """Create a topic of its own; `word` is unique among the tests of a node."""
        talk = Talk(port, "abuse", 0)
        self.topic = talk.topic(word)
        talk.close()
        self._connection = Connection(port)
        self._next_offset = 0

    def produce(self, count: int = 1) -> None:
        """Append `count` batches of 1 KiB; every one is acknowledged at its offset."""
        data = PartitionProduceData(index=0, records=batch(b"x" * 1024))
        topic = TopicProduceData(name=self.topic, partition_data=[data])
        request = ProduceRequest(acks=-1, timeout_ms=15_000, topic_data=[topic])
        for _ in range(count):
            answer = self._connection.ask(request, 9)
            assert isinstance(answer, ProduceResponse), answer
            partition = answer.responses[0].partition_responses[0]
            assert (partition.error_code, partition.base_offset) == (0, self._next_offset)
            self._next_offset += 1

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Open a bare connection to a node, from an address of this machine."""
    return socket.create_connection(("127.0.0.1", port), WAIT_S, (host, 0))


def everything_after(
    port: int, data: bytes, *, then_half_close: bool = False, host: str = "127.0.0.1"
) -> bytes:
    """Send bytes from an address and return all that comes back until the node hangs up.

    Raises:
        TimeoutError: it did not hang up within WAIT_S.
    """
    with connect(port, host) as connection:
        # The node may hang up before it has everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
            if then_half_close:
                connection.shutdown(socket.SHUT_WR)
        return b"".join(_parts(connection))


def _parts(connection: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            yield part


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no memory")
