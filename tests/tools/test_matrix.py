"""Who reaches whom, as people see it: whole where it fits, else what is wrong."""

from __future__ import annotations

import pytest

from mesh.metrics import status_document
from mesh.model.statistics import MemberFacts
from tests.mesh.metrics.pictures import a_member, a_picture, a_view
from tools.matrix import LEGEND, matrix_lines
from tools.status import status_lines
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
        "+ reached  x not reached  ? nobody knows  - dead or left; the others reach one",
        "another",
    ]


def test_who_does_not_answer_has_a_sign_of_its_own() -> None:
    """A suspect is neither reached nor not: what of it is drawn is what is known of it now."""
    view = seen(a_member(1), a_member(2), a_member(3, state="suspect", suspect_left_ms=900))
    assert matrix_lines(view, 80, 20)[1:4] == ["1        . + ?", "2        + . ?", "3        ? ? ."]
    few = ["each live member that answers reaches every other one"]
    assert matrix_lines(view, 80, 3) == few


@pytest.mark.parametrize("width", [40, 50, 80, 132])
@pytest.mark.parametrize("height", [1, 4, 10, 40])
@pytest.mark.parametrize("count", [2, 3, 8, 20, 100])
def test_nothing_is_wider_or_higher_than_it_may_be(count: int, height: int, width: int) -> None:
    """Whatever the mesh and the screen, and however few pairs are far from each other."""
    view = seen(*(a_member(n, unreached=(1,) if n == 2 else ()) for n in range(1, count + 1)))
    lines = matrix_lines(view, width, height)
    assert 0 < len(lines) <= height
    assert max(map(len, lines)) <= width


def test_the_whole_matrix_is_drawn_if_asked_for() -> None:
    """With --matrix all hundred members have their row and column, whatever the width."""
    view = seen(*(a_member(n) for n in range(1, 101)))
    assert "each member reaches every other one" in status_lines(view)
    lines = status_lines(view, whole_matrix=True)
    head = next(index for index, line in enumerate(lines) if line.startswith("from to"))
    assert lines[head].split()[2:] == [str(n) for n in range(1, 101)]
    assert lines[head + 100].split() == ["100", *"+" * 99, "."]


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
