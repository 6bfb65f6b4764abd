"""A coordinator ends with the leadership of its partition, whatever happens in that moment."""

from __future__ import annotations

from mesh.model.errors import ErrorCode
from mesh.model.names import OFFSETS_TOPIC
from mesh.model.types import Now
from mesh.replication import events as ev
from mesh.wire.schemas.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
)
from mesh.wire.schemas.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from tests.mesh.node.peer import Peer

SESSION_MS = 45_000


def test_a_timer_that_fires_as_leadership_ends_revives_nothing() -> None:
    """Its record is refused; the coordinator must not be loaded anew where nobody leads."""
    peer = Peer(config={"offsets.topic.num.partitions": "1"})
    peer.create("t")
    peer.ask(FindCoordinatorRequest(key="g"), FindCoordinatorResponse, version=3)
    beat = ConsumerGroupHeartbeatRequest(
        group_id="g",
        member_id="m",
        member_epoch=0,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=["t"],
        topic_partitions=[],
    )
    assert peer.ask(beat, ConsumerGroupHeartbeatResponse).error_code == 0
    broker = peer.node.broker
    partition = broker.partitions[OFFSETS_TOPIC, 0]
    later = Now(peer.now.monotonic_ms + 2 * SESSION_MS, peer.now.wall_ms + 2 * SESSION_MS)
    broker.groups.feed(partition, ev.Stalled(), later.monotonic_ms)
    broker.coordinators.tick(later)
    broker.settle(later, disk_is_quiet=True)
    assert not partition.leads
    seat, error = broker.coordinators.find("g")
    assert (seat, error) == (None, ErrorCode.NOT_COORDINATOR)
