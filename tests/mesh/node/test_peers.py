"""The peer port on real sockets: members find one another, and nobody can hold it up."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import trio

from mesh.gossip import LOCAL, Effect, Gossip, JoinFailed, Me, Refused, Send, State, Value
from mesh.gossip.member import PEER
from mesh.gossip.settings import FRAME_BYTES_MAX
from mesh.node.floods import STRIKES_MAX
from mesh.node.frames import FrameError, receive_frame
from mesh.node.peers import TELLING_MAX, Peers
from mesh.runtime.sealing import Seal
from mesh.runtime.trio_runtime import TrioRuntime

WAIT_S = 20
QUICK = replace(
    LOCAL,
    probe_interval_ms=60,
    probe_timeout_ms=40,
    indirect_timeout_ms=40,
    suspicion_ms_min=150,
)


class RealNode:
    """A gossip machine on a real peer port."""

    def __init__(self, node_id: int, key: bytes | None = None) -> None:
        self.node_id = node_id
        self.seal = None if key is None else Seal([key], random.Random(node_id).randbytes)
        self.refusals: list[Refused] = []
        self.failed: list[JoinFailed] = []
        self.runtime = TrioRuntime()
        self.scope = trio.CancelScope()
        self.changed = trio.Event()

    async def run(self, ready: trio.Event) -> None:
        with self.scope:
            listener = await self.runtime.listen("127.0.0.1", 0)
            datagrams = await self.runtime.datagrams("127.0.0.1", listener.port)
            self.address = f"127.0.0.1:{listener.port}"
            me = Me(
                cluster_id=bytes(16), node_id=self.node_id, start=1, entries={PEER: self.address}
            )
            now_ms = self.runtime.now().monotonic_ms
            self.gossip = Gossip(me, QUICK, random.Random(self.node_id), now_ms)
            try:
                async with trio.open_nursery() as nursery:
                    self.peers = Peers(
                        self.gossip,
                        self.runtime,
                        nursery,
                        datagrams,
                        listener,
                        self.told,
                        self.seal,
                    )
                    self.peers.start()
                    ready.set()
            finally:
                datagrams.close()
                listener.close()

    def told(self, effect: Effect) -> None:
        self.changed.set()
        if isinstance(effect, Refused):
            self.refusals.append(effect)
        elif isinstance(effect, JoinFailed):
            self.failed.append(effect)

    async def until(self, condition: Callable[[Gossip], bool]) -> None:
        with trio.fail_after(WAIT_S):
            while not condition(self.gossip):
                self.changed = trio.Event()
                await self.changed.wait()

    def join(self, *others: RealNode) -> None:
        addresses = [other.address for other in others]
        self.peers.carry_out(self.gossip.join(addresses, self.peers.now_ms))


async def start(
    nursery: trio.Nursery, count: int, key: bytes | None = None, *, first: int = 1
) -> list[RealNode]:
    nodes = [RealNode(first + number, key) for number in range(count)]
    for node in nodes:
        ready = trio.Event()
        nursery.start_soon(node.run, ready)
        await ready.wait()
    return nodes


async def test_members_find_one_another_and_miss_who_is_gone() -> None:
    """Three on real sockets know one another; one that ends is dead at the others."""
    async with trio.open_nursery() as nursery:
        one, two, three = await start(nursery, 3)
        two.join(one)
        three.join(two)
        for node in (one, two, three):
            await node.until(lambda gossip: gossip.live() == [1, 2, 3])
        three.scope.cancel()
        for node in (one, two):
            await node.until(lambda gossip: gossip.state_of(3) is State.DEAD)
        assert one.gossip.view_hash == two.gossip.view_hash
        assert one.peers.counters["datagrams_in"] > 0
        nursery.cancel_scope.cancel()


async def ask_raw(node: RealNode, data: bytes) -> bytes | None:
    """Return the frame with which a node answers these bytes; None if it hangs up."""
    host, _, port = node.address.partition(":")
    stream = await node.runtime.connect(host, int(port))
    try:
        with trio.fail_after(WAIT_S):
            await stream.send_rest([data])
            return await receive_frame(stream)
    except (FrameError, OSError):
        return None
    finally:
        stream.close()


async def test_whoever_lies_about_lengths_is_hung_up_on() -> None:
    """A length out of bounds, and bytes that are no message, end that stream alone."""
    async with trio.open_nursery() as nursery:
        (node,) = await start(nursery, 1)
        too_long = (FRAME_BYTES_MAX + 1).to_bytes(4, "big")
        for data in (bytes(4), b"\xff\xff\xff\xff", too_long, b"\0\0\0\x03abc", b"GET / HTTP/1.1"):
            assert await ask_raw(node, data) is None
        assert node.peers.counters["refused_frame"] == 4
        assert node.gossip.live() == [1]
        nursery.cancel_scope.cancel()


async def test_datagrams_of_anybody_are_dropped_and_counted() -> None:
    """Bytes that are no message change nothing, and are counted by their fault."""
    async with trio.open_nursery() as nursery:
        (node,) = await start(nursery, 1)
        sender = await node.runtime.datagrams("127.0.0.1", 0)
        port = int(node.address.rpartition(":")[2])
        for data in (b"", b"\xff" * 1_400, bytes(2_048), b"\x9f" * 100):
            assert sender.send_now(data, "127.0.0.1", port)
        with trio.fail_after(WAIT_S):
            while node.peers.counters["datagrams_in"] < 4:
                await trio.lowlevel.checkpoint()
        sender.close()
        assert sum(node.gossip.picture(0).counters.values()) == 4
        assert node.gossip.live() == [1]
        nursery.cancel_scope.cancel()


KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


async def test_members_with_a_key_understand_one_another() -> None:
    """Two who seal find each other; what an outsider records of it and says again is refused."""
    async with trio.open_nursery() as nursery:
        one, two = await start(nursery, 2, KEY)
        two.join(one)
        for node in (one, two):
            await node.until(lambda gossip: gossip.live() == [1, 2])
        runtime = TrioRuntime()
        outside = await runtime.datagrams("127.0.0.1", 0)
        host, port = two.address.split(":")
        said = Seal([KEY], random.Random(9).randbytes).seal(b"\x80", runtime.now().wall_ms)
        for data in (b"\x88plain", said, said, said[:-1] + b"?", said[:9] + said[8:]):
            outside.send_now(data, host, int(port))
        outside.close()
        await two.until(lambda _: two.peers.counters["refused_forged"] > 0)
        found = {name: n for name, n in two.peers.counters.items() if name.startswith("refused_")}
        assert found == {"refused_unsealed": 1, "refused_replayed": 2, "refused_forged": 1}
        assert [effect.reason[:14] for effect in two.refusals] == [
            "is not sealed,",
            "came before",
            "was not sealed",
        ]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (KEY, OTHER_KEY, "does not know our cluster key"),
        (KEY, None, "has no cluster key, and this node has one"),
        (None, KEY, "has a cluster key, and this node has none"),
    ],
)
async def test_without_the_same_key_a_join_is_refused(
    ours: bytes | None, theirs: bytes | None, told: str
) -> None:
    """Whoever has another key, or one alone, hears which it is, and nobody knows the other."""
    async with trio.open_nursery() as nursery:
        (one,) = await start(nursery, 1, theirs)
        (two,) = await start(nursery, 1, ours, first=2)
        two.join(one)
        await two.until(lambda _: bool(two.failed))
        ((address, reason),) = two.failed[0].reasons
        assert (address, reason[: len(told)]) == (one.address, told)
        assert len(one.refusals) == 1
        assert (one.gossip.live(), two.gossip.live()) == ([1], [2])
        nursery.cancel_scope.cancel()


async def test_what_is_refused_is_told_once_in_a_while() -> None:
    """A thousand bad datagrams of one host are counted each, and told of once."""
    async with trio.open_nursery() as nursery:
        (node,) = await start(nursery, 1, KEY)
        for port in range(1_000):
            node.peers._refused("forged", "text", f"10.0.0.1:{port}")
        node.peers._refused("forged", "text", "10.0.0.2:1")
        assert node.peers.counters["refused_forged"] == 1_001
        assert [effect.source for effect in node.refusals] == ["10.0.0.1:0", "10.0.0.2:1"]
        for number in range(1_000):
            node.peers._refused("forged", "text", f"10.1.{number >> 8}.{number & 255}:1")
        assert len(node.refusals) == TELLING_MAX
        nursery.cancel_scope.cancel()


def map_of(gossip: Gossip, node_id: int) -> Mapping[str, Value]:
    member = gossip.member(node_id)
    assert member is not None
    return member.entries


async def test_who_floods_is_named_and_no_longer_heard() -> None:
    """Datagrams far above the bound are not looked at, their source is told once, members go on."""
    async with trio.open_nursery() as nursery:
        one, two = await start(nursery, 2)
        two.join(one)
        for node in (one, two):
            await node.until(lambda gossip: gossip.live() == [1, 2])
        outside = await TrioRuntime().datagrams("127.0.0.1", 0)
        host, port = one.address.split(":")
        with trio.fail_after(WAIT_S):
            while one.peers.counters["refused_flood"] == 0:
                for _ in range(500):
                    outside.send_now(b"noise", host, int(port))
                await trio.lowlevel.checkpoint()
        told = [refusal for refusal in one.refusals if "datagrams a second" in refusal.reason]
        assert [refusal.source for refusal in told] == [f"127.0.0.1:{outside.port}"]
        outside.close()
        two.peers.carry_out(two.gossip.write({"weight": 7}, two.peers.now_ms))
        await one.until(lambda gossip: map_of(gossip, 2).get("weight") == 7)
        nursery.cancel_scope.cancel()


async def test_a_host_of_bad_streams_is_named_and_hung_up_on() -> None:
    """After so many streams without a frame a host may open none, and its name is told."""
    async with trio.open_nursery() as nursery:
        (node,) = await start(nursery, 1)
        for _ in range(STRIKES_MAX):
            assert await ask_raw(node, b"GET / HTTP/1.1\r\n") is None
        await ask_raw(node, b"GET / HTTP/1.1\r\n")
        assert node.peers.counters["refused_frame"] == STRIKES_MAX
        assert node.peers.counters["refused_host"] == 1
        assert "its host may open none" in node.refusals[-1].reason
        nursery.cancel_scope.cancel()


async def test_a_host_that_is_no_name_ends_nothing() -> None:
    """An address of a peer that no resolver takes is dropped, and the node goes on."""
    async with trio.open_nursery() as nursery:
        (node,) = await start(nursery, 1)
        for address in ("a..b:1", f"{'x' * 70}.example:1", "\udc80:1"):
            node.peers.carry_out([Send(address, b"news")])
        with trio.fail_after(WAIT_S):
            while any(found is None for found in node.peers._addresses.values()):
                await trio.lowlevel.checkpoint()
        assert node.peers._addresses == {}
        nursery.cancel_scope.cancel()
