"""Records of the registry: their bytes come back whole, and other bytes are told from them."""

from __future__ import annotations

import random

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.registry.records import (
    AddPartitions,
    AlterBrokerConfig,
    AlterTopicConfig,
    ClaimNodeId,
    ClaimProducerIds,
    CreateTopic,
    DamagedRecordError,
    DeleteTopic,
    NewerRecordError,
    Record,
    RecordPair,
    SetFeature,
    decode_untrusted,
    encode,
)
from mesh.registry.registry import shard_of
from mesh.registry.topic import Placement
from tests.mesh.registry.builders import a_registry

TOPIC_ID = bytes(range(16))
PLACEMENT = Placement(((1, 2, 3), (2, 3, 1)), 3, {1: "d1", 2: "d2", 3: "d3"})
RECORDS: list[Record] = [
    CreateTopic("orders", TOPIC_ID, PLACEMENT, 3, {"retention.ms": "5"}),
    DeleteTopic("orders", TOPIC_ID),
    AddPartitions("orders", TOPIC_ID, 2, PLACEMENT),
    AlterTopicConfig("orders", TOPIC_ID, {"retention.ms": None, "segment.ms": "7"}),
    AlterBrokerConfig("", {"message.max.bytes": "7"}),
    AlterBrokerConfig("1", {"message.max.bytes": None}),
    ClaimProducerIds(1, 2**62),
    ClaimNodeId("d", None),
    ClaimNodeId("d", 4),
    SetFeature("gossamer.format", 1, may_lower=False),
    SetFeature("gossamer.format", 0, may_lower=True),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_whole(record: Record) -> None:
    """Decoding what was encoded gives an equal record, of every kind."""
    assert decode_untrusted(3, 9, encode(record)) == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_field_that_is_missing_or_of_another_type_is_damage(record: Record) -> None:
    """Each field, left out or replaced by what it cannot be, is told with shard and offset."""
    pair = encode(record)
    whole = cbor2.loads(pair.value)
    for name in whole:
        rest = {key: value for key, value in whole.items() if key != name}
        for value in (rest, {**whole, name: 1.5}, {**whole, name: [[]]}, {**whole, name: {True}}):
            with pytest.raises(DamagedRecordError, match="registry shard 3, record at offset 9: "):
                decode_untrusted(3, 9, RecordPair(pair.key, cbor2.dumps(value)))


def test_a_newer_format_is_told_as_such() -> None:
    """What a newer version wrote is not called garbage: its number is named."""
    pair = encode(RECORDS[0])
    newer = cbor2.dumps({"format": 3, "kind": "what may come"})
    text = "record at offset 0: its format is 3, and this release knows none above 2: it takes the"
    with pytest.raises(NewerRecordError, match=f"{text} release that wrote it, or a later one"):
        decode_untrusted(0, 0, RecordPair(pair.key, newer))


def test_a_key_that_names_something_else_is_damage() -> None:
    """Key and value belong together."""
    with pytest.raises(DamagedRecordError, match="its key names something else"):
        decode_untrusted(0, 0, RecordPair(encode(RECORDS[1]).key, encode(RECORDS[0]).value))


def test_a_record_in_a_shard_that_is_not_its_own_is_damage() -> None:
    """A topic's record anywhere but in the shard of its name is refused."""
    wrong = (shard_of("orders") + 1) % 8
    with pytest.raises(DamagedRecordError, match=f"it belongs to shard {shard_of('orders')}"):
        a_registry().committed(wrong, 0, encode(RECORDS[0]))


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_are_a_record_or_damage(value: bytes, key: bytes) -> None:
    """Whatever lies in the log, decoding raises nothing but DamagedRecordError."""
    with pytest.raises(DamagedRecordError):
        decode_untrusted(0, 0, RecordPair(key, value))


@pytest.mark.parametrize("seed", range(300))
def test_flipped_bits_are_a_record_or_damage(seed: int) -> None:
    """A record with a few bytes changed decodes to some record or is damage; nothing else."""
    rng = random.Random(seed)
    pair = encode(rng.choice(RECORDS))
    for _ in range(20):
        value = bytearray(pair.value)
        for _ in range(rng.randint(1, 3)):
            value[rng.randrange(len(value))] = rng.randrange(256)
        try:
            record = decode_untrusted(0, 0, RecordPair(pair.key, bytes(value)))
        except DamagedRecordError:
            continue
        assert encode(record).key == pair.key
