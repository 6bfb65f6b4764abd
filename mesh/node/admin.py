"""The admin port: metrics, health and status over HTTP/1.1, and two bare lines for telnet.

It only reads. Everything is bounded: how long a request may be and take, how many connections
there are, how often a picture is made. Whatever bytes come, at worst their connection ends.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import trio

from mesh.model.statistics import Statistics
from mesh.runtime.ports import Listener, Runtime, Stream

if TYPE_CHECKING:
    import h11

CONNECTIONS_MAX = 32
"""When they are all taken, whoever is idle for longest makes room for the next."""
HEAD_BYTES_MAX = 8 << 10
HEADERS_MAX = 64
REQUESTS_MAX = 1_000
"""Requests on one connection, which is then closed."""
REQUEST_S_MAX = 10.0
"""From the first byte of a request to its last, and for an answer to leave."""
IDLE_S_MAX = 75.0
"""Between two requests; longer than a minute, since that is how often some scrape."""
LINGER_S = 1.0
LINGER_RECEIVES = 16
"""After a refusal; each is of 8 KiB at most."""
PICTURE_MS = 100
"""A picture so young is shown again: whoever asks in a loop costs no more than ten a second."""

BARE_LINES = ("stat", "ruok")
PATHS = ("/metrics", "/healthz", "/status")
WHY = re.compile(r"/why/([1-9][0-9]{0,9})")
"""Of a member by its id."""
JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is said to a request."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Admin:
    """Serves one listener."""

    def __init__(
        self, listener: Listener, runtime: Runtime, statistics: Callable[[], Statistics]
    ) -> None:
        """`statistics` makes a picture of now."""
        self._listener = listener
        self._runtime = runtime
        self._statistics = statistics
        self._picture: Statistics | None = None
        self._rendering = trio.Lock()
        self._scratch = memoryview(bytearray(HEAD_BYTES_MAX))
        self._open = 0
        self._idle: dict[Stream, None] = {}
        """Connections between two requests, those idle for longest first."""

    async def serve(self) -> None:
        """Serve every connection, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self._listener.accept()
                if self._open >= CONNECTIONS_MAX:
                    longest_idle = next(iter(self._idle), None)
                    (longest_idle or stream).close()
                    if longest_idle is None:
                        continue
                    del self._idle[longest_idle]
                self._open += 1
                nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: Stream) -> None:
        try:
            first = await self._first_bytes(stream)
            if (word := bare_line(first)) is not None:
                await self._send(stream, await self._answer_line(word))
            elif first:
                await self._serve_http(stream, first)
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # The peer went away, was too slow, or made room for another.
        finally:
            self._open -= 1
            self._idle.pop(stream, None)
            stream.close()

    async def _first_bytes(self, stream: Stream) -> bytes:
        """Receive until it is plain whether this is a bare line or HTTP."""
        first = await self._receive_first(stream)
        with trio.fail_after(REQUEST_S_MAX):
            while first and _may_be_bare(first):
                more = await self._receive(stream)
                if not more:
                    break
                first += more
        return first

    async def _serve_http(self, stream: Stream, first: bytes) -> None:
        await self._runtime.in_thread(_load)
        import h11

        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        connection.receive_data(first)
        for count in range(REQUESTS_MAX):
            if count and not connection.trailing_data[0]:
                more = await self._receive_first(stream)
                connection.receive_data(more)
            with trio.fail_after(REQUEST_S_MAX):
                request = await self._request(stream, connection)
            if request is None:
                return
            answer = await self._answer(request) if isinstance(request, h11.Request) else request
            goes_on = connection.their_state is h11.DONE and count + 1 < REQUESTS_MAX
            head_only = isinstance(request, h11.Request) and request.method == b"HEAD"
            await self._send(stream, _encode(connection, answer, goes_on, head_only))
            if not goes_on or connection.our_state is not h11.DONE:
                if connection.their_state is not h11.DONE:
                    await self._discard(stream)
                return
            connection.start_next_cycle()

    async def _request(
        self, stream: Stream, connection: h11.Connection
    ) -> h11.Request | Answer | None:
        """Receive a request; an answer stands for one that is none; None: the peer is done."""
        import h11

        request: h11.Request | None = None

        def refuse(status: int, text: str) -> Answer:
            # What answers a HEAD has no body, and h11 insists on it (RFC 9110, 9.3.2).
            is_head = request is not None and request.method == b"HEAD"
            return Answer(status, TEXT, b"") if is_head else _text(status, text)

        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if request is not None:
                        return request  # It has a body, which nobody wants: we close after it.
                    connection.receive_data(await self._receive(stream))
                elif isinstance(event, h11.Request):
                    request = event
                    if len(request.headers) > HEADERS_MAX:
                        return refuse(431, f"more than {HEADERS_MAX} headers")
                elif isinstance(event, h11.EndOfMessage | h11.Data):
                    return request
                else:
                    return None
        except h11.RemoteProtocolError as error:
            return refuse(error.error_status_hint, f"this is not HTTP/1.1: {error}")

    async def _answer(self, request: h11.Request) -> Answer:
        method = request.method.decode("ascii")
        if method not in ("GET", "HEAD"):
            refused = _text(405, f"{method} is not possible: this port only reads")
            return refused._replace(headers=(("Allow", "GET, HEAD"),))
        path = _path(request.target.decode("ascii", "replace"))
        accept = next((v for n, v in request.headers if n == b"accept"), b"").decode("latin-1")
        if (why := WHY.fullmatch(path)) is not None:
            return await self._render(functools.partial(_answer_why, int(why[1])))
        if path not in PATHS:
            return _text(404, f"there is no such path; there are {', '.join(PATHS)}, /why/ID")
        return await self._render(functools.partial(_answer_path, path, accept))

    async def _answer_line(self, word: str) -> bytes:
        if word == "ruok":
            return b"imok\n"  # As whoever types this expects: it says that we listen, no more.
        return (await self._render(_answer_stat)).body

    async def _render(self, render: Callable[[Statistics], Answer]) -> Answer:
        """Draw a picture in a thread, one at a time: it may be of a thousand topics."""
        async with self._rendering:
            now_ms = self._runtime.now().monotonic_ms
            if self._picture is None or now_ms - self._picture.at_ms >= PICTURE_MS:
                self._picture = self._statistics()
            return await self._runtime.in_thread(functools.partial(render, self._picture))

    # Bytes

    async def _receive_first(self, stream: Stream) -> bytes:
        """Receive the first bytes of a request; until they come the connection is idle."""
        self._idle[stream] = None
        with trio.fail_after(IDLE_S_MAX):
            received = await self._receive(stream)
        self._idle.pop(stream, None)
        return received

    async def _receive(self, stream: Stream) -> bytes:
        """Receive what is there, at least a byte; nothing at the end."""
        while True:
            await stream.readable()
            try:
                count = stream.receive_into(self._scratch)
            except BlockingIOError:
                continue
            return bytes(self._scratch[:count])

    async def _discard(self, stream: Stream) -> None:
        """Take what the peer still sends, or closing would take our answer from it (RFC 9112)."""
        with trio.move_on_after(LINGER_S):
            for _ in range(LINGER_RECEIVES):
                if not await self._receive(stream):
                    return

    async def _send(self, stream: Stream, data: bytes) -> None:
        with trio.fail_after(REQUEST_S_MAX):
            await stream.send_rest([data])


def _load() -> None:
    """Import, in a thread, what a node does without until somebody asks: 20 ms and 70 ms."""

    import mesh.metrics  # noqa: F401


def bare_line(first: bytes) -> str | None:
    """Return the word if a connection begins with one of the bare lines, ended or closed."""
    line, newline, _ = first.partition(b"\n")
    word = line.removesuffix(b"\r").decode("latin-1")
    return word if word in BARE_LINES and (newline or len(first) <= len(word) + 1) else None


def _may_be_bare(first: bytes) -> bool:
    """Whether more bytes may make these one of the bare lines."""
    whole = first.endswith(b"\n")
    return not whole and any(f"{word}\r\n".encode().startswith(first) for word in BARE_LINES)


def _path(target: str) -> str:
    """Return the path of a request's target, which may be a whole URL."""
    from urllib.parse import urlsplit

    try:
        return urlsplit(target).path
    except ValueError:
        return target


def _text(status: int, text: str) -> Answer:
    return Answer(status, TEXT, f"{text}\n".encode())


def _answer_path(path: str, accept: str, now: Statistics) -> Answer:
    # Only now, in the thread: they are not needed by a node that nobody asks.
    from mesh.metrics import health_text, render_metrics, status_document

    match path:
        case "/metrics":
            return Answer(200, *render_metrics(now, accept))
        case "/healthz":
            return Answer(200 if now.healthy else 503, TEXT, health_text(now).encode())
        case _:
            return Answer(200, JSON, json.dumps(status_document(now)).encode() + b"\n")


def _answer_why(node_id: int, now: Statistics) -> Answer:
    from mesh.metrics import why_document

    document = why_document(now, node_id)
    if document is None:
        return _text(404, f"node {node_id} is not known here, and nothing is remembered of it")
    return Answer(200, JSON, json.dumps(document).encode() + b"\n")


def _answer_stat(now: Statistics) -> Answer:
    from mesh.metrics import stat_text

    return Answer(200, TEXT, stat_text(now).encode())


def _encode(connection: h11.Connection, answer: Answer, goes_on: bool, head_only: bool) -> bytes:
    """Return the bytes of an answer; empty where the connection is past answering."""
    from http import HTTPStatus

    import h11

    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return b""
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    ]
    if not goes_on:
        headers.append(("Connection", "close"))
    parts = [
        connection.send(
            h11.Response(
                status_code=answer.status,
                headers=headers,
                reason=HTTPStatus(answer.status).phrase.encode(),
            )
        ),
        b"" if head_only else connection.send(h11.Data(data=answer.body)),
        connection.send(h11.EndOfMessage()),
    ]
    return b"".join(part for part in parts if part)
