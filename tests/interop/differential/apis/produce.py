"""Produce: what is taken, what is refused, with which code."""

from __future__ import annotations

from mesh.model.names import OFFSETS_TOPIC
from mesh.wire.schemas.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from tests.interop.differential.ask import list_offsets, look, produce
from tests.interop.differential.batches import (
    CONTROL,
    GZIP,
    LOG_APPEND_TIME,
    LZ4,
    SNAPPY,
    T0,
    TRANSACTIONAL,
    ZSTD,
    Record,
    batch,
)
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import Talk

HOUR_MS = 3_600_000


@case(ProduceRequest)
def produce_acks_one(talk: Talk) -> None:
    """With acks=1, batches get consecutive offsets"""
    topic = talk.topic(partitions=2)
    talk.ask(produce(talk, topic, batch(b"a", b"b"), batch(b"c"), acks=1))
    talk.ask(produce(talk, topic, batch(b"d"), acks=1))
    # Readable is what is synced; a batch with acks=all behind them makes sure.
    talk.ask(produce(talk, topic, batch(b"e"), batch(b"f")))
    look(talk, topic, 0, 0)


@case(ProduceRequest)
def produce_acks_all(talk: Talk) -> None:
    """With acks=all, the same; keys, headers and nulls come back as they went"""
    topic = talk.topic()
    everything = Record(None, b"key", headers=((b"h", b"1"), (b"h", None)))
    talk.ask(produce(talk, topic, batch(everything, b"", Record(b"v", b""))))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_acks_none(talk: Talk) -> None:
    """With acks=0 there is no answer, and the record is there"""
    topic = talk.topic()
    talk.tell(produce(talk, topic, batch(b"a"), acks=0))
    talk.ask(produce(talk, topic, batch(b"b")))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_acks_none_refused(talk: Talk) -> None:
    """With acks=0, an error closes the connection"""
    talk.tell(produce(talk, talk.name(), batch(b"a"), acks=0))
    talk.tell(produce(talk, talk.topic(), batch(b"a", crc=1), acks=0))


@case(ProduceRequest)
def produce_acks_unknown(talk: Talk) -> None:
    """No other acks than -1, 0 and 1 exist"""
    topic = talk.topic()
    for acks in (2, -2, 32767):
        talk.ask(produce(talk, topic, batch(b"a"), acks=acks))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_unknown_partition(talk: Talk) -> None:
    """Unknown topics and partitions are refused one by one; the others are taken"""
    topic = talk.topic(partitions=2)
    talk.ask(produce(talk, topic, batch(b"a"), batch(b"b"), first_partition=1))
    talk.ask(produce(talk, topic, batch(b"c"), first_partition=-1))
    talk.ask(produce(talk, talk.name(), batch(b"d")))
    talk.ask(produce(talk, "not/a/name", batch(b"e")))
    look(talk, topic, 0, 0)


@case(ProduceRequest)
def produce_to_an_internal_topic(talk: Talk) -> None:
    """The topic that keeps groups takes nothing from clients"""
    talk.group()
    talk.wait_for_leaders(OFFSETS_TOPIC, partitions=1)
    talk.ask(produce(talk, OFFSETS_TOPIC, batch(b"a")))


@case(ProduceRequest)
def produce_nothing(talk: Talk) -> None:
    """A request without topics, a topic without partitions"""
    talk.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=[]))
    talk.ask(produce(talk, talk.topic(), acks=1))


@case(ProduceRequest)
def produce_no_records(talk: Talk) -> None:
    """Empty records"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, b""))
    look(talk, topic, 0)


@case(ProduceRequest, versions=(13, 13))
def produce_null_records(talk: Talk) -> None:
    """Null records"""
    topic = talk.topic()
    talk.ask_what_may_hang(produce(talk, topic, None))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_codecs(talk: Talk) -> None:
    """Every codec is stored as it came; zstd needs version 7"""
    topic = talk.topic(partitions=5)
    values = [b"value %d" % number for number in range(20)]
    talk.ask(produce(talk, topic, *(batch(*values, codec=codec) for codec in range(5))))
    look(talk, topic, *([0] * 5))


@case(ProduceRequest, versions=(9, 13))
def produce_codec_unknown(talk: Talk) -> None:
    """Codecs 5, 6 and 7 do not exist"""
    topic = talk.topic()
    for codec in (5, 6, 7):
        talk.ask(produce(talk, topic, batch(b"a", attributes=codec)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_wrong_crc(talk: Talk) -> None:
    """A wrong checksum is CORRUPT_MESSAGE, and the batch beside it is taken"""
    topic = talk.topic(partitions=2)
    talk.ask(produce(talk, topic, batch(b"a", crc=1), batch(b"b")))
    look(talk, topic, 0, 0)


@case(ProduceRequest)
def produce_magic(talk: Talk) -> None:
    """Only magic 2 is a batch"""
    topic = talk.topic()
    for magic in (0, 1, 3, -1):
        talk.ask(produce(talk, topic, batch(b"a", magic=magic)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_counts(talk: Talk) -> None:
    """The record count must be what the last offset says, and more than none"""
    topic = talk.topic()
    for delta, count in ((5, 1), (0, 2), (-1, 0), (0, 0), (-2, -1), (0, -1)):
        talk.ask(produce(talk, topic, batch(b"a", last_offset_delta=delta, count=count)))
    look(talk, topic, 0)


@case(ProduceRequest, versions=(9, 13))
def produce_counts_false(talk: Talk) -> None:
    """Header and checksum are right, but more or fewer records follow than it says"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, batch(b"a", last_offset_delta=2, count=3)))
    talk.ask(produce(talk, topic, batch(b"a", b"b", b"c", last_offset_delta=0, count=1)))
    look(talk, topic, 0)


@case(ProduceRequest, versions=(9, 13))
def produce_offset_deltas_false(talk: Talk) -> None:
    """Records whose own offsets do not follow one another"""
    topic = talk.topic()
    odd = [Record(b"a"), Record(b"b", offset_delta=7)]
    talk.ask(produce(talk, topic, batch(*odd)))
    talk.ask(produce(talk, topic, batch(*odd, codec=GZIP)))
    look(talk, topic, 0)


@case(ProduceRequest, versions=(9, 13))
def produce_payload_damaged(talk: Talk) -> None:
    """The checksum is right, but the records are no records, or no compressed ones"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, batch(b"a", payload=b"\xff" * 20)))
    for codec in (GZIP, SNAPPY, LZ4, ZSTD):
        talk.ask(produce(talk, topic, batch(b"a", codec=codec, payload=b"\xff" * 20)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_base_offset(talk: Talk) -> None:
    """A client's base offset is not zero"""
    topic = talk.topic()
    for offset in (1, 100, -1):
        talk.ask(produce(talk, topic, batch(b"a", base_offset=offset)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_leader_epoch(talk: Talk) -> None:
    """A client's leader epoch is not looked at"""
    topic = talk.topic()
    for epoch in (0, 7, -2):
        talk.ask(produce(talk, topic, batch(b"a", leader_epoch=epoch)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_control(talk: Talk) -> None:
    """A client may not send control batches"""
    topic = talk.topic()
    marker = Record(b"\0\0\0\0\0\0", b"\0\0\0\1")
    for attributes in (CONTROL, CONTROL | TRANSACTIONAL):
        talk.ask(produce(talk, topic, batch(marker, attributes=attributes)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_two_batches(talk: Talk) -> None:
    """Two batches for one partition"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, batch(b"a") + batch(b"b")))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_lengths(talk: Talk) -> None:
    """Batches that are cut short, or that claim more or less than what came"""
    topic = talk.topic()
    whole = batch(b"some value", b"another")
    for records in (whole[:-1], whole[:61], whole[:60], whole[:12], whole[:5], whole + b"\0"):
        talk.ask(produce(talk, topic, records), label=f"{len(records)} bytes")
    for length in (-1, 0, 48, 49, 60, 2**31 - 1):
        talk.ask(produce(talk, topic, batch(b"a", length=length)), label=f"length {length}")
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_partition_twice(talk: Talk) -> None:
    """One partition, or one topic, twice in a request"""
    topic = talk.topic(partitions=2)
    twice = produce(talk, topic, batch(b"a"))
    twice.topic_data[0].partition_data.append(PartitionProduceData(index=0, records=batch(b"b")))
    talk.ask(twice)
    again = produce(talk, topic, batch(b"c"))
    again.topic_data.append(
        TopicProduceData(
            name=topic,
            topic_id=again.topic_data[0].topic_id,
            partition_data=[PartitionProduceData(index=1, records=batch(b"d"))],
        )
    )
    talk.ask(again)
    look(talk, topic, 0, 0)


@case(ProduceRequest)
def produce_log_append_time(talk: Talk) -> None:
    """On a LogAppendTime topic the broker sets the time, the type and the checksum"""
    topic = talk.topic(partitions=2, configs={"message.timestamp.type": "LogAppendTime"})
    talk.ask(produce(talk, topic, batch(b"a", b"b"), batch(b"c", codec=LZ4)))
    talk.ask(produce(talk, topic, batch(b"d", attributes=LOG_APPEND_TIME)))
    talk.ask(produce(talk, topic, batch(b"e", base_timestamp=T0 + 9 * HOUR_MS)))
    look(talk, topic, 0, 0)


@case(ProduceRequest)
def produce_log_append_time_unasked(talk: Talk) -> None:
    """A client sets the LogAppendTime bit on a CreateTime topic"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, batch(b"a", attributes=LOG_APPEND_TIME)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_timestamps(talk: Talk) -> None:
    """More than an hour ahead is refused; long ago, minus one and less are not"""
    topic = talk.topic(configs={"retention.ms": "-1"})
    for base in (T0 + 3 * HOUR_MS, 1_000, -1, -2):
        talk.ask(produce(talk, topic, batch(b"a", base_timestamp=base)), label=f"at {base - T0}")
    late = [Record(b"a", timestamp_delta=0), Record(b"b", timestamp_delta=3 * HOUR_MS)]
    talk.ask(produce(talk, topic, batch(*late)))
    talk.ask(produce(talk, topic, batch(*late, codec=GZIP)))
    talk.ask(list_offsets(topic, -1), version=2)


@case(ProduceRequest)
def produce_timestamps_false(talk: Talk) -> None:
    """A maximum timestamp in the header that is not the records'"""
    topic = talk.topic()
    late = [Record(b"a", timestamp_delta=0), Record(b"b", timestamp_delta=3 * HOUR_MS)]
    talk.ask(produce(talk, topic, batch(*late, max_timestamp=T0)), label="too low")
    talk.ask(produce(talk, topic, batch(b"c", max_timestamp=T0 + 3 * HOUR_MS)), label="too high")


@case(ProduceRequest, versions=(9, 13))
def produce_timestamp_limits(talk: Talk) -> None:
    """A topic's own limits before and after now hold"""
    limits = {"message.timestamp.before.max.ms": "7200000"}
    topic = talk.topic(configs={**limits, "message.timestamp.after.max.ms": "14400000"})
    for hours in (-2, 0, 3, 6):
        records = batch(b"a", base_timestamp=T0 + hours * HOUR_MS)
        talk.ask(produce(talk, topic, records), label=f"{hours} h")
    mixed = [Record(b"a", timestamp_delta=-3 * HOUR_MS), Record(b"b", timestamp_delta=0)]
    talk.ask(produce(talk, topic, batch(*mixed)), label="first too early")
    talk.ask(list_offsets(topic, -1), version=2)


@case(ProduceRequest)
def produce_compacted(talk: Talk) -> None:
    """A compacted topic takes no record without a key"""
    topic = talk.topic(configs={"cleanup.policy": "compact"})
    mixed = [Record(b"a", b"key"), Record(b"b"), Record(b"c", b"key"), Record(b"d")]
    talk.ask(produce(talk, topic, batch(*mixed)))
    talk.ask(produce(talk, topic, batch(*mixed, codec=ZSTD if talk.version >= 7 else GZIP)))
    talk.ask(produce(talk, topic, batch(Record(b"a", b"key"), Record(None, b"key"))))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_too_large(talk: Talk) -> None:
    """A batch above max.message.bytes; its own size counts, not the records'"""
    topic = talk.topic(configs={"max.message.bytes": "1000"})
    talk.ask(produce(talk, topic, batch(b"x" * 1000)))
    talk.ask(produce(talk, topic, batch(b"x" * 5000, codec=GZIP)))
    exact = 1000 - len(batch(b"x" * 800)) + 800
    talk.ask(produce(talk, topic, batch(b"x" * exact)), label="exactly")
    talk.ask(produce(talk, topic, batch(b"x" * (exact + 1))), label="one more")
    talk.ask(list_offsets(topic, -1), version=2)


@case(ProduceRequest, versions=(11, 13))
def produce_larger_than_segment(talk: Talk) -> None:
    """A batch that max.message.bytes allows and segment.bytes does not"""
    topic = talk.topic(configs={"max.message.bytes": "3000000", "segment.bytes": "1048576"})
    talk.ask(produce(talk, topic, batch(b"x" * 1_100_000)))
    talk.ask(produce(talk, topic, batch(b"x" * 1_000_000)))
    talk.ask(list_offsets(topic, -1), version=2)


@case(ProduceRequest, versions=(9, 13))
def produce_recompressed(talk: Talk) -> None:
    """A topic with a compression.type of its own, and a batch of another"""
    topic = talk.topic(partitions=3, configs={"compression.type": "gzip"})
    batches = batch(b"a" * 50, b"b"), batch(b"a" * 50, codec=LZ4), batch(b"a" * 50, codec=GZIP)
    talk.ask(produce(talk, topic, *batches))
    talk.ask(list_offsets(topic, -1, -1, -1), version=2)


@case(ProduceRequest)
def produce_idempotent(talk: Talk) -> None:
    """Duplicates of the last five batches get their first offset; older ones and gaps an error"""
    topic = talk.topic()

    def send(sequence: int, *, epoch: int = 0, label: str = "") -> None:
        records = batch(b"a", b"b", producer_id=4711, producer_epoch=epoch, base_sequence=sequence)
        talk.ask(produce(talk, topic, records), label=label or f"sequence {sequence}")

    for sequence in range(0, 14, 2):
        send(sequence)
    for sequence in (12, 4, 2, 0):
        send(sequence, label=f"again {sequence}")
    send(16, label="a gap")
    send(13, label="half a duplicate")
    send(14)
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_idempotent_epochs(talk: Talk) -> None:
    """A new epoch begins at sequence 0; an older one is fenced"""
    topic = talk.topic()

    def send(sequence: int, epoch: int) -> None:
        records = batch(b"a", producer_id=4712, producer_epoch=epoch, base_sequence=sequence)
        talk.ask(produce(talk, topic, records), label=f"epoch {epoch} sequence {sequence}")

    for sequence, epoch in ((0, 3), (1, 3), (2, 2), (0, 2), (2, 4), (0, 4), (2, 3), (1, 4), (0, 4)):
        send(sequence, epoch)
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_idempotent_unknown(talk: Talk) -> None:
    """A producer that the partition does not know may begin anywhere"""
    topic = talk.topic()
    for producer, sequence in ((5001, 5), (5001, 6), (5002, 2**31 - 1), (5002, 0)):
        records = batch(b"a", producer_id=producer, producer_epoch=0, base_sequence=sequence)
        talk.ask(produce(talk, topic, records))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_idempotent_wraps(talk: Talk) -> None:
    """A sequence wraps after 2^31-1, within a batch too"""
    topic = talk.topic()
    for sequence in (2**31 - 3, 2**31 - 1, 0, 2**31 - 3):
        records = batch(b"a", b"b", producer_id=5003, producer_epoch=0, base_sequence=sequence)
        talk.ask(produce(talk, topic, records), label=f"sequence {sequence}")
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_idempotent_incomplete(talk: Talk) -> None:
    """A producer id without a sequence, a sequence without an id, a negative epoch"""
    topic = talk.topic()
    for producer, epoch, sequence in ((6001, 0, -1), (-1, -1, 0), (6002, -1, 0), (-2, 0, 0)):
        records = batch(b"a", producer_id=producer, producer_epoch=epoch, base_sequence=sequence)
        label = f"id {producer} epoch {epoch} sequence {sequence}"
        talk.ask(produce(talk, topic, records), label=label)
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_in_flight(talk: Talk) -> None:
    """Five requests at once are answered in their order"""
    topic = talk.topic()
    talk.ask_all([produce(talk, topic, batch(b"%d" % number)) for number in range(5)])
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_transactional_bit(talk: Talk) -> None:
    """A transactional batch in a request without a transactional id"""
    topic = talk.topic()
    bit = TRANSACTIONAL
    bare = batch(b"a", attributes=bit, producer_id=7001, producer_epoch=0, base_sequence=0)
    talk.ask(produce(talk, topic, bare))
    talk.ask(produce(talk, topic, batch(b"a", attributes=bit)))
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_transactional_id(talk: Talk) -> None:
    """A transactional id in a request without a transactional batch"""
    topic = talk.topic()
    talk.ask(produce(talk, topic, batch(b"a"), transactional_id="nobody"))
    look(talk, topic, 0)


@case(ProduceRequest, versions=(13, 13))
def produce_topic_ids(talk: Talk) -> None:
    """Version 13 names topics by id: unknown and absent ids are refused"""
    topic = talk.topic()
    request = produce(talk, topic, batch(b"a"))
    right = request.topic_data[0].topic_id
    for wanted in (bytes(range(16)), bytes(16), right):
        request.topic_data[0].topic_id = wanted
        talk.ask(request)


NOT_READ = (
    "Records are neither parsed nor decompressed when they arrive: that is what makes us fast"
)
WE_SAY_WHY = "We say why, where Kafka gives only a code"

differs(
    ProduceRequest,
    "responses/*/partition_responses/*/error_message",
    kafka=None,
    ours="text",
    reason=WE_SAY_WHY,
)
differs(
    ProduceRequest,
    "responses/*/partition_responses/*/log_start_offset",
    kafka=0,
    ours=-1,
    reason="An error of ours names no log start, whenever it was found",
)
differs(
    ProduceRequest,
    "responses/*/partition_responses/*/record_errors/*",
    kafka="present",
    ours="absent",
    reason="The time limits are checked against the header alone, which does not say which record",
    cases="produce-*time*",
)
differs(
    ProduceRequest,
    "responses/*/partition_responses/*/log_append_time_ms",
    kafka=ANY,
    ours=-1,
    reason="A duplicate is answered like its original, in this field too",
    cases="produce-idempotent*",
)


def taken_all_the_same(cases: str, code: int, reason: str) -> None:
    """Declare that we append what Kafka refuses with this code."""
    result, log = "responses/*/partition_responses/0", "responses/*/partitions/0"
    for path, kafka, ours in (
        (f"{result}/error_code", code, 0),
        (f"{result}/base_offset", -1, ANY),
        (f"{log}/high_watermark", ANY, ANY),
        (f"{log}/last_stable_offset", ANY, ANY),
        (f"{log}/records/*", "absent", "present"),
    ):
        differs(ProduceRequest, path, kafka=kafka, ours=ours, reason=reason, cases=cases)


taken_all_the_same("produce-payload-damaged", -1, NOT_READ)
taken_all_the_same("produce-counts-false", 87, NOT_READ)
taken_all_the_same("produce-offset-deltas-false", -1, NOT_READ)
for path, kafka, ours in (
    ("responses/*/partition_responses/0/error_code", 32, 0),
    ("responses/*/partition_responses/0/base_offset", ANY, ANY),
    ("responses/*/partition_responses/0/error_code", 0, 32),
    ("responses/*/partition_responses/0/error_message", "text", None),
):
    differs(
        ProduceRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="The maximum timestamp in the header is believed, because records are not parsed",
        cases="produce-timestamps-false",
    )
differs(
    ProduceRequest,
    "responses/*/partition_responses/0/error_code",
    kafka=-1,
    ours=76,
    reason="UNSUPPORTED_COMPRESSION_TYPE is what it is",
    cases="produce-codec-unknown",
)
differs(
    ProduceRequest,
    "responses/*/partition_responses/0/error_code",
    kafka=-1,
    ours=87,
    reason="INVALID_RECORD for a batch that is not all there, however long it claims to be",
    cases="produce-lengths",
)
for path, kafka, ours in (
    ("responses/*", "absent", "present"),
    ("responses/*/partition_responses/1", "present", "absent"),
    ("responses/*/partition_responses/0/base_offset", 1, 2),
    ("responses/*/partitions/0/high_watermark", 2, 3),
    ("responses/*/partitions/0/last_stable_offset", 2, 3),
    ("responses/*/partitions/0/records/*/payload", ANY, ANY),
):
    differs(
        ProduceRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Every entry is appended and answered; Kafka drops the earlier one without a word",
        cases="produce-partition-twice",
    )
differs(
    ProduceRequest,
    "responses/*",
    kafka="absent",
    ours="present",
    reason="A topic without partitions is answered by a topic without partitions",
    cases="produce-nothing",
)
for path, kafka, ours in (
    ("outcome", "no answer", "absent"),
    ("responses/*", "absent", "present"),
    ("throttle_time_ms", "absent", 0),
):
    differs(
        ProduceRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Null records are INVALID_RECORD; from Kafka there is no answer at all",
        cases="produce-null-records",
    )
for path, kafka, ours in (
    ("responses/*/partition_responses/0/error_code", 0, 53),
    ("responses/*/partition_responses/0/base_offset", 0, -1),
    ("responses/*/partitions/0/high_watermark", 1, 0),
    ("responses/*/partitions/0/last_stable_offset", 1, 0),
    ("responses/*/partitions/0/records/*", "present", "absent"),
):
    differs(
        ProduceRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="There are no transactions yet: a request with a transactional id is refused whole",
        cases="produce-transactional-id",
    )

surprise(
    ProduceRequest,
    """Null records get no answer and no hang-up: the request handler stumbles over them twice,
    once more while it logs the first time, and the client waits for ever.""",
)
surprise(
    ProduceRequest,
    """Bytes after the one batch are ignored if they cannot be a batch; two whole batches are
    INVALID_RECORD (87).""",
)
surprise(
    ProduceRequest,
    """Codecs 5 to 7, compressed bytes that do not decompress, a length of 2^31-1 and
    unreadable records are UNKNOWN_SERVER_ERROR (-1), not CORRUPT_MESSAGE or INVALID_RECORD.""",
)
surprise(
    ProduceRequest,
    """Records whose own offset deltas do not follow one another are stored as they are when
    they are not compressed, and refused with -1 when they are.""",
)
surprise(
    ProduceRequest,
    """A duplicate of an idempotent batch is answered with log_append_time set to that batch's
    maximum timestamp, although the topic is a CreateTime topic.""",
)
surprise(
    ProduceRequest,
    """A partition that occurs twice in one request is answered once, and only its later batch
    is appended; the order of partitions in an answer is that of a hash table, not of the
    request.""",
)
surprise(
    ProduceRequest,
    """A maximum timestamp in the batch's header is believed by nobody: Kafka looks at every
    record, and writes the true maximum into the header.""",
)
surprise(
    ProduceRequest,
    """Error answers name a log start offset of 0 when the batch was refused while it was
    validated against the log, and of -1 when it was refused before.""",
)
surprise(
    ProduceRequest,
    """A negative producer id other than -1, and an id with epoch -1, are taken.""",
)
