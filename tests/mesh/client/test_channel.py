"""A channel against peers that are old, wrong, silent or gone: typed errors, nothing hangs."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from mesh.client import CannotConnectError, ClientSettings, ConnectionLostError
from mesh.client.channel import Channel, is_self_connected
from mesh.client.settings import Address, UnsupportedApiError, parse_bootstrap
from mesh.wire import encode_response, read_request_header
from mesh.wire.schemas.api_versions import ApiVersion, ApiVersionsResponse
from mesh.wire.schemas.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataResponse
from mesh.wire.schemas.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)

WAIT_MS = 20_000
QUICK = ClientSettings(connect_ms_max=5_000, backoff_ms_min=1, backoff_ms_max=1)
Peer = Callable[["Broker"], Awaitable[None]]


class Broker:
    """The far end of one connection, in the hands of a test."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.versions_asked: list[int] = []

    async def request(self) -> tuple[int, int, int]:
        """Read one request: its key, version and correlation id."""
        head = await self._exactly(4)
        frame = await self._exactly(int.from_bytes(head, "big"))
        header, _ = read_request_header(frame)
        return header.api_key, header.api_version, header.correlation_id

    async def agree(self, metadata: tuple[int, int] = (0, 12)) -> None:
        """Answer ApiVersions as a modern broker would."""
        _, version, correlation = await self.request()
        await self.answer(versions(metadata), version, correlation)

    async def answer(
        self, message: ApiVersionsResponse | MetadataResponse, version: int, correlation: int
    ) -> None:
        """Send a response."""
        for part in encode_response(message, version, correlation):
            assert isinstance(part, bytes | bytearray | memoryview)
            await self.stream.send_all(part)

    async def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.stream.receive_some(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def versions(metadata: tuple[int, int], *, error: int = 0) -> ApiVersionsResponse:
    """What a broker serves: ApiVersions and Metadata."""
    keys = [
        ApiVersion(api_key=18, min_version=0, max_version=2),
        ApiVersion(api_key=0, min_version=3, max_version=9),
        ApiVersion(api_key=3, min_version=metadata[0], max_version=metadata[1]),
    ]
    return ApiVersionsResponse(error_code=error, api_keys=keys)


@asynccontextmanager
async def channel_to(peer: Peer, settings: ClientSettings = QUICK) -> AsyncIterator[Channel]:
    """A channel to a peer on a real socket."""

    async def serve(stream: trio.SocketStream) -> None:
        with trio.CancelScope():
            try:
                await peer(Broker(stream))
            except (EOFError, trio.BrokenResourceError):
                pass  # The channel hung up, as it may.

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            port: int = listeners[0].socket.getsockname()[1]
            channel = Channel(Address("127.0.0.1", port), settings, lambda: 0.5)
            nursery.start_soon(channel.run)
            yield channel
            nursery.cancel_scope.cancel()


async def ask(channel: Channel, wait_ms: int = WAIT_MS) -> MetadataResponse:
    """Ask for metadata."""
    return await channel.submit(MetadataRequest(), MetadataResponse).wait(wait_ms)


async def test_an_old_broker_is_asked_again_in_its_own_version() -> None:
    """Error 35 comes in version 0 with the range that it serves (KIP-511)."""
    asked = []

    async def old(broker: Broker) -> None:
        while True:
            key, version, correlation = await broker.request()
            asked.append((key, version))
            if key == 18 and version > 2:
                await broker.answer(versions((0, 4), error=35), 0, correlation)
            elif key == 18:
                await broker.answer(versions((0, 4)), version, correlation)
            else:
                await broker.answer(MetadataResponse(controller_id=9), version, correlation)

    async with channel_to(old) as channel:
        assert (await ask(channel)).controller_id == 9
    assert asked == [(18, 4), (18, 2), (3, 4)]


async def test_a_refusal_that_cannot_be_read_leads_to_version_0() -> None:
    """Some brokers refuse in a form of their own; version 0 is spoken by all.

    Found with librdkafka's mock cluster, whose refusal is neither version 0 nor the one asked for.
    """
    asked = []

    async def odd(broker: Broker) -> None:
        while True:
            key, version, correlation = await broker.request()
            asked.append((key, version))
            if key == 18 and version:
                refusal = bytes.fromhex("0023010012000000020000000000")
                await broker.stream.send_all(
                    struct.pack("!ii", 4 + len(refusal), correlation) + refusal
                )
            elif key == 18:
                await broker.answer(versions((0, 4)), version, correlation)
            else:
                await broker.answer(MetadataResponse(controller_id=9), version, correlation)

    async with channel_to(odd) as channel:
        assert (await ask(channel)).controller_id == 9
    assert asked == [(18, 4), (18, 0), (3, 4)]


async def test_a_broker_that_refuses_every_version_is_no_broker() -> None:
    """The fall-back ends at version 0 instead of going round for ever."""

    async def stubborn(broker: Broker) -> None:
        while True:
            _, _, correlation = await broker.request()
            await broker.answer(versions((0, 4), error=35), 0, correlation)

    async with channel_to(stubborn) as channel:
        with pytest.raises(CannotConnectError, match="does not answer as a Kafka broker"):
            await ask(channel)


async def test_an_api_that_is_not_served_is_told_and_the_rest_goes_on() -> None:
    """One request that cannot be sent harms neither the connection nor the others."""

    async def modest(broker: Broker) -> None:
        await broker.agree()
        while True:
            _, version, correlation = await broker.request()
            await broker.answer(MetadataResponse(controller_id=5), version, correlation)

    async with channel_to(modest) as channel:
        unknown = channel.submit(DescribeClusterRequest(), DescribeClusterResponse)
        known = channel.submit(MetadataRequest(), MetadataResponse)
        with pytest.raises(UnsupportedApiError, match="DescribeCluster"):
            await unknown.wait(WAIT_MS)
        assert (await known.wait(WAIT_MS)).controller_id == 5


@pytest.mark.parametrize(
    "noise",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        struct.pack("!i", -1),
        struct.pack("!i", 2**31 - 1) + b"x",
        struct.pack("!i", 3) + b"abc",
        struct.pack("!ih", 6, 0) + b"\xff" * 4,
    ],
)
async def test_noise_is_not_a_broker(noise: bytes) -> None:
    """Whatever answers in another language is told as such, with the address."""

    async def noisy(broker: Broker) -> None:
        await broker.stream.send_all(noise)
        await broker.stream.send_eof()
        await broker.request()

    async with channel_to(noisy) as channel:
        with pytest.raises(CannotConnectError, match="does not answer as a Kafka broker"):
            await ask(channel)


async def test_a_silent_peer_costs_a_bounded_time() -> None:
    """Accepting and saying nothing ends with the connect time-out."""

    async def silent(broker: Broker) -> None:
        await trio.sleep_forever()

    async with channel_to(silent, ClientSettings(connect_ms_max=50)) as channel:
        with pytest.raises(CannotConnectError, match="no answer in 50 ms"):
            await ask(channel)


async def test_no_answer_in_time_ends_the_connection_for_all() -> None:
    """Later answers could not be matched any more; the next request connects anew."""
    connections = []

    async def slow(broker: Broker) -> None:
        connections.append(broker)
        await broker.agree()
        _, version, correlation = await broker.request()
        if len(connections) > 1:
            await broker.answer(MetadataResponse(controller_id=2), version, correlation)
        await trio.sleep_forever()

    async with channel_to(slow) as channel:
        first = channel.submit(MetadataRequest(), MetadataResponse)
        second = channel.submit(MetadataRequest(), MetadataResponse)
        with pytest.raises(ConnectionLostError, match="no answer within 50 ms"):
            await first.wait(50)
        with pytest.raises(ConnectionLostError):
            await second.wait(WAIT_MS)
        assert (await ask(channel)).controller_id == 2
    assert len(connections) == 2


@pytest.mark.parametrize("wrong", ["correlation", "body", "cut"])
async def test_a_wrong_answer_ends_the_connection(wrong: str) -> None:
    """A foreign correlation id, a mangled body or half of one."""

    async def liar(broker: Broker) -> None:
        await broker.agree()
        _, version, correlation = await broker.request()
        good = MetadataResponse(controller_id=1)
        match wrong:
            case "correlation":
                await broker.answer(good, version, correlation + 1)
            case "body":
                body = struct.pack("!ii", 12, correlation) + b"\xff" * 8
                await broker.stream.send_all(body)
            case "cut":
                await broker.stream.send_all(struct.pack("!ii", 400, correlation))
                await broker.stream.send_eof()
        await broker.request()

    async with channel_to(liar) as channel:
        with pytest.raises(ConnectionLostError):
            await ask(channel)


async def test_a_surplus_answer_is_nobodys() -> None:
    """An answer that nobody asked for ends its connection and is never taken for the next one."""

    async def eager(broker: Broker) -> None:
        await broker.agree()
        _, version, correlation = await broker.request()
        await broker.answer(MetadataResponse(controller_id=1), version, correlation)
        await broker.answer(MetadataResponse(controller_id=99), version, correlation)
        await broker.request()

    async with channel_to(eager) as channel:
        for _ in range(5):
            try:
                assert (await ask(channel)).controller_id == 1
            except ConnectionLostError:
                pass  # The surplus one came after the next request had left.


async def test_a_request_without_an_answer_is_lost_with_its_connection() -> None:
    """A Produce with acks=0 that is still being written is told of the connection's end."""

    async def choking(broker: Broker) -> None:
        await broker.agree()
        await broker.answer(MetadataResponse(), 1, 1)
        await trio.sleep_forever()

    huge = PartitionProduceData(records=bytes(64 << 20))
    request = ProduceRequest(topic_data=[TopicProduceData(name="t", partition_data=[huge])])
    async with channel_to(choking) as channel:
        ticket = channel.submit(request, ProduceResponse, expects_answer=False)
        with pytest.raises(ConnectionLostError, match="nobody asked for"):
            await ticket.written(WAIT_MS)


async def test_a_connection_to_itself_is_seen() -> None:
    """A socket that drew the very port it calls is not taken for a broker."""
    own = trio.socket.socket()
    await own.bind(("127.0.0.1", 0))
    await own.connect(own.getsockname())
    async with trio.SocketStream(own) as stream:
        assert is_self_connected(stream)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()) as stream:
        assert not is_self_connected(stream)


async def test_a_channel_that_is_closed_leaves_nobody_waiting() -> None:
    """Cancelling its scope settles what is on its way."""

    async def mute(broker: Broker) -> None:
        await broker.agree()
        await trio.sleep_forever()

    async with channel_to(mute) as channel:
        ticket = channel.submit(MetadataRequest(), MetadataResponse)
        channel.scope.cancel()
        with pytest.raises(ConnectionLostError, match="closed"):
            await ticket.wait(WAIT_MS)
        assert channel.idle or ticket.settled.is_set()


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("a:1", [Address("a", 1)]),
        ("a:1, b:65535,", [Address("a", 1), Address("b", 65535)]),
        ("[::1]:9092", [Address("::1", 9092)]),
    ],
)
def test_bootstrap_is_a_list_of_addresses(text: str, addresses: list[Address]) -> None:
    """Names, numbers and IPv6 in brackets."""
    assert parse_bootstrap(text) == addresses


@pytest.mark.parametrize("text", ["", ",", "a", "a:", ":1", "a:0", "a:65536", "a:x", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A ValueError says what is wrong with it."""
    with pytest.raises(ValueError, match=r"HOST:PORT|port"):
        parse_bootstrap(text)
