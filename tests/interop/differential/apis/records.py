"""DeleteRecords and OffsetForLeaderEpoch."""

from __future__ import annotations

from mesh.wire.schemas.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from mesh.wire.schemas.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from tests.interop.differential.ask import fetch, fill, list_offsets, produce
from tests.interop.differential.batches import T0, batch
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk


def delete(topic: str, *offsets: int, timeout_ms: int = 15_000) -> DeleteRecordsRequest:
    """Return a DeleteRecords of partitions 0, 1, … up to these offsets."""
    wanted = [
        DeleteRecordsPartition(partition_index=place, offset=offset)
        for place, offset in enumerate(offsets)
    ]
    named = DeleteRecordsTopic(name=topic, partitions=wanted)
    return DeleteRecordsRequest(topics=[named], timeout_ms=timeout_ms)


def filled(talk: Talk) -> str:
    """Return a topic whose partition 0 holds offsets 0 to 8 in batches of 3."""
    topic = talk.topic()
    three = batch(b"a", b"b", b"c")
    fill(talk, topic, three, three, three)
    return topic


@case(DeleteRecordsRequest)
def delete_records(talk: Talk) -> None:
    """Up to an offset within a batch, back, to the end, beyond it, and below zero"""
    topic = filled(talk)
    for offset in (4, 2, 0, 10, -2, -1, 9):
        talk.ask(delete(topic, offset), label=f"to {offset}")
        talk.ask(list_offsets(topic, -2), version=2)


@case(DeleteRecordsRequest, versions=(2, 2))
def delete_records_seen_by_others(talk: Talk) -> None:
    """Fetch, ListOffsets and Produce follow the new start, in the midst of a batch"""
    topic = filled(talk)
    talk.ask(delete(topic, 4))
    for offset in (0, 3, 4, 6):
        talk.ask(fetch(talk, topic, offset), version=12, label=f"fetch from {offset}")
    for timestamp in (-1, -2, -3, -4, -5, T0, T0 + 2):
        talk.ask(list_offsets(topic, timestamp), version=9, label=f"timestamp {timestamp - T0}")
    talk.ask(produce(talk, topic, batch(b"d")), version=9)


@case(DeleteRecordsRequest)
def delete_records_unknown(talk: Talk) -> None:
    """Unknown topics and partitions beside a known one; a compacted topic; nothing"""
    talk.ask(delete(filled(talk), 2, 2))
    talk.ask(delete(talk.name(), 2))
    compacted = talk.topic("compacted", configs={"cleanup.policy": "compact"})
    talk.ask(delete(compacted, 0), label="compacted")
    talk.ask(DeleteRecordsRequest(topics=[], timeout_ms=1000), label="nothing")


def epochs(
    topic: str, *wanted: int, current: int = -1, replica: int = -1
) -> OffsetForLeaderEpochRequest:
    """Return an OffsetForLeaderEpoch of partitions 0, 1, … for these epochs."""
    parts = [
        OffsetForLeaderPartition(partition=place, current_leader_epoch=current, leader_epoch=epoch)
        for place, epoch in enumerate(wanted)
    ]
    named = OffsetForLeaderTopic(topic=topic, partitions=parts)
    return OffsetForLeaderEpochRequest(replica_id=replica, topics=[named])


@case(OffsetForLeaderEpochRequest)
def epoch_ends(talk: Talk) -> None:
    """The end of the only epoch, of one that has not been, and of none"""
    topic = filled(talk)
    for epoch in (0, 1000, -1, -2):
        talk.ask(epochs(topic, epoch), label=f"epoch {epoch}")
    for current in (0, 1000):
        talk.ask(epochs(topic, 0, current=current), label=f"current epoch {current}")
    talk.ask(epochs(topic, 0, replica=-2), label="a debugger")


@case(OffsetForLeaderEpochRequest)
def epoch_ends_compared(talk: Talk) -> None:
    """Every pair of epochs below, at and above the leader's, as consumer, broker and debugger"""
    topic = filled(talk)
    # A broker in its own right (1, 77) is asked here without a session of fetches before.
    for replica in (-1, -2, 1, 77):
        for current in (-2, -1, 0, 1):
            for epoch in (-1, 0, 1, 2**31 - 1):
                request = epochs(topic, epoch, current=current, replica=replica)
                talk.ask(request, label=f"replica {replica} at {current} for {epoch}")


@case(DeleteRecordsRequest, versions=(2, 2))
def delete_records_and_epochs(talk: Talk) -> None:
    """The only epoch began before the log's new start; then all of it is deleted"""
    topic = filled(talk)
    for offset in (4, 9):
        talk.ask(delete(topic, offset))
        for epoch in (0, 1):
            talk.ask(epochs(topic, epoch), version=4, label=f"epoch {epoch} from {offset}")


@case(OffsetForLeaderEpochRequest)
def epoch_ends_twice(talk: Talk) -> None:
    """A partition and a topic twice, a negative partition, a topic without partitions"""
    topic = filled(talk)
    ask = [
        OffsetForLeaderPartition(partition=index, current_leader_epoch=-1, leader_epoch=0)
        for index in (0, 0, -1)
    ]
    for label, topics in {
        "partition": [OffsetForLeaderTopic(topic=topic, partitions=ask)],
        "topic": [
            OffsetForLeaderTopic(topic=topic, partitions=ask[:1]),
            OffsetForLeaderTopic(topic=topic, partitions=ask[2:]),
        ],
        "no partitions": [OffsetForLeaderTopic(topic=topic, partitions=[])],
        "invalid": [OffsetForLeaderTopic(topic="a/b", partitions=ask[:1])],
    }.items():
        talk.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=topics), label=label)


@case(OffsetForLeaderEpochRequest)
def epoch_ends_unknown(talk: Talk) -> None:
    """Unknown topics and partitions, an empty partition, nothing"""
    talk.ask(epochs(filled(talk), 0, 0))
    talk.ask(epochs(talk.name(), 0))
    talk.ask(epochs(talk.topic("empty"), 0))
    talk.ask(OffsetForLeaderEpochRequest(replica_id=-1, topics=[]))


differs(
    DeleteRecordsRequest,
    "topics/topic/partitions/0/offset",
    kafka=2,
    ours=5,
    reason="The record with the largest timestamp is looked for among those that are kept",
    cases="delete-records-seen-by-others",
)

surprise(
    OffsetForLeaderEpochRequest,
    """Only a current epoch of -1 stands for none, as in ListOffsets: -2 is FENCED_LEADER_EPOCH
    (74). In Fetch any negative number stands for none.""",
)
surprise(
    OffsetForLeaderEpochRequest,
    """For an epoch of -2 the answer repeats it with end offset 0.""",
)
surprise(
    DeleteRecordsRequest,
    """A compacted topic is POLICY_VIOLATION (44).""",
)
surprise(
    DeleteRecordsRequest,
    """An offset below the log start is no error: the answer is the log start.""",
)
