"""Idempotent producers: what is a duplicate, what is a gap, who is fenced, and what is told of it.

The plain cases are in `produce.py`; these are the edges.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from mesh.wire.schemas.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from mesh.wire.schemas.init_producer_id import InitProducerIdRequest
from mesh.wire.schemas.produce import ProduceRequest
from tests.interop.differential.ask import look, produce
from tests.interop.differential.batches import GZIP, T0, batch
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import Talk

LAST = 2**31 - 1
"""The last sequence number; 0 follows."""
FEW = (9, 13)
"""Versions that suffice where the request's form is not what is asked about."""


def one(
    sequence: int, *values: bytes, producer: int = 4801, epoch: int = 0, base_timestamp: int = T0
) -> bytes:
    """Return a batch of an idempotent producer, of one record unless told otherwise."""
    return batch(
        *(values or (b"a",)),
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        base_timestamp=base_timestamp,
    )


def send(talk: Talk, topic: str, records: bytes, label: str, *, acks: int = -1) -> None:
    """Produce to partition 0 and compare the answer."""
    talk.ask(produce(talk, topic, records, acks=acks), label=label)


def describe(talk: Talk, topic: str, *indexes: int) -> None:
    """Compare what is told of the producers of these partitions."""
    named = TopicRequest(name=topic, partition_indexes=list(indexes))
    answer = talk.connection.ask(DescribeProducersRequest(topics=[named]), 0)
    if isinstance(answer, DescribeProducersResponse):
        for partition in answer.topics[0].partitions:
            partition.active_producers.sort(key=lambda known: known.producer_id)
    talk.hear(answer, label="producers")


@case(ProduceRequest, versions=FEW)
def produce_idempotent_cut_differently(talk: Talk) -> None:
    """Each of the last five comes again whole, shorter, longer, joined with the next, and halved"""
    topic = talk.topic()
    for sequence in range(0, 15, 3):
        send(talk, topic, one(sequence, b"a", b"b", b"c"), f"sequence {sequence}")
    for sequence in range(0, 15, 3):
        for size in (3, 2, 4, 6, 1):
            records = one(sequence, *[b"x"] * size)
            send(talk, topic, records, f"{size} from {sequence}")
        send(talk, topic, one(sequence + 1, b"b", b"c"), f"2 from {sequence + 1}")
    describe(talk, topic, 0)
    send(talk, topic, one(15), "goes on")
    send(talk, topic, one(0, b"a", b"b", b"c"), "the sixth last")
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_other_content(talk: Talk) -> None:
    """A duplicate is told by its numbers: other records, codec or times make no difference"""
    topic = talk.topic()
    send(talk, topic, one(0), "first")
    send(talk, topic, one(0, b"something else"), "other records")
    packed = batch(b"a", codec=GZIP, producer_id=4801, producer_epoch=0, base_sequence=0)
    send(talk, topic, packed, "packed")
    send(talk, topic, one(0, base_timestamp=T0 + 99), "another time")
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_acks(talk: Talk) -> None:
    """Duplicates, gaps and old epochs with acks=0 and 1"""
    topic = talk.topic()
    for acks in (0, 1):
        first = 10 * acks
        for sequence in range(first, first + 3):
            records = one(sequence, producer=4802 + acks, epoch=3)
            if acks:
                send(talk, topic, records, f"sequence {sequence}", acks=1)
            else:
                talk.tell(produce(talk, topic, records, acks=0), label=f"sequence {sequence}")
        for label, sequence, epoch in (
            ("duplicate", first + 1, 3),
            ("gap", first + 7, 3),
            ("old epoch", 0, 2),
            ("new epoch, not from 0", 1, 4),
        ):
            records = one(sequence, producer=4802 + acks, epoch=epoch)
            if acks:
                send(talk, topic, records, label, acks=1)
            else:
                talk.tell(produce(talk, topic, records, acks=0), label=label)
    send(talk, topic, batch(b"z"), "a last one")
    look(talk, topic, 0)


@case(ProduceRequest)
def produce_idempotent_partitions(talk: Talk) -> None:
    """Each partition counts by itself: new here, a duplicate there, a gap in the third"""
    topic = talk.topic(partitions=3)
    talk.ask(produce(talk, topic, one(0), one(0), one(0)), label="first")
    talk.ask(produce(talk, topic, one(1), one(0), one(2)), label="new, duplicate, gap")
    talk.ask(produce(talk, topic, one(1), one(1), one(1)), label="duplicate, new, new")
    talk.ask(produce(talk, topic, one(1), one(1), one(1)), label="all again")
    describe(talk, topic, 0, 1, 2)
    look(talk, topic, 0, 0, 0)


@case(ProduceRequest)
def produce_idempotent_in_flight(talk: Talk) -> None:
    """Five in flight, among them a duplicate, a gap, and what a gap makes of its followers"""
    topic = talk.topic()
    talk.ask_all([produce(talk, topic, one(number)) for number in (0, 1, 1, 3, 2)])
    talk.ask_all([produce(talk, topic, one(number)) for number in (4, 5, 3, 4, 5)])
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_epoch_bumped(talk: Talk) -> None:
    """After a new epoch: retries of the old one, of the new one, epochs that are skipped"""
    topic = talk.topic()
    for sequence in range(6):
        send(talk, topic, one(sequence), f"epoch 0 sequence {sequence}")
    for sequence, epoch in (
        (1, 1),  # not from 0
        (LAST, 1),
        (0, 1),
        (5, 0),  # a retry of what is there, by a zombie
        (6, 0),
        (0, 0),
        (0, 1),  # a retry
        (5, 1),  # of the old epoch's numbers nothing is left
        (1, 1),
        (0, 9),  # epochs may be skipped
        (0, 32767),
        (1, 32767),
        (0, 0),  # and do not wrap
        (0, -1),
    ):
        send(talk, topic, one(sequence, epoch=epoch), f"epoch {epoch} sequence {sequence}")
    describe(talk, topic, 0)
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_without_epoch(talk: Talk) -> None:
    """A producer id with epoch -1, which no client sends"""
    topic = talk.topic()
    for sequence, epoch in (
        (3, -1),
        (3, -1),
        (4, -1),
        (9, -1),
        (0, -1),
        (4, -1),
        (9, -1),
        (7, 0),
        (7, 0),
        (8, 0),
        (3, 0),
        (9, -1),
        (9, -2),
    ):
        send(talk, topic, one(sequence, epoch=epoch), f"epoch {epoch} sequence {sequence}")
    describe(talk, topic, 0)
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_wraps_in_flight(talk: Talk) -> None:
    """Numbers wrap in the midst of five batches: each is known, gaps are seen on both sides"""
    topic = talk.topic()
    firsts = (LAST - 4, LAST - 1, 1, 4, 7)
    for sequence in firsts:
        send(talk, topic, one(sequence, b"a", b"b", b"c"), f"sequence {sequence}")
    for sequence in (*firsts, LAST - 7, LAST, 0, 11, 10):
        send(talk, topic, one(sequence, b"a", b"b", b"c"), f"then {sequence}")
    describe(talk, topic, 0)
    exact = one(LAST, producer=4810)
    for label, records in (("last", exact), ("zero", one(0, producer=4810)), ("again", exact)):
        send(talk, topic, records, label)
    send(talk, topic, one(LAST, b"a", b"b", producer=4811), "wraps within")
    send(talk, topic, one(LAST, b"a", b"b", producer=4811), "wraps within, again")
    send(talk, topic, one(0, producer=4811), "its second half")
    send(talk, topic, one(1, producer=4811), "after it")
    look(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_among_others(talk: Talk) -> None:
    """Other producers, and batches without one, change nothing of what is expected"""
    topic = talk.topic()
    for sequence in range(3):
        send(talk, topic, one(sequence), f"sequence {sequence}")
        send(talk, topic, batch(b"plain"), "without an id")
        send(talk, topic, one(7 * sequence, producer=4804 + sequence), "another id")
    for sequence in range(3):
        send(talk, topic, one(sequence), f"again {sequence}")
        send(talk, topic, one(7 * sequence, producer=4804 + sequence), "another id again")
    describe(talk, topic, 0)
    look(talk, topic, 0)


def delete(topic: str, offset: int) -> DeleteRecordsRequest:
    """Return a DeleteRecords of partition 0 up to an offset."""
    wanted = DeleteRecordsPartition(partition_index=0, offset=offset)
    named = DeleteRecordsTopic(name=topic, partitions=[wanted])
    return DeleteRecordsRequest(topics=[named], timeout_ms=15_000)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_deleted(talk: Talk) -> None:
    """A duplicate whose original was deleted meanwhile, alone and with all the log"""
    topic = talk.topic()
    for sequence in range(4):
        send(talk, topic, one(sequence), f"sequence {sequence}")
    for offset in (2, 4):
        talk.ask(delete(topic, offset), version=2, label=f"delete to {offset}")
        describe(talk, topic, 0)
        for sequence in range(4):
            send(talk, topic, one(sequence), f"again {sequence}")
        send(talk, topic, one(3 * offset), "a gap")
    send(talk, topic, one(4), "goes on")
    look(talk, topic, 4)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_log_append_time(talk: Talk) -> None:
    """A duplicate on a LogAppendTime topic bears the time of its original"""
    topic = talk.topic(configs={"message.timestamp.type": "LogAppendTime"})
    for sequence in (0, 1, 0, 1):
        send(talk, topic, one(sequence), f"sequence {sequence}")
    describe(talk, topic, 0)


@case(ProduceRequest, versions=FEW)
def produce_idempotent_recompressed(talk: Talk) -> None:
    """Duplicates on a topic that packs anew what it is sent"""
    topic = talk.topic(configs={"compression.type": "gzip"})
    for sequence in (0, 2, 4, 0, 2, 4, 8):
        send(talk, topic, one(sequence, b"a" * 50, b"b" * 50), f"sequence {sequence}")


@case(ProduceRequest, versions=FEW)
def produce_idempotent_refused(talk: Talk) -> None:
    """What was refused for another reason has taken no number"""
    topic = talk.topic(configs={"max.message.bytes": "500"})
    send(talk, topic, one(0), "first")
    send(talk, topic, one(1, b"x" * 1000), "too large")
    wrong = batch(b"a", producer_id=4801, producer_epoch=0, base_sequence=1, crc=1)
    send(talk, topic, wrong, "wrong checksum")
    send(talk, topic, one(1), "the same number")
    send(talk, topic, one(0, b"x" * 1000), "a duplicate that is too large")
    describe(talk, topic, 0)
    look(talk, topic, 0)


def wanting(
    transactional_id: str | None = None,
    *,
    producer_id: int = -1,
    producer_epoch: int = -1,
    timeout_ms: int = 60_000,
) -> InitProducerIdRequest:
    """Return an InitProducerId."""
    return InitProducerIdRequest(
        transactional_id=transactional_id,
        transaction_timeout_ms=timeout_ms,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
    )


@case(InitProducerIdRequest, versions=(3, 5))
def producer_ids_epoch_ends(talk: Talk) -> None:
    """Who shows an id and an epoch without a transaction gets another id, whatever the epoch"""
    pairs: Sequence[tuple[int, int]] = ((7, 0), (7, 32766), (7, 32767), (0, 0), (2**62, 5))
    for producer_id, epoch in pairs:
        request = wanting(producer_id=producer_id, producer_epoch=epoch)
        talk.ask(request, label=f"id {producer_id} epoch {epoch}")


@case(InitProducerIdRequest)
def producer_ids_timeouts(talk: Talk) -> None:
    """The time-out of a transaction is not looked at where there is none"""
    for timeout_ms in (0, -5, 2**31 - 1):
        talk.ask(wanting(timeout_ms=timeout_ms), label=f"{timeout_ms} ms")


differs(
    ProduceRequest,
    "responses/*/partition_responses/*/log_start_offset",
    kafka=ANY,
    ours=-1,
    reason="An error of ours names no log start, whenever it was found",
    cases="produce-idempotent-deleted",
)

surprise(
    ProduceRequest,
    """A producer id with epoch -1 is asked for no order of its sequences, and neither is its first
    epoch that is not negative; duplicates are told all the same.""",
)
surprise(
    ProduceRequest,
    """A duplicate is answered with its original's offset also where that was deleted since.""",
)
surprise(
    ProduceRequest,
    """A duplicate is told by its sequences alone: other records under the same numbers are
    answered as if they had been appended. A batch that is a part of one, or two in one, is
    OUT_OF_ORDER_SEQUENCE_NUMBER (45).""",
)
surprise(
    InitProducerIdRequest,
    """Without a transactional id no epoch is ever raised: who shows an id and an epoch gets
    another id with epoch 0.""",
)
