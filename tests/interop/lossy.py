"""A proxy in front of a broker that loses answers: the request arrives, its answer does not.

It forwards whole frames. Dice doom a share of the Produce requests: when the broker answers one of
them, which is when it has carried it out, both sides are hung up on instead.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator

CONNECT_WAIT_S = 5
PRODUCE = 0


class LossyProxy:
    """Listens on a port of 127.0.0.1 and forwards to another one."""

    def __init__(self, broker_port: int, *, lost_share: float, seed: int = 1) -> None:
        """Listen; `serve` accepts.

        Args:
            broker_port: of 127.0.0.1; it may be closed at times.
            lost_share: how many of the answers to Produce requests are lost, above 0 to 1.
            seed: of the dice that choose them. When they spared as many in a row as hold two
                losses on average, the next is lost: a client that sends few requests meets some.
        """
        self._broker_port = broker_port
        self.lost_share = lost_share
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._spared_count = 0
        self.lost_count = 0
        """Answers that were lost."""
        self.withheld = threading.Event()
        """While it is set, every answer to a Produce request is lost without a hang-up."""
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        """Accept until `close`."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # `close` was called.
            try:
                broker = socket.create_connection(
                    ("127.0.0.1", self._broker_port), timeout=CONNECT_WAIT_S
                )
            except OSError:
                client.close()  # The broker is down just now.
                continue
            broker.settimeout(None)
            with self._lock:
                self._open |= {client, broker}
            doomed: set[int] = set()
            for target in (self._ask, self._answer):
                threading.Thread(target=target, args=(client, broker, doomed), daemon=True).start()

    def close(self) -> None:
        """Hang up on all and accept no more."""
        _hang_up(self._listener)
        with self._lock:
            for each in self._open:
                _hang_up(each)

    def _ask(self, client: socket.socket, broker: socket.socket, doomed: set[int]) -> None:
        for frame in _frames(client):
            key, _, correlation_id = struct.unpack_from("!hhi", frame, 4)
            with self._lock:
                if key == PRODUCE and (self.withheld.is_set() or self._is_unlucky()):
                    doomed.add(correlation_id)
            if not _send(broker, frame):
                break
        self._end(client, broker)

    def _is_unlucky(self) -> bool:
        self._spared_count += 1
        if self._chance.random() < self.lost_share or self._spared_count > 2 / self.lost_share:
            self._spared_count = 0
            return True
        return False

    def _answer(self, client: socket.socket, broker: socket.socket, doomed: set[int]) -> None:
        for frame in _frames(broker):
            (correlation_id,) = struct.unpack_from("!i", frame, 4)
            if correlation_id in doomed:
                with self._lock:
                    self.lost_count += 1
                if self.withheld.is_set():
                    continue
                break
            if not _send(client, frame):
                break
        self._end(client, broker)

    def _end(self, *pair: socket.socket) -> None:
        with self._lock:
            self._open -= {*pair}
        for each in pair:
            _hang_up(each)


def _frames(source: socket.socket) -> Iterator[bytes]:
    """Give whole frames with their lengths, until the other side is gone."""
    with contextlib.suppress(OSError), source.makefile("rb") as reader:
        while len(head := reader.read(4)) == 4:
            body = reader.read(struct.unpack("!i", head)[0])
            yield head + body


def _send(target: socket.socket, frame: bytes) -> bool:
    try:
        target.sendall(frame)
    except OSError:
        return False
    return True


def _hang_up(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextlib.contextmanager
def lossy_proxy(broker_port: int, *, lost_share: float, seed: int = 1) -> Iterator[LossyProxy]:
    """Run a proxy; the broker must advertise its port, or clients go past it."""
    proxy = LossyProxy(broker_port, lost_share=lost_share, seed=seed)
    serving = threading.Thread(target=proxy.serve, daemon=True)
    serving.start()
    try:
        yield proxy
    finally:
        proxy.close()
        serving.join()
