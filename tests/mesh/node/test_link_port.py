"""The links of a node on real sockets: who may end one."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from mesh.links import Hello, Welcome, encode_hello, parse_welcome_untrusted
from mesh.node.driver import Driver
from mesh.node.frames import FrameError, receive_frame, send_frame
from mesh.node.link_port import LinkPort
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


async def test_a_stranger_with_a_members_id_does_not_end_its_link() -> None:
    """One of another mesh may look for its own members here, again and again."""
    runtime, node = TrioRuntime(), Peer().node
    with trio.fail_after(WAIT_S):
        listener = await runtime.listen("127.0.0.1", 0)
        async with trio.open_nursery() as nursery:
            driver = Driver(node, runtime, nursery)
            address = Address("127.0.0.1", listener.port)
            links = LinkPort(node, driver, runtime, nursery, address, None)

            async def serve(stream: Stream) -> None:
                try:
                    await links.serve(stream, None, await receive_frame(stream))
                except (FrameError, OSError, trio.ClosedResourceError):
                    pass
                finally:
                    stream.close()

            async def accept() -> None:
                while True:
                    nursery.start_soon(serve, await listener.accept())

            nursery.start_soon(accept)
            cluster_id = node.neighbours.introductions.cluster_id
            member = Hello(cluster_id, 2, DIRECTORY, 1, "127.0.0.1:1", node.broker.node_id)
            first, welcome = await open_link(listener.port, member)
            assert isinstance(welcome, Welcome)
            assert node.neighbours.links.heard_at_ms(2) > 0
            strangers: Sequence[Hello] = (
                member._replace(cluster_id=bytes(16)),
                member._replace(to_node_id=77),
            )
            for stranger in strangers:
                stream, refusal = await open_link(listener.port, stranger)
                assert isinstance(refusal, str)
                stream.close()
            assert node.neighbours.links.heard_at_ms(2) > 0
            # Its own new link takes the place of the first one.
            second, welcome = await open_link(listener.port, member)
            assert isinstance(welcome, Welcome)
            await first.readable()
            assert first.receive_into(memoryview(bytearray(9))) == 0
            assert node.neighbours.links.heard_at_ms(2) > 0
            first.close()
            second.close()
            nursery.cancel_scope.cancel()
        listener.close()
