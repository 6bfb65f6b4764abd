"""Which replicas of what a node leads are in sync, as clients are told; looked at now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mesh.replication.leader import Leader

if TYPE_CHECKING:
    from mesh.broker.groups import Groups
    from mesh.model.types import NodeId

GRACE_MS = 10_000
"""A replica whose node is not there is shown as in sync for at most so long."""
NEVER_MS = -(1 << 60)


def sweep(groups: Groups, lag_ms_max: int, now_ms: int) -> None:
    """Look at every partition that is led here, and have all know what is new; every few seconds.

    In sync is a replica that had, within `lag_ms_max`, all that the log held at the look before.
    """
    for partition in groups.by_id.values():
        role, caught_up = partition.group.role, partition.caught_up_at_ms
        if not partition.leads or not isinstance(role, Leader):
            continue
        for replica, progress in role.others.items():
            if progress.log_end >= partition.swept_end and progress.log_end >= 0:
                caught_up[replica.node_id] = now_ms
        partition.swept_end = partition.log.log_end_offset
        in_sync = [
            node_id
            for node_id in groups.replicas(partition)
            if node_id == groups.me.node_id
            or _is_in_sync(groups, caught_up, node_id, lag_ms_max, now_ms)
        ]
        if in_sync != partition.in_sync:
            partition.in_sync = in_sync
            groups.advanced[partition] = None  # Answers may have waited for who is not any more.
        groups.publish(partition)


def _is_in_sync(
    groups: Groups, caught_up: Mapping[NodeId, int], node_id: NodeId, lag_ms_max: int, now_ms: int
) -> bool:
    ago_ms = now_ms - caught_up.get(node_id, NEVER_MS)
    there = groups.links.is_there(node_id)
    return ago_ms <= (lag_ms_max if there else min(lag_ms_max, GRACE_MS))
