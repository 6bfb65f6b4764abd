"""Whole nodes in the virtual world: over which links heartbeats go, and what goes without them."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import pytest

from mesh.links import Led, Links
from mesh.links.frames import Beat, parse_untrusted
from mesh.node.core import Node
from simulations.cluster import Cluster
from tests.mesh.node.test_replicas import WAIT_MS, a_mesh, create, delete, leader_of

GROUP = (b"t" * 16, 0)
Beats: TypeAlias = "Counter[tuple[int, int]]"


def core(cluster: Cluster, node_id: int) -> Node:
    node = cluster.nodes[node_id].node
    assert node is not None
    return node


def links(cluster: Cluster, node_id: int) -> Links:
    return core(cluster, node_id).neighbours.links


@pytest.fixture
def cluster() -> Cluster:
    """Five nodes, of which 4 and 5 have given away all that they held, and follow the registry."""
    cluster = a_mesh(5)
    for node_id in (4, 5):
        cluster.drain(node_id)
    freed = [core(cluster, node_id).neighbours for node_id in (4, 5)]
    assert cluster.until(lambda: all(one.holds_nothing for one in freed), 10 * WAIT_MS)
    cluster.run_ms(3_000)  # So that the leaders have looked at who is fed.
    return cluster


def beats_of(cluster: Cluster, ms: int, monkeypatch: pytest.MonkeyPatch) -> Beats:
    """Let time pass, and return how many heartbeats went from whom to whom."""
    beats: Beats = Counter()
    send = cluster.send

    def count(sender: int, to: int, frame: bytes) -> None:
        beats[sender, to] += isinstance(parse_untrusted(memoryview(bytearray(frame))), Beat)
        send(sender, to, frame)

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "send", count)
        cluster.run_ms(ms)
    return beats


def test_between_two_that_vote_in_nothing_no_heartbeat_goes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all other links they do, also from those that vote to those that only learn."""
    beats = beats_of(cluster, 3_000, monkeypatch)
    pairs = {(one, two) for one in range(1, 6) for two in range(1, 6) if one != two}
    silent = {(4, 5), (5, 4)}
    assert {pair for pair in pairs if not beats[pair]} == silent
    assert min(beats[pair] for pair in pairs - silent) >= 15
    assert all(links(cluster, one).is_there(two) for one, two in pairs)


def test_what_is_led_is_told_without_heartbeats(cluster: Cluster) -> None:
    """Any node answers Metadata, whatever it shares with the leader."""
    led = Led(7, 1, (4, 1), (4, 1))
    links(cluster, 4).lead(GROUP, led)
    cluster.run_ms(1_000)
    assert links(cluster, 5).led_by(4)[GROUP] == led
    links(cluster, 4).lead(GROUP, None)
    cluster.run_ms(1_000)
    assert GROUP not in links(cluster, 5).led_by(4)


def test_a_node_without_heartbeats_that_ends_is_noticed_and_comes_back(cluster: Cluster) -> None:
    """Its link closes, and is made anew."""
    cluster.nodes[4].stop(crash=True)
    cluster.run_ms(200)
    assert not links(cluster, 5).is_there(4)
    cluster.nodes[4].start()
    assert cluster.until(lambda: links(cluster, 5).is_there(4), WAIT_MS)
    assert cluster.until(lambda: links(cluster, 4).is_there(5), WAIT_MS)


def test_whoever_votes_again_is_heard_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two is enough: the other learns from it, and says that it lives as well."""
    cluster.draining.pop(4)
    cluster.membership_changed()
    node = core(cluster, 4).neighbours
    assert cluster.until(lambda: not node.holds_nothing, 10 * WAIT_MS)
    beats = beats_of(cluster, 3_000, monkeypatch)
    assert min(beats[4, 5], beats[5, 4]) >= 15


def test_the_reasons_for_heartbeats_are_those_of_the_groups_that_are_there(
    cluster: Cluster,
) -> None:
    """Counted as partitions come and go; none is left over, none is missing."""

    def check() -> None:
        for virtual in cluster.nodes.values():
            groups = core(cluster, virtual.node_id).broker.groups
            wanted = Counter(
                voter.node_id
                for partition in groups.by_id.values()
                for voter in partition.group.holding.promise.config.voters
                if voter != groups.me and not partition.group.holding.promise.tombstone
            )
            for partition in groups.by_id.values():
                voters = [one.node_id for one in partition.group.holding.promise.config.voters]
                fed = {one.node_id for one in partition.other_replicas}
                wanted.update(fed.difference(voters))
            assert dict(wanted) == groups.links.reasons

    check()
    assert create(cluster, partitions=8) == 0
    cluster.run_ms(3_000)
    check()
    leader_of(cluster).stop(crash=True)
    cluster.run_ms(3_000)
    for virtual in cluster.nodes.values():
        if virtual.node is None:
            virtual.start()
    cluster.run_ms(10_000)
    check()
    assert delete(cluster) == 0
    cluster.run_ms(3_000)
    check()
