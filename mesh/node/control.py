"""Commands that change a node, over a Unix socket that only its owner may connect to.

A request is one line with a JSON object, and so is its answer: `{"format": 1, "command": "stop"}`
is answered by `{"format": 1, "ok": true, …}` or by `{"format": 1, "ok": false, "error": "…"}`.
Names may be added under one format, never changed. Lines, connections and time are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from mesh.runtime.ports import Listener, Stream

SOCKET_NAME = "control.sock"
FORMAT = 1
LINE_BYTES_MAX = 64 << 10
CONNECTIONS_MAX = 16
LINE_S_MAX = 10.0
"""For a line to arrive, or for an answer to leave; who says nothing for so long is cut off."""

Fields: TypeAlias = dict[str, object]
Command: TypeAlias = Callable[[Mapping[str, object], str], Fields]
"""Takes the request and who sent it; returns what the answer holds besides `ok`."""


class RefusedCommandError(Exception):
    """The command is not carried out; the text says why."""


class Control:
    """Serves one listener."""

    def __init__(self, listener: Listener, commands: Mapping[str, Command] | None = None) -> None:
        """With the commands that this node has, besides `stop`."""
        self._listener = listener
        self._commands: dict[str, Command] = {"stop": self._stop, **(commands or {})}
        self._open = 0
        self._stop_asked = trio.Event()
        self._stop_cause = ""

    async def serve(self) -> None:
        """Serve every connection, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._listener.accept()
                if self._open >= CONNECTIONS_MAX:
                    stream.close()
                    continue
                self._open += 1
                nursery.start_soon(self._serve, stream)

    async def stopping(self, signalled: Callable[[], Awaitable[str]]) -> str:
        """Wait until a signal or a command asks the node to stop; return which."""

        async def wait() -> None:
            self.ask_stop(await signalled())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await self._stop_asked.wait()
            nursery.cancel_scope.cancel()
        return self._stop_cause

    def ask_stop(self, cause: str) -> None:
        """Have the node stop; `stopping` returns the first cause."""
        self._stop_cause = self._stop_cause or cause
        self._stop_asked.set()

    def _stop(self, request: Mapping[str, object], peer: str) -> Fields:
        """Drain, sync and leave, as on SIGTERM; the answer says only that it was heard."""
        self.ask_stop(f"the command `stop` of {peer}")
        return {"state": "draining"}

    async def _serve(self, stream: Stream) -> None:
        buffer = b""
        room = memoryview(bytearray(4096))
        try:
            while True:
                with trio.fail_after(LINE_S_MAX):
                    while b"\n" not in buffer:
                        if len(buffer) > LINE_BYTES_MAX:
                            refused = _refusal(f"a line has at most {LINE_BYTES_MAX} bytes")
                            await stream.send_rest([_line(refused)])
                            return
                        await stream.readable()
                        try:
                            count = stream.receive_into(room)
                        except BlockingIOError:
                            continue
                        if count == 0:
                            return
                        buffer += room[:count]
                    line, _, buffer = buffer.partition(b"\n")
                    await stream.send_rest([_line(self._carry_out(line, stream.peer))])
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # The peer went away, or says nothing.
        finally:
            self._open -= 1
            stream.close()

    def _carry_out(self, line: bytes, peer: str) -> Fields:
        try:
            request = parse_untrusted(line)
            command = self._commands.get(str(request["command"]))
            if command is None:
                known = ", ".join(sorted(self._commands))
                raise RefusedCommandError(f"there is no such command; there are: {known}")
            return {"format": FORMAT, "ok": True, **command(request, peer)}
        except RefusedCommandError as error:
            return _refusal(str(error))


def parse_untrusted(line: bytes) -> dict[str, object]:
    """Return the request that a line holds.

    Raises:
        RefusedCommandError: it holds none, or one of a later format.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise RefusedCommandError("a request is one line with a JSON object") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise RefusedCommandError('a request is an object with a "command"')
    if request.get("format") != FORMAT:
        raise RefusedCommandError(f'a request says "format": {FORMAT}')
    return request


def _refusal(error: str) -> Fields:
    return {"format": FORMAT, "ok": False, "error": error}


def _line(answer: Fields) -> bytes:
    return json.dumps(answer).encode() + b"\n"
