"""The links of a node on real sockets: who may end one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from mesh.links import Hello, Welcome, encode_hello, parse_welcome_untrusted
from mesh.links.frames import Beat, WantWhole, encode
from mesh.links.links import NEVER_MS
from mesh.node.core import Node
from mesh.node.driver import Driver
from mesh.node.frames import FrameError, receive_frame, send_frame
from mesh.node.link_port import LinkPort
from mesh.node.neighbours import STRANGERS_MAX
from mesh.node.options import Address
from mesh.runtime.ports import Stream
from mesh.runtime.trio_runtime import TrioRuntime
from tests.mesh.node.peer import Peer

WAIT_S = 20
DIRECTORY = bytes(15) + b"\2"


async def open_link(port: int, hello: Hello) -> tuple[Stream, Welcome | str]:
    stream = await TrioRuntime().connect("127.0.0.1", port)
    await send_frame(stream, encode_hello(hello), None)
    return stream, parse_welcome_untrusted(await receive_frame(stream))


Story = Callable[[Node, int], Awaitable[None]]


async def played(story: Story) -> list[str]:
    """Run a story with a node whose links come in at a port; return why links were cut."""
    runtime, node = TrioRuntime(), Peer().node
    causes: list[str] = []
    with trio.fail_after(WAIT_S):
        listener = await runtime.listen("127.0.0.1", 0)
        async with trio.open_nursery() as nursery:
            driver = Driver(node, runtime, nursery)
            address = Address("127.0.0.1", listener.port)
            links = LinkPort(node, driver, runtime, nursery, address, None)

            async def serve(stream: Stream) -> None:
                try:
                    await links.serve(stream, None, await receive_frame(stream))
                except FrameError as error:
                    causes.append(str(error))
                except (OSError, trio.ClosedResourceError):
                    pass
                finally:
                    stream.close()

            async def accept() -> None:
                while True:
                    nursery.start_soon(serve, await listener.accept())

            nursery.start_soon(accept)
            await story(node, listener.port)
            nursery.cancel_scope.cancel()
        listener.close()
    return causes


async def ended(stream: Stream) -> None:
    """Wait until the other side has ended a link."""
    while True:
        await stream.readable()
        try:
            if stream.receive_into(memoryview(bytearray(99))) == 0:
                return
        except BlockingIOError:
            continue


def a_hello(node: Node, node_id: int = 2) -> Hello:
    cluster_id = node.neighbours.introductions.cluster_id
    directory = bytes(12) + node_id.to_bytes(4, "big")
    return Hello(cluster_id, node_id, directory, 1, "127.0.0.1:1", node.broker.node_id)


async def test_a_stranger_with_a_members_id_does_not_end_its_link() -> None:
    """One of another mesh may look for its own members here, again and again."""

    async def story(node: Node, port: int) -> None:
        member = a_hello(node)
        first, welcome = await open_link(port, member)
        assert isinstance(welcome, Welcome)
        assert node.neighbours.links.heard_at_ms(2) > 0
        strangers: Sequence[Hello] = (
            member._replace(cluster_id=bytes(16)),
            member._replace(to_node_id=77),
        )
        for stranger in strangers:
            stream, refusal = await open_link(port, stranger)
            assert isinstance(refusal, str)
            stream.close()
        assert node.neighbours.links.heard_at_ms(2) > 0
        # Its own new link takes the place of the first one.
        second, welcome = await open_link(port, member)
        assert isinstance(welcome, Welcome)
        await first.readable()
        assert first.receive_into(memoryview(bytearray(9))) == 0
        assert node.neighbours.links.heard_at_ms(2) > 0
        first.close()
        second.close()

    await played(story)


async def test_there_is_no_end_of_those_who_only_say_that_they_are_nodes() -> None:
    """A few unknown nodes are let in; of one that goes nothing stays, and another has its place."""

    async def story(node: Node, port: int) -> None:
        streams = []
        for node_id in range(2, 2 + STRANGERS_MAX):
            stream, welcome = await open_link(port, a_hello(node, node_id))
            assert isinstance(welcome, Welcome)
            streams.append(stream)
        refused, refusal = await open_link(port, a_hello(node, 99))
        refused.close()
        assert refusal == f"is not known here yet, like {STRANGERS_MAX} others"
        beat = b"".join(bytes(part) for part in encode(Beat(1, 0, 7, 7)))
        await send_frame(streams[0], beat, None)
        streams[0].close()
        while node.neighbours.links.heard_at_ms(2) != NEVER_MS:
            await trio.lowlevel.checkpoint()
        assert 2 not in node.broker.groups.directories
        assert not node.neighbours.introductions.standing.known
        last, welcome = await open_link(port, a_hello(node, 99))
        assert isinstance(welcome, Welcome)
        assert len(node.broker.groups.directories) == 1 + STRANGERS_MAX
        for stream in (*streams[1:], last):
            stream.close()

    (cause,) = await played(story)
    assert cause.startswith("node 99 is not known here yet")


async def test_a_link_that_says_what_no_member_says_is_cut_with_its_reason() -> None:
    """Thousands of small frames are heard before; one that is none ends the link, by name."""

    async def story(node: Node, port: int) -> None:
        stream, _ = await open_link(port, a_hello(node))
        question = b"".join(bytes(part) for part in encode(WantWhole()))
        framed = len(question).to_bytes(4, "big") + question
        await stream.send_rest([framed * 5_000 + (5).to_bytes(4, "big") + b"\0\0\0\1\xff"])
        await ended(stream)
        stream.close()

    assert await played(story) == ["node 2: a frame of a link that is no CBOR"]
