"""Who reaches whom, as people see it: whole where it fits, else what is wrong."""

from __future__ import annotations

import pytest

from mesh.metrics import status_document
from mesh.model.statistics import MemberFacts
from tests.mesh.metrics.pictures import a_member, a_picture, a_view
from tools.matrix import LEGEND, matrix_lines
from tools.view import BadStatusError, View, view_untrusted


def seen(*members: MemberFacts) -> View:
    return view_untrusted(status_document(a_picture(view=a_view(*members))))


def test_a_small_mesh_is_drawn_whole() -> None:
    """Each pair has its sign: itself, reached, not reached, and who is dead or has left."""
    view = seen(a_member(1), a_member(2, unreached=(3,)), a_member(3), a_member(10, state="dead"))
    assert matrix_lines(view, 80, 20) == [
        "from to   1  2  3 10",
        "1         .  +  +  -",
        "2         +  .  x  -",
        "3         +  +  .  -",
        "10        ?  ?  ?  .",
        LEGEND,
    ]


def test_a_large_mesh_is_cut_to_what_is_wrong() -> None:
    """Of a hundred members only those that somebody does not reach are drawn."""
    members = [a_member(n, unreached=(7, 99) if n == 50 else ()) for n in range(1, 101)]
    assert matrix_lines(seen(*members), 80, 30) == [
        "from to   7 50 99",
        "7         .  +  +",
        "50        x  .  x",
        "99        +  +  .",
        f"{LEGEND}; the others reach one another",
    ]


@pytest.mark.parametrize("width", [40, 80])
def test_what_fits_nowhere_is_a_sentence(width: int) -> None:
    """No line is wider than it may be, and there are no more than fit."""
    well = [a_member(n) for n in range(1, 101)]
    assert matrix_lines(seen(*well), width, 30) == ["each member reaches every other one"]
    ill = [a_member(n, unreached=tuple(range(1, 50))) for n in range(1, 101)]
    (line,) = matrix_lines(seen(*ill), width, 30)
    assert line.startswith("4,851 pairs of members do not")
    assert len(line) <= width
    gone = [*well[:99], a_member(100, state="left")]
    assert matrix_lines(seen(*gone), width, 30) == ["each live member reaches every other one"]
    assert matrix_lines(seen(a_member(1)), width, 30) == []


@pytest.mark.parametrize("reach", [[[True]], [[True, True], [1, True]], [3], "x"])
def test_what_is_no_matrix_is_refused(reach: object) -> None:
    """A document whose matrix has another size, or holds what is no answer, is none."""
    document = status_document(a_picture(view=a_view(a_member(1), a_member(2))))
    with pytest.raises(BadStatusError, match="reach"):
        view_untrusted({**document, "reach": reach})
    assert view_untrusted({**document, "reach": None}).reach == ()
