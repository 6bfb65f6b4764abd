"""Pictures of a node for tests: all zero but for what a test sets."""

from __future__ import annotations

import dataclasses

from mesh.model.histogram import Histogram
from mesh.model.statistics import (
    GroupStatistics,
    MemberFacts,
    NodeFacts,
    Rates,
    Statistics,
    ViewFacts,
)

FACTS = NodeFacts(
    cluster_id="6d0f5a8e-0000-4000-8000-000000000001",
    node_id=1,
    directory_id="0c0ffee0-0000-4000-8000-000000000002",
    address="127.0.0.1:9092",
    host="here",
    rack=None,
    version="0.1.0",
)


def a_picture(**changes: object) -> Statistics:
    """A node that has done nothing yet."""
    fields: dict[str, object] = {f.name: 0 for f in dataclasses.fields(Statistics)}
    fields |= {
        "node": FACTS,
        "draining": False,
        "reasons": (),
        "partitions_by_state": {"leader": 0, "follower": 0, "leaderless": 0},
        "registry_entries": {"topics": 0, "node_ids": 1, "broker_configs": 0},
        "partitions_not_ok": (),
        "errors": {},
        "recent": Rates(0.0, 0.0, 0.0, 0.0, 0.0),
        "append": Histogram().latency(),
        "sync": Histogram().latency(),
        "apis": (),
        "by_topic": (),
        "events": (),
        "groups": (),
        "groups_by_state": {},
        "moves": (),
        "held_by": {},
        "view": None,
    }
    return Statistics(**{**fields, **changes})  # type: ignore[arg-type]


def a_group(name: str = "g", **changes: object) -> GroupStatistics:
    """A group with a member that has read everything."""
    fields: dict[str, object] = {
        "group": name,
        "kind": "classic",
        "state": "Stable",
        "members": 1,
        "lag": 0,
        "lag_ms": 0,
        "blocked_by": None,
    }
    return GroupStatistics(**{**fields, **changes})  # type: ignore[arg-type]


def a_member(node_id: int, **changes: object) -> MemberFacts:
    """A member that is well."""
    plain = MemberFacts(
        node_id=node_id,
        state="alive",
        draining=False,
        address="127.0.0.1:9092" if node_id == 1 else "",
        peer=f"10.0.0.{node_id}:9093",
        admin=f"10.0.0.{node_id}:9094",
        rack=None,
        host="here",
        weight=100,
        version="0.1.0",
        probe_ms=None if node_id == 1 else 0.4,
        suspect_left_ms=None,
        unreached=(),
        load_percent=1,
        disk_free_percent=50,
        append_p99_ms=None,
        sync_p99_ms=2,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def a_view(*members: MemberFacts, **changes: object) -> ViewFacts:
    """A view on which all agree."""
    plain = ViewFacts(
        members=members,
        view_hash="00c0ffee00c0ffee",
        agree=True,
        age_ms=60_000,
        local_health=0,
        counters={"datagrams_in": 7},
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]
