"""The client: its picture of the cluster, channels to brokers, requests with retries. trio."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from mesh.client.channel import Channel
from mesh.client.cluster import Cluster
from mesh.client.codes import code_of
from mesh.client.settings import (
    Address,
    CannotConnectError,
    ClientSettings,
    ConnectionLostError,
    UnknownTopicError,
    parse_bootstrap,
)
from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.types import NodeId, Now, TopicPartition
from mesh.wire import Message
from mesh.wire.schemas.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse

A = TypeVar("A", bound=Message)

SHARED = 0
"""The channel number of requests that never wait long at the broker."""
TOPIC_WAIT_MS_MAX = 5_000
"""How long a topic that a broker is to create by itself may stay unknown."""


def now() -> Now:
    """Return both clocks; the monotonic one is trio's."""
    return Now(int(trio.current_time() * 1000), time.time_ns() // 1_000_000)


class Client:
    """A connected client; made by `connect`."""

    def __init__(
        self, bootstrap: Sequence[Address], settings: ClientSettings, nursery: trio.Nursery
    ) -> None:
        self.settings = settings
        self.cluster = Cluster()
        self.chance = random.random
        self.metadata_at_ms = 0
        """Monotonic instant of the newest metadata."""
        self._bootstrap = list(bootstrap)
        self._nursery = nursery
        self._channels: dict[tuple[Address, int], Channel] = {}
        self._numbers = SHARED
        self._turn = 0

    def new_channel_number(self) -> int:
        """Return a number for channels of one's own: a Fetch that waits holds up what follows."""
        self._numbers += 1
        return self._numbers

    def channel(self, address: Address, number: int = SHARED) -> Channel:
        """Return the channel to this address; it connects by itself."""
        key = (address, number)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(address, self.settings, self.chance)
            self._nursery.start_soon(channel.run)
        return channel

    def close_channels(self, number: int) -> None:
        """End the channels of this number."""
        for key in [key for key in self._channels if key[1] == number]:
            self._channels.pop(key).scope.cancel()

    async def request(
        self,
        request: Message,
        answer: type[A],
        *,
        node: NodeId | None = None,
        partition: TopicPartition | None = None,
        repeat: bool = True,
        timeout_ms: int | None = None,
    ) -> A:
        """Send a request to a node, a partition's leader or whoever answers; return the answer.

        Args:
            request: encoded at the highest version that both sides speak.
            answer: class of the response.
            node: its id; without it, `partition`'s leader; without both, any broker.
            partition: sent to its leader as last heard of.
            repeat: send again when a connection ended and the broker may have acted already.
            timeout_ms: for all attempts together; settings.request_ms_max by default.

        Raises:
            CannotConnectError, ConnectionLostError: no attempt succeeded in time.
            UnsupportedApiError: the broker does not serve this API.
            UnknownTopicError: the partition has no known leader.
        """
        timeout_ms = self.settings.request_ms_max if timeout_ms is None else timeout_ms
        deadline_ms = now().monotonic_ms + timeout_ms
        attempt = 0
        while True:
            address = self._address(node, partition)
            left_ms = max(1, deadline_ms - now().monotonic_ms)
            try:
                return await self.channel(address).submit(request, answer).wait(left_ms)
            except (CannotConnectError, ConnectionLostError) as error:
                pause = self.settings.backoff_ms(attempt, self.chance)
                lost = isinstance(error, ConnectionLostError)
                if (lost and not repeat) or now().monotonic_ms + pause >= deadline_ms:
                    raise
            attempt += 1
            self._turn += 1
            await trio.sleep(pause / 1000)

    async def refresh(self, topics: Iterable[str] | None = (), *, create: bool = False) -> Cluster:
        """Ask for metadata: of the brokers and these topics, or of all (None).

        `create` lets brokers make topics that are not there, where they are set to do so.
        """
        wanted = None if topics is None else [MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=wanted, allow_auto_topic_creation=create)
        response = await self.request(request, MetadataResponse)
        if response.error_code:
            raise KafkaError(code_of(response.error_code), "metadata was refused")
        self.cluster.apply(response, all_topics=topics is None)
        self.metadata_at_ms = now().monotonic_ms
        self._drop_idle_channels()
        return self.cluster

    async def metadata(self, topics: Iterable[str] | None = None) -> Cluster:
        """Return the cluster as it is now, with these topics, or all."""
        return await self.refresh(topics)

    async def find_topic(self, topic: str, *, create: bool = False) -> int:
        """Return the number of partitions, asking for metadata if the topic is not known yet.

        Raises:
            UnknownTopicError: there is none, and no broker made one.
            KafkaError: the name is not valid, or the broker refuses to tell.
        """
        deadline_ms = now().monotonic_ms + TOPIC_WAIT_MS_MAX
        attempt = 0
        while not (count := self.cluster.partition_count(topic)):
            await self.refresh([topic], create=create)
            code = self.cluster.errors.get(topic, ErrorCode.NONE)
            coming = code in (
                ErrorCode.LEADER_NOT_AVAILABLE,
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            )
            if code is ErrorCode.NONE:
                continue
            if not coming:
                raise KafkaError(code, f"topic {topic}")
            pause = self.settings.backoff_ms(attempt, self.chance)
            unknown = code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if (unknown and not create) or now().monotonic_ms + pause >= deadline_ms:
                raise UnknownTopicError(f"there is no topic {topic}")
            attempt += 1
            await trio.sleep(pause / 1000)
        return count

    async def bootstrap(self) -> None:
        """Get the first metadata from whichever address answers first; each is tried once.

        Raises:
            CannotConnectError: none of them answers; the text names each with its cause.
        """
        errors = []
        for address in self._bootstrap:
            ticket = self.channel(address).submit(MetadataRequest(topics=[]), MetadataResponse)
            try:
                response = await ticket.wait(self.settings.request_ms_max)
            except (CannotConnectError, ConnectionLostError) as error:
                errors.append(str(error))
                continue
            self.cluster.apply(response, all_topics=False)
            self.metadata_at_ms = now().monotonic_ms
            return
        raise CannotConnectError("; ".join(errors))

    def _address(self, node: NodeId | None, partition: TopicPartition | None) -> Address:
        if partition is not None:
            node = self.cluster.leader(partition)
            if node is None:
                raise UnknownTopicError(f"no leader is known for {partition}")
        if node is not None and node in self.cluster.brokers:
            return self.cluster.brokers[node]
        # A node that metadata no longer names: somebody else will say so.
        known = [self.cluster.brokers[node] for node in sorted(self.cluster.brokers)]
        every = list(dict.fromkeys([*known, *self._bootstrap]))
        return every[self._turn % len(every)]

    def _drop_idle_channels(self) -> None:
        """Close what leads to addresses that the cluster has left."""
        kept = {*self.cluster.brokers.values(), *self._bootstrap}
        for key, channel in list(self._channels.items()):
            if key[0] not in kept and channel.idle:
                del self._channels[key]
                channel.scope.cancel()


@asynccontextmanager
async def connect(
    bootstrap: str | Sequence[Address], settings: ClientSettings | None = None
) -> AsyncIterator[Client]:
    """Connect to a cluster through any of its brokers.

    Args:
        bootstrap: `HOST:PORT[,HOST:PORT…]`, or addresses.
        settings: bounds and time-outs.

    Raises:
        ValueError: bootstrap is not a list of addresses.
        CannotConnectError: nobody answers there.
    """
    addresses = parse_bootstrap(bootstrap) if isinstance(bootstrap, str) else bootstrap
    async with bare_nursery() as nursery:
        client = Client(addresses, settings or ClientSettings(), nursery)
        await client.bootstrap()
        yield client


@asynccontextmanager
async def bare_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that is cancelled at the end, and through which one error passes as it is.

    The caller of a client has its own errors in the body; a group around each would be noise.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from error.__cause__
