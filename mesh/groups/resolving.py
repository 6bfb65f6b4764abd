"""Which topics match the patterns of a group, looked up a bounded number of names at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.groups.consumer_image import Resolved
from mesh.groups.patterns import Pattern
from mesh.model.errors import KafkaError
from mesh.model.limits import PATTERN_MATCHES_MAX

if TYPE_CHECKING:
    from mesh.groups.turn import Turn


class Resolving:
    """One look, spread over as many turns as it needs; of the topics that there were at first."""

    def __init__(self, regexes: list[str], turn: Turn) -> None:
        """Begin.

        Args:
            regexes: patterns; one that is not valid (any more) matches nothing.
            turn: with the topics of now.
        """
        self.found: dict[str, Resolved] = {}
        """What is known so far; all of it once `go_on` has said so."""
        self._regexes = regexes
        self._names = sorted(turn.topics.names())
        self._version = turn.topics.version
        self._at_ms = turn.now.wall_ms
        self._pattern: Pattern | None = None
        self._next_name = 0
        self._matches: list[str] = []

    def go_on(self) -> bool:
        """Look at some more names; return whether it was the last time."""
        left = PATTERN_MATCHES_MAX
        while left > 0:
            if len(self.found) == len(self._regexes):
                return True
            left -= self._some(left)
        return len(self.found) == len(self._regexes)

    def _some(self, count_max: int) -> int:
        """Hold up to so many names against the present pattern; return how many it took."""
        regex = self._regexes[len(self.found)]
        if self._pattern is None:
            try:
                self._pattern = Pattern(regex)
            except KafkaError:
                self._next_name = len(self._names)
        names = self._names[self._next_name : self._next_name + count_max]
        if self._pattern is not None:
            self._matches += filter(self._pattern.matches, names)
        self._next_name += len(names)
        if self._next_name >= len(self._names):
            self.found[regex] = Resolved(tuple(self._matches), self._version, self._at_ms)
            self._pattern, self._next_name, self._matches = None, 0, []
        return max(len(names), 1)
