"""`--from` and `--until` understand what people write."""

import pytest

from mesh.client import EARLIEST, LATEST, AtOffset, AtTime, Place
from tools.places import BeforeEnd, parse_place

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("earliest", EARLIEST),
        ("beginning", EARLIEST),
        ("LATEST", LATEST),
        ("end", LATEST),
        ("0", AtOffset(0)),
        ("9223372036854775807", AtOffset(2**63 - 1)),
        ("-10", BeforeEnd(10)),
        ("@1700000000123", AtTime(1_700_000_000_123)),
        ("90s", AtTime(NOW_MS - 90_000)),
        ("-15m", AtTime(NOW_MS - 900_000)),
        ("2h ago", AtTime(NOW_MS - 7_200_000)),
        ("7d", AtTime(NOW_MS - 7 * 86_400_000)),
        ("2026-01-31T12:00Z", AtTime(1_769_860_800_000)),
        ("2026-01-31T13:00+01:00", AtTime(1_769_860_800_000)),
        ("2026-01-31T12:00:00.250Z", AtTime(1_769_860_800_250)),
    ],
)
def test_a_place_is_what_its_words_say(text: str, place: Place | BeforeEnd) -> None:
    """Offsets, offsets from the end, ages and instants are told apart."""
    assert place == parse_place(text, NOW_MS)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "1x", "--1", "9223372036854775808", "@", "1.5", "1960-01-01T00:00Z", "²"],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    """The error repeats the word; nothing is guessed."""
    with pytest.raises(ValueError, match=r"is not one of|is before 1970"):
        parse_place(text, NOW_MS)


def test_an_age_beyond_1970_is_the_beginning_of_time() -> None:
    """A long age never becomes one of Kafka's negative special values."""
    assert parse_place("999999d", NOW_MS) == AtTime(0)
