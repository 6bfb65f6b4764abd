"""`mesh node` as a process: one line when ready, and a status for every way to fail."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.node.options import Address
from tests.interop.process import free_port
from tests.tools.members import ended
from tools.bench.connection import BenchConnection
from tools.errors import Exit
from tools.node import parse_ready_line

ROOT = Path(__file__).parents[2]
WAIT_S = 30


def command(data: Path, *options: str) -> list[str]:
    plain = [sys.executable, "-m", "mesh", "node", "--data", str(data)]
    plain += ["--peer-listen", "127.0.0.1:0"]
    return [*plain, *([] if "--listen" in options else ["--listen", "127.0.0.1:0"]), *options]


@contextlib.contextmanager
def running(data: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        command(data, *options),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready(process: "subprocess.Popen[str]") -> Address:
    assert process.stdout is not None
    address = parse_ready_line(process.stdout.readline())
    if address is None:
        raise AssertionError(process.communicate(timeout=WAIT_S)[1])
    return address


def failed(data: Path, *options: str) -> tuple[int, str]:
    result = ended(command(data, *options), wait_s=WAIT_S)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_one_line_when_ready_and_a_clean_end(tmp_path: Path, stop: signal.Signals) -> None:
    """stdout holds the ready line and nothing else; either signal ends the node with status 0."""
    with running(tmp_path / "data") as process:
        address = ready(process)
        assert address.port > 0
        socket.create_connection(address, timeout=WAIT_S).close()
        process.send_signal(stop)
        output, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, output) == (Exit.OK, "")
    assert "Traceback" not in errors


def test_a_node_outlives_the_reader_of_its_lines(tmp_path: Path) -> None:
    """With its stdout closed by the other side a node still starts, serves and ends cleanly."""
    address = Address("127.0.0.1", free_port())
    with running(tmp_path / "data", "--listen", str(address)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "cluster_id=" in process.stderr.readline()  # The port is bound before it is told.
        with BenchConnection(address) as connection:
            assert connection.leaders("absent") == 0
        process.terminate()
        assert process.wait(WAIT_S) == Exit.OK


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """Where somebody listens the node stops with its own status, and touches no data."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        status, errors = failed(tmp_path / "data", "--listen", listen)
    assert status == Exit.LISTEN
    assert listen in errors
    assert not (tmp_path / "data").exists()


def test_an_admin_port_in_use_is_told(tmp_path: Path) -> None:
    """The option that would help is named; no data is touched."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        status, errors = failed(tmp_path / "data", "--admin-listen", listen)
    assert status == Exit.LISTEN
    assert listen in errors
    assert "--admin-listen" in errors
    assert not (tmp_path / "data").exists()


def test_what_stands_in_the_place_of_the_control_socket_is_told(tmp_path: Path) -> None:
    """A file of that name is neither used nor removed; the node does not start without one."""
    data = tmp_path / "data"
    with running(data) as process:
        ready(process)
        process.terminate()
        process.wait(WAIT_S)
    (data / "control.sock").write_text("x")
    status, errors = failed(data)
    assert status == Exit.DISK
    assert "control.sock" in errors
    assert (data / "control.sock").read_text() == "x"


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    """An address that is not ours cannot be bound."""
    status, errors = failed(tmp_path / "data", "--listen", "192.0.2.1:9092")
    assert status == Exit.LISTEN
    assert "192.0.2.1:9092" in errors


def test_a_second_node_on_one_directory_is_refused(tmp_path: Path) -> None:
    """The second node leaves with its own status; the first serves on."""
    with running(tmp_path / "data") as first:
        address = ready(first)
        status, errors = failed(tmp_path / "data")
        socket.create_connection(address, timeout=WAIT_S).close()
    assert status == Exit.LOCKED
    assert str(tmp_path / "data") in errors


def test_a_control_socket_outlives_no_kill(tmp_path: Path) -> None:
    """After kill -9 the next node replaces the socket; after a clean end it is gone."""
    path = tmp_path / "control.sock"
    with running(tmp_path) as process:
        ready(process)
        process.kill()
        process.wait(WAIT_S)
    assert path.is_socket()
    with running(tmp_path) as process:
        ready(process)
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        process.terminate()
        process.wait(WAIT_S)
    assert not path.exists()


def test_a_newer_directory_is_left_alone(tmp_path: Path) -> None:
    """A data directory of a later format is refused and not changed."""
    with running(tmp_path) as process:
        ready(process)
        process.terminate()
        process.wait(WAIT_S)
    meta = tmp_path / "meta.toml"
    lines = meta.read_text().splitlines()
    newer = "\n".join("format = 99" if li.startswith("format") else li for li in lines)
    assert newer != "\n".join(lines)
    meta.write_text(newer)
    status, errors = failed(tmp_path)
    assert status == Exit.DATA
    assert "99" in errors
    assert meta.read_text() == newer


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """A directory with other files is not made into a data directory."""
    (tmp_path / "thesis.txt").write_text("x")
    status, errors = failed(tmp_path)
    assert status == Exit.DATA
    assert "thesis.txt" in errors


@pytest.mark.parametrize("data", ["/dev/null/x", "/proc/x"])
def test_an_impossible_directory_is_told(data: str) -> None:
    """Where no directory can be, the disk is what is wrong."""
    status, errors = failed(Path(data))
    assert status == Exit.DISK
    assert data in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_told(tmp_path: Path) -> None:
    """Without the right to write the node does not start."""
    tmp_path.chmod(0o500)
    status, errors = failed(tmp_path / "data")
    assert status == Exit.DISK
    assert str(tmp_path) in errors


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "num.partitions=none"], "num.partitions"),
        (["-o", "no.such.name=1"], "no.such.name"),
        (["-o", "authorizer.class.name=a.B"], "SASL, users and access rules are not built yet"),
        (["-o", "ssl.keystore.password=hunter2"], "cannot be '[hidden]'"),
        (["--durability", "memory", "-o", "log.flush.interval.messages=1"], "--durability memory"),
        (["--durability", "tape"], "disk, memory"),
        (["--listen", "9092"], "no port"),
        (["--log-level", "loud"], "debug, info, warning, error"),
        (["--config", "/nonexistent.toml"], "/nonexistent.toml"),
    ],
)
def test_wrong_options_touch_nothing(tmp_path: Path, options: list[str], told: str) -> None:
    """A wrong option is told before a directory is made or a port is bound."""
    status, errors = failed(tmp_path / "data", *options)
    assert status == Exit.USAGE
    assert told in errors
    assert not (tmp_path / "data").exists()


def test_what_changes_nothing_is_told_in_one_line(tmp_path: Path) -> None:
    """Options that Kafka has and that mean nothing here are taken, and named once."""
    options = ("-o", "num.io.threads=16", "-o", "num.network.threads=8", "-o", "num.partitions=2")
    with running(tmp_path / "data", *options) as process:
        ready(process)
        process.terminate()
        _, errors = process.communicate(timeout=WAIT_S)
    [line] = [line for line in errors.splitlines() if "changes nothing here" in line]
    assert line.endswith("(docs/config.md says why): num.io.threads, num.network.threads")


def test_json_logs_are_json(tmp_path: Path) -> None:
    """With --log-format json every line of stderr is one object."""
    import json

    with running(tmp_path / "data", "--log-format", "json", "--log-level", "debug") as process:
        with socket.create_connection(ready(process), timeout=WAIT_S) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert stranger.recv(1) == b""
        process.terminate()
        _, errors = process.communicate(timeout=WAIT_S)
    events = [json.loads(line) for line in errors.splitlines()]
    assert any("cause" in event for event in events)
