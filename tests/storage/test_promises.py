"""Torn, mended and damaged journals are told apart, at every byte."""

from __future__ import annotations

import random
import struct

import pytest
import xxhash

from storage import Journal, JournalDamaged, NewerFormat, read_journal
from storage.promises import decode_journal, encode_round
from tests.storage.builders import DATA, a_disk
from tests.storage.test_journal import BOOT, OURS, PATH, TOPIC, a_promise, finish

HEAD_SIZE = 26


def a_file(rounds: int = 3) -> tuple[bytes, list[int]]:
    """Return a journal of some rounds after its first, and where each round ends."""
    disk = a_disk()
    journal = Journal.found(disk, DATA, OURS)
    ends = [disk.open(PATH).size]
    for number in range(rounds):
        journal.put((TOPIC, number), a_promise(number))
        finish(journal)
        ends.append(disk.open(PATH).size)
    return disk.read_file(PATH), ends


def flipped(data: bytes, *positions: int) -> bytes:
    changed = bytearray(data)
    for position in positions:
        changed[position] ^= 1 << position % 8
    return bytes(changed)


def middle(ends: list[int], number: int) -> int:
    """Return where the second copy of a round begins."""
    start = ends[number - 1] if number else 0
    return (start + ends[number]) // 2


def test_one_bad_bit_anywhere_is_mended() -> None:
    """No single flipped bit takes or changes a promise, whichever byte it is in."""
    data, _ = a_file()
    sound = decode_journal(PATH, data)
    assert sound.repaired == []
    for position in range(len(data)):
        content = decode_journal(PATH, flipped(data, position))
        assert content.promises == sound.promises
        assert (content.round, content.facts, content.torn_bytes) == (3, sound.facts, 0)
        assert len(content.repaired) == 1


def test_what_was_mended_is_sound_on_disk() -> None:
    """After one start with a bad copy both copies are good again, and it was said."""
    data, ends = a_file()
    disk = a_disk()
    disk.write_atomically(PATH, flipped(data, ends[0] + 40))
    journal = Journal.open(disk, DATA, OURS)
    assert journal.warnings == [
        f"{PATH}: one copy of round 1 was bad and was mended from the other"
    ]
    disk.crash()
    again = Journal.open(disk, DATA, OURS)
    assert again.warnings == []
    assert again.promises == journal.promises == decode_journal(PATH, data).promises
    again.put((TOPIC, 9), a_promise())
    finish(again)
    assert read_journal(disk, DATA).round == 4


def test_a_last_round_bad_in_both_copies_is_torn() -> None:
    """It is left out, said and cut, and the next round stands in its place."""
    data, ends = a_file()
    torn = flipped(data, ends[2] + 30, middle(ends, 3) + 30)
    disk = a_disk()
    disk.write_atomically(PATH, torn)
    journal = Journal.open(disk, DATA, OURS)
    assert journal.round == 2
    assert set(journal.promises) == {(TOPIC, 0), (TOPIC, 1)}
    (warning,) = journal.warnings
    assert "the round after 2 was not finished" in warning
    journal.put((TOPIC, 5), a_promise())
    finish(journal)
    disk.crash()
    journal = Journal.open(disk, DATA, OURS)
    assert (journal.round, journal.warnings) == (3, [])


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 8, 20, HEAD_SIZE + 5])
def test_an_earlier_round_bad_in_both_copies_is_damage(number: int, place: int) -> None:
    """What was finished for certain is never left out; the file stays as it is."""
    data, ends = a_file()
    start = ends[number - 1] if number else 0
    damaged = flipped(data, start + place, middle(ends, number) + place)
    disk = a_disk()
    disk.write_atomically(PATH, damaged)
    with pytest.raises(JournalDamaged, match="is damaged") as caught:
        Journal.open(disk, DATA, OURS)
    assert caught.value.position == start
    assert disk.read_file(PATH) == damaged


def test_a_round_that_has_anything_behind_it_is_not_torn() -> None:
    """Both copies of a round and both of the last one are bad: still damage, not a torn end."""
    data, ends = a_file()
    bad = [ends[1] + 30, middle(ends, 2) + 30, ends[2] + 30, middle(ends, 3) + 30]
    with pytest.raises(JournalDamaged):
        decode_journal(PATH, flipped(data, *bad))


def test_a_file_cut_anywhere_keeps_all_whole_rounds() -> None:
    """A cut file holds each round of which one copy is whole; the first cannot be torn."""
    data, ends = a_file()
    halves = [middle(ends, number) for number in range(4)]
    for size in range(len(data)):
        if size < halves[0]:
            with pytest.raises(JournalDamaged):
                decode_journal(PATH, data[:size])
        else:
            content = decode_journal(PATH, data[:size])
            assert content.round == max(n for n in range(4) if halves[n] <= size)


def test_a_last_round_torn_anywhere_is_no_damage_if_zeros_follow() -> None:
    """The file grew, its bytes did not all get there: what is left is a whole round or a torn one.

    Found by `mesh simulate brokers`, seeds 102902 and 106439: torn within the length.
    """
    data, ends = a_file()
    for size in range(ends[2], len(data)):
        content = decode_journal(PATH, data[:size] + bytes(len(data) - size))
        assert content.round == (3 if size >= middle(ends, 3) else 2)
        assert (content.torn_bytes > 0) == (content.round == 2)


@pytest.mark.parametrize("seed", range(100))
def test_bytes_that_went_missing_are_damage_or_change_nothing(seed: int) -> None:
    """A hole before the last round never makes a finished round disappear."""
    chance = random.Random(seed)
    data, ends = a_file()
    start = chance.randrange(ends[2] - 1)
    end = chance.randrange(start + 1, ends[2])
    try:
        content = decode_journal(PATH, data[:start] + data[end:])
    except JournalDamaged:
        return
    assert content.round == 3
    assert content.promises == decode_journal(PATH, data).promises


@pytest.mark.parametrize("copy", [0, 1])
def test_a_small_round_behind_a_shortened_one_is_not_skipped(copy: int) -> None:
    """Where a large round lost bytes of a copy, what follows is not where its length says."""
    disk = a_disk()
    journal = Journal.found(disk, DATA, OURS)
    start = disk.open(PATH).size
    for partition in range(20):
        journal.put((TOPIC, partition), a_promise())
    finish(journal)
    half = (disk.open(PATH).size - start) // 2
    journal.remove((TOPIC, 0))
    finish(journal)
    data, hole = disk.read_file(PATH), start + copy * half
    with pytest.raises(JournalDamaged):
        decode_journal(PATH, data[: hole + 10] + data[hole + half :])


@pytest.mark.parametrize("seed", range(100))
def test_garbage_is_damage(seed: int) -> None:
    """Random bytes, zeros and nothing raise one typed error."""
    chance = random.Random(seed)
    size = chance.randrange(400) if seed else 0
    data = bytes(size) if seed % 3 == 0 else b"GPJ\n" + chance.randbytes(size)
    with pytest.raises(JournalDamaged, match="no sound round"):
        decode_journal(PATH, data)


def sealed(body: bytes, *, format_: int = 1, kind: int = 0, number: int = 1) -> bytes:
    """Return a round of any body with a checksum that is right."""
    head = struct.pack(">4sBBIQ", b"GPJ\n", format_, kind, len(body), number)
    return (head + struct.pack(">Q", xxhash.xxh3_64_intdigest(head + body)) + body) * 2


@pytest.mark.parametrize(
    ("round_", "complaint"),
    [
        (sealed(b"\x03" + bytes(20), number=2), "round 2 follows round 0"),
        (sealed(b"\x03" + bytes(20), kind=1), "wrong kind"),
        (sealed(b"\x03" + bytes(20), format_=0), "wrong kind"),
        (sealed(b"\x09" + bytes(20)), "unknown tag 9"),
        (sealed(b"\x03" + bytes(19)), "not readable"),
        (sealed(b"\x01" + bytes(32)), "not readable"),
        (sealed(b"\x02" + bytes(66)), "not readable"),
        (sealed(b"\x02" + bytes(65) + b"\x00\xff\xff"), "the voters are cut off"),
    ],
)
def test_a_sealed_round_that_makes_no_sense_is_damage(round_: bytes, complaint: str) -> None:
    """A right checksum does not make a wrong order, kind or content acceptable."""
    data, _ = a_file(rounds=0)
    with pytest.raises(JournalDamaged, match=complaint):
        decode_journal(PATH, data + round_)


def test_a_first_round_without_everything_is_damage() -> None:
    """A file that does not begin with the node's facts has lost its beginning."""
    data, ends = a_file()
    with pytest.raises(JournalDamaged, match="wrong kind"):
        decode_journal(PATH, data[ends[0] :])
    with pytest.raises(JournalDamaged, match="no sound round"):
        decode_journal(PATH, sealed(b"", kind=1, number=0))


def test_a_newer_format_is_told_from_damage() -> None:
    """A journal of a later release is refused by name."""
    data, _ = a_file(rounds=0)
    with pytest.raises(NewerFormat, match="has format 2, this release knows 1"):
        decode_journal(PATH, data + sealed(b"anything", format_=2))


def test_the_bytes_do_not_change_from_release_to_release() -> None:
    """A journal written today is read by every later release of this format."""
    journal = Journal.found(a_disk(), DATA, OURS)
    journal.put_facts(memory=True, boot_id=BOOT)
    facts = journal.facts._replace(memory=True, boot_id=BOOT)
    changes = {(TOPIC, 7): a_promise(4, synced_end=1 << 40), (TOPIC, 8): None}
    data = encode_round(3, changes, facts, whole=True)
    assert len(data) == 2 * (HEAD_SIZE + 34 + 68 + 4 * 20 + 21)
    assert data[:18].hex() == "47504a0a0101000000cb0000000000000003"
    assert data[HEAD_SIZE : len(data) // 2].hex() == (
        "01" + OURS.hex() + "02" + BOOT.hex()
        + "02" + TOPIC.hex() + "00000007"
        + "00000004" + "0000000000000000" + "00000003" + "00000003" + "0000000000000000"
        + "0000010000000000" + "0000000000000000" + "04" + "0003"
        + "00000002" + (bytes(15) + b"\x02").hex()
        + "00000001" + OURS.hex()
        + "00000002" + (bytes(15) + b"\x02").hex()
        + "00000003" + (bytes(15) + b"\x03").hex()
        + "03" + TOPIC.hex() + "00000008"
    )  # fmt: skip
    content = decode_journal(PATH, data)
    assert content.promises == {(TOPIC, 7): changes[TOPIC, 7]}
    assert (content.facts, content.round) == (facts, 3)
