"""Counting voters. Everything that a group decides rests on these few lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mesh.replication.state import NO_OFFSET, Config, Replica
from storage.types import Offset


def is_quorum(config: Config, replicas: Collection[Replica]) -> bool:
    """Say whether the voters among `replicas` are a majority of the config."""
    return 2 * sum(voter in replicas for voter in config.voters) > len(config.voters)


def quorum_end(config: Config, ends: Mapping[Replica, Offset]) -> Offset:
    """Return the largest offset below which a majority holds everything; silent ones hold nothing.

    Args:
        config: whose voters count; nobody else does.
        ends: what each replica holds, exclusive.
    """
    if len(config.voters) == 1:  # On the hot path of every node that is alone.
        return ends.get(config.voters[0], NO_OFFSET)
    held = sorted(ends.get(voter, NO_OFFSET) for voter in config.voters)
    return held[(len(held) - 1) // 2]
