"""Processes as /proc shows them: the right one, or none."""

import os
import socket
import subprocess
import sys

import pytest

from mesh.node.options import Address
from tools.bench.generator import BenchError
from tools.bench.lifetime import idle_point
from tools.bench.process import Target, child_environment, cpu_s, listening_pid, rss_mb, stop


def ended() -> int:
    """Return the id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_the_listener_is_found_by_its_port(family: socket.AddressFamily, host: str) -> None:
    """Whoever listens on a port is found over IPv4 and IPv6, and only while it does."""
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert listening_pid(port) == os.getpid()
    assert listening_pid(port) is None


def test_a_process_has_time_and_memory_until_it_ends() -> None:
    """Costs are positive numbers for a live process and None for one that is gone."""
    assert (cpu_s(os.getpid()) or 0) > 0
    assert 5 < (rss_mb(os.getpid()) or 0) < 10_000
    gone = ended()
    assert cpu_s(gone) is None
    assert rss_mb(gone) is None


def test_stop_ends_a_child_that_listens_to_signals() -> None:
    """SIGTERM is tried first, and the child is waited for."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        stop(process)
        assert process.returncode is not None


def test_children_do_not_inherit_our_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MESH_ variable of the person at the keyboard does not change what is measured."""
    monkeypatch.setenv("MESH_DURABILITY", "memory")
    assert not any(name.startswith("MESH_") for name in child_environment())


def test_idleness_needs_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker whose process is unknown or gone has no idle figures: that is told."""
    monkeypatch.setattr("tools.bench.lifetime.SETTLE_S", 0)
    address = Address("127.0.0.1", 1)
    for pid in (None, ended()):
        with pytest.raises(BenchError, match="--pid"):
            idle_point([Target("mesh", address, pid)], seconds=0.01)
    point = idle_point([Target("mesh", address, os.getpid())], seconds=0.01)
    assert set(point) == {"rss_mb", "cpu_percent"}
