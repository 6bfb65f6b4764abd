"""Two naive nodes on real sockets that answer as a test says, and remember what they were asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from mesh.client import Client, ClientSettings, connect
from mesh.client.settings import Address
from mesh.wire import (
    Message,
    decode,
    encode_response,
    read_request_header,
    request_class,
    response_class,
)
from mesh.wire.schemas.api_versions import ApiVersion, ApiVersionsResponse
from mesh.wire.schemas.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker

QUICK = ClientSettings(
    connect_ms_max=5_000, request_ms_max=5_000, backoff_ms_min=1, backoff_ms_max=1
)
WAIT_S = 30

Answers = Callable[[int, Message], "Message | None"]
"""(node, request) → its answer; None hangs up instead."""


@dataclass
class NaiveMesh:
    """What two nodes serve, and what they were asked."""

    answers: Answers
    versions: Mapping[int, tuple[int, int]]
    """API key → the versions that they serve, beside ApiVersions and Metadata."""
    topics: MetadataResponse = field(default_factory=MetadataResponse)
    ports: dict[int, int] = field(default_factory=dict)
    asked: list[tuple[int, Message]] = field(default_factory=list)

    def metadata(self) -> MetadataResponse:
        """Both nodes, and the topics of the test."""
        brokers = [
            MetadataResponseBroker(node_id=node, host="127.0.0.1", port=port)
            for node, port in self.ports.items()
        ]
        return MetadataResponse(brokers=brokers, controller_id=1, topics=self.topics.topics)

    async def serve(self, node: int, stream: trio.SocketStream) -> None:
        """Answer one connection until it ends."""
        try:
            while True:
                frame = await _exactly(stream, int.from_bytes(await _exactly(stream, 4), "big"))
                header, position = read_request_header(frame)
                key, version = header.api_key, header.api_version
                answer = self._answer(node, key, frame, position, version)
                if answer is None:
                    return
                for part in encode_response(answer, version, header.correlation_id):
                    assert isinstance(part, bytes | bytearray | memoryview)
                    await stream.send_all(part)
        except (EOFError, trio.BrokenResourceError):
            pass  # The client hung up, as it may.

    def _answer(
        self, node: int, key: int, frame: bytes, position: int, version: int
    ) -> Message | None:
        if key == 18:
            served = {18: (0, 4), 3: (0, 12), **self.versions}
            keys = [
                ApiVersion(api_key=k, min_version=low, max_version=high)
                for k, (low, high) in served.items()
            ]
            return ApiVersionsResponse(api_keys=keys)
        request = decode(request_class(key), frame, position, version)
        if isinstance(request, MetadataRequest):
            return self.metadata()
        self.asked.append((node, request))
        return self.answers(node, request)


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


@asynccontextmanager
async def naive_mesh(
    answers: Answers,
    versions: Mapping[int, tuple[int, int]] | None = None,
    topics: MetadataResponse | None = None,
    settings: ClientSettings = QUICK,
) -> AsyncIterator[tuple[Client, NaiveMesh]]:
    """Run nodes 1 and 2, and connect a client through node 1."""
    everything = {key: response_class(key).VERSIONS for key in (1, 2, 8, 9, 10, 13, 15, 16, 42)}
    everything |= {key: response_class(key).VERSIONS for key in (47, 69)}
    mesh = NaiveMesh(answers, everything if versions is None else versions)
    mesh.topics = topics or MetadataResponse()
    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            for node in (1, 2):
                listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
                mesh.ports[node] = listeners[0].socket.getsockname()[1]
                nursery.start_soon(trio.serve_listeners, partial(mesh.serve, node), listeners)
            async with connect([Address("127.0.0.1", mesh.ports[1])], settings) as client:
                yield client, mesh
            nursery.cancel_scope.cancel()
