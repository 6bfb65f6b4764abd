"""Patterns of topics: compiled by RE2, which matches in linear time whatever a client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.model.errors import ErrorCode, KafkaError
from mesh.model.limits import PATTERN_BYTES_MAX, PATTERN_LENGTH_MAX

if TYPE_CHECKING:
    import re2


def _options() -> re2.Options:
    import re2  # some 5 ms that nearly every start can do without

    options = re2.Options()
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    return options


class Pattern:
    """One compiled pattern."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str) -> None:
        """Compile it.

        Raises:
            KafkaError: INVALID_REGULAR_EXPRESSION; also if it is too long, or would take more
                memory than a pattern may.
        """
        import re2  # as above

        fault = None
        if len(text) > PATTERN_LENGTH_MAX:
            fault = f"it is longer than {PATTERN_LENGTH_MAX} characters"
            text = text[:PATTERN_LENGTH_MAX] + "…"
        else:
            try:
                self._compiled = re2.compile(text, _options())
            except re2.error as error:
                fault = str(error.args[0].decode("utf-8", "replace") if error.args else error)
            finally:
                re2.purge()  # The library remembers what it compiled; we decide how much that is.
        if fault is not None:
            raise KafkaError(
                ErrorCode.INVALID_REGULAR_EXPRESSION,
                f"SubscribedTopicRegex `{text}` is not a valid regular expression: {fault}.",
            )
        self.text = text

    def matches(self, name: str) -> bool:
        """Whether the whole of a topic's name matches."""
        return self._compiled.fullmatch(name) is not None
