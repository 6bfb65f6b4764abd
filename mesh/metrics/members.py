"""What a node believes of the mesh: rows, matrix and reasons of the status document."""

from __future__ import annotations

from mesh.model.statistics import MemberFacts, ViewFacts

DISAGREES_MS = 10_000
"""Views that differ for longer are a reason to look; news is on its way for less."""
PAIRS_TOLD_MAX = 5
"""Members that do not reach others, told one by one."""


def member_row(member: MemberFacts) -> dict[str, object]:
    """Return a member as it is told of others; what only the member itself knows is null."""
    return {
        "node_id": member.node_id,
        "state": member.state,
        "draining": member.draining,
        "address": member.address,
        "rack": member.rack,
        "host": member.host,
        "version": member.version,
        "leaders": None,
        "replicas": None,
        "probe_ms": None if member.probe_ms is None else round(member.probe_ms, 1),
        "suspect_left_ms": member.suspect_left_ms,
        "in_mb_s": None,
        "out_mb_s": None,
        "append_p99_ms": member.append_p99_ms,
        "sync_p99_ms": member.sync_p99_ms,
        "disk_free_bytes": None,
        "peer": member.peer,
        "admin": member.admin,
        "weight": member.weight,
        "load_percent": member.load_percent,
        "disk_free_percent": member.disk_free_percent,
        "start": member.start,
        "incarnation": member.incarnation,
    }


def reach(view: ViewFacts) -> list[list[bool | None]]:
    """Return who reaches whom: a row for each member, with a column for each.

    Rows and columns stand in the order of the members. Nobody reaches who is dead or has left. What
    those reach nobody knows, nor what a suspect reaches, nor who still reaches one: that is null.
    """
    state_of = {member.node_id: member.state for member in view.members}

    def reaches(row: MemberFacts, target: int) -> bool | None:
        if row.state not in ("alive", "suspect"):
            return None
        if state_of[target] in ("dead", "left") or target in row.unreached:
            return False
        # What a suspect told is of before, and of one that talks to nobody each would say in its
        # own time that it does not reach it: until then "reached" would be a guess.
        if row.node_id != target and "suspect" in (row.state, state_of[target]):
            return None
        return True

    return [[reaches(row, other.node_id) for other in view.members] for row in view.members]


def mesh_reasons(view: ViewFacts) -> list[str]:
    """Return what is not well in the mesh, a sentence each."""
    reasons = []
    for member in view.members:
        name = f"node {member.node_id} ({member.peer})"
        if member.state == "suspect":
            left_s = (member.suspect_left_ms or 0) / 1000
            reasons.append(f"{name} does not answer; it is held dead in {left_s:.1f} s")
        elif member.state == "dead":
            reasons.append(f"{name} is dead")
    if not view.agree and view.age_ms > DISAGREES_MS:
        reasons.append("members do not agree on who is there")
    far = [member for member in view.members if member.unreached and member.state == "alive"]
    for member in far[:PAIRS_TOLD_MAX]:
        others = ", ".join(map(str, member.unreached))
        reasons.append(f"node {member.node_id} does not reach {others}")
    if len(far) > PAIRS_TOLD_MAX:
        reasons.append(f"{len(far) - PAIRS_TOLD_MAX} more members do not reach all others")
    return reasons
