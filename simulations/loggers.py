"""Loggers that write nothing: a node in a test or a world changes no levels of the process."""

from __future__ import annotations

from mesh.broker.loggers import ROOT, Loggers


class SimulatedLoggers(Loggers):
    """A few loggers, of which those without a level have that of the root."""

    def __init__(self, *names: str) -> None:
        self._levels: dict[str, str | None] = {ROOT: "INFO", **dict.fromkeys(names)}

    def levels(self) -> dict[str, str]:
        """Return the level in force for each logger, by name."""
        root = self._levels[ROOT] or "INFO"
        return {name: level or root for name, level in sorted(self._levels.items())}

    def set_level(self, name: str, level: str | None) -> None:
        """Set it; None takes it away, so that the root's is in force."""
        self._levels[name] = level
