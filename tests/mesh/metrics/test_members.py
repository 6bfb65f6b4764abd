"""The mesh in the status document: rows, the matrix of who reaches whom, and what is not well."""

from __future__ import annotations

import pytest

from mesh.metrics.members import mesh_reasons, reach
from mesh.metrics.status import status_document
from mesh.model.statistics import ViewFacts
from tests.mesh.metrics.pictures import a_member, a_picture, a_view
from tools.screen import screen_lines
from tools.status import status_lines
from tools.view import view_untrusted


def test_the_matrix_tells_who_reaches_whom() -> None:
    """Rows and columns are the members; nobody reaches the dead, or knows whom they reach."""
    view = a_view(a_member(1), a_member(2, unreached=(3,)), a_member(3), a_member(4, state="dead"))
    assert reach(view) == [
        [True, True, True, False],
        [True, True, False, False],
        [True, True, True, False],
        [None, None, None, None],
    ]


def test_what_a_suspect_reaches_and_who_reaches_it_is_not_known() -> None:
    """A member that does not answer is drawn neither as reached nor as reaching anybody."""
    view = a_view(a_member(1), a_member(2, unreached=(3,)), a_member(3, state="suspect"))
    assert reach(view) == [[True, True, None], [True, True, False], [None, None, True]]


@pytest.mark.parametrize(
    ("view", "reasons"),
    [
        (a_view(a_member(1), a_member(2)), []),
        (a_view(a_member(1), a_member(2, state="left")), []),
        (
            a_view(a_member(1), a_member(2, state="suspect", suspect_left_ms=1_250)),
            ["node 2 (10.0.0.2:9093) does not answer; it is held dead in 1.2 s"],
        ),
        (a_view(a_member(1), a_member(2, state="dead")), ["node 2 (10.0.0.2:9093) is dead"]),
        (a_view(a_member(1), agree=False, age_ms=9_000), []),
        (a_view(a_member(1), agree=False), ["members do not agree on who is there"]),
        (a_view(a_member(1, unreached=(2, 3))), ["node 1 does not reach 2, 3"]),
    ],
)
def test_what_is_not_well_is_a_reason(view: ViewFacts, reasons: list[str]) -> None:
    """Each fault is a sentence; a node that left, and views that just changed, are none."""
    assert mesh_reasons(view) == reasons
    document = status_document(a_picture(view=view))
    assert document["reasons"] == reasons
    assert document["healthy"] is not bool(reasons)


def test_many_faults_are_few_lines() -> None:
    """Of many members that do not reach others five are told, and how many more there are."""
    view = a_view(*(a_member(node_id, unreached=(1,)) for node_id in range(2, 22)))
    assert len(mesh_reasons(view)) == 6
    assert mesh_reasons(view)[-1] == "15 more members do not reach all others"


def test_a_node_tells_more_of_itself_than_of_others() -> None:
    """Its own row has what only it knows; in others that is null; names are the same in both."""
    view = a_view(a_member(1), a_member(2, load_percent=25))
    document = status_document(a_picture(view=view, disk_free_bytes=5))
    nodes = document["nodes"]
    assert isinstance(nodes, list)
    own, other = nodes
    assert own.keys() == other.keys()
    assert (own["leaders"], own["disk_free_bytes"]) == (0, 5)
    assert (other["leaders"], other["disk_free_bytes"], other["load_percent"]) == (None, None, 25)
    assert document["view_hash"] == "00c0ffee00c0ffee"
    assert document["here"]["gossip"] == {"datagrams_in": 7}  # type: ignore[index]


def test_people_see_the_members() -> None:
    """`mesh status` has a line for each; the screen shows the worst first, in few lines."""
    members = [a_member(node_id) for node_id in range(1, 50)]
    members.append(a_member(50, state="suspect", suspect_left_ms=1_500))
    view = view_untrusted(status_document(a_picture(view=a_view(*members))))
    lines = status_lines(view)
    assert sum(line.startswith(("1 ", "50 ")) for line in lines) == 2
    assert "49 alive, 1 suspect; view 00c0ffee00c0ffee, 1 min 0 s old, all agree" in "\n".join(
        lines
    )
    screen = [line for line, _ in screen_lines(None, view, 80, 24)]
    assert all(len(line) <= 80 for line in screen)
    assert any(line.startswith("50 suspect 1.5 s") for line in screen)
    assert any(line.startswith("and ") and line.endswith("more") for line in screen)
    narrow = screen_lines(None, view, 30, 10)
    assert len(narrow) <= 10
