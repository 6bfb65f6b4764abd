"""Record batches: built, read and stamped to the byte, and nothing believed untested."""

from __future__ import annotations

import random
import struct
import warnings

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    BatchTooLarge,
    Codec,
    CorruptBatch,
    Record,
    batches,
    build_batch,
    crc_matches,
    read_batch_header,
    read_records,
    stamp,
    stamp_create_time,
    stamp_log_append_time,
)
from storage.compression import XERIAL_MAGIC, compress, decompress
from storage.records import build_batch_of_pairs
from tests.storage.builders import a_batch

with warnings.catch_warnings():  # Of kafka-python's own making, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

TEXTS = st.text(max_size=20)
BYTES = st.binary(max_size=300)
RECORDS = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp_ms=st.integers(0, 2**45),
        key=st.none() | BYTES,
        value=st.none() | BYTES,
        headers=st.lists(st.tuples(TEXTS, st.none() | BYTES), max_size=3),
    ),
    min_size=1,
    max_size=20,
)


def numbered(records: list[Record], base_offset: int) -> list[Record]:
    return [
        Record(base_offset + number, r.timestamp_ms, r.key, r.value, r.headers)
        for number, r in enumerate(records)
    ]


@settings(max_examples=80, deadline=None)
@given(RECORDS, st.sampled_from(Codec), st.integers(0, 2**40))
def test_what_is_built_is_read_back(records: list[Record], codec: Codec, base_offset: int) -> None:
    """Every record of every codec comes back as it was, with consecutive offsets."""
    batch = build_batch(records, codec=codec, base_offset=base_offset)
    assert crc_matches(batch)
    assert list(read_records(batch)) == numbered(records, base_offset)


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(0, 2**40), st.integers(0, 2**31 - 1))
def test_a_batch_is_to_the_byte_what_kafka_python_builds(
    records: list[Record], producer_id: int, base_sequence: int
) -> None:
    """An independent library writes the same bytes for the same records."""
    theirs = DefaultRecordBatchBuilder(2, 0, False, producer_id, 3, base_sequence, 1 << 24)
    for number, record in enumerate(records):
        theirs.append(number, record.timestamp_ms, record.key, record.value, record.headers)
    ours = build_batch(
        records, producer_id=producer_id, producer_epoch=3, base_sequence=base_sequence
    )
    expected = bytearray(theirs.build())
    stamp(expected, 0, -1)  # They say leader epoch 0 or -1, by release; it is the broker's anyway.
    assert ours == expected


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_kafka_python_unpacks_what_we_pack(codec: Codec) -> None:
    """Another library's reader accepts our form of every codec."""
    records = [Record(-1, 1000 + n, b"k%d" % n, b"v" * n, [("h", b"x")]) for n in range(50)]
    theirs = DefaultRecordBatch(bytes(build_batch(records, codec=codec)))
    assert theirs.validate_crc()
    assert [(r.timestamp, r.key, r.value) for r in theirs] == [
        (r.timestamp_ms, r.key, r.value) for r in records
    ]


def test_a_header_has_the_documented_layout() -> None:
    """Each field of the 61 bytes stands where Kafka puts it."""
    batch = build_batch(
        [Record(-1, 70, None, b"a"), Record(-1, 60, None, b"b")],
        base_offset=1,
        leader_epoch=2,
        producer_id=3,
        producer_epoch=4,
        base_sequence=5,
        codec=Codec.GZIP,
        transactional=True,
        control=True,
    )
    crc = read_batch_header(batch).crc
    expected = struct.pack(
        ">qiibIhiqqqhii", 1, len(batch) - 12, 2, 2, crc, 0x31, 1, 70, 70, 3, 4, 5, 2
    )
    assert bytes(batch[:61]) == expected
    header = read_batch_header(batch)
    assert (header.batch_size, header.last_offset, header.codec) == (len(batch), 2, 1)


def test_stamping_keeps_the_checksum_and_every_other_byte() -> None:
    """Offset and epoch are written in place; nothing else of the batch changes."""
    batch = a_batch(3)
    before = bytes(batch)
    stamp(memoryview(batch), 1 << 40, 77)
    header = read_batch_header(batch)
    assert (header.base_offset, header.leader_epoch) == (1 << 40, 77)
    assert crc_matches(batch)
    assert batch[8:12] + batch[16:] == before[8:12] + before[16:]


def test_log_append_time_is_the_time_of_every_record() -> None:
    """The broker's time replaces the client's for all records, and back again on request."""
    batch = a_batch(2, times=[10, 20])
    stamp_log_append_time(batch, 999)
    assert crc_matches(batch)
    assert [record.timestamp_ms for record in read_records(batch)] == [999, 999]
    stamp_create_time(batch)
    assert crc_matches(batch)
    assert [record.timestamp_ms for record in read_records(batch)] == [10, 20]
    untouched = bytes(batch)
    stamp_create_time(batch)
    assert batch == untouched


def test_a_header_key_that_is_no_text_is_not_lost() -> None:
    """Clients may send any bytes as a header's key; they go through unchanged."""
    batch = build_batch([Record(-1, 0, None, None, [("ab", b"")])])
    at = batch.index(b"ab")
    batch[at : at + 2] = b"\xff\xfe"
    (record,) = read_records(batch)
    ((name, _),) = record.headers
    assert name.encode("utf-8", "surrogateescape") == b"\xff\xfe"
    assert build_batch([record])[61:] == batch[61:]


def test_whole_batches_are_cut_out_of_a_buffer() -> None:
    """A cut batch at the end is left out; an impossible length is an error."""
    first, second = bytes(a_batch(2)), bytes(a_batch(1))
    for cut in range(len(second)):
        assert [bytes(b) for b in batches(first + second[:cut])] == [first]
    assert [bytes(b) for b in batches(first + second)] == [first, second]
    for length in (-1, 0, 48):
        with pytest.raises(CorruptBatch):
            list(batches(first + bytes(8) + struct.pack(">i", length) + bytes(60)))


@pytest.mark.parametrize("codec", list(Codec))
def test_any_bytes_give_records_or_a_typed_error(codec: Codec) -> None:
    """A mangled batch never raises anything but CorruptBatch and never reads beyond itself."""
    chance = random.Random(codec)
    records = [Record(-1, n, b"key", b"value" * n, [("h", None)]) for n in range(8)]
    good = build_batch(records, codec=codec)
    refused = 0
    for _ in range(1500):
        batch = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            batch[chance.randrange(16, len(batch))] = chance.randrange(256)
        if chance.random() < 0.2:
            del batch[chance.randrange(len(batch)) :]
        try:
            list(read_records(batch, unpacked_bytes_max=1 << 20))
        except CorruptBatch:
            refused += 1
    assert refused > 500
    with pytest.raises(CorruptBatch):
        read_batch_header(good[:60])
    with pytest.raises(CorruptBatch):
        crc_matches(good[:60])


@pytest.mark.parametrize("codec", list(Codec))
def test_unpacking_is_bounded(codec: Codec) -> None:
    """A small batch that unpacks to far more than allowed is refused."""
    batch = build_batch([Record(-1, 0, None, bytes(3_000_000))], codec=codec)
    with pytest.raises(BatchTooLarge):
        list(read_records(batch, unpacked_bytes_max=1_000_000))
    assert len(next(iter(read_records(batch))).value or b"") == 3_000_000


def test_a_snappy_block_that_lies_about_its_length_is_refused() -> None:
    """The announced length is checked before anything of that size is allocated."""
    with pytest.raises(BatchTooLarge):
        decompress(Codec.SNAPPY, b"\xff\xff\xff\xff\x0f" + bytes(20), bytes_max=1 << 20)


def test_snappy_is_read_in_javas_framing_too() -> None:
    """Java sends blocks behind a header, others one bare block."""
    plain = bytes(range(256)) * 300
    framed = XERIAL_MAGIC + struct.pack(">ii", 1, 1)
    for begin in range(0, len(plain), 32768):
        block = bytes(cramjam.snappy.compress_raw(plain[begin : begin + 32768]))
        framed += struct.pack(">i", len(block)) + block
    assert decompress(Codec.SNAPPY, framed, bytes_max=1 << 20) == plain
    assert decompress(Codec.SNAPPY, compress(Codec.SNAPPY, plain), bytes_max=1 << 20) == plain
    with pytest.raises(CorruptBatch):
        decompress(Codec.SNAPPY, framed[:-5], bytes_max=1 << 20)


def test_gzip_and_zstd_may_come_in_several_pieces() -> None:
    """Members and frames one after the other are one stream."""
    for codec in (Codec.GZIP, Codec.ZSTD):
        packed = compress(codec, b"first ") + compress(codec, b"second")
        assert decompress(codec, packed, bytes_max=1000) == b"first second"


def test_an_unknown_codec_is_refused() -> None:
    """Numbers 5 to 7 mean nothing."""
    with pytest.raises(CorruptBatch):
        decompress(5, b"", bytes_max=10)
    with pytest.raises(ValueError, match="5 is not a codec"):
        compress(5, b"")


@pytest.mark.parametrize("seed", range(100))
def test_batches_of_pairs_are_batches_of_records(seed: int) -> None:
    """Keys and values of one instant make the same bytes by either way, of any length."""
    rng = random.Random(seed)

    def some_bytes() -> bytes | None:
        return rng.choice((None, b"", rng.randbytes(rng.choice((1, 60, 64, 2_047, 2_048, 9_000)))))

    count = rng.choice((1, 1, 2, 65, 2_100))
    pairs = [(some_bytes(), some_bytes()) for _ in range(count)]
    expected = build_batch([Record(0, 1_700_000_000_000, key, value) for key, value in pairs])
    assert build_batch_of_pairs(pairs, 1_700_000_000_000) == expected
