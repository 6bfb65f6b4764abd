"""What every set of loggers must do: the same truths for the process's and for simulated ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mesh.broker.loggers import LEVELS, Loggers
from mesh.node.loggers import ProcessLoggers
from simulations.loggers import SimulatedLoggers

NAME = "tests.contracts.loggers"


@pytest.fixture(params=["process", "simulated"])
def loggers(request: pytest.FixtureRequest) -> Iterator[Loggers]:
    """Loggers among which is NAME, which has no level of its own; the root has INFO."""
    if request.param == "simulated":
        yield SimulatedLoggers(NAME)
        return
    logger, before = logging.getLogger(NAME), logging.root.level
    logging.root.setLevel(logging.INFO)
    yield ProcessLoggers()
    logging.root.setLevel(before)
    logger.setLevel(logging.NOTSET)


def test_a_logger_without_a_level_has_its_parents(loggers: Loggers) -> None:
    """Also after the parent's changed, and again once its own was taken away."""
    assert (loggers.levels()["root"], loggers.levels()[NAME]) == ("INFO", "INFO")
    loggers.set_level("root", "ERROR")
    assert loggers.levels()[NAME] == "ERROR"
    loggers.set_level(NAME, "DEBUG")
    assert (loggers.levels()["root"], loggers.levels()[NAME]) == ("ERROR", "DEBUG")
    loggers.set_level(NAME, None)
    assert loggers.levels()[NAME] == "ERROR"


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_is_told_as_it_was_set(loggers: Loggers, level: str) -> None:
    """Words that Kafka has and Python has not, too."""
    loggers.set_level(NAME, level)
    assert loggers.levels()[NAME] == level


def test_loggers_are_told_by_name(loggers: Loggers) -> None:
    """In one order, and asking makes none."""
    names = list(loggers.levels())
    assert names == sorted(names)
    assert names == list(loggers.levels())


def test_a_level_is_in_force_at_once() -> None:
    """What the process writes is what was set."""
    logger = logging.getLogger(NAME)
    ProcessLoggers().set_level(NAME, "DEBUG")
    assert logger.isEnabledFor(logging.DEBUG)
    ProcessLoggers().set_level(NAME, "FATAL")
    assert not logger.isEnabledFor(logging.ERROR)
    ProcessLoggers().set_level(NAME, None)


def test_a_level_between_two_is_the_higher_one() -> None:
    """A library may choose any number: told is the lowest level that is still written."""
    logging.getLogger(NAME).setLevel(logging.INFO + 1)
    assert ProcessLoggers().levels()[NAME] == "WARN"
    logging.getLogger(NAME).setLevel(logging.NOTSET)
