"""Builders for the registry's tests: what a test does not set has a plain default."""

from __future__ import annotations

import random

from mesh.model.config import BrokerConfig
from mesh.model.types import ReplicaId
from mesh.registry import (
    Change,
    NewTopic,
    Plan,
    Registry,
    plan_create_topic,
)


def a_registry(seed: int = 0) -> Registry:
    """The registry of node 1 with directory `d1`, empty."""
    return Registry(ReplicaId(1, "d1"), random.Random(seed))


class Mesh:
    """A registry, and the offsets and uncommitted records of its shards."""

    def __init__(self, nodes: int = 1, seed: int = 1) -> None:
        self.registry = a_registry(seed)
        self.registry.members = {node: f"d{node}" for node in range(1, nodes + 1)}
        self.config = BrokerConfig()
        self.ends = [0] * 8
        self.uncommitted: list[tuple[int, int, Plan]] = []

    def propose(self, plan: Plan) -> Plan:
        """Append a plan's records, as the broker does."""
        base_offset = self.ends[plan.shard]
        self.ends[plan.shard] += len(plan.records)
        self.registry.appended(plan.shard, base_offset, plan.records)
        self.uncommitted.append((plan.shard, base_offset, plan))
        return plan

    def commit(self) -> list[Change]:
        """Commit all that was appended, in the order of the appends."""
        uncommitted, self.uncommitted = self.uncommitted, []
        return [
            change
            for shard, base_offset, plan in uncommitted
            for offset, pair in enumerate(plan.records, base_offset)
            for change in self.registry.committed(shard, offset, pair)
        ]

    def plan(self, name: str = "orders", **wanted: object) -> Plan:
        """Plan a topic of one partition; `wanted` are NewTopic's other fields."""
        fields = {"partition_count": 1, **wanted}
        return plan_create_topic(
            self.registry,
            NewTopic(name=name, **fields),  # type: ignore[arg-type]
            self.config,
        )

    def create(self, name: str = "orders", **wanted: object) -> Plan:
        """Create a topic, committed."""
        plan = self.propose(self.plan(name, **wanted))
        self.commit()
        return plan
