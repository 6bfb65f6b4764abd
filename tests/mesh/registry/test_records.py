"""Records of the registry: their bytes come back whole, and other bytes are told from them."""

from __future__ import annotations

import random
import re
from datetime import UTC

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.model.config import BROKER_SETTINGS, TOPIC_SETTINGS, ConfigError, text_of
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


@pytest.mark.parametrize(
    ("record", "field", "value", "cause"),
    [
        (0, "name", "../../etc", "name is none that a topic can have"),
        (0, "name", "__registry", "name is none that a topic can have"),
        (0, "replicas", [[1, 1]], "replicas of a partition name a node twice"),
        (0, "voter_count", 4, "4 voters of 3 replicas"),
        (0, "voter_count", 0, "0 voters of 3 replicas"),
        (0, "directories", {1: "d1", 2: "d2"}, "directories is not a map of the nodes that are"),
        (0, "directories", {1: "d1", 2: "d2", 3: ""}, "the directory of node 3 is not text"),
        (0, "configs", {"retention.ms": "x"}, "Invalid value x for configuration retention.ms"),
        (0, "configs", {"retention.ms": None}, "configs holds a null"),
        (0, "later", 1, "it has a field that its kind does not have"),
        (4, "node", "-1", "node is no node id"),
        (4, "changes", {"message.max.bytes": "-7"}, "Invalid value -7 for configuration"),
        (9, "level", 2**15, "level is not a number from 0 to 32767"),
    ],
)
def test_what_no_reader_could_use_is_damage(
    record: int, field: str, value: object, cause: str
) -> None:
    """A name that would leave the data directory, voters that are none, a value nobody takes."""
    pair = encode(RECORDS[record])
    changed = cbor2.dumps({**cbor2.loads(pair.value), field: value})
    with pytest.raises(DamagedRecordError, match=re.escape(cause)):
        decode_untrusted(0, 0, RecordPair(pair.key, changed))


@pytest.mark.parametrize(("record", "field"), [(0, "configs"), (3, "changes"), (4, "changes")])
def test_a_setting_of_a_later_release_is_told_as_such(record: int, field: str) -> None:
    """It is named, and no damage; to take away what nobody knows is no matter."""
    pair = encode(RECORDS[record])
    whole = cbor2.loads(pair.value)
    later = RecordPair(pair.key, cbor2.dumps({**whole, field: {"later.ms": "1"}}))
    with pytest.raises(NewerRecordError, match=r"it sets later\.ms, which this release does not"):
        decode_untrusted(0, 0, later)
    if field == "changes":
        taken = RecordPair(pair.key, cbor2.dumps({**whole, field: {"later.ms": None}}))
        decode_untrusted(0, 0, taken)


def test_bytes_that_are_left_over_are_damage() -> None:
    """A record is exactly what we write: nothing follows it, and no number is written longer."""
    for record in RECORDS:
        key, value = encode(record)
        longer = value.replace(b"fformat\x02", b"fformat\x18\x02")
        assert longer != value
        for changed in (value + b"\x00", longer):
            with pytest.raises(DamagedRecordError, match="in bytes that we do not write"):
                decode_untrusted(0, 0, RecordPair(key, changed))


@given(st.data())
def test_a_value_that_a_setting_takes_is_taken_again_as_it_is_stored(data: st.DataObject) -> None:
    """Else a record that we wrote would be damage at the next start."""
    settings = {**TOPIC_SETTINGS, **BROKER_SETTINGS}
    row = data.draw(st.sampled_from(sorted(settings.values(), key=lambda row: row.name)))
    texts = st.one_of(
        st.integers().map(str),
        st.floats().map(str),
        st.text(max_size=20),
        st.sampled_from((*row.choices, "true", " FALSE ", "1:2,3:4", "*", " a , b ", "")),
    )
    try:
        value = row.parse(data.draw(texts))
    except ConfigError:
        return
    assert row.parse(text_of(value) or "") == value


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=16)
    | st.sampled_from(["create-topic", "orders", "retention.ms", 1, 2])
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(cbor2.CBORTag, st.integers(0, 60), st.text(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(RECORDS), st.data())
def test_any_value_of_any_field_is_a_record_or_damage(record: Record, data: st.DataObject) -> None:
    """Fields of every type, with tags that the decoder follows: nothing else is ever raised."""
    pair = encode(record)
    value = cbor2.loads(pair.value)
    for name in data.draw(st.lists(st.sampled_from(sorted(value)), min_size=1, max_size=3)):
        value[name] = data.draw(JUNK)
    try:
        decoded = decode_untrusted(0, 0, RecordPair(pair.key, cbor2.dumps(value)))
    except DamagedRecordError:
        return
    assert encode(decoded).key == pair.key


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


def test_a_tag_is_not_read() -> None:
    """A number of so many digits would take minutes: a peer may hand such a record on."""
    digits = cbor2.dumps(cbor2.CBORTag(4, [1, cbor2.CBORTag(2, b"\xff" * 200_000)]))
    for value in (digits, b"\x83\x01" + digits + b"\x01", b"\xa1\x61k" + digits):
        with pytest.raises(DamagedRecordError):
            decode_untrusted(0, 0, RecordPair(encode(RECORDS[0]).key, value))
