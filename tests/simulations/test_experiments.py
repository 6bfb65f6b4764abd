"""The experiments: counting rules, the yardstick, results that are kept, plots."""

from __future__ import annotations

import json
import sys
from collections import Counter
from math import isnan
from pathlib import Path

import pytest

from mesh.gossip import Changed, Member, State
from mesh.gossip.member import EMPTY_MAP
from simulations import plots
from simulations.experiments import EXPERIMENTS, MACHINES, ResultsError, run
from simulations.experiments.counting import Death, detection_ms, false_positives, percentile
from simulations.experiments.frame import Cell, Report
from simulations.experiments.trial import Trial
from simulations.plain_swim import PlainSettings


def test_only_deaths_of_healthy_nodes_are_false_positives() -> None:
    """A slow node held dead is no false positive; each observer of a healthy one counts."""
    deaths = [Death(1, 1, 9), Death(2, 9, 1), Death(3, 2, 1), Death(4, 3, 1)]
    assert false_positives(deaths, {9}) == (3, 2)


def test_a_member_that_is_held_dead_again_counts_again() -> None:
    """A history by hand: held dead, heard again, held dead; found by one ill, told to another."""
    trial = Trial(1, "plain")
    trial.agreed(4)
    ill = {4}
    alive, dead = State.ALIVE, State.DEAD
    history = [(4, 1, dead), (4, 1, alive), (4, 1, dead), (2, 1, dead), (2, 4, dead), (4, 4, dead)]
    for at_ms, (observer, subject, state) in enumerate(history):
        trial.run_until(at_ms)
        was = alive if state is dead else dead
        before, after = (Member(subject, 1, 0, s, 0, EMPTY_MAP) for s in (was, state))
        for watcher in trial.mesh.watchers:
            watcher(trial.mesh.nodes[observer], Changed(before, after))
    assert len(trial.deaths) == 4
    assert false_positives(trial.deaths, ill) == (3, 1)


def test_the_sample_is_no_choice_of_hard_cells() -> None:
    """Every D and I comes up as often as in the whole table, and the mean of C is its mean."""
    cells = EXPERIMENTS["detect-interval"].cells("sample")
    whole = EXPERIMENTS["detect-interval"].cells("all")
    for knob in "DI":
        assert {cell.knobs[knob] for cell in cells} == {cell.knobs[knob] for cell in whole}
    pairs = Counter((cell.knobs["D"], cell.knobs["I"]) for cell in cells)
    assert len(set(pairs.values())) == 1
    means = [sum(cell.knobs["C"] for cell in some) / len(some) for some in (cells, whole)]
    assert abs(means[0] - means[1]) < 0.2
    assert len(whole) == 4_320


def test_detection_is_counted_from_healthy_observers_after_the_fault() -> None:
    """What ill nodes find, or was found before, is no detection; all is the last of all healthy."""
    deaths = [Death(5, 1, 9), Death(12, 8, 9), Death(13, 1, 9), Death(17, 2, 9), Death(18, 1, 8)]
    assert detection_ms(deaths, {8, 9}, 2, since_ms=10) == ([3, 8], [7])


def test_percentiles_are_the_nearest_rank() -> None:
    """A percentile is a sample that was seen; of nothing it is no number."""
    assert percentile(range(1, 101), 99) == 99
    assert percentile([3, 1, 2], 50) == 2
    assert isnan(percentile([], 50))


def test_parameters_of_plain_swim_are_those_of_memberlist() -> None:
    """At 128 members: 10.5 s of suspicion, 12 transmissions, an exchange each 90 s."""
    settings = PlainSettings()
    assert settings.suspicion_ms(128) == 10_535
    assert settings.transmits_max(128) == 12
    assert settings.push_pull_ms(128) == 90_000


def test_plain_swim_finds_a_crash_after_its_suspicion() -> None:
    """Ten members: one crashes, and is dead to all others 5 s after it was suspected first."""
    trial = Trial(1, "plain")
    trial.agreed(10)
    trial.run_until(2_000)
    trial.mesh.crash(3)
    trial.run_until(7_000)
    assert not trial.deaths
    trial.run_until(20_000)
    assert {death.subject for death in trial.deaths} == {3}
    assert all(size == 9 for node_id, size in trial.views.items() if node_id != 3)


def test_plain_swim_lets_members_join_and_leave() -> None:
    """Who joins is known to all; who leaves is forgotten without having been suspect."""
    trial = Trial(1, "plain")
    trial.join(1, ())
    for node_id in range(2, 9):
        trial.join(node_id, (1,))
    trial.run_until(10_000)
    assert set(trial.views.values()) == {8}
    trial.mesh.leave(4)
    trial.run_until(12_000)
    assert not trial.deaths
    assert all(size == 7 for node_id, size in trial.views.items() if node_id != 4)


def test_a_blocked_member_of_plain_swim_is_caught_in_its_next_send() -> None:
    """Timers run while it is blocked, so it suspects whom it could not even ask."""
    trial = Trial(3, "plain")
    trial.agreed(8)
    trial.block([1], 2_000, 4_000, 1_000, 7_000)
    states: list[State] = []
    trial.mesh.watchers.append(
        lambda node, changed: states.append(changed.after.state) if node.node_id == 1 else None
    )
    trial.run_until(5_900)
    assert not states
    trial.run_until(6_100)
    assert State.SUSPECT in states


def test_a_suspect_of_plain_swim_refutes_at_once() -> None:
    """One that was blocked for less than a suspicion lasts is never held dead; idle ones say no
    more than probes and their answers."""
    trial = Trial(1, "plain")
    trial.agreed(32)
    trial.run_until(60_000)
    assert trial.mesh.datagrams_sent < 32 * 60 * 2.1
    trial.block([1, 2], 60_000, 4_000, 1_000, 64_000)
    states: list[State] = []
    trial.mesh.watchers.append(lambda _, changed: states.append(changed.after.state))
    trial.run_until(90_000)
    assert State.SUSPECT in states
    assert not trial.deaths


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.slow
def test_the_smallest_cells_of_each_experiment_run(name: str, machine: str) -> None:
    """Each experiment has a table with what was published and what it found."""
    text = run(name, "small", machine).text()
    assert "published" in text
    assert machine in text


def test_results_that_are_kept_are_not_run_again(tmp_path: Path) -> None:
    """A second run takes all from the file; a torn last line runs again, another one is named."""
    path = tmp_path / "results.jsonl"
    done: list[str] = []
    first = run("loss-join", "small", "gossamer", path, lambda _, __, key: done.append(key))
    again = run("loss-join", "small", "gossamer", path, lambda _, __, key: done.append(key))
    assert again == first
    assert len(done) == 1
    line = path.read_text()
    path.write_text(line + line[:20])
    assert run("loss-join", "small", "gossamer", path) == first
    path.write_text("no json\n" + line)
    with pytest.raises(ResultsError, match="line 1 of"):
        run("loss-join", "small", "gossamer", path)
    assert json.loads(line)["experiment"] == "loss-join"


def test_plots_are_drawn_or_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A curve for each series; an unknown suffix, no samples, no matplotlib: told in words."""
    report = Report("spread", ("what",), (), (), (("N = 3", [0.1, 0.2, 0.4]), ("none", [])))
    plots.draw(report, tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()
    with pytest.raises(plots.PlotError, match="must end in"):
        plots.draw(report, tmp_path / "plot.pdf")
    with pytest.raises(plots.PlotError, match="nothing to draw"):
        plots.draw(Report("bootstrap", (), (), ()), tmp_path / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(plots.PlotError, match="pip install"):
        plots.check(tmp_path / "plot.png")


def test_who_hears_for_a_moment_only_holds_nobody_healthy_dead() -> None:
    """Blocked for 8 s and free for 1 ms again and again: no suspicion of such a time comes true."""
    trial = Trial(2, "gossamer")
    trial.agreed(48)
    ill = trial.rng.sample(range(1, 49), 12)
    trial.block(ill, 3_000, 8_192, 1, 52_000)
    trial.run_until(52_000)
    assert false_positives(trial.deaths, ill) == (0, 0)
    assert {death.subject for death in trial.deaths} == set(ill)


@pytest.mark.parametrize(
    ("name", "figure", "most"),
    [
        ("detect-interval", "fp", 0),
        ("detect-latency", "first_ms", 5_000),
        ("slow-cpu", "fp_healthy", 0),
        ("spread", "last_s", 0.15),
        ("spread", "sends", 5),
        ("loss-join", "deaths", 0),
        ("bootstrap", "done_s", 15),
        ("rapid-faults", "done_s", 8),
        ("rapid-faults", "again_s", 0),
        ("rapid-faults", "fp", 0),
    ],
)
def test_targets_hold_in_small_cells(name: str, figure: str, most: float) -> None:
    """What docs/experiments.md says is met is met in the cells that take a moment, too."""
    experiment = EXPERIMENTS[name]
    for cell in experiment.cells("small"):
        found = experiment.run_cell(cell, "gossamer")[figure]
        assert found
        assert max(found) <= most


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_news_reaches_all_where_a_quarter_is_lost(seed: int) -> None:
    """At 25 % loss a change reaches each of 100 members within its target, in five sends a node."""
    figures = EXPERIMENTS["spread"].run_cell(Cell({"N": 100, "loss": 0.25}, seed), "gossamer")
    assert figures["last_s"][0] <= 0.15
    assert figures["sends"][0] <= 5
