"""What both real brokers need: a free port, a wait for readiness that is bounded, and an end."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import time
from pathlib import Path

API_VERSIONS_V0 = struct.pack("!ihhih", 10, 18, 0, 1, -1)
"""Length, key 18, version 0, correlation id 1, null client id: any Kafka broker answers it."""


class BrokerError(Exception):
    """A broker process did not start, or ended by itself; holds the tail of what it printed."""


PORTS = range(20_000, 32_000)
"""Below Linux's `ip_local_port_range`: while a broker is away, no connection of a client takes
its port for its own end, or even connects to itself."""
_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1, TCP and UDP, that nobody has at this moment; each only once."""
    while True:
        port = random.choice(PORTS)
        with (
            contextlib.suppress(OSError),
            socket.socket() as stream,
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def answers_api_versions(port: int) -> bool:
    """Whether a broker on this port answers ApiVersions v0 within a second, without an error."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(API_VERSIONS_V0)
            answer = connection.recv(65536, socket.MSG_PEEK)
    except OSError:
        return False
    # length i32, correlation id i32, error code i16
    return len(answer) >= 10 and answer[4:10] == b"\0\0\0\1\0\0"


def wait_until_ready(
    process: subprocess.Popen[bytes], port: int, output: Path, wait_s: int
) -> None:
    """Return once the broker answers.

    Raises:
        BrokerError: its process ended, or wait_s seconds went by; the process is then ended.
    """
    deadline = time.monotonic() + wait_s
    while not answers_api_versions(port):
        if process.poll() is not None:
            raise BrokerError(f"broker ended with {process.returncode}:\n{tail(output)}")
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise BrokerError(f"broker was not ready after {wait_s} s:\n{tail(output)}")
        # The one place that waits by polling: a port has no other way to say that it is open.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


def end(process: subprocess.Popen[bytes], wait_s: int) -> int:
    """Ask the process to end, by its id; insist after wait_s seconds; return its exit status."""
    process.terminate()
    try:
        return process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def tail(output: Path, bytes_max: int = 4000) -> str:
    """Return the end of what a process printed."""
    return output.read_bytes()[-bytes_max:].decode(errors="replace") if output.exists() else ""
