"""`mesh simulate`: what it lists, plays and tells, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from simulations.broker_swarm import BrokerOutcome
from simulations.scenarios import SCENARIOS, Scenario, told
from simulations.swarm import CLASSES, Outcome, run
from tools import cli
from tools.brokers import _lines
from tools.errors import Exit


def test_every_class_of_faults_has_a_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault is in a scenario of few, and all scenarios are listed with what they are."""
    narrow = [row for row in SCENARIOS.values() if row.classes and len(row.classes) <= 3]
    assert {one for row in narrow for one in row.classes or ()} == set(CLASSES)
    assert cli.run(["simulate", "list", "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == 1
    assert [row["name"] for row in document["scenarios"]] == [*SCENARIOS, *told()]
    assert all(row["about"] for row in document["scenarios"])


def test_a_run_is_told_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON keeps its names, a seed has one trace, and people get the same in words."""
    words = ["simulate", "run", "crash", "--nodes", "5", "--seed", "3"]
    assert cli.run([*words, "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    promised = "scenario seed verdict violations trace_hash virtual_s real_s events"
    assert set(promised.split()) <= document.keys()
    assert (document["verdict"], document["violations"]) == ("ok", [])
    assert document["trace_hash"] == run(3, 5, ("crash",)).trace_hash
    assert cli.run(words) == Exit.OK
    told = capsys.readouterr().out
    assert "crash, seed 3: ok" in told
    assert document["trace_hash"] in told


def test_a_violated_run_is_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was violated is told, and scripts see it in the status."""
    plain = run(1, 3, ())

    def violated(*_: object, **__: object) -> Outcome:
        return dataclasses.replace(plain, violations=("at 1 s: something",))

    monkeypatch.setattr(Scenario, "play", violated)
    assert cli.run(["simulate", "run", "calm", "--seed", "1"]) == Exit.VIOLATED
    assert "VIOLATED at 1 s: something" in capsys.readouterr().out


def test_a_sweep_plays_all_its_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """Each seed once, over processes, with what came of them."""
    words = ["simulate", "sweep", "calm", "--nodes", "3", "--seeds", "5..11", "--jobs", "2"]
    assert cli.run([*words, "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    (row,) = document["scenarios"]
    assert (row["scenario"], row["seeds"], row["violated_seeds"]) == ("calm", 6, [])
    assert document["violated"] == 0
    assert cli.run(words) == Exit.OK
    assert "calm: 6 seeds, 0 violated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "spilt"], "did you mean split?"),
        (["run", "zzzzzz"], "mesh simulate list"),
        (["sweep", "calm", "--seeds", "9..9"], "no range of seeds"),
        (["sweep", "calm", "--seeds", "x"], "no range of seeds"),
        (["run", "calm", "--nodes", "2"], "--nodes"),
    ],
)
def test_what_cannot_be_played_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown scenario names the nearest, a wrong range says how to write one."""
    assert cli.run(["simulate", *words]) == Exit.USAGE
    assert told in capsys.readouterr().err


def test_experiments_are_listed_and_a_wrong_name_is_told_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a name all are listed; an unknown one, or a hopeless plot, is a usage error."""
    assert cli.run(["simulate", "experiment"]) == Exit.OK
    assert "detect-interval" in capsys.readouterr().out
    assert cli.run(["simulate", "experiment", "detect-interva"]) == Exit.USAGE
    assert "did you mean detect-interval?" in capsys.readouterr().err
    assert cli.run(["simulate", "experiment", "spread", "--plot", "plot.pdf"]) == Exit.USAGE
    assert "must end in" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("run", "storm"), ("sweep", "calm", "--seeds", "0..3")])
def test_what_runs_show_is_drawn(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A run and a sweep are drawn as a picture of some size."""
    plot = tmp_path / "plot.png"
    assert cli.run(["simulate", *words, "--plot", str(plot)]) == Exit.OK
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert plot.stat().st_size > 10_000


def test_a_file_is_played_and_its_faults_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that ends in .toml is a file: played, or refused with its line and a nearer word."""
    path = tmp_path / "my.toml"
    path.write_text('nodes = 4\nseconds = 9\n[[fault]]\nat = 2\nkind = "crash"\ncount = 1\n')
    assert cli.run(["simulate", "run", str(path), "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    assert (document["scenario"], document["nodes"]) == ("my", 4)
    assert len(document["detections_s"]) == 3
    path.write_text("nodes = 4\nsecond = 9\n")
    assert cli.run(["simulate", "run", str(path)]) == Exit.USAGE
    assert f"{path}, line 2: the key second is not known; did you mean seconds?" in (
        capsys.readouterr().err
    )
    assert cli.run(["simulate", "run", "calm", "--plot", "plot.pdf"]) == Exit.USAGE


def test_whole_processes_are_played_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A world of processes has a verdict and a trace, in words and in JSON."""
    words = ["simulate", "stack", "--seeds", "3..4", "--class", "stop", "--seconds", "3"]
    assert cli.run([*words, "--json"]) == Exit.OK
    document = json.loads(capsys.readouterr().out)
    (row,) = document["runs"]
    assert (row["seed"], row["verdict"], row["classes"]) == (3, "ok", ["stop"])
    assert row["starts"] > 3
    assert cli.run(words) == Exit.OK
    told = capsys.readouterr().out
    assert "1 seeds, 0 violated" in told
    assert row["trace_hash"] in told
    assert cli.run(["simulate", "stack", "--seeds", "4..4"]) == Exit.USAGE


def test_what_is_told_to_play_again_is_the_same_world() -> None:
    """A world that was played with so many nodes, or chosen faults, is named with them."""
    outcome = BrokerOutcome(7, 5, ("kill",), ("lost",), "", 1.0, 1.0, 1, 0, 0, 0, 0)
    *_, again, _ = _lines([outcome], [outcome], " --nodes 5 --class kill")
    assert again == "  mesh simulate brokers --seeds 7..8 --nodes 5 --class kill: lost"
