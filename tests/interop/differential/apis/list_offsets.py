"""ListOffsets: every timestamp that means something, and those that mean nothing."""

from __future__ import annotations

from mesh.wire.schemas.list_offsets import ListOffsetsRequest
from tests.interop.differential.ask import fill, list_offsets
from tests.interop.differential.batches import GZIP, LZ4, SNAPPY, T0, ZSTD, Record, batch
from tests.interop.differential.cases import case, differs, surprise
from tests.interop.differential.talk import Talk

SPECIAL = (-1, -2, -3, -4, -5, -6)


def filled(talk: Talk) -> str:
    """Return a topic whose partition 0 holds five batches, one per codec, with times rising."""
    topic = talk.topic()
    for place, codec in enumerate((0, GZIP, SNAPPY, LZ4, ZSTD)):
        records = [Record(b"v", timestamp_delta=100 * place + 10 * n) for n in range(3)]
        fill(talk, topic, batch(*records, codec=codec))
    return topic


@case(ListOffsetsRequest)
def offsets_special(talk: Talk) -> None:
    """Latest, earliest, maximum timestamp, local and tiered"""
    topic = filled(talk)
    for timestamp in SPECIAL:
        talk.ask(list_offsets(topic, timestamp), label=f"timestamp {timestamp}")


@case(ListOffsetsRequest)
def offsets_special_unknown(talk: Talk) -> None:
    """Negative timestamps without a meaning"""
    topic = filled(talk)
    for timestamp in (-7, -100, -(2**63)):
        talk.ask(list_offsets(topic, timestamp), label=f"timestamp {timestamp}")


@case(ListOffsetsRequest)
def offsets_of_empty(talk: Talk) -> None:
    """The same of an empty partition"""
    topic = talk.topic()
    for timestamp in (*SPECIAL, 0, T0):
        talk.ask(list_offsets(topic, timestamp), label=f"timestamp {timestamp - T0}")


@case(ListOffsetsRequest)
def offsets_at_time(talk: Talk) -> None:
    """The first record at or after a time, exact within compressed batches too"""
    topic = filled(talk)
    for after in (0, 1, 10, 11, 20, 21, 105, 110, 215, 320, 321, 420, 421, 10_000):
        talk.ask(list_offsets(topic, T0 + after), label=f"T0+{after}")
    talk.ask(list_offsets(topic, 0), label="1970")


@case(ListOffsetsRequest)
def offsets_at_time_unsorted(talk: Talk) -> None:
    """Times that go back and forth: the first offset whose time is late enough"""
    topic = talk.topic()
    for deltas in ((50, 10, 30), (5, 40, 20), (100, 0, 100)):
        fill(talk, topic, batch(*(Record(b"v", timestamp_delta=d) for d in deltas)))
    for after in (0, 10, 31, 45, 51, 100):
        talk.ask(list_offsets(topic, T0 + after), label=f"T0+{after}")
    talk.ask(list_offsets(topic, -3), label="maximum")


@case(ListOffsetsRequest)
def offsets_unknown(talk: Talk) -> None:
    """Unknown topics and partitions beside a known one"""
    topic = filled(talk)
    request = list_offsets(topic, -1, -1)
    request.topics += list_offsets(talk.name(), -2).topics
    talk.ask(request)
    talk.ask(list_offsets("not/a/name", -1))
    talk.ask(ListOffsetsRequest(replica_id=-1, topics=[]))


@case(ListOffsetsRequest)
def offsets_twice(talk: Talk) -> None:
    """One partition twice in a request is an error of that partition"""
    topic = filled(talk)
    request = list_offsets(topic, -1)
    request.topics[0].partitions += list_offsets(topic, -2).topics[0].partitions
    talk.ask(request)
    request = list_offsets(topic, -1)
    request.topics += list_offsets(topic, -2).topics
    talk.ask(request)


@case(ListOffsetsRequest, versions=(4, 11))
def offsets_leader_epochs(talk: Talk) -> None:
    """A leader epoch that is older or newer than the partition's"""
    topic = filled(talk)
    for epoch in (-1, 0, 1000, -2):
        request = list_offsets(topic, -1, current_leader_epoch=epoch)
        talk.ask(request, label=f"epoch {epoch}")


@case(ListOffsetsRequest, versions=(2, 11))
def offsets_read_committed(talk: Talk) -> None:
    """Read committed, and an isolation level that does not exist"""
    topic = filled(talk)
    for level in (1, 2):
        for timestamp in (-1, -2, T0 + 10):
            talk.ask(list_offsets(topic, timestamp, isolation_level=level))


@case(ListOffsetsRequest)
def offsets_as_replica(talk: Talk) -> None:
    """A client that claims to be a broker or a debugger"""
    topic = filled(talk)
    for replica in (99, -2):
        request = list_offsets(topic, -1)
        request.replica_id = replica
        talk.ask(request, label=f"replica {replica}")


differs(
    ListOffsetsRequest,
    "topics/*",
    kafka="absent",
    ours="present",
    reason="Each of the two entries gets the error",
    cases="offsets-twice",
)
differs(
    ListOffsetsRequest,
    "topics/topic/partitions/0/error_code",
    kafka=-1,
    ours=42,
    reason="INVALID_REQUEST, instead of an unknown server error",
    cases="offsets-read-committed",
)

surprise(
    ListOffsetsRequest,
    """Negative timestamps without a meaning are UNSUPPORTED_VERSION (35), not an invalid
    request.""",
)
surprise(
    ListOffsetsRequest,
    """The maximum timestamp of records is found among deleted ones too, after DeleteRecords
    cut a batch in two: the answer may lie below the log start.""",
)
surprise(
    ListOffsetsRequest,
    """A duplicate partition is answered once, with INVALID_REQUEST (42), even when one topic
    occurs twice.""",
)
