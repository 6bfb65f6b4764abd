"""Topics that go and come again across crashes: what a checkpoint says is of the log it knew."""

from __future__ import annotations

import pytest

from mesh.wire.schemas.create_topics import CreatableTopic, CreateTopicsRequest
from mesh.wire.schemas.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from mesh.wire.schemas.produce import ProduceResponse
from simulations.disk import SimulatedCrash, SimulatedDisk
from tests.mesh.node.peer import Peer, a_produce

DELETE = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1_000)
CREATE = CreateTopicsRequest(
    topics=[CreatableTopic(name="t", num_partitions=1, replication_factor=-1)], timeout_ms=1_000
)


class CrashingDisk(SimulatedDisk):
    """Crashes right after a directory was removed, if told to."""

    crashes = False

    def remove_tree(self, path: str) -> None:
        super().remove_tree(path)
        if self.crashes:
            raise SimulatedCrash


def checkpointed(disk: SimulatedDisk) -> Peer:
    """A node with a record in `t`, a checkpoint that says so, and no end yet."""
    peer = Peer(disk=disk)
    peer.create("t")
    peer.ask(a_produce("t", b"old"), ProduceResponse, version=9)
    log = peer.node.broker.partitions["t", 0].log
    ticket = log.begin_sync(indexes=True)
    assert ticket is not None
    ticket.run()
    log.finish_sync(ticket)
    peer.pass_time(60_000)
    peer.sync()
    assert log.recovery_point == 1
    return peer


def test_a_topic_made_anew_after_a_crash_is_empty_and_not_damaged() -> None:
    """The recovery point of the first one says nothing about the second."""
    peer = checkpointed(SimulatedDisk(0))
    peer.disk.crash()
    peer = Peer(disk=peer.disk)
    assert peer.fetch_values("t") == [b"old"]
    assert peer.ask(DELETE, DeleteTopicsResponse).responses[0].error_code == 0
    peer.create("t")
    peer.ask(a_produce("t", b"new"), ProduceResponse, version=9)
    assert peer.fetch_values("t") == [b"new"]


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_between_a_commit_and_the_renaming_is_no_damage(seed: int) -> None:
    """Deleted and made anew in one round, then the power went: the new one is there, empty."""
    peer = checkpointed(SimulatedDisk(seed))
    connection = peer.connect()
    peer.send(connection, DELETE)
    peer.send(connection, CREATE)
    for shard in peer.node.broker.shards:
        ticket = shard.log.begin_sync()
        if ticket is not None:
            ticket.run()
    for _, ticket in peer.rounds[0].round:
        ticket.run()
    peer.disk.crash()
    for _ in range(2):  # The second start comes before a checkpoint of the first.
        peer = Peer(disk=peer.disk, seed=seed)
        assert peer.fetch_values("t") == []
        peer.disk.crash()


@pytest.mark.parametrize("seed", range(20))
def test_a_start_acts_only_on_what_a_crash_cannot_take_back(seed: int) -> None:
    """A deletion that was in the page cache only is on disk before a start removes for it."""
    disk = CrashingDisk(seed)
    peer = checkpointed(disk)
    peer.send(peer.connect(), DELETE)  # And it is killed before the record is synced.
    disk.crashes = True
    with pytest.raises(SimulatedCrash):
        Peer(disk=disk)
    disk.crashes = False
    disk.crash()
    assert "t" not in Peer(disk=disk).node.broker.registry.topics


@pytest.mark.parametrize("seed", range(10))
def test_a_founding_can_be_cut_short_anywhere(seed: int) -> None:
    """Whatever a crash at any step of the first start leaves, the next one founds or goes on."""
    steps = 0
    while True:
        disk = SimulatedDisk(seed)
        disk.crash_after = steps
        try:
            Peer(disk=disk)
        except SimulatedCrash:
            (disk.crash if seed % 2 else disk.kill)()
        else:
            break
        Peer(disk=disk).create("t")
        disk.crash()
        assert "t" in Peer(disk=disk).node.broker.registry.topics
        steps += 1
    assert steps > 5


@pytest.mark.parametrize("seed", range(20))
def test_a_first_start_that_was_killed_leaves_nothing_in_doubt(seed: int) -> None:
    """Killed before it synced the directory that it had made: the next start does."""
    disk = SimulatedDisk(seed)
    disk.make_directory("/n1")
    disk.make_directory("/n1/data")
    disk.kill()
    Peer(disk=disk).create("t")
    disk.crash()
    assert "t" in Peer(disk=disk).node.broker.registry.topics
