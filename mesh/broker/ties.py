"""Of which nodes this one has to know that they live, and they that it does: by its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.replication.leader import Leader

if TYPE_CHECKING:
    from mesh.broker.partition import Partition
    from mesh.links import Links
    from mesh.model.types import NodeId


def tie(partition: Partition, links: Links) -> None:
    """Have heartbeats exchanged with whoever votes in a group or, if we lead it, is fed by us.

    A learner is tied to the voters, any of which may lead it tomorrow; they need not know of it.
    """
    nodes: set[NodeId] = set()
    promise, role = partition.group.holding.promise, partition.group.role
    if not promise.tombstone:
        nodes.update(voter.node_id for voter in promise.config.voters)
        if isinstance(role, Leader):
            nodes.update(one.node_id for one in (*role.others, *role.leaving))
        nodes.discard(partition.node_id)
    _tie(partition, links, nodes)


def untie(partition: Partition, links: Links) -> None:
    """The partition is no reason any more."""
    _tie(partition, links, set())


def _tie(partition: Partition, links: Links, nodes: set[NodeId]) -> None:
    if nodes == partition.tied_to:
        return
    for node_id in sorted(nodes - partition.tied_to):
        links.watch(node_id)
    for node_id in sorted(partition.tied_to - nodes):
        links.unwatch(node_id)
    partition.tied_to = frozenset(nodes)
