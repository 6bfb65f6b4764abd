"""Scenarios that people write: played as they say, and told what is wrong with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulations.scenario_file import (
    FAULTS_MAX,
    FILE_BYTES_MAX,
    ScenarioError,
    Script,
    line_of,
    parse_script,
    read_script,
)
from simulations.scenarios import scripted, told
from simulations.scripted import Scripted, run_script

HEAD = "nodes = 6\nseconds = 20\n"


def parse(text: str) -> Script:
    return parse_script(text, "my.toml", "my")


def a_fault(*lines: str) -> str:
    return HEAD + "\n[[fault]]\n" + "\n".join(lines) + "\n"


def test_all_that_a_file_may_say() -> None:
    """Each key has its effect; what is not said has its default."""
    script = parse(
        'about = "x"\nnodes = 6\nseconds = 30\nprofile = "wan"\nracks = 2\nrandom = ["pause"]\n'
        "[link]\ndelay-ms = [1, 2.5]\ntail-ms = 3\nloss = 0.1\n"
        '[[fault]]\nkind = "split"\nat = 2.5\nnodes = [1, 2]\nbridge = [3]\nfor = 4\n'
        '[[fault]]\nkind = "crash"\nat = 3\nrack = 1\n'
    )
    assert (script.profile, script.racks, script.random) == ("wan", 2, ("pause",))
    assert script.link.delay_us == (1_000, 2_500)
    assert (script.link.tail_us, script.link.loss, script.link.duplicate) == (3_000, 0.1, 0.0)
    split, crash = script.faults
    assert (split.kind, split.at_s, split.for_s) == ("split", 2.5, 4)
    assert (split.nodes, split.bridge) == ((1, 2), (3,))
    assert (crash.rack, crash.for_s, crash.nodes) == (1, None, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nodes = 6\nsecconds = 3\n", "line 2: the key secconds is not known; did you mean secon"),
        ("seconds = 3\n", "a scenario says nodes, and this one does not"),
        ("nodes = 1\nseconds = 3\n", "line 1: nodes is 1; it may be from 2 to 1000"),
        ('nodes = "6"\nseconds = 3\n', "line 1: nodes is '6', and must be a whole number"),
        ("nodes = true\nseconds = 3\n", "line 1: nodes is True, and must be a whole number"),
        (HEAD + 'profile = "lam"\n', "line 3: profile 'lam' is not known; did you mean lan?"),
        (HEAD + "racks = 7\n", "line 3: 7 racks for 6 nodes would leave some empty"),
        (HEAD + 'random = ["los"]\n', "line 3: random 'los' is not known; did you mean loss?"),
        (HEAD + "random = 3\n", "line 3: random is a list"),
        (HEAD + "link = 3\n", "line 3: link is a table"),
        (HEAD + "[link]\n\nlos = 0.1\n", "line 5: the key los is not known; did you mean loss?"),
        (HEAD + "[link]\nloss = 1.5\n", "line 4: loss is 1.5; it may be from 0 to 1"),
        (HEAD + "[link]\nloss = nan\n", "line 4: loss is nan"),
        (HEAD + "[link]\ndelay-ms = [5, 1]\n", "line 4: delay-ms begins at 5 and ends before it"),
        (HEAD + "[link]\ndelay-ms = 5\n", "line 4: delay-ms is 5, and must be [least, most]"),
        (HEAD + "fault = 3\n", "line 3: faults are written as [[fault]]"),
        (a_fault("at = 3", 'kind = "crsh"'), "line 6: kind 'crsh' is not known; did you mean cr"),
        (a_fault("at = 3"), "line 4: a fault says kind"),
        (a_fault('kind = "crash"', "nodes = [1]"), "line 4: a fault says at"),
        (a_fault("at = 3", 'kind = "crash"'), "a crash says nodes, rack or count, one of them"),
        (
            a_fault("at = 3", 'kind = "crash"', "nodes = [1]", "count = 2"),
            "one of them; this one nodes and count",
        ),
        (a_fault("at = 21", 'kind = "crash"', "nodes = [1]"), "line 5: at is 21; it may be from"),
        (
            a_fault("at = 3", 'kind = "crash"', "nodes = [", " 1,", " 9]"),
            "line 7: nodes names node 9, and there are nodes 1 to 6",
        ),
        (a_fault("at = 3", 'kind = "crash"', "nodes = [2, 2]"), "line 7: nodes names node 2 twice"),
        (a_fault("at = 3", 'kind = "crash"', "nodes = []"), "must be a list of node ids"),
        (a_fault("at = 3", 'kind = "crash"', "rack = 0"), "line 7: it names a rack, and this"),
        (a_fault("at = 3", 'kind = "crash"', "nodes = [1]", "loss = 1"), "a crash takes no loss"),
        (a_fault("at = 3", 'kind = "pause"', "nodes = [1]"), "a pause says for, and this one"),
        (
            a_fault("at = 15", 'kind = "pause"', "nodes = [1]", "for = 6"),
            "line 8: a pause at 15 s for 6 s outlasts the 20 s of the run",
        ),
        (
            a_fault("at = 3", 'kind = "split"', "nodes = [1]", "bridge = [1]"),
            "line 8: node 1 is a bridge, so it cannot be on one side",
        ),
        (
            a_fault("at = 3", 'kind = "split"', "nodes = [1, 2, 3, 4, 5, 6]"),
            "line 4: a split of 6 from none: nobody is left on the other side",
        ),
        (a_fault("at = 3", 'kind = "clock"', "nodes = [1]", "rate = 9"), "line 8: rate is 9"),
        ("a = " + "[" * 20_000, "is not TOML"),
        ("nodes = " + "9" * 5_000, "is not TOML"),
        ("\n" * 6_000, "has more than 5000 lines"),
        ("nodes = \n", "is not TOML: Invalid value (at line 1"),
        (HEAD + "[[fault]]\n" * (FAULTS_MAX + 1), f"at most {FAULTS_MAX} of them"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    """Unknown words, values out of bounds and what cannot be: each with the line and a way out."""
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert "my.toml" in str(caught.value)
    assert told in str(caught.value)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """A missing file, a directory, one that is no text and one that is too long: each in words."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "long.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    for name, words in (
        ("missing.toml", "cannot be read: No such file"),
        ("", "cannot be read: Is a directory"),
        ("bytes.toml", "is no text in UTF-8"),
        ("long.toml", "is longer than"),
    ):
        with pytest.raises(ScenarioError, match=words):
            read_script(tmp_path / name)


def test_a_line_is_found_behind_comments_and_long_values() -> None:
    """Blank lines, comments and values over several lines do not shift what is told."""
    text = "# one\na = 1\n\n# two\nb = [\n  1,\n]\n[c]\nd = 2\n[[e]]\nf = 1\n[[e]]\nf = 2\n"
    places: dict[tuple[str | int, ...], int | None] = {
        ("a",): 2,
        ("b",): 5,
        ("c", "d"): 9,
        ("e", 1): 12,
        ("e", 1, "f"): 13,
        (): None,
        ("z",): None,
    }
    assert {place: line_of(text, place) for place in places} == places


@pytest.mark.parametrize("name", sorted(told()))
def test_our_stories_are_well(name: str) -> None:
    """Each scenario that comes with us is played, violates nothing, and is the same run again."""
    scenario = told()[name]
    assert scenario.about
    outcome = scenario.play(3)
    assert outcome.violations == ()
    again = scenario.play(3, records=True)
    assert again.trace_hash == outcome.trace_hash
    assert again.record.convergence


def test_faults_befall_whom_they_name() -> None:
    """A crashed rack comes back as another start; who joined is there, and who left is not."""
    script = parse(
        HEAD
        + "racks = 3\n"
        + '[[fault]]\nat = 2\nkind = "crash"\nrack = 1\nfor = 5\n'
        + '[[fault]]\nat = 3\nkind = "join"\ncount = 2\n'
        + '[[fault]]\nat = 4\nkind = "leave"\nnodes = [2]\n'
        + '[[fault]]\nat = 4\nkind = "clock"\nnodes = [3]\nrate = 1.01\n'
    )
    play = Scripted(script, 1, None)
    play.begin()
    play.befall()
    nodes = play.mesh.nodes
    assert sorted(nodes) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [one for one, node in nodes.items() if node.start == 2] == [1, 4]
    assert play.running() == [1, 3, 4, 5, 6, 7, 8]
    assert nodes[3].rate == 1.01
    assert play.invariants.differences() == []


def test_crashes_are_found_and_told() -> None:
    """What a run records: each observer of each crash, the load of each node, all at rest."""
    script = parse(a_fault("at = 5", 'kind = "crash"', "nodes = [3]"))
    record = run_script(script, 1, records=True).record
    assert len(record.detections_s) == 5
    assert all(0 < found < 8 for found in record.detections_s)
    assert len(record.load) == 6
    assert record.marks[0] == (5.0, "crash")
    assert record.convergence[-1][1] == 1.0
    assert scripted(script).play(1).trace_hash == run_script(script, 1).trace_hash
