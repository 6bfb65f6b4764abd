"""Messages of groups on a link: what a replica says is heard so, and nothing else is."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from mesh.broker.replica_words import BadWordError, from_word_untrusted, to_word
from mesh.links import Word
from mesh.replication import messages as msg
from mesh.replication.state import Config, ConfigId, Entry, LogPosition, Replica
from storage.records import Record, build_batch

GROUP = (bytes(16), 0)
A = Replica(1, "0c0ffee0-0000-4000-8000-000000000001")
B = Replica(2, "0c0ffee0-0000-4000-8000-000000000002")
CONFIG = Config(4, 2, (A, B))


def a_batch(offset: int, epoch: int, *values: bytes) -> bytes:
    """A batch as it lies in a leader's log."""
    batch = bytearray(build_batch([Record(0, 1, None, value) for value in values]))
    batch[0:8] = offset.to_bytes(8, "big")
    batch[12:16] = epoch.to_bytes(4, "big")
    return bytes(batch)


def an_append(**changes: object) -> msg.Append:
    entries = (Entry(3, 2, a_batch(10, 3, b"x", b"y")), Entry(5, 1, a_batch(12, 5, b"z")))
    plain = msg.Append(5, 1, CONFIG, 9, 10, 3, entries, 9, 0, -1, 0)
    return msg.Append(**{**{f: getattr(plain, f) for f in plain.__slots__}, **changes})


MESSAGES: tuple[msg.Message, ...] = (
    an_append(),
    an_append(entries=(), previous_epoch=-1),
    msg.Held(5, 1, 13, -1, ConfigId(4, 2), 0, 7),
    msg.Mismatch(5, 1, -1, 0),
    msg.VoteRequest(6, ConfigId(4, 2), LogPosition(5, 13), True, False),
    msg.VoteReply(6, True, False, 5, CONFIG, 0, LogPosition(5, 13), True, True),
    msg.Refused(7, CONFIG),
    msg.Campaign(5),
    msg.Astray(-1),
    msg.Leave(5, 2, CONFIG),
    msg.Left(5, 2),
)


def word_of(message: msg.Message) -> Word:
    kind, fields, blobs = to_word(message)
    return Word(GROUP, kind, fields, [memoryview(bytes(blob)) for blob in blobs])


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_heard_as_it_was_said(message: msg.Message) -> None:
    """Every kind, with configs, and with batches."""
    assert from_word_untrusted(word_of(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_fields_that_no_replica_says_are_refused(message: msg.Message) -> None:
    """One less, one more, another type in any place, a number out of bounds."""
    word = word_of(message)
    fields = list(word.fields)
    wrong = [fields[:-1], [*fields, 0]]
    for place in range(len(fields)):
        for value in ("text", None, 1 << 63, -2, b""):
            wrong.append([*fields[:place], value, *fields[place + 1 :]])
    for bad in wrong:
        with pytest.raises(BadWordError):
            from_word_untrusted(word._replace(fields=bad))
    with pytest.raises(BadWordError):
        from_word_untrusted(word._replace(kind=99))


@pytest.mark.parametrize(
    "entries",
    [
        (Entry(3, 2, a_batch(11, 3, b"x", b"y")),),
        (Entry(4, 2, a_batch(10, 3, b"x", b"y")),),
        (Entry(3, 1, a_batch(10, 3, b"x", b"y")),),
        (Entry(3, 2, a_batch(10, 3, b"x", b"y")[:-1]),),
        (Entry(3, 2, a_batch(10, 3, b"x", b"y") + b"!"),),
        (Entry(3, 2, b""),),
        (Entry(2, 2, a_batch(10, 2, b"x", b"y")),),
        (Entry(6, 2, a_batch(10, 6, b"x", b"y")),),
        (Entry(5, 1, a_batch(10, 5, b"x")), Entry(4, 1, a_batch(11, 4, b"y"))),
        (Entry(3, 2, a_batch(10, 3, b"x", b"y")[:-1] + b"!"),),
    ],
    ids=["offset", "epoch", "size", "cut", "longer", "empty", "checksum", "old", "new", "back"],
)
def test_a_batch_that_would_lie_otherwise_is_refused(entries: tuple[Entry, ...]) -> None:
    """What is appended lies here as it lies at the leader, or not at all."""
    with pytest.raises(BadWordError):
        from_word_untrusted(word_of(an_append(entries=entries)))


def test_a_config_is_a_list_and_holds_numbers() -> None:
    """Bytes are no list of numbers, and true is no number, whatever was asked before."""
    word = word_of(msg.Refused(7, Config(1, 1, ())))
    assert from_word_untrusted(word) == msg.Refused(7, Config(1, 1, ()))
    for config in (b"\x01\x01", [True, 1], [1.0, 1]):
        with pytest.raises(BadWordError):
            from_word_untrusted(word._replace(fields=[7, config]))


def test_a_config_with_a_voter_twice_is_refused() -> None:
    """It would count one vote as two."""
    word = word_of(msg.Refused(7, CONFIG._replace(voters=(A, A))))
    with pytest.raises(BadWordError):
        from_word_untrusted(word)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_fields_come_a_message_or_an_error_comes_of_them(seed: int) -> None:
    """Random fields of random kinds raise nothing but BadWordError."""
    rng = random.Random(seed)
    some = [0, 1, -1, True, False, "x", b"y", None, [], [1, 2], [4, 2, 1, b"d" * 16], 1 << 70]
    for _ in range(2_000):
        fields = [rng.choice(some) for _ in range(rng.randrange(13))]
        blobs = [memoryview(rng.randbytes(rng.randrange(80))) for _ in range(rng.randrange(3))]
        try:
            from_word_untrusted(Word(GROUP, rng.randrange(12), fields, blobs))
        except BadWordError:
            continue


BAD = [
    msg.VoteRequest(1 << 40, ConfigId(3, 1), LogPosition(3, 7)),
    msg.VoteRequest((1 << 31) - 1, ConfigId(3, 1), LogPosition(3, 7)),
    msg.Refused(1 << 40, CONFIG),
    msg.Refused(4, CONFIG._replace(config_epoch=1 << 40)),
    msg.Refused(4, CONFIG._replace(config_version=1 << 40)),
    msg.Refused(4, CONFIG._replace(voters=(Replica(1 << 40, A.directory_id),))),
    msg.Refused(4, CONFIG._replace(voters=tuple(Replica(n, A.directory_id) for n in range(200)))),
    replace(msg.Append(4, 1, CONFIG, 0, 0, -1, (), 0, 0, -1), leader_epoch=1 << 40),
]


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_numbers_that_no_journal_holds_are_refused(message: msg.Message) -> None:
    """They would end the node when it writes them down."""
    with pytest.raises(BadWordError):
        from_word_untrusted(word_of(message))
