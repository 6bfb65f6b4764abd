"""`mesh topic`, `produce` and `consume` as processes, against our node and the JVM broker."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.interop.process import free_port
from tools.cli import run

NUMBERS = itertools.count()
WAIT_S = 30
MORE_THAN_A_PIPE = b"line\n" + (b"x" * 1_000 + b"\n") * 2_000
"""A first line, and then more than a pipe holds."""


def new_name() -> str:
    """A topic name that no other test has."""
    return f"command-{os.getpid()}-{next(NUMBERS)}"


class Shell:
    """Runs `mesh` with one bootstrap address: in this process, or as its own to be signalled."""

    def __init__(self, bootstrap: str, capture: pytest.CaptureFixture[bytes]) -> None:
        self.bootstrap = bootstrap
        self.capture = capture

    def run(
        self, *arguments: str, given: bytes = b"", status: int = 0, quiet: bool = True
    ) -> bytes:
        """Run a command to its end; return its stdout, or its stderr if it should fail.

        One that does what it should is quiet on stderr, unless it has something to note.
        """
        self.capture.readouterr()
        with tempfile.TemporaryFile() as source, pytest.MonkeyPatch.context() as patch:
            patch.setenv("MESH_BOOTSTRAP", self.bootstrap)
            source.write(given)
            source.seek(0)
            saved = os.dup(0)
            os.dup2(source.fileno(), 0)
            try:
                ended = run(arguments)
            finally:
                os.dup2(saved, 0)
                os.close(saved)
        out, err = self.capture.readouterr()
        assert ended == status, err.decode()
        assert status or not quiet or err == b""
        return err if status else out

    @contextlib.contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command with pipes; it is ended in any case."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "mesh", *arguments],
            env={**os.environ, "MESH_BOOTSTRAP": self.bootstrap},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def shell(bootstrap: str, capfdbinary: pytest.CaptureFixture[bytes]) -> Shell:
    """Commands against a running broker."""
    return Shell(bootstrap, capfdbinary)


@pytest.fixture
def nowhere(capfdbinary: pytest.CaptureFixture[bytes]) -> Shell:
    """Commands against an address where nobody is."""
    return Shell(f"127.0.0.1:{free_port()}", capfdbinary)


def test_a_topic_lives_from_create_to_delete(shell: Shell) -> None:
    """Every verb of `mesh topic` does what it says, and its JSON keeps its names."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "2", "--dry-run")
    assert name not in shell.run("topic", "list").decode().split()
    shell.run("topic", "create", name, "--partitions", "2", "--config", "retention.ms=3600000")
    shell.run("topic", "create", name, "--if-not-exists")
    assert b"TOPIC_ALREADY_EXISTS" in shell.run("topic", "create", name, status=6)
    listed = json.loads(shell.run("topic", "list", "--json"))
    assert listed["format"] == 1
    assert [t["partition_count"] for t in listed["topics"] if t["topic"] == name] == [2]
    shell.run("produce", name, "--partition", "1", given=b"one\ntwo\n")
    [described] = json.loads(shell.run("topic", "describe", name, "--json"))["topics"]
    assert [
        (part["log_start_offset"], part["high_watermark"]) for part in described["partitions"]
    ] == [(0, 0), (0, 2)]
    configs = {c["name"]: c["value"] for c in described["configs"] if c["source"] == "topic"}
    assert configs == {"retention.ms": "3600000"}
    assert b"retention.ms=3600000" in shell.run("topic", "describe", name)
    shell.run("topic", "alter", name, "--delete-config", "retention.ms", "--partitions", "3")
    shown = ["retention.ms"]
    for _ in range(500):  # A broker shows a change a moment after the controller took it.
        if not shown:
            break
        [described] = json.loads(shell.run("topic", "describe", name, "--json"))["topics"]
        assert described["partition_count"] == 3
        shown = [c["name"] for c in described["configs"] if c["source"] == "topic"]
    assert not shown
    assert b"2 offset(s)" in shell.run("topic", "delete", name, "--dry-run")
    shell.run("topic", "delete", name)
    assert b"no topic" in shell.run("topic", "describe", name, status=6)
    shell.run("topic", "delete", name, "--if-exists")


def test_lines_go_in_and_come_out_byte_for_byte(shell: Shell) -> None:
    """Empty lines, carriage returns and bytes that are no text survive; so does a last line."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    lines = b"one\n\ntwo\r\n\xff\x00\xfe\n" + b"long" * 50_000 + b"\nlast"
    shell.run("produce", name, "--codec", "lz4", given=lines)
    assert shell.run("consume", name, "--exit-at-end") == lines + b"\n"
    assert shell.run("consume", name, "--from", "-1", "--exit-at-end") == b"last\n"
    assert shell.run("consume", name, "--from", "1", "--until", "3") == b"\ntwo\r\n"
    assert shell.run("consume", name, "--count", "1", "--format", "%o %s;") == b"0 one;"


def test_json_lines_copy_a_topic_whole(shell: Shell) -> None:
    """What consume writes as JSON, produce turns into the same records."""
    name, copy = new_name(), new_name()
    for topic in (name, copy):
        shell.run("topic", "create", topic, "--partitions", "1")
    shell.run("produce", name, "--key-separator", ":", "--header", "h=x", given=b"k:v\nl:\xff\n")
    shell.run("produce", name, "--null", "NULL", "--key", "gone", given=b"NULL\n")
    first = shell.run("consume", name, "--exit-at-end", "--format", "json")
    shell.run("produce", copy, "--format", "json", given=first)
    second = shell.run("consume", copy, "--exit-at-end", "--format", "json", "--base64")
    expected = shell.run("consume", name, "--exit-at-end", "--format", "json", "--base64")
    assert expected.replace(name.encode(), copy.encode()) == second
    keys = [json.loads(line)["key"] for line in first.splitlines()]
    values = [json.loads(line).get("value", "not text") for line in first.splitlines()]
    assert (keys, values) == (["k", "l", "gone"], ["v", "not text", None])


def test_files_are_records_in_raw(shell: Shell, tmp_path: os.PathLike[str]) -> None:
    """Each file is one record, newlines and all, and comes out as it was."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    paths = [os.path.join(tmp_path, part) for part in ("a", "b")]
    for path in paths:
        with open(path, "wb") as file:
            file.write(path.encode() + b"\n\0\n")
    shell.run("produce", name, "--format", "raw", *paths)
    expected = b"".join(path.encode() + b"\n\0\n" for path in paths)
    assert shell.run("consume", name, "--format", "raw", "--exit-at-end") == expected


def test_a_bad_line_is_named_and_what_came_before_is_kept(shell: Shell) -> None:
    """The number of the line stands in the error, with how many records were written."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    given = b'{"value":"good"}\n{"value":17}\n'
    told = shell.run("produce", name, "--format", "json", given=given, status=2)
    assert b"line 2 of stdin" in told
    assert b"the 1 record(s) before it" in told
    assert shell.run("consume", name, "--exit-at-end") == b"good\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_following_cleanly(shell: Shell, stop: signal.Signals) -> None:
    """consume follows the log until it is interrupted: status 130, no trace, nothing lost."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    shell.run("produce", name, given=b"one\n")
    with shell.process("consume", name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        shell.run("produce", name, given=b"two\n")
        assert process.stdout.readline() == b"two\n"
        process.send_signal(stop)
        _, err = process.communicate(timeout=WAIT_S)
        assert (process.returncode, err) == (130, b"")


def test_a_typed_line_is_sent_before_the_next_one(shell: Shell) -> None:
    """produce does not wait for the end of its input, and Ctrl-C keeps what was typed."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    with shell.process("produce", name) as writer, shell.process("consume", name) as follower:
        assert writer.stdin is not None
        assert follower.stdout is not None
        for line in (b"one\n", b"two\n"):
            writer.stdin.write(line)
            writer.stdin.flush()
            assert follower.stdout.readline() == line
        writer.send_signal(signal.SIGINT)
        status = writer.wait(WAIT_S)
        assert writer.stderr is not None
        assert (status, writer.stderr.read()) == (130, b"")


def test_a_reader_that_leaves_ends_consume_quietly(shell: Shell) -> None:
    """As in `mesh consume … | head -1`: no trace, no message, the status of a broken pipe."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    shell.run("produce", name, given=MORE_THAN_A_PIPE)
    with shell.process("consume", name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        status = process.wait(WAIT_S)
        assert process.stderr is not None
        assert (status, process.stderr.read()) == (141, b"")


def test_ctrl_c_works_while_nobody_empties_the_pipe(shell: Shell) -> None:
    """consume can be interrupted although its output is stuck."""
    name = new_name()
    shell.run("topic", "create", name, "--partitions", "1")
    shell.run("produce", name, given=MORE_THAN_A_PIPE)
    with shell.process("consume", name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.send_signal(signal.SIGINT)
        status = process.wait(WAIT_S)
        assert process.stderr is not None
        assert (status, process.stderr.read()) == (130, b"")


def test_a_record_that_is_too_large_ends_produce(shell: Shell) -> None:
    """The error names the partition and the code, and says what was written before."""
    name = new_name()
    small = ("--partitions", "1", "--config", "max.message.bytes=1000")
    shell.run("topic", "create", name, *small)
    given = b"small\n" + b"x" * 2_000 + b"\n"
    told = shell.run("produce", name, given=given, status=6)
    assert f"{name}-0".encode() in told
    assert b"MESSAGE_TOO_LARGE" in told
    assert b"1 record(s) were written" in told
    assert shell.run("consume", name, "--exit-at-end") == b"small\n"


@pytest.mark.parametrize(
    "arguments",
    [("topic", "list"), ("consume", "t"), ("produce", "t"), ("topic", "delete", "t")],
)
def test_nobody_at_the_address_is_status_5(nowhere: Shell, arguments: tuple[str, ...]) -> None:
    """The error names the address, the cause and what to do."""
    told = nowhere.run(*arguments, status=5).decode()
    assert f"{nowhere.bootstrap}: Connection refused" in told
    assert "mesh node" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("consume", "t", "--from", "yesterday"), "--from"),
        (("consume", "t", "--format", "%z"), "%z"),
        (("consume", "t", "--format", "xml"), "xml"),
        (("topic", "alter", "t"), "--config"),
        (("topic", "create", "t", "--config", "novalue"), "NAME=VALUE"),
        (("produce", "t", "--codec", "rar"), "rar"),
        (("produce", "t", "--format", "json", "--key-separator", ":"), "--key-separator"),
        (("topic", "list", "--bootstrap", "nowhere"), "HOST:PORT"),
    ],
)
def test_wrong_words_are_named(nowhere: Shell, arguments: tuple[str, ...], words: str) -> None:
    """A wrong value is refused with status 2 before anything connects."""
    assert words in nowhere.run(*arguments, status=2).decode()
