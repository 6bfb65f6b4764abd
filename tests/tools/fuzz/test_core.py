"""The core under the generator of `mesh fuzz`: nothing but answers and hang-ups."""

from __future__ import annotations

import random

import pytest

from mesh.wire.schemas.create_topics import CreateTopicsResponse
from mesh.wire.schemas.produce import ProduceResponse
from tests.mesh.node.peer import Peer, a_produce
from tools.fuzz.canary import TOPIC, create_canary
from tools.fuzz.draw import MARKERS, PARTITIONS, TOPICS, every_request
from tools.fuzz.mutate import LENGTH_BYTES, Mutator


def a_peer() -> tuple[Peer, dict[bytes, bytes]]:
    """A node with the topics that requests name, and what their markers stand for."""
    peer = Peer()
    peer.ask(create_canary(), CreateTopicsResponse)
    peer.ask(a_produce(TOPIC, b"kept"), ProduceResponse, version=9)
    for topic in TOPICS:
        peer.create(topic, PARTITIONS)
    registry = peer.node.broker.registry
    ids = {m: registry.topics[t].topic_id for m, t in zip(MARKERS, TOPICS, strict=True)}
    return peer, ids


def with_ids(frame: bytes, ids: dict[bytes, bytes]) -> bytes:
    for marker, topic_id in ids.items():
        frame = frame.replace(marker, topic_id)
    return frame


def test_every_request_that_is_drawn_is_answered() -> None:
    """What mutation begins with is right: every API and version, and no hang-up."""
    peer, ids = a_peer()
    rng = random.Random(1)
    for _ in range(5):
        for _, _, frame in every_request(rng):
            connection = peer.connect()
            peer.send_bytes(connection, with_ids(frame, ids))
            peer.sync()
    # Of a request that wants no answer only the end of the connection says that it failed.
    assert {cause for _, cause in peer.hung_up} <= {"a produce request with acks=0 failed"}


@pytest.mark.parametrize("seed", range(4))
def test_mutated_frames_raise_nothing(seed: int) -> None:
    """Whatever arrives, the core answers or hangs up, and what was acknowledged stays."""
    peer, ids = a_peer()
    handled = 0
    for burst in Mutator(random.Random(seed)).bursts(2_500):
        connection = peer.connect()
        for frame in burst:
            if not connection.closed:
                peer.send_bytes(connection, with_ids(frame, ids)[LENGTH_BYTES:])
                handled += 1
        peer.sync()
        peer.pass_time(100)
        peer.node.closed(connection)
    assert handled > 1_000
    assert peer.fetch_values(TOPIC) == [b"kept"]
