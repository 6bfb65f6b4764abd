"""What a node remembers of requests is bounded by those that wait, not by those that came."""

from __future__ import annotations

from mesh.wire.schemas.fetch import FetchResponse
from tests.mesh.node.peer import Peer, a_fetch, a_produce


def test_an_idle_partition_remembers_no_fetch_that_was_answered() -> None:
    """A consumer that polls an idle partition for weeks leaves nothing behind."""
    peer = Peer()
    peer.create("t")
    reader = peer.connect()
    for _ in range(50):
        peer.send(reader, a_fetch("t", max_wait_ms=500), version=12)
        assert len(peer.node.broker.partitions["t", 0].parked) == 1
        peer.pass_time(500)
        assert [type(answer) for answer in peer.answers(reader)] == [FetchResponse]
        assert not peer.node.broker.partitions["t", 0].parked


def test_a_connection_that_goes_takes_its_waiters_along() -> None:
    """Clients that come, ask and go leave nothing on the partitions they asked about."""
    peer = Peer()
    peer.create("t")
    for _ in range(50):
        reader = peer.connect()
        peer.send(reader, a_fetch("t", max_wait_ms=60_000), version=12)
        peer.node.closed(reader)
    assert not peer.node.broker.partitions["t", 0].parked


def test_answered_produces_leave_no_heap_of_deadlines() -> None:
    """A deadline is half a minute away, an answer milliseconds: only who waits may count."""
    peer = Peer()
    peer.create("t")
    reader, producer = peer.connect(), peer.connect()
    # A waiter that stands in front of all others, so that they do not go one by one.
    peer.send(reader, a_fetch("t", max_wait_ms=1_000, min_bytes=1 << 30), version=12)
    for _ in range(150):
        requests = [a_produce("t", b"x", timeout_ms=30_000)] * 20
        peer.send(producer, *requests, version=9)
        peer.sync()
        assert len(peer.answers(producer)) == 20
    assert len(peer.node.broker.deadlines) <= 1_000


def test_a_deadline_of_an_answered_request_wakes_nobody() -> None:
    """A node that has nothing to do sleeps until its next housekeeping."""
    peer = Peer()
    peer.create("t")
    producer = peer.connect()
    before_ms = peer.node.wake_at_ms
    peer.send(producer, a_produce("t", b"x", timeout_ms=100), version=9)
    assert peer.node.wake_at_ms == peer.now.monotonic_ms + 100
    peer.sync()
    assert peer.node.wake_at_ms == before_ms
