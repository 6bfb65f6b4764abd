"""Records of offsets, made and read by hand: byte for byte what the declarations say."""

from __future__ import annotations

import random

import pytest

from mesh.groups import CommittedOffset, Image, decode_offset, decode_untrusted
from mesh.groups.offset_records import METADATA_BYTES_MAX, encode_offset
from mesh.groups.records import encode
from mesh.model.types import NO_TOPIC_ID
from mesh.wire import WireError
from mesh.wire.stored.groups import OffsetCommitKey, OffsetCommitValue

TEXTS = ("", "g", "gruppe-\u00e4\u20ac", "x" * 300, "\U0001f389" * 40)


def a_committed(rng: random.Random) -> CommittedOffset:
    return CommittedOffset(
        rng.choice((0, 5, 2**62)),
        rng.choice((-1, 0, 2**31 - 1)),
        rng.choice(("", "m" * METADATA_BYTES_MAX, "m" * (METADATA_BYTES_MAX + 1), *TEXTS)),
        rng.choice((0, 1_700_000_000_000)),
        rng.choice((-1, -1, 1_800_000_000_000)),
        rng.choice((NO_TOPIC_ID, rng.randbytes(16))),
    )


@pytest.mark.parametrize("seed", range(200))
def test_bytes_are_those_of_the_declarations(seed: int) -> None:
    """Whatever is committed is stored, and read, as Kafka's schemas have it."""
    rng = random.Random(seed)
    group, where = rng.choice(TEXTS), (rng.choice(TEXTS), rng.choice((0, 7, 2**31 - 1)))
    committed = rng.choice((None, a_committed(rng)))
    key = OffsetCommitKey(group=group, topic=where[0], partition=where[1])
    value = committed and OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=-1 if committed.expire_ms != -1 else committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_ms,
        expire_timestamp=committed.expire_ms,
        topic_id=NO_TOPIC_ID if committed.expire_ms != -1 else committed.topic_id,
    )
    record = encode_offset(group, where, committed)
    assert record == encode(key, value)
    by_hand, by_declaration = Image(), Image()
    found = decode_offset(*record)
    if found is not None:
        by_hand.replay_offset(*found)
        read = decode_untrusted(*record)
        assert read is not None
        by_declaration.replay(*read)
        assert by_hand.state() == by_declaration.state()


@pytest.mark.parametrize("seed", range(300))
def test_damaged_bytes_are_left_to_the_declarations(seed: int) -> None:
    """What is cut or changed is read as the declarations read it, or not at all; never raises."""
    rng = random.Random(seed)
    committed = CommittedOffset(5, 1, "note", 9, -1, bytes(range(16)))
    record = encode_offset("group", ("orders", 3), committed)
    assert record.value is not None
    damaged = [bytearray(record.key), bytearray(record.value)]
    for _ in range(rng.randrange(1, 4)):
        victim = rng.choice(damaged)
        if rng.random() < 0.3:
            del victim[rng.randrange(len(victim) + 1) :]
        elif victim:
            victim[rng.randrange(len(victim))] = rng.choice((0, 1, 127, 128, 255))
    key, value = map(bytes, damaged)
    found = decode_offset(key, value)
    if found is None:
        return
    read = decode_untrusted(key, value)
    assert read is not None
    by_hand, by_declaration = Image(), Image()
    by_hand.replay_offset(*found)
    by_declaration.replay(*read)
    assert by_hand.state() == by_declaration.state()


def test_texts_that_are_too_long_are_refused() -> None:
    """A name of more than 32,767 bytes has no length that could be stored."""
    committed = CommittedOffset(5, 1, "", 9, -1, bytes(16))
    for group, topic in (("g" * 32_768, "t"), ("g", "t" * 32_768)):
        with pytest.raises(WireError):
            encode_offset(group, (topic, 0), committed)


def test_groups_share_what_is_equal() -> None:
    """After a load, groups that read the same topic hold its name and id once."""
    committed = CommittedOffset(5, 1, "", 9, -1, bytes(range(16)))
    first, second = (
        decode_offset(*encode_offset(group, ("orders", 3), committed)) for group in ("a", "b")
    )
    assert first is not None
    assert second is not None
    assert first[1] is second[1]
    assert first[2] is not None
    assert second[2] is not None
    assert first[2].topic_id is second[2].topic_id
