"""Why a member is in the state that it is: the document of `/why/ID` and `mesh why --json`."""

from __future__ import annotations

from mesh.metrics.members import member_row
from mesh.model.statistics import MemberEvent, MemberFacts, Statistics, ViewFacts

FORMAT = 1
"""Names may be added under one format, never changed or taken away."""
IDS_TOLD_MAX = 16
LEADS_TO = {
    "joined": "alive",
    "suspect": "suspect",
    "cleared": "alive",
    "refuted": "alive",
    "dead": "dead",
    "back": "alive",
    "left": "left",
}
"""The state that a member has after an event of a kind; other kinds change none."""


def why_document(now: Statistics, node_id: int) -> dict[str, object] | None:
    """Return what this node knows of a member's state, and how it came to that.

    Returns:
        None if it knows nothing of such a member, and nothing happened to one.
    """
    view = now.view
    if view is None:
        return None
    events = view.history.get(node_id, ())
    member = next((one for one in view.members if one.node_id == node_id), None)
    if member is None and not events:
        return None
    state = "forgotten" if member is None else member.state
    behind_ms = now.wall_ms - now.at_ms
    since = since_ms(events, state)
    if since is None and node_id == now.node.node_id and state == "alive":
        since = now.at_ms - now.uptime_ms  # Nobody told it that it began.
    return {
        "format": FORMAT,
        "at_ms": now.wall_ms,
        "node_id": node_id,
        "told_by": now.node.node_id,
        "told_by_local_health": view.local_health,
        "state": state,
        "since_ms": None if since is None else since + behind_ms,
        "because": _reasons(now, view, member, events),
        "unreached_by": _unreached_by(view, node_id),
        "member": None if member is None else member_row(member),
        "events": [
            {"at_ms": event.at_ms + behind_ms, "kind": event.kind, "text": event.text}
            for event in events
        ],
    }


def since_ms(events: tuple[MemberEvent, ...], state: str) -> int | None:
    """Return when a state began, by the events; None if that was before the oldest one."""
    was, began = None, None
    for event in events:
        leads_to = LEADS_TO.get(event.kind, was)
        # The first event tells a beginning only if nothing was known before it.
        if leads_to != was and (was is not None or event.kind != "refuted"):
            began = event.at_ms
        was = leads_to
    return began if was == state else None


def _reasons(
    now: Statistics,
    view: ViewFacts,
    member: MemberFacts | None,
    events: tuple[MemberEvent, ...],
) -> list[str]:
    """Return sentences: what led to the state, then what others see of it, then how it is."""
    if member is None:
        return [*_newest(events, "expelled", "left"), "long enough ago to be forgotten"]
    own = member.node_id == now.node.node_id
    reasons = []
    if member.state == "suspect":
        reasons = _newest(events, "accused")
        left_s = (member.suspect_left_ms or 0) / 1000
        reasons.append(f"unless it says that it is alive, it is found dead in {left_s:.1f} s")
    elif member.state == "dead":
        reasons = _newest(events, "draining", "accused", "dead")
    elif member.state == "left":
        reasons = _newest(events, "expelled", "left")
    elif own:
        reasons.append("it is the node that tells this")
    elif member.probe_ms is not None:
        reasons.append(f"it answers this node's probes, within {member.probe_ms:.1f} ms")
    else:
        reasons.append("others probe it, and nobody says that it does not answer")
    if member.state in ("alive", "suspect"):
        if unreached_by := _unreached_by(view, member.node_id):
            reasons.append(f"it is not reached by {_ids(unreached_by)}")
        if member.unreached:
            reasons.append(f"it does not reach {_ids(list(member.unreached))}")
        if member.draining:
            reasons.append("it stops, and means to come back")
        reasons += _own_words(member)
    if view.local_health:
        whose = "it" if own else f"node {now.node.node_id}, which tells this,"
        reasons.append(
            f"{whose} is not well itself (local health {view.local_health}; 0 is well): "
            "its own probes failed lately"
        )
    return reasons


def _own_words(member: MemberFacts) -> list[str]:
    """Return how a member is by its own words, if it told anything."""
    told = (
        ("load", member.load_percent, "%"),
        ("append p99", member.append_p99_ms, "ms"),
        ("sync p99", member.sync_p99_ms, "ms"),
        ("disk free", member.disk_free_percent, "%"),
    )
    words = [f"{name} {value} {unit}" for name, value, unit in told if value is not None]
    return [f"it says of itself: {', '.join(words)}"] if words else []


def _newest(events: tuple[MemberEvent, ...], *kinds: str) -> list[str]:
    """Return the texts of the newest event of each kind since its last life began, in order."""
    found: dict[str, str] = {}
    for event in events:
        if event.kind in ("joined", "back", "refuted", "cleared"):
            found.clear()
        if event.kind in kinds:
            found[event.kind] = event.text
    return list(found.values())


def _unreached_by(view: ViewFacts, node_id: int) -> list[int]:
    live = (member for member in view.members if member.state in ("alive", "suspect"))
    return [member.node_id for member in live if node_id in member.unreached]


def _ids(ids: list[int]) -> str:
    told = [str(one) for one in ids[:IDS_TOLD_MAX]]
    if len(ids) > IDS_TOLD_MAX:
        told.append(f"{len(ids) - IDS_TOLD_MAX} more")
    return ", ".join(told)
