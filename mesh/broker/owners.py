"""Who leads which partition group, as the leaders themselves say over their links: hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mesh.model.types import NodeId

if TYPE_CHECKING:
    from mesh.links import Led
    from storage.promises import GroupId
    from storage.types import LeaderEpoch

NOBODY: NodeId = -1


class Owner(NamedTuple):
    """What was heard of a group last."""

    node_id: NodeId
    """Who leads; NOBODY once it leads no more."""
    leader_epoch: LeaderEpoch
    """Largest heard of, so that no client is ever told a smaller one."""
    replicas: tuple[NodeId, ...]
    in_sync: tuple[NodeId, ...]


class Owners:
    """The newest hint of every group. Groups that are gone are forgotten when their topic is."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self._owners: dict[GroupId, Owner] = {}
        self.unled_at_ms = -(1 << 62)
        """When something was last found to be led no more, by whomever; monotonic clock."""

    def get(self, group: GroupId) -> Owner | None:
        """Return what was heard of a group."""
        return self._owners.get(group)

    def hear(
        self, node_id: NodeId, changes: Mapping[GroupId, Led | None], now_ms: int
    ) -> Iterator[GroupId]:
        """Take what a node says of what it leads; yield the groups for which that is news."""
        for group, led in changes.items():
            known = self._owners.get(group)
            if led is not None:
                if known is None or led.leader_epoch >= known.leader_epoch:
                    owner = Owner(node_id, led.leader_epoch, led.replicas, led.in_sync)
                    self._owners[group] = owner
                    yield group
            elif known is not None and known.node_id == node_id:
                self._owners[group] = known._replace(node_id=NOBODY)
                self.unled_at_ms = now_ms
                yield group

    def forget(self, group: GroupId) -> None:
        """A group is gone for good."""
        self._owners.pop(group, None)
