"""Logs: one line per event whatever strangers send, and a bound on noise."""

import io
import json
import logging
import random
import sys
from collections.abc import Iterator

import pytest

from tools import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(monkeypatch: pytest.MonkeyPatch, form: str, level: str = "info") -> io.StringIO:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.set_up(level, form)
    return stderr


def test_text_is_one_line_whatever_the_facts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends and control characters of a stranger cannot forge or break a line."""
    stderr = logged(monkeypatch, "text")
    facts = {"client": "a\nb\x1b[31m", "port": 7, "empty": "", "plain": "x.y"}
    logging.getLogger("mesh.test").warning("connection\rclosed", extra=facts)
    (line,) = stderr.getvalue().splitlines()
    assert line.split(" ", 1)[1] == (
        r'warning connection\rclosed client="a\nb\u001b[31m" port=7 empty="" plain=x.y'
    )


def test_json_is_one_object_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts keep their types; the four own names cannot be overwritten by them."""
    stderr = logged(monkeypatch, "json")
    logging.getLogger("mesh.test").error("gone", extra={"event": "forged", "n": 1, "s": "a\nb"})
    (line,) = stderr.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("at").endswith("Z")
    assert told == {"level": "error", "logger": "mesh.test", "event": "gone", "n": 1, "s": "a\nb"}


def test_long_values_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client id of a megabyte takes a bounded piece of the log."""
    stderr = logged(monkeypatch, "json")
    logging.getLogger("mesh.test").info("x", extra={"client": "c" * 1_000_000})
    assert len(json.loads(stderr.getvalue())["client"]) == logs.VALUE_CHARACTERS_MAX


@pytest.mark.parametrize("form", logs.FORMATS)
def test_an_exception_is_one_line(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Without --debug a stack stays out of the log; its last line is in."""
    stderr = logged(monkeypatch, form)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("mesh.test").exception("failed")
    (line,) = stderr.getvalue().splitlines()
    assert "ValueError: two" in line


def test_levels_below_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """--log-level warning leaves out info."""
    stderr = logged(monkeypatch, "text", level="warning")
    logging.getLogger("mesh.test").info("x")
    assert stderr.getvalue() == ""


def test_one_noisy_peer_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the burst a host's events of one cause vanish, on whatever port; others pass."""
    stderr = logged(monkeypatch, "text")
    log = logging.getLogger("mesh.test")
    for port in range(100):
        log.warning("closed", extra={"peer": f"10.0.0.1:{port}", "cause": "no frame"})
    log.warning("closed", extra={"peer": "10.0.0.2:1", "cause": "no frame"})
    log.warning("closed", extra={"peer": "10.0.0.1:1", "cause": "another"})
    log.warning("started")
    lines = stderr.getvalue().splitlines()
    assert len(lines) == logs.BURST + 3


def test_a_peer_with_many_causes_is_held_back_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cause may quote what the peer sent; making each one new does not buy more lines."""
    stderr = logged(monkeypatch, "text")
    log = logging.getLogger("mesh.test")
    for length in range(500):
        log.warning("closed", extra={"peer": "10.0.0.1:1", "cause": f"a frame of {length} bytes"})
    assert len(stderr.getvalue().splitlines()) == logs.HOST_BURST


@pytest.mark.parametrize("seed", range(50))
def test_limiter_is_what_counting_says(seed: int) -> None:
    """Per key and window the first events pass; the next line tells how many did not."""
    rng, limiter, now_ms = random.Random(seed), logs.RateLimiter(logs.BURST), 0
    begun: dict[str, int] = {}
    passed: dict[str, int] = {}
    held: dict[str, int] = {}
    for _ in range(400):
        now_ms += rng.choice((0, 1, 300, logs.WINDOW_MS))
        key = rng.choice("abc")
        if now_ms - begun.setdefault(key, now_ms) >= logs.WINDOW_MS:
            begun[key], passed[key] = now_ms, 0
        if passed.get(key, 0) < logs.BURST:
            assert limiter.admit((key, "cause"), now_ms) == held.pop(key, 0)
            passed[key] = passed.get(key, 0) + 1
        else:
            assert limiter.admit((key, "cause"), now_ms) is None
            held[key] = held.get(key, 0) + 1


def test_limiter_is_bounded() -> None:
    """A million addresses cost no more memory than the bound; the oldest are forgotten."""
    limiter = logs.RateLimiter(logs.BURST)
    for number in range(3 * logs.KEYS_MAX):
        for _ in range(logs.BURST + 1):
            limiter.admit((str(number), "cause"), 0)
    assert limiter.admit((str(3 * logs.KEYS_MAX - 1), "cause"), 0) is None
    assert limiter.admit(("0", "cause"), 0) == 0
    assert len(limiter._windows) == logs.KEYS_MAX


def test_a_closed_stderr_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose stderr is a broken pipe goes on."""

    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    logs.set_up("info", "text")
    logging.getLogger("mesh.test").info("x")
