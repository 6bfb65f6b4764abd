"""`--from` and `--until`: an offset or an instant, as people write them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from mesh.client import EARLIEST, LATEST, AtOffset, AtTime, Place

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
HOW = (
    "earliest, latest, an OFFSET, -N (records before the end)",
    "a time as 2026-01-31T12:00 (local, or with Z or +01:00), @MILLISECONDS since 1970",
    "an age as 90s, 15m, 2h, 7d",
)
OFFSET_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class BeforeEnd:
    """So many offsets before the end of each partition."""

    count: int


def parse_place(text: str, now_ms: int) -> Place | BeforeEnd:
    """Return the place that a flag's value names; now_ms is the wall clock.

    Raises:
        ValueError: it names none; the text says what would.
    """
    word = text.strip().lower()
    if word in ("earliest", "beginning", "start"):
        return EARLIEST
    if word in ("latest", "end"):
        return LATEST
    if re.fullmatch(r"\d{1,19}", word) and int(word) <= OFFSET_MAX:
        return AtOffset(int(word))
    if re.fullmatch(r"-\d{1,18}", word):
        return BeforeEnd(int(word[1:]))
    if re.fullmatch(r"@\d{1,15}", word):
        return AtTime(int(word[1:]))
    if age := re.fullmatch(r"-?(\d{1,9})([smhd])(?: ago)?", word):
        return AtTime(max(0, now_ms - int(age[1]) * UNITS_MS[age[2]]))
    try:
        return AtTime(parse_instant(text))
    except BadInstantError:
        raise ValueError(f"{text!r} is not one of: {', '.join(HOW)}") from None


class BadInstantError(ValueError):
    """What was typed is no point in time at all."""


def parse_instant(text: str) -> int:
    """Return the milliseconds since 1970 of a time as 2026-01-31T12:00, local unless it says.

    Raises:
        BadInstantError: it is none.
        ValueError: it is before 1970.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        milliseconds = round(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise BadInstantError(
            f"{text!r} is no time: write it as 2026-01-31T12:00 (local, or with Z or +01:00)"
        ) from None
    if milliseconds < 0:
        raise ValueError(f"{text!r} is before 1970")
    return milliseconds
