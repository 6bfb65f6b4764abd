"""When a node may not go on as a member: a table for each reason."""

from __future__ import annotations

import pytest

from mesh.gossip import NOT_ASKED, OTHER_MESH, UNANSWERED
from mesh.node.mesh_port import is_final, is_stray

FOREIGN = f"{OTHER_MESH} 00"
TAKEN = "node 2 is alive at h:9"


@pytest.mark.parametrize(
    ("reasons", "final"),
    [
        ([], False),
        ([("asked:1", FOREIGN)], True),
        ([("asked:1", TAKEN)], True),
        ([("asked:1", UNANSWERED)], False),
        ([("asked:1", NOT_ASKED)], False),
        ([("asked:1", TAKEN), ("known:1", NOT_ASKED)], False),
        ([("asked:1", TAKEN), ("known:1", UNANSWERED)], False),
        ([("asked:1", TAKEN), ("known:1", TAKEN)], True),
        ([("known:1", TAKEN)], True),
        ([("known:1", FOREIGN)], False),
        ([("known:1", FOREIGN), ("known:2", FOREIGN)], False),
    ],
)
def test_only_what_was_refused_for_good_ends_a_join(
    reasons: list[tuple[str, str]], final: bool
) -> None:
    """Who was not reached, or not even asked, is asked again; so is a mesh that has moved."""
    assert is_final(reasons, ("asked:1",)) is final


@pytest.mark.parametrize(
    ("node_id", "members", "start", "age_s", "is_empty", "stray"),
    [
        (1, 1, 1, 5, True, True),
        (1, 1, 1, 5, False, True),
        (1, 1, 1, 90, False, False),
        (1, 1, 1, 90, True, True),
        (1, 1, 2, 5, True, True),
        (1, 1, 2, 5, False, False),
        (1, 2, 1, 5, True, False),
        (2, 1, 1, 5, True, False),
    ],
)
def test_a_founder_is_a_stray_while_nothing_rests_on_it(
    node_id: int, members: int, start: int, age_s: int, is_empty: bool, stray: bool
) -> None:
    """Not with members, not with topics of some age, and never a node that joined."""
    age_ms = 1000 * age_s
    found = is_stray(node_id, members=members, start=start, age_ms=age_ms, is_empty=is_empty)
    assert found is stray
