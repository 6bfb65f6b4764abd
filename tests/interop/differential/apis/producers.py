"""DescribeProducers."""

from __future__ import annotations

from mesh.wire.schemas.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from tests.interop.differential.ask import fill
from tests.interop.differential.batches import batch
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk

LAST_SEQUENCE = 2**31 - 1


def producers(**partitions: list[int]) -> DescribeProducersRequest:
    """Return a DescribeProducers of these partitions of topics."""
    topics = [
        TopicRequest(name=name, partition_indexes=indexes) for name, indexes in partitions.items()
    ]
    return DescribeProducersRequest(topics=topics)


def hear_producers(talk: Talk, request: DescribeProducersRequest, label: str) -> None:
    """Ask, and record the answer in the order of the ids: Kafka promises none."""
    answer = talk.connection.ask(request, talk.version)
    if isinstance(answer, DescribeProducersResponse):
        for topic in answer.topics:
            for partition in topic.partitions:
                partition.active_producers.sort(key=lambda one: one.producer_id)
    talk.hear(answer, label=label)


@case(DescribeProducersRequest)
def producers_described(talk: Talk) -> None:
    """Nobody, one, two of them, a new epoch, and numbers that wrap"""
    topic = talk.topic(partitions=2)
    hear_producers(talk, producers(**{topic: [0, 1]}), "nobody")
    fill(talk, topic, batch(b"a"))
    hear_producers(talk, producers(**{topic: [0]}), "nobody idempotent")
    one = batch(b"a", b"b", b"c", producer_id=7001, producer_epoch=0, base_sequence=0)
    fill(talk, topic, one)
    hear_producers(talk, producers(**{topic: [0, 1]}), "one")
    other = batch(b"a", producer_id=7002, producer_epoch=5, base_sequence=LAST_SEQUENCE - 1)
    fill(talk, topic, other)
    hear_producers(talk, producers(**{topic: [0]}), "two")
    wraps = batch(b"a", b"b", producer_id=7002, producer_epoch=5, base_sequence=LAST_SEQUENCE)
    fill(talk, topic, wraps)
    fill(talk, topic, batch(b"a", producer_id=7001, producer_epoch=3, base_sequence=0))
    hear_producers(talk, producers(**{topic: [0]}), "both went on")


@case(DescribeProducersRequest)
def producers_described_times(talk: Talk) -> None:
    """The newest time is the newest batch's, even where that is older than one before"""
    topic = talk.topic(configs={"message.timestamp.type": "LogAppendTime"})
    fill(talk, topic, batch(b"a", producer_id=7001, producer_epoch=0, base_sequence=0))
    hear_producers(talk, producers(**{topic: [0]}), "the broker's time")
    topic = talk.topic("client-time")
    late = batch(b"a", base_timestamp=5, producer_id=7001, producer_epoch=0, base_sequence=1)
    fill(talk, topic, batch(b"a", producer_id=7001, producer_epoch=0, base_sequence=0), late)
    hear_producers(talk, producers(**{topic: [0]}), "an older time")


@case(DescribeProducersRequest)
def producers_of_unknown(talk: Talk) -> None:
    """Unknown topics and partitions, wrong names, a partition twice, nothing"""
    topic = talk.topic()
    for label, request in (
        ("unknown topic", producers(**{talk.name(): [0]})),
        ("unknown partitions", producers(**{topic: [0, 1, -1]})),
        ("no partition", producers(**{topic: []})),
        ("partition twice", producers(**{topic: [0, 0]})),
        ("wrong name", producers(**{"a/b": [0]})),
        ("no name", producers(**{"": [0]})),
        ("nothing", producers()),
    ):
        hear_producers(talk, request, label)
    twice = producers(**{topic: [0]})
    twice.topics *= 2
    hear_producers(talk, twice, "topic twice")


for path in ("topics/topic+", "topics/topic/partitions/0+"):
    differs(
        DescribeProducersRequest,
        path,
        kafka="present",
        ours="absent",
        reason="What is named twice is answered once, or small requests would have huge answers",
        cases="producers-of-unknown",
    )

surprise(
    DescribeProducersRequest,
    """An unknown topic comes with a text, an unknown partition of a known topic without one.""",
)
surprise(
    DescribeProducersRequest,
    """last_timestamp is what the producer's newest batch says, also where that lies before an
    earlier one.""",
)
