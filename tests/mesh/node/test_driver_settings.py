"""The settings that only the driver can put in force: connections and the memory they take."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
import trio.testing

from mesh.broker.resources import ResourceType
from mesh.model.limits import SWEEP_MS
from mesh.wire.schemas.api_versions import ApiVersionsResponse
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from mesh.wire.schemas.produce import ProduceResponse
from tests.mesh.node.peer import a_fetch, a_produce
from tests.mesh.node.test_driver import MIB, SOFTWARE, Client, Running, a_node


async def set_at_runtime(client: Client, name: str, value: int | str) -> None:
    """Set a config for all nodes."""
    change = AlterableConfig(name=name, config_operation=0, value=str(value))
    resource = AlterConfigsResource(
        resource_type=ResourceType.BROKER, resource_name="", configs=[change]
    )
    request = IncrementalAlterConfigsRequest(resources=[resource])
    answer = await client.ask(request, IncrementalAlterConfigsResponse, 1)
    assert [each.error_message for each in answer.responses] == [None]


async def is_served(client: Client) -> bool:
    """Whether a connection gets an answer; it would get it at once."""
    with trio.move_on_after(5):
        return (await client.ask(SOFTWARE, ApiVersionsResponse, 3)).error_code == 0
    return False


async def test_max_connections(autojump_clock: trio.testing.MockClock) -> None:
    """One too many waits until another ends, or until the bound is raised."""
    async with a_node() as node:
        first, second = node.clients[0], await node.connect()
        assert await is_served(second)
        await set_at_runtime(first, "max.connections", 2)
        third = await node.connect()
        fourth = await node.connect()
        assert not await is_served(third)
        await second.stream.aclose()
        await third.receive(ApiVersionsResponse, 3)
        assert not await is_served(fourth)
        await set_at_runtime(first, "max.connections", 3)
        await trio.sleep(SWEEP_MS / 1000)
        await fourth.receive(ApiVersionsResponse, 3)


async def test_max_connections_per_ip() -> None:
    """One too many from this address is closed at once, until the bound is raised."""
    async with a_node(max_connections_per_ip="2") as node:
        assert await is_served(await node.connect())
        assert await (await node.connect()).is_closed()
        await set_at_runtime(node.clients[0], "max.connections.per.ip", 3)
        assert await is_served(await node.connect())
        assert node.news.statistics().connections_failed == 1


async def test_max_connections_per_ip_overrides() -> None:
    """An address of its own bound is not bound by the common one."""
    async with a_node(max_connections_per_ip="1") as node:
        assert await (await node.connect()).is_closed()
        await set_at_runtime(node.clients[0], "max.connections.per.ip.overrides", "127.0.0.1:2")
        assert await is_served(await node.connect())
        assert await (await node.connect()).is_closed()


async def test_connections_max_idle_ms(autojump_clock: trio.testing.MockClock) -> None:
    """Silence ends a connection after the time that was set."""
    async with a_node(connections_max_idle_ms="5000") as node:
        idle = await node.connect()
        assert await is_served(idle)
        begun = trio.current_time()
        assert await idle.is_closed()
        assert 5 <= trio.current_time() - begun < 5 + 3 * SWEEP_MS / 1000


@pytest.mark.parametrize(
    "a_bounded_node",
    [
        partial(a_node, socket_request_max_bytes=str(MIB)),
        partial(a_node, queued_max_request_bytes=str(MIB)),
    ],
    ids=["socket.request.max.bytes", "queued.max.request.bytes"],
)
async def test_the_largest_request(
    a_bounded_node: Callable[[], AbstractAsyncContextManager[Running]],
) -> None:
    """A request above the bound ends its connection; one below it is answered."""
    async with a_bounded_node() as node:
        client = await node.connect()
        await client.ask(a_produce("t", bytes(MIB // 2)), ProduceResponse, 9)
        await client.stream.send_all(struct.pack(">i", MIB + 1))
        assert await client.is_closed()
        other = await node.connect()
        await other.ask(a_fetch("t", max_wait_ms=0), FetchResponse, 12)
