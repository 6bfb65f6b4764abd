"""Pictures of a node: what was counted, by API, topic and error, and why it is not healthy."""

from __future__ import annotations

import dataclasses

from mesh.model.limits import DISK_RESERVE_BYTES
from mesh.model.statistics import Statistics
from mesh.model.types import Now
from mesh.node.statistics import SYNC_STUCK_MS, TOPICS_MAX, Collector, Flow
from mesh.runtime.ports import Usage
from mesh.wire.schemas.create_topics import (
    CreatableTopic,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from mesh.wire.schemas.fetch import FetchResponse
from mesh.wire.schemas.produce import ProduceResponse
from storage.disk import DiskError
from tests.mesh.metrics.pictures import FACTS
from tests.mesh.node.peer import Peer, a_fetch, a_produce

QUIET = Flow(
    started_ms=0,
    draining=False,
    sync_begun_ms=None,
    connections=0,
    requests_waiting=0,
    unsent_bytes=0,
    in_flight_bytes=0,
    connections_accepted=0,
    connections_failed=0,
    bytes_in=0,
    bytes_out=0,
    syncs=0,
)


class World:
    """What a collector asks of the driver and the disk."""

    def __init__(self, peer: Peer) -> None:
        self.flow = QUIET
        self.free = 1 << 40
        self.collector = Collector(
            peer.node,
            FACTS,
            lambda: self.flow,
            self._disk_bytes,
            lambda: Usage(cpu_ms=70, resident_bytes=1 << 20),
            Now(0, 1_000),
        )

    def _disk_bytes(self) -> tuple[int, int]:
        if self.free < 0:
            raise DiskError("/data", "input/output error")
        return 1 << 41, self.free

    def picture(self, at_ms: int = 0) -> Statistics:
        return self.collector.statistics(Now(at_ms, at_ms + 1_000))


def test_requests_are_counted_by_api_and_version_and_topics_by_traffic() -> None:
    """What a producer and a consumer did stands under its API, its version and its topic."""
    peer = Peer()
    world = World(peer)
    peer.create("busy", 2)
    peer.create("quiet")
    produce = a_produce("busy", b"a", b"b")
    size = len(produce.topic_data[0].partition_data[0].records or b"")
    peer.ask(produce, ProduceResponse, version=9)
    peer.ask(a_produce("busy", b"a", b"b", partition=1), ProduceResponse, version=13)
    peer.ask(a_fetch("busy", max_wait_ms=0), FetchResponse, version=12)
    found = world.picture()
    by_name = {api.name: dict(api.versions) for api in found.apis}
    assert by_name["Produce"] == {9: 1, 13: 1}
    assert by_name["Fetch"] == {12: 1}
    busy, quiet = found.by_topic
    assert (busy.name, busy.partitions, quiet.name) == ("busy", 2, "quiet")
    # The produce in version 13 named no topic id, so it was refused.
    assert (busy.records_in, busy.batches_in, busy.bytes_in) == (2, 1, size)
    assert (busy.fetches, busy.bytes_out) == (1, size)
    assert (quiet.bytes_in, quiet.bytes_out, quiet.log_bytes) == (0, 0, 0)
    assert dict(found.errors) == {"UNKNOWN_TOPIC_ID": 1}
    assert [event.kind for event in found.events] == ["topic_created", "topic_created"]
    assert found.healthy


def test_a_fetch_that_waits_counts_once_and_only_if_it_brings_records() -> None:
    """However often a parked fetch looks, its bytes are counted when they are sent."""
    peer = Peer()
    world = World(peer)
    peer.create("t")
    reader = peer.connect()
    peer.send(reader, a_fetch("t", max_wait_ms=60_000, min_bytes=150), version=12)
    sizes = 0
    for _ in range(3):
        produce = a_produce("t", b"x")
        sizes += len(produce.topic_data[0].partition_data[0].records or b"")
        peer.ask(produce, ProduceResponse, version=9)
    assert len(peer.answers(reader)) == 1
    (topic,) = world.picture().by_topic
    assert topic.fetches == 1
    assert 150 <= topic.bytes_out <= sizes


def test_only_the_busiest_topics_are_told_one_by_one() -> None:
    """With more topics than the bound the quiet ones are left out, and the total says so."""
    peer = Peer()
    world = World(peer)
    names = [f"t{number:04}" for number in range(TOPICS_MAX + 5)]
    topics = [CreatableTopic(name=name, num_partitions=1, replication_factor=-1) for name in names]
    peer.ask(CreateTopicsRequest(topics=topics, timeout_ms=9_000), CreateTopicsResponse)
    peer.ask(a_produce("t1003", b"x"), ProduceResponse, version=9)
    found = world.picture()
    assert len(found.by_topic) == TOPICS_MAX
    assert found.topics == TOPICS_MAX + 5
    assert "t1003" in {topic.name for topic in found.by_topic}


def test_each_reason_for_bad_health_is_told() -> None:
    """A full disk, an unknown one, a stuck sync and a stop are reasons, each in words."""
    world = World(Peer())
    assert world.picture().reasons == ()
    world.free = DISK_RESERVE_BYTES - 1
    assert "disk is full" in world.picture().reasons[0]
    world.free = -1
    assert "input/output error" in world.picture().reasons[0]
    world.free = 1 << 40
    world.flow = dataclasses.replace(QUIET, sync_begun_ms=5, draining=True)
    stopping, stuck = world.picture(5 + SYNC_STUCK_MS + 1).reasons
    assert "stopping" in stopping
    assert "sync" in stuck
    assert not world.picture().healthy


def test_a_disk_that_fills_and_empties_is_on_the_tape_once_each() -> None:
    """The watch tells changes, not states."""
    world = World(Peer())
    for free in (1 << 40, 5, 6, 7, 1 << 40, 1 << 40):
        world.free = free
        world.collector.watch(Now(1_000, 5_000))
    kinds = [event.kind for event in world.picture().events]
    assert kinds == ["disk_full", "disk_has_room"]


def test_recent_rates_are_those_of_the_last_seconds() -> None:
    """A burst long ago is in the counters and no longer in the rates."""
    world = World(Peer())
    world.flow = dataclasses.replace(QUIET, bytes_in=5_000_000)
    assert world.picture(1_000).recent.bytes_in_s == 5_000_000
    for second in range(1, 20):
        world.collector.watch(Now(second * 1_000, 0))
    assert world.picture(19_000).recent.bytes_in_s == 0
    assert world.picture(19_000).bytes_in == 5_000_000
