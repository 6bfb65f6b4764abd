"""The Unix socket for commands: its protocol, its bounds, its mode, and a stale one."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio
import trio.testing

from mesh.node.control import CONNECTIONS_MAX, LINE_BYTES_MAX, LINE_S_MAX, Control
from mesh.runtime.local import PATH_BYTES_MAX, reachable
from mesh.runtime.trio_runtime import TrioRuntime


@asynccontextmanager
async def a_control(path: Path) -> AsyncIterator[Control]:
    listener = await TrioRuntime().listen_locally(str(path))
    with closing(listener):
        async with trio.open_nursery() as nursery:
            control = Control(listener)
            nursery.start_soon(control.serve)
            with trio.fail_after(120):
                yield control
            nursery.cancel_scope.cancel()


async def connect(path: Path) -> trio.SocketStream:
    with reachable(str(path)) as short:
        return await trio.open_unix_socket(short)


async def never() -> str:
    await trio.sleep_forever()
    raise AssertionError


async def lines_of(path: Path, data: bytes) -> list[dict[str, object]]:
    """Send bytes and read what comes back until the other side is done."""
    async with await connect(path) as stream:
        await stream.send_all(data)
        await stream.send_eof()
        received = b"".join([piece async for piece in stream])
    return [json.loads(line) for line in received.splitlines()]


async def test_stop_is_heard_and_says_by_whom(tmp_path: Path) -> None:
    """The node learns that it is to stop, and which process asked."""
    path = tmp_path / "control.sock"
    async with a_control(path) as control:
        (answer,) = await lines_of(path, b'{"format": 1, "command": "stop"}\n')
        assert answer == {"format": 1, "ok": True, "state": "draining"}
        cause = await control.stopping(never)
        assert f"process {os.getpid()} of user {os.geteuid()}" in cause


async def test_a_signal_stops_as_well(tmp_path: Path) -> None:
    """Whoever comes first, a signal or a command, is the cause."""

    async def signalled() -> str:
        return "SIGTERM"

    async with a_control(tmp_path / "s") as control:
        assert await control.stopping(signalled) == "SIGTERM"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"", "one line with a JSON object"),
        (b"stop", "one line with a JSON object"),
        (b"\xff\xfe", "one line with a JSON object"),
        (b"[" * 50_000, "one line with a JSON object"),
        (b"[]", 'with a "command"'),
        (b'{"format": 1}', 'with a "command"'),
        (b'{"format": 1, "command": 5}', 'with a "command"'),
        (b'{"command": "stop"}', '"format": 1'),
        (b'{"format": 2, "command": "stop"}', '"format": 1'),
        (b'{"format": 1, "command": "explode"}', "there are: stop"),
    ],
)
async def test_what_is_no_command_is_refused_in_words(
    tmp_path: Path, line: bytes, told: str
) -> None:
    """A wrong line gets one answer that says what is wrong; nothing is done."""
    path = tmp_path / "s"
    async with a_control(path):
        (answer,) = await lines_of(path, line + b"\n")
        assert answer["ok"] is False
        assert told in str(answer["error"])


async def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    """Who sends more than a line may hold is told so, and cut off."""
    async with a_control(tmp_path / "s"):
        (answer,) = await lines_of(tmp_path / "s", b"x" * (LINE_BYTES_MAX + 1))
        assert "at most" in str(answer["error"])


async def test_a_connection_may_ask_more_than_once(tmp_path: Path) -> None:
    """Each line has its answer, in order."""
    async with a_control(tmp_path / "s"):
        answers = await lines_of(tmp_path / "s", b'{}\n{"format": 1, "command": "stop"}\n')
        assert [answer["ok"] for answer in answers] == [False, True]


async def test_who_says_nothing_is_cut_off(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Silence, or half a line, does not hold a place for ever."""
    async with a_control(tmp_path / "s"):
        for begun in (b"", b'{"format'):
            before = trio.current_time()
            async with await connect(tmp_path / "s") as stream:
                await stream.send_all(begun)
                assert await stream.receive_some() == b""
            assert trio.current_time() - before <= LINE_S_MAX + 1


async def test_connections_are_bounded(tmp_path: Path) -> None:
    """With every place taken another one is closed at once."""
    async with a_control(tmp_path / "s"):
        crowd = [await connect(tmp_path / "s") for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        late = await connect(tmp_path / "s")
        assert await late.receive_some() == b""
        for stream in (*crowd, late):
            await stream.aclose()


async def test_only_the_owner_may_connect(tmp_path: Path) -> None:
    """The path has mode 0600 whatever the umask is, and is gone afterwards."""
    path = tmp_path / "s"
    before = os.umask(0)
    try:
        async with a_control(path):
            mode = path.lstat().st_mode
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


async def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    """A socket that nobody listens on any more is no obstacle."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert path.exists()
    async with a_control(path):
        assert len(await lines_of(path, b"{}\n")) == 1


async def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    """What is no socket is not removed to make room for one."""
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        await TrioRuntime().listen_locally(str(path))
    assert path.read_text() == "precious"


async def test_a_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    """A deep data directory has its socket all the same."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    assert len(str(path)) > PATH_BYTES_MAX
    async with a_control(path):
        assert len(await lines_of(path, b"{}\n")) == 1
    assert not path.exists()
