"""Elections of many groups at once, and after long silence."""

from __future__ import annotations

import pytest

from mesh.broker import campaigns
from mesh.replication.candidate import Candidate
from tests.mesh.node.test_replicas import a_mesh, core, create, leader_of


def test_links_that_come_back_bring_an_election_at_once() -> None:
    """However long nobody reached anybody, a second after that all is led."""
    cluster = a_mesh(3, seed=4)
    assert create(cluster) == 0
    for node_id in (1, 2, 3):
        for other in (1, 2, 3):
            if other != node_id:
                cluster.cut(node_id, other)
    cluster.run_ms(60_000)
    cluster.heal()
    healed_ms = cluster.now.monotonic_ms
    leader_of(cluster)
    assert cluster.now.monotonic_ms - healed_ms < 1_000


def test_few_groups_campaign_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a node many lose their leader; some ask first, the rest in their turn, and all are led.

    Were all to ask at once, thousands of them kept each other from being elected for 20 s.
    """
    monkeypatch.setattr(campaigns, "CAMPAIGNS_MAX", 3)
    cluster = a_mesh(3)
    assert create(cluster, partitions=30) == 0
    cluster.run_ms(3_000)
    cluster.nodes[3].stop(crash=False)

    def count(node_id: int) -> int:
        held = core(cluster, node_id).broker.groups.by_id.values()
        return sum(isinstance(one.group.role, Candidate) for one in held)

    def is_led() -> bool:
        assert all(count(node_id) <= 3 for node_id in (1, 2))
        return all(
            any(core(cluster, one).broker.partition("t", index).leads for one in (1, 2))
            for index in range(30)
        )

    assert cluster.until(is_led, 3_000, 1)
