"""The hunt on membership: a bounded piece of it, and that it sees what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable

import cbor2
import pytest

from mesh.gossip import Gossip, Send
from mesh.gossip.messages import MalformedError, parse_record
from tools import cli
from tools.errors import Exit
from tools.fuzz.gossip import Victim, hunt_gossip, replay_gossip
from tools.fuzz.talk import corpus, mutated


def test_membership_lives_through_some_ten_thousand_messages() -> None:
    """Mutated datagrams, questions and answers: nothing raises, nothing grows, nothing is found."""
    outcome = hunt_gossip(3, 25_000, seconds_max=120)
    assert outcome.finding is None
    assert outcome.is_complete
    assert outcome.sent.answers > 1_000


def test_the_corpus_holds_every_kind_of_message() -> None:
    """All kinds that members say, at all three doors, are there to be mutated."""
    kinds = {(message[0], cbor2.loads(message[1:])[0]) for message in corpus()}
    assert {kind for door, kind in kinds if door == 0} == set(range(8))
    assert {kind for door, kind in kinds if door == 1} == {8, 11, 13, 15}
    assert {kind for door, kind in kinds if door == 2} == {9, 10, 12, 14, 16, 17}


def raising(_: Gossip, __: bytes, ___: str, now_ms: int) -> list[object]:
    if now_ms > 2_010:  # Once it is alone.
        raise KeyError("no such thing")
    return []


def too_long(machine: Gossip, *_: object) -> list[object]:
    del machine
    return [Send("10.0.0.1:1", bytes(1_401))]


@pytest.mark.parametrize(
    ("fault", "told"),
    [(raising, "it raises KeyError"), (too_long, "it sends a datagram of 1401 bytes")],
)
def test_what_is_wrong_is_found(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[..., object], told: str
) -> None:
    """A machine that raises, or says too much, is a finding, with the message that showed it."""
    monkeypatch.setattr(Gossip, "received", fault)
    outcome = hunt_gossip(3, 1_000, seconds_max=60)
    assert outcome.finding is not None
    assert outcome.finding.what.startswith(told)
    assert outcome.finding.bursts


def test_a_finding_is_seen_again_from_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hunt found, replayed from its message alone, is found again; and not once mended."""
    with monkeypatch.context() as patched:
        patched.setattr(Gossip, "received", too_long)
        finding = hunt_gossip(3, 100, seconds_max=60).finding
        assert finding is not None
        assert replay_gossip(finding.bursts) == finding.what
    assert replay_gossip(finding.bursts) is None


def test_a_machine_that_no_longer_does_its_work_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers a good probe no more is a finding, though it raises nothing."""
    victim = Victim(1)
    assert victim.look() is None
    monkeypatch.setattr(Gossip, "received", lambda *_: [])
    assert victim.look() == "it does not answer a good probe"


def test_the_same_seed_is_the_same_hunt() -> None:
    """Mutations depend on the seed alone."""
    real = corpus()
    first, second = ([mutated(random.Random(5), real) for _ in range(50)] for _ in range(2))
    assert first == second


def test_nobody_is_node_zero() -> None:
    """A record of node 0, which no mesh gives, is malformed (found by this hunt)."""
    with pytest.raises(MalformedError):
        parse_record([0, 1, 0, 0, [], 1])


def test_the_command_hunts_membership(capsys: pytest.CaptureFixture[str]) -> None:
    """`mesh fuzz --port gossip` tells what it did, and ends well."""
    assert cli.run(["fuzz", "--port", "gossip", "--frames", "500", "--seed", "7"]) == Exit.OK
    assert "gossip: 500 frames" in capsys.readouterr().out
