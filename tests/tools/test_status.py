"""`mesh status`, `mesh top` and `mesh stop` against real nodes, and against what is none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.metrics import status_document
from mesh.model.statistics import Statistics
from mesh.node.options import Address
from tests.mesh.metrics.pictures import a_group, a_picture
from tests.tools.test_node import WAIT_S, running
from tools import cli
from tools.errors import Exit
from tools.node import parse_admin_address
from tools.status import status_lines
from tools.view import view_untrusted

ROOT = Path(__file__).parents[2]


@contextmanager
def a_server(*answers: bytes) -> Iterator[str]:
    """Something that gives each connection its next answer, the last one for ever."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        left = list(answers)
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.close()


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def told(picture: Statistics) -> bytes:
    return http(json.dumps(status_document(picture)).encode())


WELL = told(a_picture())
ILL = told(a_picture(reasons=("the disk is full",)))


def free_address() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address(*probe.getsockname())


def test_people_are_told_of_groups_that_something_blocks() -> None:
    """How many there are, and of the blocked ones how far they are behind and why."""
    blocked = a_group("loader", lag=5, blocked_by="no members")
    picture = a_picture(
        groups=(blocked, a_group("fine")),
        groups_by_state={"Empty": 1, "Stable": 1},
        group_members=3,
    )
    lines = status_lines(view_untrusted(json.loads(json.dumps(status_document(picture)))))
    assert lines[-2:] == [
        "2 groups (1 Empty, 1 Stable) with 3 members",
        "  group loader (5 records behind): no members",
    ]


def admin_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    address = parse_admin_address(process.stdout.readline())
    if address is None:
        raise AssertionError(process.communicate(timeout=WAIT_S)[1])
    return str(address)


def test_a_running_node_is_healthy_and_can_be_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """status says so for people and for scripts, top shows it, stop ends it with status 0."""
    with running(tmp_path) as process:
        admin = admin_of(process)
        assert cli.run(["status", "--admin", admin]) == Exit.OK
        assert ": healthy\n" in capsys.readouterr().out
        assert cli.run(["status", "--admin", admin, "--json"]) == Exit.OK
        document = json.loads(capsys.readouterr().out)
        assert (document["format"], document["healthy"]) == (1, True)
        assert document["nodes"][0]["state"] == "alive"
        assert cli.run(["top", "--admin", admin]) == Exit.OK
        assert "started: 0 topics" in capsys.readouterr().out
        assert cli.run(["stop", "--data", str(tmp_path)]) == Exit.OK
        assert process.wait(WAIT_S) == Exit.OK
        assert process.stderr is not None
        assert "the command `stop` of process" in process.stderr.read()
    assert cli.run(["status", "--admin", admin]) == Exit.CONNECT
    assert cli.run(["stop", "--data", str(tmp_path)]) == Exit.CONNECT


def test_what_is_not_healthy_has_its_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts see status 10, people the reason."""
    with a_server(ILL) as admin:
        assert cli.run(["status", "--admin", admin]) == Exit.UNHEALTHY
        assert "the disk is full" in capsys.readouterr().out
        assert cli.run(["status", "--admin", admin, "--json"]) == Exit.UNHEALTHY
        assert json.loads(capsys.readouterr().out)["reasons"] == ["the disk is full"]


def test_the_status_of_ill_health_is_a_promise() -> None:
    """Scripts lean on the number (docs/architecture.md, commands)."""
    assert int(Exit.UNHEALTHY) == 10


def test_waiting_ends_when_it_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    """--exit-when-healthy asks until the answer is good."""
    with a_server(ILL, ILL, WELL) as admin:
        arguments = ["status", "--admin", admin, "--exit-when-healthy"]
        assert cli.run(arguments) == Exit.OK
        assert ": healthy" in capsys.readouterr().out


def test_waiting_is_bounded() -> None:
    """When the time is up the last answer decides, or that there was none."""
    wait = ["--exit-when-healthy", "--timeout", "0"]
    with a_server(ILL) as admin:
        assert cli.run(["status", "--admin", admin, *wait]) == Exit.UNHEALTHY
    assert cli.run(["status", "--admin", str(free_address()), *wait]) == Exit.CONNECT


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x00\x00\x04abcd",
        b"",
        http(b"hello"),
        http(b"{}"),
        http(b"[1]"),
        http(b"[" * 100_000),
        http(b'{"format": 2}'),
        http(b"no", "404 Not Found"),
    ],
)
@pytest.mark.parametrize("command", ["status", "top"])
def test_what_is_no_admin_port_is_told(
    command: str, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any other server gets a clear error, no trace."""
    with a_server(answer) as admin:
        assert cli.run([command, "--admin", admin]) == Exit.REFUSED
    output = capsys.readouterr()
    assert output.out == ""
    assert "no admin port" in output.err


def test_a_stranger_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in what a server sends do not reach the screen."""
    with a_server(told(a_picture(reasons=("\x1b[2J boo",)))) as admin:
        assert cli.run(["status", "--admin", admin]) == Exit.UNHEALTHY
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "top"])
@pytest.mark.parametrize("admin", ["nowhere", "h:port", ""])
def test_a_wrong_address_is_told(
    command: str, admin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no address is a usage error that names the flag."""
    assert cli.run([command, "--admin", admin]) == Exit.USAGE
    assert "--admin" in capsys.readouterr().err


def test_watching_prints_a_document_a_line() -> None:
    """--watch --json goes on, one document in each line, for whoever reads them."""
    with a_server(WELL) as admin:
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh", "status", "--watch", "--json"],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "MESH_ADMIN": admin},
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
            process.kill()
    assert [json.loads(line)["healthy"] for line in lines] == [True, True]


def test_stop_tells_what_the_node_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer that is none, or a refusal, is told as what it is."""
    for answer, words in (
        (b"what?\n", "gave no answer"),
        (b'{"ok": false, "error": "not \\u001b now"}\n', "the node refused: not ? now"),
    ):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "control.sock"))
            server.listen()

            def serve(server: socket.socket = server, answer: bytes = answer) -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            assert cli.run(["stop", "--data", str(tmp_path)]) == Exit.REFUSED
            thread.join()
        assert words in capsys.readouterr().err
        (tmp_path / "control.sock").unlink()
