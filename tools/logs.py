"""Logs: stderr, one line per event, text or JSON, and no flood because of one noisy peer.

The rooms log through the standard library: an event's name as the message, its facts as
`extra={...}`. Facts never hold record contents; here each is cut to a bound and escaped, because
some (a client id, say) come from strangers.
"""

import json
import logging
import sys
import time
from collections import OrderedDict
from datetime import UTC, datetime

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS = ("text", "json")

VALUE_CHARACTERS_MAX = 300
BURST = 5
"""Lines per window for one (peer, cause): enough to see a pattern, too few to fill a disk."""
HOST_BURST = 20
"""Lines per window for one host: causes may quote what it sent, and so be as many as it likes."""
WINDOW_MS = 10_000
KEYS_MAX = 1_024

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RateLimiter:
    """Lets `burst` events of one key pass per window, counts the others; of bounded size.

    When more than `KEYS_MAX` keys are live the longest unused is forgotten: a stranger with many
    addresses gets more lines, never more memory.
    """

    __slots__ = ("_burst", "_windows")

    def __init__(self, burst: int) -> None:
        self._burst = burst
        # key -> [start of its window, passed in it, held back since a line last passed]
        self._windows: OrderedDict[tuple[str, ...], list[int]] = OrderedDict()

    def admit(self, key: tuple[str, ...], now_ms: int) -> int | None:
        """Return how many were held back since the last line, or None to hold back this one."""
        window = self._windows.setdefault(key, [now_ms, 0, 0])
        self._windows.move_to_end(key)
        if len(self._windows) > KEYS_MAX:
            self._windows.popitem(last=False)
        if now_ms - window[0] >= WINDOW_MS:
            window[0], window[1] = now_ms, 0
        if window[1] >= self._burst:
            window[2] += 1
            return None
        window[1] += 1
        held_back, window[2] = window[2], 0
        return held_back


class PeerFilter(logging.Filter):
    """Limits events that name a peer and a cause, by both and by the peer; all others pass."""

    def __init__(self) -> None:
        super().__init__()
        self._by_cause = RateLimiter(BURST)
        self._by_host = RateLimiter(HOST_BURST)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the event is written; add how many before it were not."""
        peer, cause = getattr(record, "peer", None), getattr(record, "cause", None)
        if peer is None or cause is None:
            return True
        # A peer that connects again has another port, so its host alone is the key.
        host = str(peer).rpartition(":")[0] or str(peer)
        now_ms = time.monotonic_ns() // 1_000_000
        of_cause = self._by_cause.admit((host, str(cause)[:VALUE_CHARACTERS_MAX]), now_ms)
        of_host = None if of_cause is None else self._by_host.admit((host,), now_ms)
        if of_cause is None or of_host is None:
            return False
        if of_cause + of_host:
            record.held_back = of_cause + of_host
        return True


def facts(record: logging.LogRecord) -> dict[str, object]:
    """Return what the event's `extra` gave, each value a number, bool, None or bounded text."""
    found: dict[str, object] = {}
    for name, value in vars(record).items():
        if name not in _STANDARD:
            plain = value is None or isinstance(value, bool | int | float)
            found[name] = value if plain else _bounded(str(value))
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        found["error"] = _bounded(f"{type(error).__name__}: {error}")
    return found


def _bounded(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


def _instant(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z info connection closed peer=10.0.0.7:50312 cause="…"`."""

    def __init__(self, *, traces: bool = False) -> None:
        """`traces` adds Python's stack below the line of an event that has one."""
        super().__init__()
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        words = [_instant(record), record.levelname.lower(), _escaped(record.getMessage())]
        words += [f"{name}={_quoted(value)}" for name, value in facts(record).items()]
        line = " ".join(words)
        if self._traces and record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _escaped(text: str) -> str:
    return text if text.isprintable() else json.dumps(text, ensure_ascii=True)[1:-1]


def _quoted(value: object) -> str:
    text = str(value)
    needs_quotes = not text or not text.isprintable() or any(c in text for c in ' "=')
    return json.dumps(text, ensure_ascii=not text.isprintable()) if needs_quotes else text


class JsonFormatter(logging.Formatter):
    """One JSON object per line; `at`, `level`, `logger` and `event` are always there."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, without a line end."""
        document = {
            "at": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        return json.dumps(facts(record) | document, ensure_ascii=True)


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is now: the live screen puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except OSError:
            pass  # The reader of our stderr is gone; a node does not stop for that.


def set_up(level: str, format: str, *, traces: bool = False) -> None:  # noqa: A002
    """Send events of `level` and above to stderr; called once, by a command.

    Args:
        level: a key of `LEVELS`.
        format: one of `FORMATS`.
        traces: stacks below text lines of events that have one (`mesh --debug`).
    """
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(traces=traces))
    handler.addFilter(PeerFilter())
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
