"""The loggers of this process behind the port of `mesh.broker.loggers`: those of the library."""

from __future__ import annotations

import logging

from mesh.broker.loggers import ROOT, Loggers

_LEVELS = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
"""Kafka's words; the library has no TRACE, and everything below DEBUG is written at it."""


class ProcessLoggers(Loggers):
    """What `logging` knows: every logger that somebody asked for, and the root."""

    def levels(self) -> dict[str, str]:
        """Return the level in force for each logger, by name."""
        found = logging.root.manager.loggerDict
        named = {name: each for name, each in found.items() if isinstance(each, logging.Logger)}
        return {
            name: _word(logger.getEffectiveLevel())
            for name, logger in sorted({ROOT: logging.root, **named}.items())
        }

    def set_level(self, name: str, level: str | None) -> None:
        """Set it; None takes it away, so that the parent's is in force."""
        logger = logging.root if name == ROOT else logging.getLogger(name)
        logger.setLevel(logging.NOTSET if level is None else _LEVELS[level])


def _word(number: int) -> str:
    """Return the lowest level that is still written."""
    return next((word for word, at in _LEVELS.items() if number <= at), "FATAL")
