"""Fetch: offsets, epochs, limits, waiting, sessions."""

from __future__ import annotations

from mesh.wire.schemas.fetch import (
    FetchRequest,
    FetchResponse,
    ForgottenTopic,
    ReplicaState,
)
from tests.interop.differential.ask import UNKNOWN_ID, fetch, fill
from tests.interop.differential.batches import GZIP, ZSTD, batch
from tests.interop.differential.cases import ANY, case, differs, surprise
from tests.interop.differential.talk import Talk


def filled(talk: Talk, *, partitions: int = 1, configs: dict[str, str] | None = None) -> str:
    """Return a topic whose partition 0 holds offsets 0 to 9 in batches of 3, 3, 3 and 1."""
    topic = talk.topic(partitions=partitions, configs=configs)
    three = batch(b"a", b"b", b"c")
    fill(talk, topic, three, three, three, batch(b"j"))
    return topic


@case(FetchRequest)
def fetch_offsets(talk: Talk) -> None:
    """From the start, within a batch, at the end"""
    topic = filled(talk)
    for offset in (0, 2, 3, 5, 9, 10):
        talk.ask(fetch(talk, topic, offset), label=f"from {offset}")


@case(FetchRequest)
def fetch_out_of_range(talk: Talk) -> None:
    """Beyond the end, and below zero"""
    topic = filled(talk)
    for offset in (11, 2**62, -1, -2):
        talk.ask(fetch(talk, topic, offset), label=f"from {offset}")


@case(FetchRequest)
def fetch_empty(talk: Talk) -> None:
    """An empty partition"""
    topic = talk.topic()
    for offset in (0, 1):
        talk.ask(fetch(talk, topic, offset), label=f"from {offset}")


@case(FetchRequest)
def fetch_waits(talk: Talk) -> None:
    """Nothing new within max wait, and less than min bytes, are answered with what there is"""
    topic = filled(talk)
    talk.ask(fetch(talk, topic, 10, max_wait_ms=30))
    talk.ask(fetch(talk, topic, 9, max_wait_ms=30, min_bytes=10_000))
    talk.ask(fetch(talk, topic, 10, max_wait_ms=10_000, min_bytes=0), label="min bytes 0")
    talk.ask(fetch(talk, topic, 11, max_wait_ms=10_000), label="an error does not wait")


@case(FetchRequest)
def fetch_limits(talk: Talk) -> None:
    """The first batch comes whole whatever the limits; after it they hold"""
    topic = filled(talk, partitions=2)
    fill(talk, topic, batch(b"other"), partition=1)
    size = len(batch(b"a", b"b", b"c"))
    for limit in (0, 1, size, size + 1, 2 * size, 2 * size + 10):
        talk.ask(fetch(talk, topic, 0, 0, max_bytes=limit), label=f"request limit {limit}")
        answer = fetch(talk, topic, 0, 0, partition_max_bytes=limit)
        talk.ask(answer, label=f"partition limit {limit}")


@case(FetchRequest)
def fetch_limits_negative(talk: Talk) -> None:
    """Limits below zero"""
    topic = filled(talk)
    talk.ask(fetch(talk, topic, 0, max_bytes=-1))
    talk.ask(fetch(talk, topic, 0, partition_max_bytes=-1))
    talk.ask(fetch(talk, topic, 0, min_bytes=-1, max_wait_ms=-1))


@case(FetchRequest)
def fetch_unknown(talk: Talk) -> None:
    """Unknown topics (by id from version 13) and partitions, beside a known one"""
    topic = filled(talk)
    talk.ask(fetch(talk, topic, 0, 0))
    talk.ask(fetch(talk, talk.name(), 0))
    both = fetch(talk, topic, 0)
    both.topics += fetch(talk, talk.name(), 0).topics
    talk.ask(both)
    talk.ask(fetch(talk, "not/a/name", 0))


@case(FetchRequest, versions=(13, 18))
def fetch_topic_ids(talk: Talk) -> None:
    """From version 13 topics go by id: an unknown one, and none at all"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    right = request.topics[0].topic_id
    for wanted in (UNKNOWN_ID, bytes(16), right):
        request.topics[0].topic_id = wanted
        talk.ask(request)


@case(FetchRequest)
def fetch_nothing(talk: Talk) -> None:
    """No topics, and a topic without partitions"""
    talk.ask(FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=1000, topics=[]))
    talk.ask(fetch(talk, talk.topic()))


@case(FetchRequest)
def fetch_partition_twice(talk: Talk) -> None:
    """One partition twice in a request"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    request.topics[0].partitions += fetch(talk, topic, 9).topics[0].partitions
    talk.ask(request)


@case(FetchRequest, versions=(9, 18))
def fetch_leader_epochs(talk: Talk) -> None:
    """A leader epoch that is older or newer than the partition's"""
    topic = filled(talk)
    for epoch in (-1, 0, 1000, -2):
        request = fetch(talk, topic, 0, current_leader_epoch=epoch)
        talk.ask(request, label=f"epoch {epoch}")


@case(FetchRequest, versions=(12, 18))
def fetch_last_fetched_epoch(talk: Talk) -> None:
    """A consumer says which epoch it read last; one the log does not have diverges"""
    topic = filled(talk)
    for epoch, offset in ((0, 3), (0, 10), (1000, 3), (1000, 10)):
        request = fetch(talk, topic, offset, last_fetched_epoch=epoch)
        talk.ask(request, label=f"epoch {epoch} at {offset}")


@case(FetchRequest)
def fetch_read_committed(talk: Talk) -> None:
    """Read committed: the same records, an empty list of aborted transactions"""
    topic = filled(talk, partitions=2)
    talk.ask(fetch(talk, topic, 0, 0, isolation_level=1))
    talk.ask(fetch(talk, topic, 20, isolation_level=1), label="out of range")


@case(FetchRequest)
def fetch_isolation_unknown(talk: Talk) -> None:
    """An isolation level that does not exist"""
    topic = filled(talk)
    for level in (2, -1):
        talk.ask(fetch(talk, topic, 0, isolation_level=level))


@case(FetchRequest, versions=(7, 18))
def fetch_session_opened(talk: Talk) -> None:
    """A client asks for a session"""
    topic = filled(talk, partitions=2)
    request = fetch(talk, topic, 0, 0)
    request.session_id, request.session_epoch = 0, 0
    talk.ask(request)


@case(FetchRequest, versions=(7, 18))
def fetch_session_continued(talk: Talk) -> None:
    """A client goes on with the session that it was given, if it was given one"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    request.session_id, request.session_epoch = 0, 0
    answer = talk.connection.ask(request, talk.version)
    assert isinstance(answer, FetchResponse)
    if answer.session_id != 0:
        request = FetchRequest(
            max_wait_ms=0,
            min_bytes=1,
            session_id=answer.session_id,
            session_epoch=1,
            topics=[],
            forgotten_topics_data=[],
        )
    talk.ask(request)


@case(FetchRequest, versions=(7, 18))
def fetch_session_unknown(talk: Talk) -> None:
    """A session id that nobody gave; a session that is closed"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    for session_id, epoch in ((12345, 1), (12345, 0), (12345, -1), (0, 1), (0, -1)):
        request.session_id, request.session_epoch = session_id, epoch
        talk.ask(request, label=f"id {session_id} epoch {epoch}")


@case(FetchRequest, versions=(7, 18))
def fetch_forgotten(talk: Talk) -> None:
    """Topics to forget without a session"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    forgotten = ForgottenTopic(topic=topic, topic_id=request.topics[0].topic_id, partitions=[0])
    request.forgotten_topics_data = [forgotten]
    talk.ask(request)


@case(FetchRequest)
def fetch_as_replica(talk: Talk) -> None:
    """A client that claims to be a broker: one that exists not, and a debugger"""
    topic = filled(talk)
    for replica in (99, -2):
        request = fetch(talk, topic, 0)
        if talk.version >= 15:
            request.replica_state = ReplicaState(replica_id=replica)
        else:
            request.replica_id = replica
        talk.ask(request, label=f"replica {replica}")


@case(FetchRequest)
def fetch_zstd(talk: Talk) -> None:
    """zstd batches need version 10, and so does a topic of that type"""
    topic = talk.topic()
    fill(talk, topic, batch(b"a", codec=ZSTD))
    talk.ask(fetch(talk, topic, 0))
    typed = talk.topic("typed", configs={"compression.type": "zstd"})
    fill(talk, typed, batch(b"a", codec=ZSTD))
    talk.ask(fetch(talk, typed, 0))


@case(FetchRequest)
def fetch_compressed(talk: Talk) -> None:
    """Compressed batches come as they were sent, from within too"""
    topic = talk.topic()
    fill(talk, topic, batch(b"a", b"b", codec=GZIP), batch(b"c", codec=GZIP))
    for offset in (0, 1, 2):
        talk.ask(fetch(talk, topic, offset))


@case(FetchRequest, versions=(11, 18))
def fetch_rack(talk: Talk) -> None:
    """A client names its rack; the leader is nobody's preferred replica"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    request.rack_id = "rack"
    talk.ask(request)


@case(FetchRequest, versions=(12, 18))
def fetch_cluster_id(talk: Talk) -> None:
    """A client names a cluster that is another one"""
    topic = filled(talk)
    request = fetch(talk, topic, 0)
    request.cluster_id = "another"
    talk.ask(request)


differs(
    FetchRequest,
    "session_id",
    kafka="session_id 1",
    ours=0,
    reason="Sessions are declined, as KIP-227 allows: no node has to remember what a client wants",
)
differs(
    FetchRequest,
    "responses/*/partitions/0/records/*",
    kafka="present",
    ours="absent",
    reason="Only whole batches are sent; Kafka cuts the last one at the limit, and clients drop it",
    cases="fetch-limits",
)
differs(
    FetchRequest,
    "responses/*/partitions/*/aborted_transactions",
    kafka=(),
    ours=None,
    reason="No list in any error; Kafka has an empty one where it does not know the partition",
    cases="fetch-*",
)


def served_all_the_same(cases: str, code: int, reason: str) -> None:
    """Declare that we serve what Kafka refuses with this code."""
    partition = "responses/*/partitions/0"
    for path, kafka, ours in (
        (f"{partition}/error_code", code, 0),
        (f"{partition}/high_watermark", -1, 10),
        (f"{partition}/last_stable_offset", -1, 10),
        (f"{partition}/log_start_offset", -1, 0),
        (f"{partition}/records/*", "absent", "present"),
    ):
        differs(FetchRequest, path, kafka=kafka, ours=ours, reason=reason, cases=cases)


served_all_the_same("fetch-limits-negative", -1, "Limits below zero are taken as zero")
NO_FOLLOWERS = "Our replicas do not follow by Fetch: who claims to be one is served as a client"
served_all_the_same("fetch-as-replica", 6, NO_FOLLOWERS)
differs(
    FetchRequest,
    "responses/*/partitions/0/current_leader*",
    kafka=ANY,
    ours=ANY,
    reason=NO_FOLLOWERS,
    cases="fetch-as-replica",
    versions=(12, 18),
)
for path, kafka, ours, first, last in (
    ("error_code", -1, 0, 7, 18),
    ("responses/*", "absent", "present", 13, 18),
    ("responses/*/partitions/0/error_code", -1, 42, 4, 12),
):
    differs(
        FetchRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="INVALID_REQUEST (42) for each partition, instead of an unknown server error",
        cases="fetch-isolation-unknown",
        versions=(first, last),
    )
differs(
    FetchRequest,
    "responses/*",
    kafka="absent",
    ours="present",
    reason="A topic without partitions is answered by a topic without partitions",
    cases="fetch-nothing",
)
for path, kafka, ours in (
    ("responses/*/partitions/0+", "absent", "present"),
    ("responses/*/partitions/0/records/*", "absent", "present"),
    ("responses/*/partitions/0/records/0/*", ANY, ANY),
):
    differs(
        FetchRequest,
        path,
        kafka=kafka,
        ours=ours,
        reason="Every entry is answered; Kafka forgets the earlier one",
        cases="fetch-partition-twice",
    )

surprise(
    FetchRequest,
    """Limits below zero are UNKNOWN_SERVER_ERROR (-1), but negative min bytes and waits are
    fine.""",
)
surprise(
    FetchRequest,
    """An isolation level that does not exist is -1 for the whole request.""",
)
surprise(
    FetchRequest,
    """A leader epoch of -2 is taken like -1.""",
)
surprise(
    FetchRequest,
    """A last fetched epoch that the log never had is OFFSET_OUT_OF_RANGE (1), with no
    diverging epoch.""",
)
surprise(
    FetchRequest,
    """aborted_transactions is null for errors of a known partition, and empty for an unknown
    one.""",
)
surprise(
    FetchRequest,
    """A partition that occurs twice is answered once, with what its later entry asked for.""",
)
