"""`mesh why node ID`: what people and scripts get, and what is no answer."""

from __future__ import annotations

import json

import pytest

from mesh.metrics import why_document
from mesh.model.statistics import MemberEvent
from tests.mesh.metrics.pictures import a_member, a_picture, a_view
from tests.tools.test_status import a_server, http
from tools import cli
from tools.errors import Exit
from tools.view import BadStatusError
from tools.why import why_lines_untrusted

HISTORY = (MemberEvent(1_000, "joined", "first"), MemberEvent(2_000, "dead", "gone\x1b[2J"))


def a_document(**changes: object) -> dict[str, object]:
    view = a_view(a_member(1), a_member(3, state="dead"), history={3: HISTORY})
    document = why_document(a_picture(view=view, at_ms=9_000, wall_ms=9_000), 3)
    assert document is not None
    return {**document, **changes}


def test_people_are_told_state_reasons_and_events() -> None:
    """The state and since when, why, and what happened, without what steers a terminal."""
    head, reason, title, *events = why_lines_untrusted(a_document())
    assert head.startswith("node 3 is dead, since 1970-01-01 ")
    assert head.endswith(" (7 s), as node 1 sees it")
    assert reason == "  gone?[2J"
    assert title.startswith("what happened")
    assert [line.split("  ")[-1] for line in events] == ["first", "gone?[2J"]


def test_scripts_get_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json it is printed as it came."""
    with a_server(http(json.dumps(a_document()).encode())) as admin:
        assert cli.run(["why", "node", "3", "--admin", admin, "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == a_document()


def test_who_is_not_known_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What the node says of it is printed, and the status is one of its own."""
    with a_server(http(b"node 9 is not known\x1b here", "404 Not Found")) as admin:
        assert cli.run(["why", "node", "9", "--admin", admin]) == Exit.REFUSED
    error = capsys.readouterr().err
    assert "node 9 is not known? here" in error
    assert "--admin" in error


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        a_document(format=2),
        a_document(because="no list"),
        a_document(events=[3]),
        a_document(since_ms="yesterday"),
        a_document(since_ms=10**30),
        a_document(state=None),
    ],
)
def test_what_is_no_answer_is_refused(document: object) -> None:
    """Another server, or a later format, is no reason for a trace."""
    with pytest.raises(BadStatusError):
        why_lines_untrusted(document)
