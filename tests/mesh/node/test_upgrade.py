"""A data directory of another release: an older one is taken over, a newer one is left alone."""

from __future__ import annotations

import pytest

from mesh.broker.partition import log_config
from mesh.model.config import BrokerConfig, TopicConfig
from mesh.model.names import REGISTRY_TOPIC, REGISTRY_TOPIC_ID
from mesh.model.types import ReplicaId
from mesh.node.store import Store
from mesh.registry import (
    FORMAT_FEATURE,
    GROUP_FEATURE,
    MESH_SHARD,
    NewerRecordError,
    RecordPair,
    UnfitNodeError,
    shard_of,
)
from mesh.registry.records import SetFeature, encode
from simulations.disk import SimulatedDisk
from storage.records import Record, build_batch, read_batch_header
from tests.mesh.node.peer import DIRECTORY, WALL_MS, Peer
from tests.mesh.registry.test_old_records import ADD, CREATE


def write(disk: SimulatedDisk, shard: int, *pairs: RecordPair) -> None:
    """Append to a shard of the registry of a node that does not run."""
    config = log_config(TopicConfig(retention_ms=-1), BrokerConfig())
    log = Store(disk, DIRECTORY).open_log(REGISTRY_TOPIC, shard, REGISTRY_TOPIC_ID, config)
    batch = memoryview(build_batch([Record(0, WALL_MS, *pair) for pair in pairs]))
    log.append(batch, read_batch_header(batch), 0, WALL_MS)
    ticket = log.begin_sync(indexes=True)
    assert ticket is not None
    ticket.run()
    log.finish_sync(ticket)
    log.close(clean=False)


def test_topics_of_the_release_before_belong_to_this_node_and_can_grow() -> None:
    """They are served as they were, their voters are named, and the format is written down."""
    disk = Peer().disk
    write(disk, shard_of("orders"), CREATE, ADD)
    peer = Peer(disk=disk)
    registry = peer.node.broker.registry
    topic = registry.topics["orders"]
    assert (topic.partition_count, topic.configs) == (3, {"retention.ms": "5"})
    assert all(topic.voters(index) == (registry.own,) for index in range(3))
    assert isinstance(registry.own, ReplicaId)
    assert registry.features.levels == {FORMAT_FEATURE: 1, GROUP_FEATURE: 1}
    assert peer.end_offset("orders", 2) == 0


@pytest.mark.parametrize("level", [2, 9])
def test_a_mesh_at_a_later_level_is_not_joined_again(level: int) -> None:
    """A node of this release does not start where the mesh has gone further since."""
    disk = Peer().disk
    write(disk, MESH_SHARD, encode(SetFeature(FORMAT_FEATURE, level, may_lower=False)))
    with pytest.raises(UnfitNodeError, match=f"the mesh uses level {level} of gossamer.format"):
        Peer(disk=disk)


def test_a_record_of_a_later_format_is_not_called_damage_but_stops_the_start() -> None:
    """The node says which release it takes."""
    disk = Peer().disk
    newer = RecordPair(b"any", bytes.fromhex("a166666f726d617403"))
    write(disk, MESH_SHARD, newer)
    with pytest.raises(NewerRecordError, match="it takes the release that wrote it, or a later"):
        Peer(disk=disk)
