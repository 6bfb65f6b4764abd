"""Whoever leaves a mesh is needed by nobody when it goes."""

from __future__ import annotations

from simulations.cluster import Cluster
from tests.mesh.node.test_replicas import (
    WAIT_MS,
    a_mesh,
    core,
    create,
    leader_of,
    produce,
    reassign,
    replicas_of,
)


def shard_voters(cluster: Cluster) -> set[int]:
    """Every voter of the registry, by any config that anybody holds."""
    return {
        voter.node_id
        for virtual in cluster.nodes.values()
        if virtual.node is not None
        for shard in virtual.node.broker.shards
        for voter in shard.group.holding.promise.config.voters
    }


def test_who_leaves_is_nobody_s_new_voter() -> None:
    """One that is told to leave as it comes is taken in by no config, though it was to be."""
    cluster = a_mesh(3)
    for node_id in (4, 5):
        cluster.add(node_id)
    for other in (1, 2, 3, 4):
        cluster.cut(5, other)
        cluster.cut(other, 5)
    cluster.run_ms(3_000)  # Placement was computed with it, and it is waited for.
    cluster.drain(5)
    cluster.run_ms(300)
    cluster.heal()
    until_ms = cluster.now.monotonic_ms + 10_000
    while cluster.now.monotonic_ms < until_ms:
        cluster.run_ms(20)
        assert 5 not in shard_voters(cluster)
    cluster.depart()
    assert 5 not in cluster.nodes


def test_who_follows_no_leader_does_not_leave() -> None:
    """A leader that is cut off may have made it a voter; gone, it would be waited for for ever.

    Found by seed 62535 of worlds of whole nodes.
    """
    cluster = a_mesh(3)
    cluster.add(4)
    assert cluster.until(lambda: core(cluster, 4).neighbours.is_caught_up, WAIT_MS)
    cluster.drain(4)
    for other in (1, 2, 3):
        cluster.cut(4, other)
        cluster.cut(other, 4)
    cluster.run_ms(5_000)
    cluster.depart()
    assert 4 in cluster.nodes
    cluster.heal()
    cluster.run_ms(5_000)
    cluster.depart()
    assert 4 not in cluster.nodes


def test_a_copy_outlives_the_restart_of_its_node() -> None:
    """With two nodes one votes and one copies; a planned stop of that one costs no copy."""
    cluster = a_mesh(2)
    assert create(cluster, factor=2) == 0
    leader = leader_of(cluster)
    other = 3 - leader.node_id
    assert produce(cluster, leader.node_id, b"x") == 0

    def copied() -> bool:
        partition = core(cluster, other).broker.partition("t", 0)
        return partition is not None and partition.log.log_end_offset == 1

    assert cluster.until(copied, WAIT_MS)
    seen = core(cluster, leader.node_id).neighbours._members
    stopping = [one._replace(draining=one.node_id == other) for one in seen]
    leader.carry_out(core(cluster, leader.node_id).neighbours.members_seen(stopping, cluster.now))
    cluster.run_ms(5_000)
    assert copied()
    assert not core(cluster, other).broker.partition("t", 0).group.holding.promise.tombstone


def test_who_leaves_is_replaced_where_somebody_wished_a_partition_to_be() -> None:
    """A reassignment binds no node to the mesh; its partition has as many replicas as before."""
    cluster = a_mesh(5)
    assert create(cluster) == 0
    wish = [3, 4, 5]
    assert reassign(cluster, wish) in (0, None)
    assert cluster.until(lambda: replicas_of(cluster) == wish, 60_000, 200)
    assert produce(cluster, leader_of(cluster).node_id, b"x") == 0
    cluster.drain(4)

    def is_gone() -> bool:
        cluster.depart()
        return 4 not in cluster.nodes

    assert cluster.until(is_gone, 60_000, 200)
    found = replicas_of(cluster)
    assert len(found) == 3
    assert {3, 5} < set(found)
    voters = leader_of(cluster).node
    assert voters is not None
    partition = voters.broker.partition("t", 0)
    assert partition is not None
    assert len(partition.group.holding.promise.config.voters) == 3
