"""The hunt: it sees what is wrong, finds little that causes it, and a sound node passes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from mesh.node.control import RefusedCommandError, parse_untrusted
from tools import cli
from tools.bench.connection import BenchConnection
from tools.errors import Exit
from tools.fuzz.canary import TOPIC, Canary, UnwellError
from tools.fuzz.command import document, line
from tools.fuzz.hunt import (
    DESCRIPTORS_MORE_MAX,
    GROWTH_BYTES_MAX,
    LOG_LINES_MAX,
    PORTS,
    SHRINK_TRIALS_MAX,
    Burst,
    Finding,
    Outcome,
    Visit,
    bursts_of,
    growth,
    hunt,
    replay,
    shrink,
)
from tools.fuzz.send import Sent, send, to_tcp
from tools.fuzz.target import Figures, Target, own_node

KAFKA = PORTS["kafka"]


@pytest.fixture
def node() -> Iterator[Target]:
    with own_node() as target:
        yield target


def test_a_node_lives_through_some_thousand_frames() -> None:
    """The bounded piece of the hunt: all sent, most worked off, nothing found."""
    seen: list[int] = []
    outcome = hunt(KAFKA, 3, 4_000, seconds_max=120, progress=lambda o: seen.append(o.sent.frames))
    assert outcome.finding is None
    assert outcome.is_complete
    assert seen == [4_000]
    assert outcome.sent.answers > 1_000
    assert outcome.last is not None
    assert json.loads(json.dumps(document(outcome)))["complete"] is True
    assert "nothing found (seed 3)" in line(outcome)


@pytest.mark.parametrize(
    ("name", "share"), [("admin", 0.9), ("control", 0.9), ("peer", 0.3), ("link", 0.6)]
)
def test_the_other_ports_live_through_some_thousand_lines(name: str, share: float) -> None:
    """Mangled HTTP, JSON and frames: every connection is answered or ended, nothing is found."""
    outcome = hunt(PORTS[name], 3, 3_000, seconds_max=120)
    assert outcome.finding is None
    assert outcome.is_complete
    assert outcome.sent.answers > outcome.sent.connections * share


def test_nothing_that_is_drawn_stops_the_node() -> None:
    """The one command that the node would rightly obey is not among the lines."""
    drawn = [
        each
        for burst in bursts_of(PORTS["control"], 5, 0, 20_000)
        for frame in burst
        for each in frame.split(b"\n")
    ]
    assert any(b'"command": "stop' in each for each in drawn)
    for each in drawn:
        try:
            request = parse_untrusted(each)
        except RefusedCommandError:
            continue
        assert request["command"] != "stop"


def test_another_port_is_not_asked_of_a_node_that_is_not_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where another node's admin port is, nobody says: such a wish is an error."""
    assert cli.run(["fuzz", "--against", "127.0.0.1:1", "--port", "admin"]) == Exit.USAGE
    assert "--port admin" in capsys.readouterr().err


def test_a_node_that_ended_is_a_finding(node: Target) -> None:
    """A process that is gone is told with its status, whatever the connection said."""
    assert node.node is not None
    visit = Visit(KAFKA, node, Outcome("kafka", 0, 0))
    node.node.process.kill()
    node.node.process.wait()
    assert "it ended with status -9" in (visit.batch([], float("inf"), 0) or "")


def test_a_record_that_is_gone_is_a_finding(node: Target) -> None:
    """The canary notices when what was acknowledged to it is no longer there."""
    canary = Canary(node.address)
    canary.breathe()
    canary.breathe()
    with BenchConnection(node.address) as connection:
        connection.delete_topic(TOPIC)
        connection.create_topic(TOPIC, 1, {})
    with pytest.raises(UnwellError, match="a record for offset 2 got NONE, offset 0"):
        canary.breathe()


def test_a_record_that_changed_is_a_finding(node: Target) -> None:
    """The canary compares bytes, not only counts."""
    canary = Canary(node.address)
    canary.breathe()
    canary.values[0] = b"other"
    with pytest.raises(UnwellError, match="at offset 0 of the canary changed"):
        canary.breathe()


def test_topics_that_frames_made_go(node: Target) -> None:
    """Before each batch only the canary and the topics that frames name are there."""
    canary = Canary(node.address)
    with BenchConnection(node.address) as connection:
        connection.create_topic("made-by-a-frame", 3, {})
        first = canary.renew_topics()
        assert connection.leaders("made-by-a-frame") == 0
        assert connection.leaders("fuzz-0") == 2
    assert canary.renew_topics().keys() == first.keys()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (Figures(GROWTH_BYTES_MAX + 1, 0, 0), "its memory grew"),
        (Figures(0, DESCRIPTORS_MORE_MAX + 1, 0), "its open files grew"),
        (Figures(0, 0, LOG_LINES_MAX + 1), "its log grew"),
    ],
)
def test_growth_is_a_finding(more: Figures, told: str) -> None:
    """Each figure has its bound, and one beyond it is told."""
    first = Figures(10, 10, 0)
    now = Figures(10 + more.rss_bytes, 10 + more.descriptors, more.log_lines)
    assert told in (growth(first, now, 0.0) or "")
    less = Figures(*(max(0, n - 1) for n in (now.rss_bytes, now.descriptors, now.log_lines)))
    assert growth(first, less, 0.0) is None


def test_the_same_seed_gives_the_same_frames() -> None:
    """A run is told by its seed and the number of its batch."""
    assert bursts_of(KAFKA, 7, 2, 300) == bursts_of(KAFKA, 7, 2, 300)
    assert bursts_of(KAFKA, 7, 2, 300) != bursts_of(KAFKA, 7, 3, 300)
    assert sum(map(len, bursts_of(KAFKA, 7, 2, 300))) == 300


def test_what_is_found_gets_small() -> None:
    """Of many bursts those stay that it takes; of a lonely one only the frames."""

    def has(*wanted: bytes) -> list[Burst]:
        def fails(some: Sequence[Burst]) -> bool:
            return set(wanted) <= {frame for burst in some for frame in burst}

        bursts = [[b"%d" % (10 * n + m) for m in range(10)] for n in range(64)]
        return shrink(bursts, fails)

    assert has(b"13", b"17") == [[b"13", b"17"]]
    assert [len(burst) for burst in has(b"13", b"500")] == [10, 10]


def test_shrinking_is_bounded() -> None:
    """What fails only as a whole costs no more trials than its bound."""
    trials = 0
    bursts = [[b"%d" % n] for n in range(500)]

    def fails(some: Sequence[Burst]) -> bool:
        nonlocal trials
        trials += 1
        return len(some) == len(bursts)

    assert shrink(bursts, fails) == bursts
    assert trials <= SHRINK_TRIALS_MAX
    assert shrink(bursts, lambda _: False) == []


def test_answers_are_counted(node: Target) -> None:
    """Of three requests in one piece each answer counts, however they arrive."""
    request = bytes.fromhex("0000000a00120000000000070000")
    sent = Sent()
    send([[request] * 3, [request]], to_tcp(node.address), {}, sent, until_s=float("inf"))
    assert (sent.frames, sent.connections, sent.answers) == (4, 2, 4)


def test_a_replay_of_harmless_frames_finds_nothing() -> None:
    """Frames that were written down go to a fresh node."""
    assert replay(KAFKA, [[bytes.fromhex("0000000a00120000000000070000")]]) is None


@pytest.mark.parametrize("address", ["10.0.0.1:9092", "example.org:9092", "0.0.0.0:9092", "x"])
def test_only_loopback_is_fuzzed(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address that is not this machine's own is refused before anything is sent."""
    assert cli.run(["fuzz", "--against", address]) == Exit.USAGE
    assert "--against" in capsys.readouterr().err


def test_a_finding_is_told_with_all_that_it_takes_to_see_it_again() -> None:
    """The document of a finding has its seed, its batch and the frames in hex."""
    outcome = Outcome("kafka", 7, 100)
    outcome.finding = Finding("it ended", 7, 3, [[b"\x00\x01", b"\x02"]])
    found = document(outcome)["finding"]
    assert found == {"what": "it ended", "batch": 3, "bursts": ["000102"]}
    assert "SOMETHING IS WRONG" in line(outcome)
