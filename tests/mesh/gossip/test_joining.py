"""How a node asks for an id: its frames, whatever comes instead of them, and gossip beside them."""

from __future__ import annotations

import random

import cbor2
import pytest

from mesh.gossip.joining import (
    Answer,
    Claim,
    Given,
    Refer,
    Refused,
    Wait,
    encode_answer,
    encode_claim,
    is_claim,
    parse_answer,
    parse_claim,
    version_fault,
)
from mesh.gossip.messages import PROBE, SYNC, MalformedError

CLAIM = Claim(bytes(range(16)), 1, 1, "0.1.0")


def test_a_claim_comes_through() -> None:
    """What is encoded is what is parsed, and gossip's frames are no claims."""
    assert parse_claim(encode_claim(CLAIM)) == CLAIM
    assert is_claim(encode_claim(CLAIM))
    for kind in (SYNC, PROBE):
        assert not is_claim(cbor2.dumps((kind, 1, 2, 3)))
    assert not is_claim(b"")


@pytest.mark.parametrize(
    "answer", [Given(bytes(16), 7), Wait(), Refer("h:1"), Refused("no room")], ids=repr
)
def test_an_answer_comes_through(answer: Answer) -> None:
    """Each answer is parsed as what it was."""
    assert parse_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize(
    "found",
    [
        [],
        [32],
        [33, bytes(15), 1],
        [33, bytes(16), 0],
        [33, bytes(16), 2**31],
        [33, bytes(16), "1"],
        [35, ""],
        [35, "x" * 281],
        [35, 7],
        [36, 7],
        [99],
        {"a": 1},
        7,
    ],
    ids=repr,
)
def test_what_is_no_answer_is_refused(found: object) -> None:
    """Whatever else a stranger says is malformed, and nothing worse."""
    with pytest.raises(MalformedError):
        parse_answer(cbor2.dumps(found))


def test_any_bytes_are_an_answer_or_malformed() -> None:
    """Random and mutated bytes raise nothing but MalformedError."""
    rng = random.Random(1)
    valid = [encode_answer(Given(bytes(16), 7)), encode_answer(Refused("x")), encode_claim(CLAIM)]
    for _ in range(3_000):
        data = bytearray(rng.choice(valid))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for parse in (parse_answer, parse_claim):
            try:
                parse(bytes(data[: rng.randrange(len(data) + 1)]))
            except MalformedError:
                pass


def test_words_of_a_stranger_do_nothing_to_a_terminal() -> None:
    """A refusal is cut, and what cannot be printed is not."""
    found = parse_answer(encode_answer(Refused("\x1b[2J" + "x" * 1_000)))
    assert isinstance(found, Refused)
    assert found.text.startswith("?[2J")
    assert len(found.text) == 300


def test_who_speaks_only_other_versions_is_told_which() -> None:
    """Versions that do not overlap are a fault with both ranges in it."""
    assert version_fault(CLAIM) is None
    assert version_fault(CLAIM._replace(highest=9)) is None
    assert "versions 2 to 3" in str(version_fault(CLAIM._replace(lowest=2, highest=3)))
