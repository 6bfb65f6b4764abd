"""The admin port on real sockets: what it answers, and what bad clients get."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
import trio.testing
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from mesh.model.limits import DISK_RESERVE_BYTES
from mesh.node.admin import (
    CONNECTIONS_MAX,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    IDLE_S_MAX,
    PATHS,
    REQUEST_S_MAX,
    Admin,
    bare_line,
)
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedDisk
from tests.mesh.metrics.pictures import a_member, a_picture, a_view
from tests.mesh.node.peer import a_produce
from tests.mesh.node.test_driver import StoppableRuntime, a_node

HOST = b"Host: here\r\n"


class Place:
    """Where an admin port listens."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self._port)


@asynccontextmanager
async def an_admin(**picture: object) -> AsyncIterator[Place]:
    """An admin port of a node that stands still."""
    runtime = StoppableRuntime()
    listener = await runtime.listen("127.0.0.1", 0)
    with contextlib.closing(listener):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Admin(listener, runtime, lambda: a_picture(**picture)).serve)
            with trio.fail_after(300):
                yield Place(listener.port)
            nursery.cancel_scope.cancel()


async def say(place: Place, data: bytes) -> bytes:
    """Send bytes, say no more, and return all that comes back."""
    async with await place.open() as stream:
        await stream.send_all(data)
        await stream.send_eof()
        return await rest_of(stream)


async def rest_of(stream: trio.SocketStream) -> bytes:
    received = b""
    try:
        async for data in stream:
            received += data
    except trio.BrokenResourceError:
        pass  # It was closed with something of ours unread.
    return received


class Visitor:
    """An HTTP client that keeps its connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)

    async def ask(
        self, path: str, method: str = "GET", accept: str = "*/*"
    ) -> tuple[h11.Response, bytes]:
        headers = [("Host", "here"), ("Accept", accept)]
        request = h11.Request(method=method, target=path, headers=headers)
        await self._stream.send_all(self._connection.send(request) or b"")
        await self._stream.send_all(self._connection.send(h11.EndOfMessage()) or b"")
        response: h11.Response | None = None
        body = b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage)
                assert response is not None
                if self._connection.our_state is h11.DONE:
                    self._connection.start_next_cycle()
                return response, body


@asynccontextmanager
async def a_visitor(**picture: object) -> AsyncIterator[Visitor]:
    async with an_admin(**picture) as place, await place.open() as stream:
        yield Visitor(stream)


def content_type(response: h11.Response) -> str:
    return dict(response.headers)[b"content-type"].decode()


async def test_metrics_are_read_by_prometheus_own_parsers() -> None:
    """Both text forms parse, and hold what was produced under its topic and API."""
    async with a_node() as node, await Place(node.news.admin.port).open() as stream:
        visitor = Visitor(stream)
        client = await node.connect()
        await client.ask(a_produce("t", b"a", b"b"), ProduceResponse, 9)
        response, body = await visitor.ask("/metrics")
        assert (response.status_code, content_type(response)) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        families = text_string_to_metric_families(body.decode())
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
        assert samples["mesh_topic_records_appended_total", ("topic", "t")] == 2
        assert samples["mesh_requests_total", ("api", "Produce"), ("version", "9")] == 1
        assert samples["mesh_request_seconds_count", ("api", "Produce")] == 1
        assert samples["mesh_request_seconds_sum", ("api", "Produce")] > 0
        assert samples[("mesh_append_seconds_count",)] == 2  # The topic was made, too.
        assert samples["mesh_partitions", ("state", "leader")] == 1
        response, body = await visitor.ask(
            "/metrics",
            accept="application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1",
        )
        assert content_type(response).startswith("application/openmetrics-text; version=1.0.0")
        open_families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
        assert "mesh_topics" in {family.name for family in open_families}


async def test_one_connection_may_ask_again_and_again() -> None:
    """Health, status and an unknown path are answered in turn on one connection."""
    async with a_visitor() as visitor:
        response, body = await visitor.ask("/healthz")
        assert (response.status_code, body) == (200, b"ok\n")
        response, body = await visitor.ask("/status?pretty=1")
        assert (response.status_code, json.loads(body)["healthy"]) == (200, True)
        response, body = await visitor.ask("http://somewhere/else")
        assert response.status_code == 404
        assert all(path in body.decode() for path in PATHS)


async def test_why_a_member_is_as_it_is_may_be_asked() -> None:
    """By its id; what is no id, and who is not known, is 404 and said in words."""
    async with a_visitor(view=a_view(a_member(1), a_member(3))) as visitor:
        response, body = await visitor.ask("/why/3")
        assert (response.status_code, json.loads(body)["state"]) == (200, "alive")
        for path, words in (("/why/9", "node 9 is not known"), ("/why/x", "no such path")):
            response, body = await visitor.ask(path)
            assert response.status_code == 404
            assert words in body.decode()


async def test_head_is_get_without_a_body() -> None:
    """HEAD tells the length of what GET would have given."""
    async with a_visitor() as visitor:
        head, nothing = await visitor.ask("/healthz", method="HEAD")
        assert nothing == b""
        assert dict(head.headers)[b"content-length"] == b"3"
        assert (await visitor.ask("/healthz"))[1] == b"ok\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
async def test_other_methods_are_refused(method: str) -> None:
    """The port only reads, and says what it takes."""
    async with a_visitor() as visitor:
        response, _ = await visitor.ask("/status", method=method)
        assert response.status_code == 405
        assert dict(response.headers)[b"allow"] == b"GET, HEAD"


async def test_a_full_disk_is_not_healthy() -> None:
    """When producers are refused for want of room, /healthz says 503 and why."""
    disk = SimulatedDisk(0)
    async with a_node(disk) as node, await Place(node.news.admin.port).open() as stream:
        disk.bytes_free = DISK_RESERVE_BYTES - 1
        response, body = await Visitor(stream).ask("/healthz")
        assert response.status_code == 503
        assert b"disk is full" in body


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b""])
async def test_bare_lines_are_answered(ending: bytes) -> None:
    """`ruok` and `stat` need no HTTP: any line end will do, or the end of the stream."""
    async with an_admin(topics=1) as place:
        assert await say(place, b"ruok" + ending) == b"imok\n"
        told = await say(place, b"stat" + ending)
        assert b"healthy yes\n" in told
        assert b"topics 1\n" in told


async def test_a_bare_line_may_come_in_pieces() -> None:
    """A slow typist is understood."""
    async with an_admin() as place, await place.open() as stream:
        for byte in b"ruok\r\n":
            await stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert await rest_of(stream) == b"imok\n"


@pytest.mark.parametrize("text", [b"statx\n", b"ruo\n", b"stat x\n", b"STAT\n", b"status", b"\n"])
def test_what_only_begins_like_a_bare_line_is_none(text: bytes) -> None:
    """Only the very words are."""
    assert bare_line(text) is None


BAD = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "kafka": b"\x00\x00\x00\x10\x00\x12\x00\x03\x00\x00\x00\x01\x00\x01t\x00",
    "text": b"hello, who are you?\r\n\r\n",
    "no host": b"GET /status HTTP/1.1\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a bare newline in a name": b"GET / HTTP/1.1\r\nA\nB: c\r\n" + HOST + b"\r\n",
    "another version": b"GET / HTTP/one\r\n" + HOST + b"\r\n",
    "long line": b"GET /" + b"x" * 3 * HEAD_BYTES_MAX + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * HEADERS_MAX + b"\r\n",
    "zeros": bytes(3_000),
    # An answer to HEAD has no body, not even one that says what is wrong (found by mesh fuzz).
    "a head with a bad chunk": b"HEAD / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nGET / HTTP/1.1\r\n",
    "a head with many headers": b"HEAD / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * HEADERS_MAX + b"\r\n",
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_request_gets_4xx_and_the_end(kind: str) -> None:
    """Bytes of other protocols, and requests beyond the bounds, end only their connection."""
    async with an_admin(topics=1) as place:
        told = await say(place, BAD[kind])
        assert told.startswith(b"HTTP/1.1 4")
        assert b"connection: close" in told.lower()
        assert await say(place, b"ruok\n") == b"imok\n"


async def test_a_body_is_not_read_and_ends_the_connection() -> None:
    """What follows a request with a body is never taken for another request."""
    async with an_admin(topics=1) as place:
        smuggled = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        length = f"Content-Length: {len(smuggled)}\r\n".encode()
        told = await say(place, b"GET /status HTTP/1.1\r\n" + HOST + length + b"\r\n" + smuggled)
        assert told.count(b"HTTP/1.1 ") == 1
        assert told.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_requests_may_come_all_at_once() -> None:
    """Pipelined requests are answered in order."""
    async with an_admin(topics=1) as place:
        request = b"GET /%s HTTP/1.1\r\n" + HOST + b"\r\n"
        told = await say(place, request % b"healthz" + request % b"nowhere" + request % b"healthz")
        assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"200", b"404", b"200"]


@pytest.mark.parametrize("begun", [b"", b"GET /status HTTP/1.1\r\nHost: h\r\nX: ", b"sta"])
async def test_the_slow_are_cut_off(begun: bytes, autojump_clock: trio.testing.MockClock) -> None:
    """Who sends nothing, or a byte now and then, does not hold its connection for ever."""
    async with an_admin() as place, await place.open() as stream:
        before = trio.current_time()
        with trio.fail_after(IDLE_S_MAX + REQUEST_S_MAX + 10):
            try:
                await stream.send_all(begun)
                while begun and not begun.startswith(b"sta"):
                    await trio.sleep(1)
                    await stream.send_all(b"x")
            except trio.BrokenResourceError:
                pass
            assert await rest_of(stream) == b""
        waited_s = trio.current_time() - before
        assert waited_s <= (REQUEST_S_MAX + 3 if begun else IDLE_S_MAX + 1)


async def test_a_crowd_of_idle_connections_makes_room() -> None:
    """With every place taken by somebody idle, the longest idle one goes and a scrape is served."""
    async with an_admin(topics=1) as place:
        crowd = [await place.open() for _ in range(CONNECTIONS_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            assert await say(place, b"ruok\n") == b"imok\n"
        assert await rest_of(crowd[0]) == b""
        for stream in crowd:
            await stream.aclose()


async def test_a_crowd_that_is_busy_is_all_that_is_served() -> None:
    """While every place is in the middle of a request a further connection is closed at once."""
    async with an_admin(topics=1) as place:
        crowd = [await place.open() for _ in range(CONNECTIONS_MAX)]
        for stream in crowd:
            await stream.send_all(b"GET /status HTTP/1.1\r\n")
        await trio.testing.wait_all_tasks_blocked()
        late = await place.open()
        assert await rest_of(late) == b""
        await crowd[0].send_all(HOST + b"Connection: close\r\n\r\n")
        assert (await rest_of(crowd[0])).startswith(b"HTTP/1.1 200 OK")
        for stream in (*crowd, late):
            await stream.aclose()
